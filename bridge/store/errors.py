"""The errors of the store, each with a hint that says what to do."""

from __future__ import annotations


class StoreError(Exception):
    """Something the store cannot do. `hint` says what to do about it."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint


class Conflict(StoreError):
    """The row was changed after it was read: read it again and try again."""


class Duplicate(StoreError):
    """The row exists already; its key must be unique."""


class NotFound(StoreError):
    """There is no such row."""


class Unavailable(StoreError):
    """The database is busy, full or unreachable: nothing was stored, try again later."""


class LeaseLost(StoreError):
    """Another worker holds the lease now; what was about to be written is stale."""


class SecretsLocked(StoreError):
    """The store was opened without the key that seals secrets."""
