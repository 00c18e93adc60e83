"""Blocks of a ZION node, checked against their own ids.

A node may lag or disagree with itself, but it cannot show a block other than the one its id names: the id
is the hash of the header, the header holds the Merkle root of the bodies, and the coinbase commits to the
witnesses. Whether the work is there is the node's to check: we run our own.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Sequence

from bridge.chains.errors import PortUnavailableError
from bridge.chains.port import HtlcEvent
from bridge.chains.recent_blocks import newest_common
from bridge.protocol.types import Asset, BlockHeight, BlockRef, UnixSeconds
from chain.rules.errors import RuleBrokenError
from chain.rules.hashing import keccak256
from chain.rules.header import Header
from chain.rules.records import BODY_BYTES, Transaction, decode_transaction
from chain.service.messages import BlockView, HeaderView, NodeInfo
from kernels.errors import RainbowError
from relayers.zion.htlc import read_event
from relayers.zion.nodes import Asks, NodeRefusedError

_BLOCKS_AT_ONCE = 8
_HEADERS_AT_ONCE = 500
_TRIES = 4
"""How often one block is asked for in one scan."""


class ChainMovedError(RainbowError):
    """The chain changed while it was read: read again."""

    def __init__(self, message: str = "the chain changed while it was read") -> None:
        super().__init__(message, "read again")


def read_header(view: HeaderView) -> BlockRef:
    """Return a header as a block reference, read from its own bytes once they are shown to be its id's."""
    raw = _unhex(view.raw)
    try:
        header = Header.decode(raw)
    except RuleBrokenError as error:
        raise PortUnavailableError("the ZION node sent a malformed header", "use another node") from error
    if keccak256(raw).hex() != view.id or header.height != view.height:
        raise PortUnavailableError("the ZION node sent a header that is not its id's", "use another node")
    return BlockRef(BlockHeight(header.height), view.id, header.previous.hex(), UnixSeconds(header.time))


async def read_head(nodes: Asks, info: NodeInfo) -> BlockRef:
    """Return the reference of the head that `info` names."""
    try:
        return read_header(await nodes.ask(lambda node: node.get_header(info.best_id)))
    except NodeRefusedError as error:
        raise ChainMovedError from error


async def read_headers(nodes: Asks, first: int, last: int) -> list[HeaderView]:
    """Return the main chain's headers from `first` to `last`, fewer where it ends before."""
    found: list[HeaderView] = []
    for start in range(first, last + 1, _HEADERS_AT_ONCE):
        count = min(_HEADERS_AT_ONCE, last - start + 1)
        part = await nodes.ask(lambda node, start=start, count=count: node.get_headers(start, count))  # type: ignore[misc]
        found += part
        if len(part) < count:
            break
    return found


def linked(views: Sequence[HeaderView], parent: str) -> list[BlockRef]:
    """Return the headers as references, each the child of the one before and the first of `parent`.

    Raises `ChainMovedError` when they do not link up.
    """
    refs: list[BlockRef] = []
    for view in views:
        ref = read_header(view)
        if ref.parent != parent:
            raise ChainMovedError
        refs.append(ref)
        parent = ref.id
    return refs


async def anchored(nodes: Asks, recent_blocks: Sequence[BlockRef], head: BlockRef) -> Sequence[BlockRef]:
    """Replace a first known block without an id by the one that the chain has at its height."""
    if recent_blocks[0].id or recent_blocks[0].height > head.height:
        return recent_blocks
    views = await read_headers(nodes, recent_blocks[0].height, recent_blocks[0].height)
    if not views:
        raise ChainMovedError
    return (read_header(views[0]), *recent_blocks[1:])


