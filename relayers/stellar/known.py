"""What the reader remembers of locks that it has seen: their ids and hashlocks. A cache, and bounded."""

from __future__ import annotations

from bridge.protocol.types import LockId

MOST = 100_000
"""Locks remembered; the oldest are forgotten first. About 20 MB."""


class KnownLocks:
    """Locks by their ids, with what they need to be opened."""

    def __init__(self) -> None:
        self._hashlocks: dict[bytes, bytes] = {}
        self.secrets: dict[bytes, int] = {}
        """How many of the locks have each hashlock."""

    def remember(self, lock: LockId, hashlock: bytes) -> None:
        """Keep a lock."""
        name = bytes.fromhex(lock)
        if name in self._hashlocks:
            return
        if len(self._hashlocks) >= MOST:
            oldest = next(iter(self._hashlocks))
            gone = self._hashlocks.pop(oldest)
            self.secrets[gone] -= 1
            if not self.secrets[gone]:
                del self.secrets[gone]
        self._hashlocks[name] = hashlock
        self.secrets[hashlock] = self.secrets.get(hashlock, 0) + 1

    def hashlock(self, lock: LockId) -> bytes | None:
        """Return what opens a lock, None if it is not remembered."""
        return self._hashlocks.get(bytes.fromhex(lock))

    def named_in(self, raw: bytes) -> tuple[LockId, ...]:
        """Return the locks whose ids stand in XDR bytes: XDR puts all at multiples of four."""
        if not self._hashlocks:
            return ()
        windows = (raw[at : at + 32] for at in range(0, len(raw) - 31, 4))
        found = dict.fromkeys(window for window in windows if window in self._hashlocks)
        return tuple(LockId(name.hex()) for name in found)
