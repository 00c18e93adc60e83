"""Which of several endpoints is asked. Pure: what happens to the requests stands in `in_turn`."""

from __future__ import annotations


class Rotation:
    """Stays with one of `count` endpoints (by index) until that one fails, then goes on to the next."""

    def __init__(self, count: int) -> None:
        if count < 1:
            raise ValueError("at least one endpoint is needed")
        self._count = count
        self._current = 0

    def order(self) -> tuple[int, ...]:
        """Return the endpoints in the order in which one request tries them: each once, the current first."""
        return tuple((self._current + step) % self._count for step in range(self._count))

    def failed(self, index: int) -> None:
        """Leave an endpoint that failed. Failures of one that was left before change nothing: many requests
        may have been under way to it."""
        if index == self._current:
            self._current = (self._current + 1) % self._count
