"""Where a chain and the ring of blocks we know of it part ways. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from bridge.chains.errors import DeepReorg, PortUnavailable
from bridge.protocol.types import BlockHeight, BlockRef


def newest_common(
    known: Sequence[BlockRef], canonical: Mapping[BlockHeight, str], head: BlockRef
) -> int | None:
    """Return the index in `known` of the newest block that is still canonical.

    `canonical` maps heights up to `head`'s to block ids. None means that the node stands behind the ring on
    the same chain, as one that lags or restarts does: a missing block is no proof of a reorg, only another
    block at its height is. Raises `DeepReorg` if no known block is canonical, `PortUnavailable` if the node
    is so far behind that this cannot be told.
    """
    for index in range(len(known) - 1, -1, -1):
        if canonical.get(known[index].height) == known[index].id:
            behind = index < len(known) - 1 and known[index].height == head.height
            return None if behind else index
    if head.height < known[0].height:
        raise PortUnavailable(
            f"the node is at block {head.height}, far behind {known[-1].height} which we have seen",
            "it is still synchronising; wait or use another one",
        )
    raise DeepReorg(
        f"the chain shares no block with the last {len(known)} known ones (from height {known[0].height})",
        "is this the same network as before? If so, inspect the chain and clear its ring",
    )
