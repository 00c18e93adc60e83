"""Asking chains while a user waits: never for long, and never many at a time.

The endpoints that do it need no account, so nobody may be able to tie up the service, or use up what our
providers allow us, through them. Relayers do not pass here: what keeps money safe has its own lines.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from bridge.chains.errors import PortUnavailableError
from bridge.protocol.types import ChainId

T = TypeVar("T")

LOOK_SECONDS = 5.0
"""A request does not wait longer than this for a chain, its turn included."""
LOOKS_AT_ONCE = 8
"""So many requests ask one chain at the same time; the others wait for their turn."""


class Asking:
    """Asks the chains of one process. Its gates belong to the event loop that first uses them."""

    def __init__(self) -> None:
        self._gates: dict[ChainId, asyncio.Semaphore] = {}

    async def ask(self, chain: ChainId, look: Callable[[], Awaitable[T]]) -> T:
        """Return what a look at a chain gives. Raises `PortUnavailableError` when it takes too long, and
        whatever the look raises."""
        gate = self._gates.setdefault(chain, asyncio.Semaphore(LOOKS_AT_ONCE))
        try:
            async with asyncio.timeout(LOOK_SECONDS), gate:
                return await look()
        except TimeoutError:
            raise PortUnavailableError(f"{chain} took too long to answer", "try again soon") from None
