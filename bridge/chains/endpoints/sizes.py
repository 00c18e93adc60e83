"""How much one endpoint may be asked at once: halved when it is too much, remembered, grown again. Pure."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

from bridge.chains.endpoints.answers import Answer, EndpointError

ResultT = TypeVar("ResultT")

_FIRST_WAIT = 16
"""Full-sized requests that must succeed before a larger one is tried."""
_LONGEST_WAIT = 4_096


class AdaptiveSize:
    """A number of calls, blocks or items for one request, between 1 and `most`.

    A refusal halves what was asked. After a while of full-sized successes a quarter more is tried; each try
    that fails doubles the while, so that an endpoint with a fixed limit is hardly ever asked for more.
    """

    def __init__(self, most: int) -> None:
        if most < 1:
            raise ValueError("a size is at least 1")
        self.most = most
        self.size = most
        self._before = 0
        """The size before growth that is not proven yet; 0: there is none."""
        self._wait = _FIRST_WAIT
        self._served = 0

    def too_much(self, asked: int) -> None:
        """Take in that `asked` at once were too many."""
        self._served = 0
        if self._before and asked > self._before:
            self.size, self._wait = self._before, min(2 * self._wait, _LONGEST_WAIT)
        else:
            self.size = max(1, min(self.size, asked // 2))
        self._before = 0

    def served(self, asked: int) -> None:
        """Take in that `asked` at once were answered."""
        if asked < self.size:
            return
        self._before = 0
        if self.size == self.most:
            return
        self._served += 1
        if self._served >= self._wait:
            self._before, self._served = self.size, 0
            self.size = min(self.most, self.size + max(1, self.size // 4))


class RangeReader(Generic[ResultT]):
    """Reads `first`…`last` in pieces of the size that an endpoint takes.

    What was read is kept when an endpoint fails: `read` with the next endpoint goes on where it stopped.
    """

    def __init__(self, first: int, last: int) -> None:
        self.pieces: list[tuple[int, int, ResultT]] = []
        """First and last of each piece, and what came back; in order, without gaps."""
        self._next = first
        self._last = last

    async def read(self, size: AdaptiveSize, ask: Callable[[int, int], Awaitable[ResultT]]) -> None:
        """Ask for what is missing. `ask` raises an `EndpointError` with `Answer.TOO_MUCH` for a range that is
        too wide; one that is too wide at a single step passes through, as does everything else."""
        began, refused = self._next, 0
        while self._next <= self._last:
            count = min(refused // 2 if refused else size.size, self._last - self._next + 1)
            try:
                result = await ask(self._next, self._next + count - 1)
            except EndpointError as error:
                error.progress |= self._next > began
                if error.kind is not Answer.TOO_MUCH or count == 1:
                    raise
                refused = count
                continue
            if refused:
                # Only now is it known that the size was the reason.
                size.too_much(refused)
                refused = 0
            size.served(count)
            self.pieces.append((self._next, self._next + count - 1, result))
            self._next += count
