"""The store: the only place that knows SQL. `Store.open(url)`, then short transactions with repositories."""

from bridge.store.database import Store, Transaction, wall_clock_ms
from bridge.store.errors import (
    Conflict,
    Duplicate,
    LeaseLost,
    NotFound,
    SecretsLocked,
    StoreError,
    Unavailable,
)
from bridge.store.wakeups import Wakeups

__all__ = [
    "Conflict",
    "Duplicate",
    "LeaseLost",
    "NotFound",
    "SecretsLocked",
    "Store",
    "StoreError",
    "Transaction",
    "Unavailable",
    "Wakeups",
    "wall_clock_ms",
]
