"""A set that forgets: bounded, the older half leaves at once."""

from __future__ import annotations


class RollingSet:
    """Remembers at least the last `capacity` members, at most twice as many."""

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._new: set[bytes] = set()
        self._old: set[bytes] = set()

    def __contains__(self, member: bytes) -> bool:
        return member in self._new or member in self._old

    def __len__(self) -> int:
        return len(self._new) + len(self._old)

    def add(self, member: bytes) -> None:
        """Remember a member."""
        self._new.add(member)
        if len(self._new) >= self._capacity:
            self._old, self._new = self._new, set()

    def clear(self) -> None:
        """Forget all."""
        self._new.clear()
        self._old.clear()
