"""The store: the only place that knows SQL. `Store.open(url)`, then short transactions with repositories."""

from bridge.store.database import Store, Transaction, wall_clock_ms
from bridge.store.errors import (
    ConflictError,
    DuplicateError,
    LeaseLostError,
    NotFoundError,
    SecretsLockedError,
    StoreError,
    StoreUnavailableError,
    UnreadableRowError,
)
from bridge.store.wakeups import Wakeups

__all__ = [
    "ConflictError",
    "DuplicateError",
    "LeaseLostError",
    "NotFoundError",
    "SecretsLockedError",
    "Store",
    "StoreError",
    "StoreUnavailableError",
    "Transaction",
    "UnreadableRowError",
    "Wakeups",
    "wall_clock_ms",
]
