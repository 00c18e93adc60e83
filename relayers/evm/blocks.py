"""Blocks and logs of our contract, read so that a moving, lagging or forgetful RPC cannot mislead us.

Reorgs are found by block-hash continuity alone (nodes differ in whether and when they push `removed`
logs). Logs must carry the hash of a header we hold, and a header whose bloom filter says that our contract
may have logged is not believed to be empty before its receipts say so: log indexes of nodes lag behind
their heads, receipts come from the block store.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import msgspec
from eth_hash.auto import keccak

from bridge.chains.errors import PortUnavailableError
from bridge.chains.port import Tip
from bridge.chains.recent_blocks import newest_common
from bridge.protocol.types import BlockHeight, BlockRef, UnixSeconds
from kernels.errors import RainbowError
from relayers.evm.rpc import Call, Rpc, RpcError, quantity, record, sound

MAX_LOG_SPAN = 500
"""Blocks in one eth_getLogs: the strictest hosted limits on ranges with an address filter."""


class Header(msgspec.Struct, frozen=True):
    """A block header: what continuity and completeness checks need."""

    ref: BlockRef
    bloom: bytes


class ChainMovedError(RainbowError):
    """The chain changed while it was read: read again."""

    def __init__(self, message: str = "the chain changed while it was read") -> None:
        super().__init__(message, "read again")


def header_call(height: int | str) -> Call:
    """Return the call for the header at a height (or "latest"), as `read_header` understands it."""
    return Call("eth_getBlockByNumber", (hex(height) if isinstance(height, int) else height, False))


def read_header(result: Any) -> Header:
    """Decode a block without its transactions."""
    block = record(result)
    try:
        ref = BlockRef(
            height=BlockHeight(quantity(block["number"])),
            id=block["hash"],
            parent=block["parentHash"],
            time=UnixSeconds(quantity(block["timestamp"])),
        )
        return Header(ref, bytes.fromhex(block["logsBloom"][2:]))
    except (KeyError, TypeError, ValueError) as error:
        raise PortUnavailableError("the RPC sent a malformed block", "use another endpoint") from error


class Heads(msgspec.Struct, frozen=True):
    """The newest block, and the newest that the network calls final (None: none, or the endpoint does not
    know)."""

    latest: BlockRef
    finalized: BlockRef | None = None

    @property
    def tip(self) -> Tip:
        """The head; its timestamp is what deadlines are compared with (the next block's is later)."""
        final = self.finalized
        return Tip(self.latest, self.latest.time, final.height if final else None)

    def check_branch(self, blocks: Iterable[BlockRef]) -> None:
        """Raise `ChainMovedError` if one of these blocks, all of one branch, stands in place of the final
        one."""
        final = self.finalized
        if final and any(block.height == final.height and block.id != final.id for block in blocks):
            raise ChainMovedError


async def read_heads(rpc: Rpc, *, finalized: bool = False) -> Heads:
    """Return the newest block and, with `finalized`, the newest final one."""
    calls = [header_call("latest"), *([header_call("finalized")] if finalized else [])]
    latest, *final = await rpc.batch(calls)
    known = [read_header(block).ref for block in final if isinstance(block, dict)]
    return Heads(read_header(sound(latest)).ref, known[0] if known else None)


async def anchored(rpc: Rpc, recent_blocks: Sequence[BlockRef], head: BlockRef) -> Sequence[BlockRef]:
    """Replace a first known block without an id by the one that the chain has at its height."""
    if recent_blocks[0].id or recent_blocks[0].height > head.height:
        return recent_blocks
    (header,) = await read_headers(rpc, recent_blocks[0].height, recent_blocks[0].height, None)
    return (header.ref, *recent_blocks[1:])


async def common_ancestor(rpc: Rpc, recent_blocks: Sequence[BlockRef], head: BlockRef) -> int | None:
    """Ask for as few headers as need be and return what `bridge.chains.recent_blocks.newest_common` says."""
    canonical: dict[BlockHeight, str] = {head.height: head.id}
    newest = recent_blocks[-1]
    if head.height > newest.height:
        await _ids(rpc, [newest.height], canonical)
    if canonical.get(newest.height) != newest.id:
        await _ids(rpc, [ref.height for ref in recent_blocks if ref.height < head.height], canonical)
    return newest_common(recent_blocks, canonical, head)


async def _ids(rpc: Rpc, heights: Sequence[int], into: dict[BlockHeight, str]) -> None:
    wanted = [height for height in heights if height not in into]
    for result in await rpc.batch([header_call(height) for height in wanted]):
        # All are below the head: one that is missing (or an error) proves no reorg, but another node behind
        # the same URL, or one that lacks history.
        if sound(result) is None:
            raise ChainMovedError
        header = read_header(result)
        into[header.ref.height] = header.ref.id


async def read_headers(rpc: Rpc, first: int, last: int, parent: str | None) -> list[Header]:
    """Return the headers `first`…`last`, each the child of the one before and the first of `parent`.

    Raises `ChainMovedError` when they do not link up.
    """
    results = await rpc.batch([header_call(height) for height in range(first, last + 1)])
    headers: list[Header] = []
    for height, result in zip(range(first, last + 1), results, strict=True):
        if not isinstance(result, dict):
            raise ChainMovedError
        header = read_header(result)
        if header.ref.height != height or (parent is not None and header.ref.parent != parent):
            raise ChainMovedError
        headers.append(header)
        parent = header.ref.id
    return headers


async def read_logs(rpc: Rpc, headers: Sequence[Header], contract: str, topics: Sequence[str]) -> list[Any]:
    """Return the logs of `contract` whose first topic is one of `topics` in these blocks, in chain order.

    Raises `ChainMovedError` when the answer belongs to other blocks.
    """
    wanted = [header for header in headers if may_contain(header.bloom, contract, topics)]
    if not wanted:
        return []
    by_block: dict[str, list[Any]] = {header.ref.id: [] for header in headers}
    for log in await _logs_in_range(rpc, wanted[0].ref.height, wanted[-1].ref.height, contract, topics):
        if log.get("removed"):
            continue
        if log.get("blockHash") not in by_block:
            raise ChainMovedError
        by_block[log["blockHash"]].append(log)
    for header in wanted:
        if not by_block[header.ref.id]:
            by_block[header.ref.id] = await _logs_from_receipts(rpc, header.ref.id, contract, topics)
    return [
        log
        for header in headers
        for log in sorted(by_block[header.ref.id], key=lambda log: quantity(log["logIndex"]))
    ]


async def _logs_in_range(rpc: Rpc, first: int, last: int, contract: str, topics: Sequence[str]) -> list[Any]:
    def piece(start: int, end: int) -> Call:
        wanted = {"fromBlock": hex(start), "toBlock": hex(end), "address": contract, "topics": [list(topics)]}
        return Call("eth_getLogs", (wanted,))

    pieces = await rpc.ranged("eth_getLogs", first, last, MAX_LOG_SPAN, piece)
    return [log for _, _, logs in pieces for log in logs or ()]


async def _logs_from_receipts(rpc: Rpc, block_id: str, contract: str, topics: Sequence[str]) -> list[Any]:
    """The bloom filter said "perhaps", the log index said "nothing": let the block's receipts decide."""
    try:
        receipts = await rpc.call("eth_getBlockReceipts", block_id)
    except RpcError as error:
        raise ChainMovedError from error
    if receipts is None:
        raise ChainMovedError
    return [
        log
        for receipt in receipts
        for log in receipt.get("logs", ())
        if log["address"].lower() == contract.lower() and log["topics"] and log["topics"][0] in topics
    ]


def may_contain(bloom: bytes, contract: str, topics: Sequence[str]) -> bool:
    """Tell whether a block's bloom filter allows a log of `contract` with one of these first topics.

    Yellow Paper, section 4.3.1: three bits, the low 11 bits of each of the first three byte pairs of Keccak.
    """
    return _in_bloom(bloom, bytes.fromhex(contract[2:])) and any(
        _in_bloom(bloom, bytes.fromhex(topic[2:])) for topic in topics
    )


def _in_bloom(bloom: bytes, item: bytes) -> bool:
    digest = keccak(item)
    bits = int.from_bytes(bloom, "big")
    return all(bits >> (int.from_bytes(digest[i : i + 2], "big") & 2047) & 1 for i in (0, 2, 4))
