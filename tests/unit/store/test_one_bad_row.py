"""A row that cannot be read is passed over where rows are independent: the rest is read, also behind it."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import text

from bridge.chains.port import SetAside
from bridge.engine.apply import apply_events
from bridge.protocol.events import Accepted
from bridge.protocol.types import SwapId, SwapState
from bridge.store import Store
from bridge.store.records import ChainStatus, SwapMeta
from tests import instances
from tests.unit.samples import block, swap

CHAIN = instances.ZION


def spoil(store: Store, statement: str, **values: Any) -> None:
    with store.transaction() as tx:
        tx._connection.execute(text(statement), values)


def with_events(store: Store, count: int) -> list[int]:
    with store.transaction() as tx:
        for number in range(count):
            tx.swaps.add(swap(number), SwapMeta())
            apply_events(tx, SwapId(f"swap{number}"), (Accepted(),))
    with store.reading() as tx:
        return [event.seq for event in tx.events.after(0)]


@pytest.mark.parametrize("bad", [0, 1, 3])
def test_the_event_log_is_followed_past_an_event_that_cannot_be_read(store: Store, bad: int) -> None:
    seqs = with_events(store, 4)
    spoil(store, "UPDATE swap_events SET state = 'of_the_next_version' WHERE seq = :seq", seq=seqs[bad])
    seen: list[int] = []
    after = 0
    for _ in range(10):
        with store.reading() as tx:
            page = tx.events.page(after, 1)
        seen += [event.seq for event in page.events]
        after = page.seq
        if page.is_last:
            break
    assert seen == [seq for seq in seqs if seq != seqs[bad]]
    assert after == seqs[-1]


def test_a_status_that_cannot_be_read_is_none_until_it_is_written_again(store: Store) -> None:
    with store.transaction() as tx:
        tx.chains.put(ChainStatus(CHAIN))
        tx.chains.put(ChainStatus(instances.ETHEREUM))
    spoil(store, "UPDATE chain_status SET body = '[]' WHERE chain = :chain", chain=CHAIN)
    with store.transaction() as tx:
        assert tx.chains.get(CHAIN) is None
        assert list(tx.chains.all()) == [instances.ETHEREUM]
        tx.chains.put(ChainStatus(CHAIN))
    with store.reading() as tx:
        assert set(tx.chains.all()) == {CHAIN, instances.ETHEREUM}


def test_an_item_and_a_status_change_that_cannot_be_read_do_not_hide_the_others(store: Store) -> None:
    with_events(store, 3)
    with store.transaction() as tx:
        for number in (1, 2):
            tx.set_aside.add(CHAIN, SetAside(block(number), f"item{number}", "odd"), "1.0")
        for number in range(3):
            tx.notifications.add(SwapId(f"swap{number}"), SwapState.AWAIT_LOCK)
        changes = tx.notifications.after(0)
        tx.audit.append("ops", "pause", CHAIN)
        tx.audit.append("ops", "resume", CHAIN)
    assert len(changes) == 3
    spoil(store, "UPDATE set_aside SET lock_ids = '{' WHERE item = 'item1'")
    spoil(store, "UPDATE notifications SET state = 'odd' WHERE seq = :seq", seq=changes[1].seq)
    with store.reading() as tx:
        assert [item.item for item in tx.set_aside.open(CHAIN)] == ["item2"]
        assert [change.seq for change in tx.notifications.after(0)] == [changes[0].seq, changes[2].seq]
        assert [entry.verb for entry in tx.audit.before()] == ["resume", "pause"]
