"""Scans full of strangers' events, of events that cannot be stored, and of items that nobody could read."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from sqlalchemy import event as sql
from sqlalchemy.exc import OperationalError

from bridge.chains.port import (
    Claimed,
    HtlcEvent,
    Locked,
    Refunded,
    Revealed,
    Scan,
    SetAside,
    Spent,
    Tip,
)
from bridge.engine.apply import MAX_TRIES
from bridge.engine.ingest import MAX_ITEM_CHARACTERS, Ingest, IngestResult
from bridge.protocol.types import BlockRef, LegState, LockId, Preimage, TxId, UnixSeconds
from bridge.store import ConflictError, StoreUnavailableError
from bridge.store.records import ChainStatus, ObservedKind
from relayers.fake.ledger import lock_id_of
from tests import instances
from tests.scenario.world import BridgeWorld
from tests.unit.samples import block

CHAIN = instances.ETHEREUM


@pytest.fixture
def world(tmp_path: Path) -> Iterator[BridgeWorld]:
    made = BridgeWorld(tmp_path)
    made.swap()
    yield made
    made.close()


def ingest(
    world: BridgeWorld,
    height: int,
    *events: HtlcEvent,
    unread: tuple[SetAside, ...] = (),
    orphaned: tuple[BlockRef, ...] = (),
) -> IngestResult:
    at = block(height)
    ring = [block(h) for h in range(1, height)]
    scan = Scan(orphaned, (at,), events, Tip(at, at.time), unread)
    return Ingest(world.store, CHAIN, "1.0").ingest(scan, ring, ChainStatus(CHAIN, tip=scan.tip))


def locked(world: BridgeWorld) -> Locked:
    terms = world.get().source.terms
    return Locked(block(1), TxId("lock"), lock_id_of(terms), terms)


def stranger(number: int) -> Revealed:
    secret = Preimage(hashlib.sha256(b"%d" % number).digest())
    return Revealed(block(2), TxId(f"{number}"), secret)


def test_thousands_of_strangers_preimages_cost_a_handful_of_queries_and_hide_nothing(
    world: BridgeWorld,
) -> None:
    ingest(world, 1, locked(world))
    asked = 0

    def count(*_: Any) -> None:
        nonlocal asked
        asked += 1

    odd = [Preimage(b""), Preimage(b"\x00" * 64), Preimage(b"\xff")]
    events: list[HtlcEvent] = [Revealed(block(2), TxId("odd"), preimage) for preimage in odd]
    events += [stranger(number) for number in range(5000)]
    events.insert(2500, Revealed(block(2), TxId("ours"), world.secrets["swap1"]))
    sql.listen(world.store._engine, "before_cursor_execute", count)
    assert ingest(world, 2, *events).news == 1
    sql.remove(world.store._engine, "before_cursor_execute", count)
    assert world.get().secret_public
    assert asked < 60, "one for each part of 900, and those of the one event that is ours"


def test_an_event_of_ours_that_cannot_be_stored_is_set_aside_and_the_others_go_on(
    world: BridgeWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = Ingest._ingest_event

    def ingest_event(self: Ingest, tx: Any, event: HtlcEvent, refunded: LockId) -> bool:
        changed = broken(self, tx, event, refunded)
        if event.tx_id == "bad":
            raise KeyError("half of it was stored by now")
        return changed

    monkeypatch.setattr(Ingest, "_ingest_event", ingest_event)
    secret = world.secrets["swap1"]
    bad = Revealed(block(1), TxId("bad"), secret)
    result = ingest(world, 1, bad, locked(world))
    assert (result.news, result.doubts) == (1, 1)
    assert world.get().source.state is LegState.SEEN
    assert not world.get().secret_public, "nothing of the bad one stays"
    with world.store.reading() as tx:
        (item,) = tx.set_aside.open(CHAIN)
    assert (item.item, item.reason) == ("bad", "it could not be stored (KeyError)")


@pytest.mark.parametrize(
    ("sqlstate", "error"),
    [("40P01", ConflictError), ("57P01", StoreUnavailableError)],
    ids=["deadlock", "shutdown"],
)
def test_what_the_database_refuses_now_is_no_fault_of_the_event(
    world: BridgeWorld, monkeypatch: pytest.MonkeyPatch, sqlstate: str, error: type[Exception]
) -> None:
    """An event that was set aside because of a deadlock would never have been read again."""
    sound, refusals = Ingest._ingest_event, MAX_TRIES

    def ingest_event(self: Ingest, tx: Any, event: HtlcEvent, refunded: LockId) -> bool:
        nonlocal refusals
        if refusals:
            refusals -= 1
            cause = psycopg.OperationalError("not now")
            cause.sqlstate = sqlstate
            raise OperationalError("UPDATE", {}, cause)
        return sound(self, tx, event, refunded)

    monkeypatch.setattr(Ingest, "_ingest_event", ingest_event)
    with pytest.raises(error):
        ingest(world, 1, locked(world))
    with world.store.reading() as tx:
        assert tx.set_aside.open(CHAIN) == []
        assert tx.blocks.last(CHAIN) is None, "the block does not count as read"
    refusals = 0
    assert ingest(world, 1, locked(world)).news == 1
    assert world.get().source.state is LegState.SEEN


def test_items_are_kept_short_counted_once_and_noted_with_the_version(world: BridgeWorld) -> None:
    long = SetAside(block(1), "i" * 999, "r" * 999, tuple(LockId(f"{n}") for n in range(100)))
    assert ingest(world, 1, unread=(long, long)).doubts == 1
    with world.store.reading() as tx:
        (item,) = tx.set_aside.open(CHAIN)
        status = tx.chains.get(CHAIN)
        assert tx.set_aside.open(CHAIN, not_by="1.0") == []
        assert len(tx.set_aside.open(CHAIN, not_by="2.0")) == 1
        assert tx.set_aside.count(instances.ZION) == 0
    assert (len(item.item), len(item.reason)) == (MAX_ITEM_CHARACTERS, MAX_ITEM_CHARACTERS)
    assert item.lock_ids == (), "it names so many locks that any is suspected"
    assert status is not None
    assert status.set_aside == 1


def kinds(world: BridgeWorld) -> list[ObservedKind]:
    with world.store.reading() as tx:
        return [seen.kind for seen in tx.observations.of_swap(world.get().id)]


def test_a_claim_with_a_preimage_that_opens_nothing_is_a_spend_without_proof(world: BridgeWorld) -> None:
    lock = locked(world)
    ingest(world, 1, lock, Claimed(block(1), TxId("c"), lock.lock_id, Preimage(b"wrong")))
    assert world.get().source.state is LegState.SPENT_UNKNOWN
    assert kinds(world) == [ObservedKind.LOCKED, ObservedKind.SPENT]


def test_a_refund_before_the_deadline_is_kept_as_a_spend_without_proof(world: BridgeWorld) -> None:
    lock = locked(world)
    ingest(world, 1, lock, Refunded(block(1), TxId("r"), lock.lock_id))
    assert kinds(world) == [ObservedKind.LOCKED, ObservedKind.SPENT]
    assert world.get().source.state is LegState.SPENT_UNKNOWN


def test_a_proof_in_the_same_scan_takes_the_place_of_the_doubt(world: BridgeWorld) -> None:
    lock, secret = locked(world), world.secrets["swap1"]
    ingest(
        world,
        1,
        lock,
        Spent(block(1), TxId("c"), lock.lock_id, "odd"),
        Claimed(block(1), TxId("c"), lock.lock_id, secret),
    )
    assert world.get().source.state is LegState.CLAIM_SEEN


def test_a_spend_without_proof_leaves_with_its_block(world: BridgeWorld) -> None:
    lock = locked(world)
    ingest(world, 1, lock)
    ingest(world, 2, Spent(block(2), TxId("s"), lock.lock_id, "odd"))
    assert world.get().source.state is LegState.SPENT_UNKNOWN
    other = BlockRef(block(2).height, "other", block(1).id, UnixSeconds(block(2).time))
    scan = Scan((block(2),), (other,), (), Tip(other, other.time))
    ring = [block(1), block(2)]
    Ingest(world.store, CHAIN).ingest(scan, ring, ChainStatus(CHAIN, tip=scan.tip))
    assert world.get().source.state is LegState.SEEN


def test_strangers_spends_of_strangers_locks_leave_no_trace(world: BridgeWorld) -> None:
    result = ingest(
        world,
        1,
        Spent(block(1), TxId("s"), LockId("theirs"), "odd"),
        Refunded(block(1), TxId("r"), LockId("theirs")),
    )
    assert (result.news, result.doubts, kinds(world)) == (0, 0, [])
