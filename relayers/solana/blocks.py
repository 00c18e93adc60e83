"""Blocks and HTLC calls, read so that a moving or lagging RPC cannot mislead us.

A block's height counts blocks and has no gaps, while slots may be skipped and are what the RPC is asked by.
So a block's id here is its slot (8 bytes) before its hash (32 bytes), hex: it can be found again by its id.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from solders.hash import Hash

from bridge.chains.endpoints.json_rpc import Call, Calls, RpcError, record
from bridge.chains.errors import DeepReorgError, PortUnavailableError
from bridge.chains.recent_blocks import newest_common
from bridge.protocol.types import BlockHeight, BlockRef, UnixSeconds
from kernels.errors import RainbowError
from relayers.solana.rpc import BLOCK_NOT_AVAILABLE, SKIPPED_CODES

CONFIRMED = "confirmed"
"""Two thirds of the stake voted for it. We scan at this level and count confirmations ourselves; 32 of them
are what Solana calls finalized."""

NEWEST_VERSION = 1
"""The newest version of transactions that we read (SIMD-0385). A node refuses to show newer ones than asked
for."""

_HEAD_WINDOW = 128
"""Slots in which the newest block is looked for: more were skipped in a row only when the cluster stood."""


class ChainMovedError(RainbowError):
    """The chain changed while it was read: read again."""

    def __init__(self, message: str = "the chain changed while it was read") -> None:
        super().__init__(message, "read again")


def block_id(slot: int, blockhash: str) -> str:
    """Return our id of a block."""
    return f"{slot:016x}{bytes(Hash.from_string(blockhash)).hex()}"


def slot_of(block: BlockRef) -> int:
    """Return the slot in a block's id."""
    return int(block.id[:16], 16)


def hash_of(block: BlockRef) -> Hash:
    """Return the block's hash in its id."""
    return Hash.from_bytes(bytes.fromhex(block.id[16:]))


def header_call(slot: int) -> Call:
    """Return the call for the block of a slot without its transactions, as `read_header` understands it."""
    options = {
        "commitment": CONFIRMED,
        "transactionDetails": "none",
        "rewards": False,
        "maxSupportedTransactionVersion": NEWEST_VERSION,
    }
    return Call("getBlock", (slot, options))


async def header_at(rpc: Calls, slot: int) -> BlockRef:
    """Return the block of a slot. Raises `ChainMovedError` if there is none any more."""
    (result,) = await rpc.batch([header_call(slot)])
    if not isinstance(result, dict):
        raise ChainMovedError
    return read_header(slot, result)


