"""The errors of the store, each with a hint that says what to do."""

from __future__ import annotations

from kernels.errors import RainbowError


class StoreError(RainbowError):
    """Something the store cannot do. `hint` says what to do about it."""


class ConflictError(StoreError):
    """The row was changed after it was read: read it again and try again."""


class DuplicateError(StoreError):
    """The row exists already; its key must be unique."""


class NotFoundError(StoreError):
    """There is no such row."""


class StoreUnavailableError(StoreError):
    """The database is busy, full or unreachable: nothing was stored, try again later."""


class LeaseLostError(StoreError):
    """Another worker holds the lease now; what was about to be written is stale."""


class UnreadableRowError(StoreError):
    """A stored row cannot be read: sealed with another key, damaged, or written by other software.

    It concerns that row only: who handles several rows names it, alarms and goes on with the others.
    """


class SecretsLockedError(StoreError):
    """The store was opened without the key that seals secrets."""
