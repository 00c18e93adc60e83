"""The node's clock."""

from __future__ import annotations

from collections.abc import Callable


class AdjustableClock:
    """The system's clock plus an offset that the dev commands move; `keep` stores it."""

    def __init__(self, system: Callable[[], int], offset: int, keep: Callable[[int], None]) -> None:
        self._system, self._offset, self._keep = system, offset, keep

    def now(self) -> int:
        """Return the chain's time, Unix seconds."""
        return self._system() + self._offset

    def advance(self, seconds: int) -> None:
        """Move forward, persistently."""
        self._keep(self._offset + seconds)
        self._offset += seconds

    def at_least(self, time: int) -> None:
        """Move forward to `time` if it is ahead."""
        if time > self.now():
            self.advance(time - self.now())
