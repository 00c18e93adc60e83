"""Block headers, read so that a moving, lagging or forgetful RPC cannot mislead us.

Reorgs are found by block-hash continuity alone: nodes differ in whether and when they push `removed` logs.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from bridge.chains.errors import PortUnavailableError
from bridge.chains.port import Tip
from bridge.chains.recent_blocks import newest_common
from bridge.protocol.types import BlockHeight, BlockRef
from kernels.errors import RainbowError
from relayers.evm.rpc import Call, Calls, block_ref, record, sound


class Header(msgspec.Struct, frozen=True):
    """A block header: what continuity and completeness checks need.

    `bloom` is b"" where the header has none. `transactions` are the ids of the block's transactions.
    """

    ref: BlockRef
    bloom: bytes
    transactions: tuple[str, ...] = ()


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
        ref = block_ref(block)
        ids = tuple(entry for entry in block.get("transactions") or () if isinstance(entry, str))
        return Header(ref, bytes.fromhex((block.get("logsBloom") or "0x")[2:]), ids)
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


async def read_heads(rpc: Calls, *, finalized: bool = False) -> Heads:
    """Return the newest block and, with `finalized`, the newest final one."""
    calls = [header_call("latest"), *([header_call("finalized")] if finalized else [])]
    latest, *final = await rpc.batch(calls)
    known = [read_header(block).ref for block in final if isinstance(block, dict)]
    return Heads(read_header(sound(latest)).ref, known[0] if known else None)


async def anchored(rpc: Calls, recent_blocks: Sequence[BlockRef], head: BlockRef) -> Sequence[BlockRef]:
    """Replace a first known block without an id by the one that the chain has at its height."""
    if recent_blocks[0].id or recent_blocks[0].height > head.height:
        return recent_blocks
    (header,) = await read_headers(rpc, recent_blocks[0].height, recent_blocks[0].height, None)
    return (header.ref, *recent_blocks[1:])


async def common_ancestor(rpc: Calls, recent_blocks: Sequence[BlockRef], head: BlockRef) -> int | None:
    """Ask for as few headers as need be and return what `bridge.chains.recent_blocks.newest_common` says.

    Goes back in steps that double, then closes in: a reorg of n blocks costs about 2·log₂(n) headers.
    """
    canonical: dict[BlockHeight, str] = {head.height: head.id}
    within = [ref for ref in recent_blocks if ref.height <= head.height]

    async def stands(index: int) -> bool:
        await _ids(rpc, [within[index].height], canonical)
        return canonical.get(within[index].height) == within[index].id

    gone, step = len(within), 1
    found = -1
    while gone > 0:
        index = max(0, gone - step)
        if await stands(index):
            found = index
            break
        gone, step = index, 2 * step
    # Blocks link up: below a block that stands all stand, above one that is gone all are gone.
    while found >= 0 and gone - found > 1:
        middle = (found + gone) // 2
        if await stands(middle):
            found = middle
        else:
            gone = middle
    return newest_common(recent_blocks, canonical, head)


async def _ids(rpc: Calls, heights: Sequence[int], into: dict[BlockHeight, str]) -> None:
    wanted = [height for height in heights if height not in into]
    for result in await rpc.batch([header_call(height) for height in wanted]):
        # All are below the head: one that is missing (or an error) proves no reorg, but another node behind
        # the same URL, or one that lacks history.
        if sound(result) is None:
            raise ChainMovedError
        header = read_header(result)
        into[header.ref.height] = header.ref.id


async def read_headers(rpc: Calls, first: int, last: int, parent: str | None) -> list[Header]:
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
