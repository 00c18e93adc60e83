"""What a transaction keeps back until it must be written."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError

from bridge.protocol.events import Accepted
from bridge.store import Store, Transaction
from bridge.store.records import SwapMeta
from tests.unit.samples import swap


def test_what_the_database_refuses_at_the_end_of_an_attempt_takes_back_all_of_it(any_url: str) -> None:
    """Else half of an event would be stored that counts as not stored."""
    store = Store.open(any_url)
    with store.transaction() as tx:
        tx.swaps.add(swap(0), SwapMeta())

    def refused(_: list[dict[str, Any]]) -> None:
        tx._connection.execute(text("INSERT INTO swaps (id) VALUES ('half a swap')"))

    def half(tx: Transaction) -> None:
        with tx.attempt():
            tx.events.append(swap(0), Accepted())
            tx.swaps.by_hashlock(bytes(32))  # a statement: what waits is written before it
            tx._buffer.add(refused, {})

    with store.transaction() as tx:
        with pytest.raises(IntegrityError):
            half(tx)
        assert not tx.is_broken
        tx.events.append(swap(0), Accepted())
    with store.reading() as tx:
        assert [event.swap_seq for event in tx.events.after(0)] == [1], "the first one was taken back"
    store.close()
