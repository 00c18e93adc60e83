"""Whether an endpoint that is ahead of another one is ahead on the same chain.

A head is a number that anybody can say. Before it bars an endpoint, the one that says it must show a recent
block of the other one in its own chain, and its own newest blocks.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from bridge.chains.endpoints.selection import Head
from bridge.protocol.types import BlockRef
from kernels.errors import RainbowError

ClientT = TypeVar("ClientT")

DISTANCES = (0, 1, 5, 30)
"""How far below an endpoint's head the blocks are of which another one must know one: the newest of a node
that lags may have left the chain since."""


@dataclass(frozen=True)
class Ancestry(Generic[ClientT]):
    """How an endpoint's chain is looked into.

    `recent` returns some of its newest blocks, the head first; `shows` tells whether a block is on its chain.
    Both raise a `RainbowError` where the endpoint does not answer.
    """

    recent: Callable[[ClientT], Awaitable[Sequence[BlockRef]]]
    shows: Callable[[ClientT, BlockRef], Awaitable[bool]]

    async def backs(self, higher: ClientT, lower: ClientT) -> bool | None:
        """Tell whether `higher` has the chain of `lower` below its head; None if `lower` shows no block."""
        try:
            known = await self.recent(lower)
        except RainbowError:
            return None
        try:
            if not await self.recent(higher):
                return False
            for block in known:
                if await self.shows(higher, block):
                    return True
        except RainbowError:
            return False
        return False if known else None


def by_height(
    head: Callable[[ClientT], Awaitable[Head]],
    block_at: Callable[[ClientT, int], Awaitable[BlockRef | None]],
) -> Ancestry[ClientT]:
    """Return how a chain is looked into whose blocks are had by their heights, the first at height 0. `head`
    reads the newest one's; `block_at` returns a block, None if the endpoint has none there."""

    async def at(client: ClientT, height: int) -> BlockRef | None:
        found = await block_at(client, height)
        return found if found is not None and found.height == height else None

    async def recent(client: ClientT) -> Sequence[BlockRef]:
        newest = (await head(client)).height
        found = [await at(client, newest - back) for back in DISTANCES if back <= newest]
        # Who lacks one of them, lacks what it claims.
        return [] if None in found else [block for block in found if block is not None]

    async def shows(client: ClientT, block: BlockRef) -> bool:
        found = await at(client, block.height)
        return found is not None and found.id == block.id

    return Ancestry(recent, shows)