async def common_ancestor(nodes: Asks, recent_blocks: Sequence[BlockRef], head: BlockRef) -> int | None:
    """Ask for as few headers as need be and return what `bridge.chains.recent_blocks.newest_common` says."""
    canonical = {head.height: head.id}
    newest = recent_blocks[-1]
    if head.height > newest.height:
        canonical |= await _ids(nodes, newest.height, newest.height)
    if canonical.get(newest.height) != newest.id:
        canonical |= await _ids(nodes, recent_blocks[0].height, min(newest.height, head.height - 1))
    return newest_common(recent_blocks, canonical, head)


async def _ids(nodes: Asks, first: int, last: int) -> dict[BlockHeight, str]:
    found = {BlockHeight(view.height): view.id for view in await read_headers(nodes, first, last)}
    if len(found) != max(0, last - first + 1):
        # All are below the head: one that is missing proves no reorg, but another node behind the same URL.
        raise ChainMovedError
    return found


async def read_events(nodes: Asks, refs: Sequence[BlockRef], native: Asset) -> tuple[list[HtlcEvent], int]:
    """Return the HTLC events of these blocks in chain order, and how many of the blocks were read.

    Every block is fetched: that a block holds nothing but its coinbase is what its id proves, not what a node
    says of it. What was read counts when a later block is not there any more. Raises `ChainMovedError` when
    the first one is not.
    """
    events: list[HtlcEvent] = []
    for start in range(0, len(refs), _BLOCKS_AT_ONCE):
        part = refs[start : start + _BLOCKS_AT_ONCE]
        blocks = await asyncio.gather(
            *(_read_block(nodes, ref) for ref in part),
            return_exceptions=True,
        )
        for at, (ref, block) in enumerate(zip(part, blocks, strict=True), start):
            if isinstance(block, NodeRefusedError):
                if at == 0:
                    raise ChainMovedError from block
                return events, at
            if isinstance(block, BaseException):
                if at == 0 or not isinstance(block, PortUnavailableError):
                    raise block
                return events, at
            for tx in _transactions(ref, block):
                event = read_event(tx, ref, native)
                if event is not None:
                    events.append(event)
    return events, len(refs)


async def _read_block(nodes: Asks, ref: BlockRef) -> BlockView:
    """Ask for a block, a few times: a node that fails now and then must not cost what was read before."""
    for _ in range(_TRIES - 1):
        try:
            return await nodes.ask(lambda node: node.get_block(ref.id))
        except NodeRefusedError:
            raise
        except PortUnavailableError:
            continue
    return await nodes.ask(lambda node: node.get_block(ref.id))


def _transactions(ref: BlockRef, block: BlockView) -> list[Transaction]:
    """Return a block's transactions, once they are shown to be those its id commits to."""
    raws = [_unhex(view.raw) for view in block.transactions]
    try:
        root = Header.decode(_unhex(block.header.raw)).merkle_root
        transactions = [decode_transaction(raw) for raw in raws]
    except RuleBrokenError as error:
        raise PortUnavailableError("the ZION node sent a malformed block", "use another node") from error
    witnesses = hashlib.sha256(b"".join(raw[BODY_BYTES:] for raw in raws[1:])).digest()
    same_block = read_header(block.header) == ref
    if not same_block or root != _merkle_root(transactions) or transactions[0].hash != witnesses:
        raise PortUnavailableError("the ZION node sent a block that is not its id's", "use another node")
    return transactions


def _merkle_root(transactions: Sequence[Transaction]) -> bytes:
    """RFC 6962's tree with Keccak-256 (docs/zion-protocol.md): an odd node rises unchanged."""
    level = [keccak256(b"\x00" + tx.txid) for tx in transactions]
    while len(level) > 1:
        pairs = [keccak256(b"\x01" + level[i] + level[i + 1]) for i in range(0, len(level) - 1, 2)]
        level = pairs + level[2 * len(pairs) :]
    return level[0]


def _unhex(text: str) -> bytes:
    try:
        return bytes.fromhex(text)
    except ValueError as error:
        raise PortUnavailableError(
            "the ZION node sent something other than hex", "use another node"
        ) from error
