"""What the outbox gets to see: claims first, and what waits for finality takes nobody's place."""

from __future__ import annotations

from nacl.secret import SecretBox

from bridge.protocol.types import LegRole, Purpose, SwapId
from bridge.store import Store
from bridge.store.records import CLOCK_SKEW_MS, IntentState, PlannedIntent
from tests import instances

CHAIN = instances.ETHEREUM


def plan(store: Store, subject: str, purpose: Purpose) -> int:
    with store.transaction() as tx:
        tx.intents.plan(PlannedIntent(subject, purpose, CHAIN, LegRole.SOURCE.value, SwapId(subject)))
        found = tx.intents.standing(subject, LegRole.SOURCE.value, purpose)
    assert found is not None
    return found.id


def test_claims_come_first_and_those_that_wait_for_finality_take_no_place(store: Store) -> None:
    locks = [plan(store, f"lock{n}", Purpose.LOCK) for n in range(4)]
    waiting = [plan(store, f"waiting{n}", Purpose.LOCK) for n in range(4)]
    claim = plan(store, "claim", Purpose.CLAIM)
    with store.transaction() as tx:
        for intent_id in waiting:
            tx.intents.move(intent_id, IntentState.INCLUDED)
    with store.reading() as tx:
        due = [intent.id for intent in tx.intents.due(CHAIN, limit=3)]
    assert due == [claim, *locks[:2], *waiting[:3]]


def test_a_lease_from_a_clock_that_was_ahead_is_void_and_its_holder_is_fenced_off(store: Store) -> None:
    with store.transaction() as tx:
        tx.leases.acquire("sender", "old", 15_000 + CLOCK_SKEW_MS + 1)
        taken = tx.leases.acquire("sender", "new", 15_000)
    assert taken is not None
    assert taken.fence == 2
    with store.transaction() as tx:
        assert tx.leases.acquire("sender", "third", 15_000) is None


def test_a_lease_of_a_worker_whose_clock_is_a_little_ahead_stands(store: Store) -> None:
    with store.transaction() as tx:
        tx.leases.acquire("sender", "old", 15_000 + CLOCK_SKEW_MS)
        assert tx.leases.acquire("sender", "new", 15_000) is None


def test_the_canary_tells_another_storage_key(store: Store) -> None:
    with store.reading() as tx:
        assert tx.secrets.opens_canary() is None
    with store.transaction() as tx:
        assert tx.secrets.plant_canary()
    with store.reading() as tx:
        assert tx.secrets.opens_canary() is True
        assert tx.secrets.unreadable() == []

    right, store._box = store._box, SecretBox(b"\x09" * 32)
    with store.transaction() as tx:
        assert tx.secrets.opens_canary() is False
        assert not tx.secrets.plant_canary(), "it is not sealed again with a foreign key"
        assert len(tx.secrets.unreadable()) == 1
    store._box = right
    with store.reading() as tx:
        assert tx.secrets.opens_canary() is True
