"""The locks that a port has met: their hashlocks by id. A memory only: nothing depends on what it forgets."""

from __future__ import annotations

from bridge.protocol.types import LockId, Preimage

MOST = 20_000
"""Locks that are remembered; the oldest are forgotten first. Strangers' locks fill it too, at their own
cost."""


class KnownLocks:
    """Hashlocks by lock id, newest last."""

    def __init__(self, most: int = MOST) -> None:
        self._most = most
        self._hashlocks: dict[LockId, bytes] = {}

    def add(self, lock_id: LockId, hashlock: bytes) -> None:
        """Remember a lock."""
        self._hashlocks.pop(lock_id, None)
        self._hashlocks[lock_id] = hashlock
        if len(self._hashlocks) > self._most:
            del self._hashlocks[next(iter(self._hashlocks))]

    def contradicts(self, lock_id: LockId, preimage: Preimage) -> bool:
        """Tell whether this is known not to open the lock."""
        hashlock = self._hashlocks.get(lock_id)
        return hashlock is not None and not preimage.opens(hashlock)

    def has(self, word: bytes) -> bool:
        """Tell whether 32 bytes are the id of a lock that is remembered."""
        return LockId("0x" + word.hex()) in self._hashlocks
