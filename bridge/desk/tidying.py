"""Deleting what the database no longer needs: old quotes, request keys, events of swaps that have ended.

Swaps, their transactions, receipts and secrets are never deleted here. Each round deletes a few hundred rows
in a transaction of its own, so that nothing waits long for it.
"""

from __future__ import annotations

from collections.abc import Callable

from bridge.config.sections import DatabaseConfig
from bridge.store import Store, Transaction

DAY_MS = 86_400_000
REQUEST_KEYS_MS = DAY_MS
"""How long an Idempotency-Key is remembered: longer than any client repeats a request."""
MAX_ROUNDS = 50
"""Transactions in one call, of each kind: after a long pause the rest follows with the next call."""


def tidy(store: Store, config: DatabaseConfig) -> int:
    """Delete what is older than the configuration keeps; returns how many rows. Raises `StoreError`."""
    quotes_ms = int(config.keep_quotes_days * DAY_MS)
    events_ms = int(config.keep_events_days * DAY_MS)
    kinds: tuple[Callable[[Transaction], int], ...] = (
        lambda tx: tx.idempotency.forget_before(tx.now_ms - REQUEST_KEYS_MS),
        lambda tx: tx.quotes.forget_expired(tx.now_ms - quotes_ms),
        lambda tx: tx.notifications.forget_before(tx.now_ms - events_ms),
        lambda tx: tx.events.forget_before(tx.now_ms - events_ms),
    )
    return sum(_in_rounds(store, forget) for forget in kinds)


def _in_rounds(store: Store, forget: Callable[[Transaction], int]) -> int:
    deleted = 0
    for _ in range(MAX_ROUNDS):
        with store.transaction() as tx:
            found = forget(tx)
        deleted += found
        if not found:
            break
    return deleted
