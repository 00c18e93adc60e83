"""What the store refuses, each with a hint that says what to do."""

from __future__ import annotations

from kernels.errors import RainbowError


class StoreError(RainbowError):
    """Something the store cannot do. `hint` says what to do about it."""


class Conflict(StoreError):
    """Somebody else changed the row since it was read: read it again and try again."""


class Duplicate(StoreError):
    """The row exists already, under a key that may exist only once."""


class NotFound(StoreError):
    """There is no such row."""


class Unavailable(StoreError):
    """The database is busy, full or away: nothing was stored, try again later."""


class LeaseLost(StoreError):
    """Another worker holds the lease now; what was about to be written is stale."""


class SecretsLocked(StoreError):
    """The store was opened without the key that seals secrets."""