def read_header(slot: int, result: Any) -> BlockRef:
    """Decode a block."""
    block = record(result)
    try:
        return BlockRef(
            height=BlockHeight(int(block["blockHeight"])),
            id=block_id(slot, block["blockhash"]),
            parent=block_id(int(block["parentSlot"]), block["previousBlockhash"]),
            time=UnixSeconds(int(block["blockTime"])),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise PortUnavailableError("the Solana RPC sent a malformed block", "use another endpoint") from error


async def read_head(rpc: Calls, lag: int) -> BlockRef:
    """Return the newest confirmed block that is at least `lag` slots old."""
    newest = int(await rpc.call("getSlot", {"commitment": CONFIRMED})) - lag
    if lag:
        slots = await rpc.call("getBlocks", max(newest - _HEAD_WINDOW, 0), newest, {"commitment": CONFIRMED})
        if not slots:
            raise PortUnavailableError("the Solana RPC has no recent block", "is the cluster standing still?")
        newest = slots[-1]
    header = (await rpc.batch([header_call(newest)]))[0]
    if isinstance(header, RpcError):
        raise ChainMovedError from header
    return read_header(newest, header)


async def read_headers(rpc: Calls, after: BlockRef, count: int, head: BlockRef) -> list[BlockRef]:
    """Return up to `count` blocks after `after`, none above `head`. Raises `ChainMovedError` when they do not
    link up."""
    if after.height >= head.height or count < 1:
        return []
    options = {"commitment": CONFIRMED}
    slots = await rpc.call("getBlocksWithLimit", slot_of(after) + 1, count, options)
    slots = [slot for slot in slots if slot <= slot_of(head)]
    results = await rpc.batch([header_call(slot) for slot in slots])
    headers: list[BlockRef] = []
    parent = after
    for slot, result in zip(slots, results, strict=True):
        if not isinstance(result, dict):
            raise ChainMovedError
        header = read_header(slot, result)
        if header.parent != parent.id or header.height != parent.height + 1:
            raise ChainMovedError
        headers.append(header)
        parent = header
    if len(headers) < min(count, head.height - after.height):
        raise ChainMovedError
    return headers


async def block_at(rpc: Calls, height: int, head: BlockRef) -> BlockRef:
    """Return the block at a height up to `head`'s: the height-th from the end of the list of slots."""
    back = head.height - height
    top, span = slot_of(head), 2 * back + _HEAD_WINDOW
    slots: list[int] = []
    while len(slots) <= back and span < 2 * top + 4 * _HEAD_WINDOW:
        slots = await rpc.call("getBlocks", max(top - span, 0), top, {"commitment": CONFIRMED})
        span *= 2
    if len(slots) <= back:
        raise PortUnavailableError(
            f"the Solana RPC has no block {height} any more", "use one with more history"
        )
    slot = slots[-1 - back]
    header = read_header(slot, await rpc.call(*_flat(header_call(slot))))
    if header.height != height:
        raise ChainMovedError
    return header


async def anchored(rpc: Calls, recent_blocks: Sequence[BlockRef], head: BlockRef) -> Sequence[BlockRef]:
    """Replace a first known block without an id by the one that the chain has at its height."""
    if recent_blocks[0].id or recent_blocks[0].height > head.height:
        return recent_blocks
    return (await block_at(rpc, recent_blocks[0].height, head), *recent_blocks[1:])


async def common_ancestor(rpc: Calls, recent_blocks: Sequence[BlockRef], head: BlockRef) -> int | None:
    """Ask for as few headers as need be and return what `bridge.chains.recent_blocks.newest_common` says."""
    canonical = {head.height: head.id}
    if head.height > recent_blocks[-1].height:
        await _canonical(rpc, recent_blocks[-1:], head, canonical)
    if canonical.get(recent_blocks[-1].height) != recent_blocks[-1].id:
        await _canonical(rpc, [ref for ref in recent_blocks if ref.height < head.height], head, canonical)
    try:
        return newest_common(recent_blocks, canonical, head)
    except DeepReorgError:
        # "Skipped" is also what a node says of blocks that it lacks, as one does that was started from a
        # snapshot. Only another block at such a height proves that the chain is another one.
        there = await block_at(rpc, recent_blocks[0].height, head)
        if there.id == recent_blocks[0].id:
            raise ChainMovedError from None
        raise


async def _canonical(
    rpc: Calls, refs: Sequence[BlockRef], head: BlockRef, into: dict[BlockHeight, str]
) -> None:
    fresh = [ref for ref in refs if ref.id and ref.height not in into]
    wanted = [ref for ref in fresh if slot_of(ref) <= slot_of(head)]
    results = await rpc.batch([header_call(slot_of(ref)) for ref in wanted])
    for ref, result in zip(wanted, results, strict=True):
        if isinstance(result, RpcError):
            if result.code in SKIPPED_CODES:
                continue
            lagging = result.code == BLOCK_NOT_AVAILABLE
            hint = "it lags; try again" if lagging else "use an endpoint that keeps more blocks"
            raise PortUnavailableError(f"the Solana RPC did not give slot {slot_of(ref)}: {result}", hint)
        if result is not None:
            header = read_header(slot_of(ref), result)
            into[header.height] = header.id


_ALPHABET = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"


def from_base58(text: str) -> bytes:
    """Decode base58 of any length (inner instructions come in no other encoding)."""
    number = 0
    for letter in text:
        number = number * 58 + _ALPHABET.index(letter)
    zeros = len(text) - len(text.lstrip("1"))
    return bytes(zeros) + number.to_bytes((number.bit_length() + 7) // 8, "big")


def to_base58(data: bytes) -> str:
    """Encode base58."""
    number, text = int.from_bytes(data, "big"), ""
    while number:
        number, digit = divmod(number, 58)
        text = _ALPHABET[digit] + text
    return "1" * (len(data) - len(data.lstrip(b"\0"))) + text


def _flat(call: Call) -> tuple[Any, ...]:
    return (call.method, *call.params)
