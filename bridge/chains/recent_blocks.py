"""Where a chain and the ring of blocks we know of it part ways. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from bridge.chains.errors import DeepReorgError, PortUnavailableError
from bridge.protocol.types import BlockHeight, BlockRef, UnixSeconds


def newest_common(
    recent_blocks: Sequence[BlockRef], canonical: Mapping[BlockHeight, str], head: BlockRef
) -> int | None:
    """Return the index in `recent_blocks` of the newest block that is still canonical.

    `canonical` maps heights up to `head`'s to block ids. None means that the node stands behind the ring on
    the same chain, as one that lags or restarts does: a missing block does not prove a reorg, only another
    block at its height is. Raises `DeepReorgError` if no known block is canonical, `PortUnavailableError` if
    the node is so far behind that this cannot be told.
    """
    for index in range(len(recent_blocks) - 1, -1, -1):
        if canonical.get(recent_blocks[index].height) == recent_blocks[index].id:
            behind = index < len(recent_blocks) - 1 and recent_blocks[index].height == head.height
            return None if behind else index
    if head.height < recent_blocks[0].height:
        raise PortUnavailableError(
            f"the node is at block {head.height}, far behind {recent_blocks[-1].height} which we have seen",
            "it is still synchronising; wait or use another one",
        )
    raise DeepReorgError(
        f"the chain shares no block with the last {len(recent_blocks)} known ones "
        f"(from height {recent_blocks[0].height})",
        "is this the same network as before? If so, inspect the chain and clear its ring",
    )


def block_at(height: int) -> BlockRef:
    """Stand for whichever block the chain has at a height, 0 for lower ones (see `ChainPort.scan`)."""
    return BlockRef(BlockHeight(max(0, height)), "", "", UnixSeconds(0))
