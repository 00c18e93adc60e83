"""Whether an endpoint that is ahead of another one is ahead on the same chain.

A head is a number that anybody can say. Before it bars an endpoint, the one that says it must show a recent
block of the other one in its own chain, and its own newest blocks.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

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
