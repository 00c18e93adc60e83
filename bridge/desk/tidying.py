"""Deleting what the database no longer needs: old quotes, request keys, events of swaps that have ended.

Swaps, their transactions, receipts and secrets are never deleted here. What is old is looked for in a reading
transaction, which delays no writer; each few hundred rows are deleted in a transaction of their own.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

from bridge.config.sections import DatabaseConfig
from bridge.store import Store, Transaction

DAY_MS = 86_400_000
REQUEST_KEYS_MS = DAY_MS
"""How long an Idempotency-Key is remembered: longer than any client repeats a request."""
ROWS = 500
"""Rows deleted in one transaction."""
MAX_ROUNDS = 50
"""Transactions in one call, of each kind: after a long pause the rest follows with the next call."""

Id = TypeVar("Id")


def tidy(store: Store, config: DatabaseConfig) -> int:
    """Delete what is older than the configuration keeps; returns how many rows. Raises `StoreError`."""
    now_ms = store.now_ms()
    keys_ms = now_ms - REQUEST_KEYS_MS
    quotes_ms = now_ms - int(config.keep_quotes_days * DAY_MS)
    events_ms = now_ms - int(config.keep_events_days * DAY_MS)
    deleted = 0
    with store.reading() as tx:
        has_keys = tx.idempotency.has_before(keys_ms)
    if has_keys:
        with store.transaction() as tx:
            deleted += tx.idempotency.forget_before(keys_ms)
    deleted += _in_rounds(
        store,
        lambda tx: tx.quotes.expired_before(quotes_ms, ROWS),
        lambda tx, ids: tx.quotes.forget(ids),
    )
    deleted += _in_rounds(
        store,
        lambda tx: tx.notifications.ended_before(events_ms, ROWS),
        lambda tx, ids: tx.notifications.forget(ids),
    )
    deleted += _in_rounds(
        store,
        lambda tx: tx.events.ended_before(events_ms, ROWS),
        lambda tx, ids: tx.events.forget(ids),
    )
    return deleted


def _in_rounds(
    store: Store,
    find: Callable[[Transaction], Sequence[Id]],
    forget: Callable[[Transaction, Sequence[Id]], None],
) -> int:
    deleted = 0
    for _ in range(MAX_ROUNDS):
        with store.reading() as tx:
            old = find(tx)
        if not old:
            break
        with store.transaction() as tx:
            forget(tx, old)
        deleted += len(old)
    return deleted
