"""A sweep hears of a swap when its time has come, and looks at the others in turn."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from bridge.chains.port import Tip
from bridge.engine.reconcile import IN_TURN, Reconcile
from bridge.protocol.timelocks import latest_counterlock
from bridge.protocol.types import SwapId, UnixSeconds
from bridge.store import Store, Transaction
from bridge.store.records import IntentState, SwapMeta
from scripts.bench_sweep import fill, numbered, waiting_swap
from tests import instances

MANY = 3 * IN_TURN


@pytest.fixture
def store(tmp_path: Path) -> Store:
    opened = Store.open(f"sqlite:///{tmp_path}/sweeps.db", secrets_key=bytes(32))
    fill(opened, waiting_swap(), MANY)
    return opened


def move_on(store: Store, time: int) -> None:
    with store.transaction() as tx:
        for chain in (instances.ETHEREUM, instances.ZION):
            status = tx.chains.get(chain)
            assert status is not None
            assert status.tip is not None
            tip = Tip(status.tip.block, UnixSeconds(time))
            tx.chains.put(msgspec.structs.replace(status, tip=tip))


def due(store: Store, time: int) -> int:
    with store.reading() as tx:
        return len(tx.swaps.with_alarm(instances.ZION, UnixSeconds(time)))


def test_a_swap_is_due_from_its_next_date_on(store: Store) -> None:
    swap = waiting_swap()
    first = latest_counterlock(swap.policy, swap.destination.terms.deadline) + 1
    Reconcile(store, instances.ZION).sweep()
    assert due(store, first - 1) == 0
    assert due(store, first) == MANY


def test_the_time_that_comes_is_acted_on_by_one_sweep(store: Store) -> None:
    deadline = waiting_swap().destination.terms.deadline
    reconcile = Reconcile(store, instances.ZION)
    assert reconcile.sweep() == 0
    move_on(store, deadline)
    assert reconcile.sweep() == MANY
    assert due(store, deadline) == 0
    with store.reading() as tx:
        assert len(tx.intents.live(instances.ZION)) == MANY


def test_what_was_missed_is_found_in_turn(store: Store) -> None:
    """An intent that ended though it is still required: no time of any chain tells of it."""
    reconcile = Reconcile(store, instances.ZION)
    move_on(store, waiting_swap().destination.terms.deadline)
    reconcile.sweep()
    last = numbered(waiting_swap(), MANY - 1).id
    with store.transaction() as tx:
        (intent,) = tx.intents.of_swap(SwapId(last))
        tx.intents.move(intent.id, IntentState.FINAL)
    for _ in range(MANY // IN_TURN + 2):
        reconcile.sweep()
    with store.reading() as tx:
        assert tx.intents.of_swap(SwapId(last))[0].state is IntentState.INCLUDED


def test_the_alarms_are_found_by_their_indexes(store: Store) -> None:
    with store.reading() as tx:
        plans = _plans(tx)
    assert any("swaps_source_alarm" in plan for plan in plans)
    assert any("swaps_destination_alarm" in plan for plan in plans)
    assert any("swaps_open_ids" in plan for plan in plans)
    assert not any(plan.startswith("SCAN") for plan in plans)


def _plans(tx: Transaction) -> list[str]:
    """Ask SQLite how it runs the statements of a sweep."""
    swaps, asked = tx.swaps, list[str]()
    real = swaps._all

    def explained(statement: object) -> object:
        text = str(statement.compile(tx._connection, compile_kwargs={"literal_binds": True}))  # type: ignore[attr-defined]
        asked.extend(row[3] for row in tx._connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {text}"))
        return real(statement)

    swaps._all = explained  # type: ignore[assignment,method-assign]
    swaps.with_alarm(instances.ZION, UnixSeconds(1))
    swaps.open_after(SwapId(""), 5)
    return asked


def test_a_new_swap_hears_the_time_at_once(tmp_path: Path) -> None:
    store = Store.open(f"sqlite:///{tmp_path}/new.db", secrets_key=bytes(32))
    fill(store, waiting_swap(), 1)
    swap = waiting_swap()
    unheard = msgspec.structs.replace(swap, id=SwapId("new"), hashlock=b"n" * 32, times={}, heights={})
    with store.transaction() as tx:
        tx.swaps.add(unheard, SwapMeta())
    assert due(store, 1) == 1
