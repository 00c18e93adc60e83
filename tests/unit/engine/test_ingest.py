"""Scans become events once: a repeated, overlapping or overtaken scan stores nothing twice."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from bridge.chains.port import Claimed, HtlcEvent, Locked, Revealed, Scan, Tip
from bridge.engine.apply import apply_events
from bridge.engine.ingest import Ingest, IngestResult
from bridge.protocol.types import BlockHeight, BlockRef, LegState, LockId, SwapId, TxId
from bridge.store import NotFoundError, Store
from bridge.store.records import ChainStatus, IntentState, SwapMeta
from relayers.fake.ledger import lock_id_of
from tests import instances
from tests.scenario.world import BridgeWorld
from tests.unit.samples import block, preimage

CHAIN = instances.ETHEREUM


@pytest.fixture
def world(tmp_path: Path) -> Iterator[BridgeWorld]:
    made = BridgeWorld(tmp_path)
    yield made
    made.close()


def _scan(
    blocks: list[BlockRef], events: tuple[HtlcEvent, ...] = (), orphaned: tuple[BlockRef, ...] = ()
) -> Scan:
    return Scan(orphaned, tuple(blocks), events, Tip(blocks[-1], blocks[-1].time))


def _locked(world: BridgeWorld, at: BlockRef) -> Locked:
    terms = world.get().source.terms
    return Locked(at, TxId("tx"), lock_id_of(terms), terms)


def _events(store: Store) -> list[str]:
    with store.reading() as tx:
        return [event.kind for event in tx.events.after(0)]


def _ingest(world: BridgeWorld, scan: Scan, recent_blocks: list[BlockRef]) -> IngestResult:
    return Ingest(world.store, CHAIN).ingest(scan, recent_blocks, ChainStatus(CHAIN, tip=scan.tip))


def test_a_scan_that_another_worker_has_taken_in_already_is_dropped(world: BridgeWorld) -> None:
    world.swap()
    scan = _scan([block(1), block(2)], (_locked(world, block(2)),))
    assert _ingest(world, scan, []).news == 1
    again = _ingest(world, scan, [])
    assert again.stale
    assert _events(world.store) == ["LockSeen"]


def test_a_lock_is_seen_orphaned_and_seen_again_in_order(world: BridgeWorld) -> None:
    world.swap()
    _ingest(world, _scan([block(1), block(2)], (_locked(world, block(2)),)), [])
    other = BlockRef(BlockHeight(2), "b2", "a1", block(2).time)
    later = BlockRef(BlockHeight(3), "b3", "b2", block(3).time)
    orphaning = _scan([other, later], (_locked(world, later),), orphaned=(block(2),))
    taken = _ingest(world, orphaning, [block(1), block(2)])
    assert (taken.orphaned, taken.caught_up) == (1, True)
    assert _events(world.store) == ["LockSeen", "LockOrphaned", "LockSeen"]
    assert world.get().source.lock_block == later


def test_after_a_reorg_to_a_shorter_branch_nothing_of_the_old_one_is_left_in_the_ring(
    world: BridgeWorld,
) -> None:
    _ingest(world, _scan([block(1), block(2), block(3)]), [])
    other = BlockRef(BlockHeight(2), "b2", "a1", block(2).time)
    _ingest(world, _scan([other], orphaned=(block(3), block(2))), [block(1), block(2), block(3)])
    assert Ingest(world.store, CHAIN).recent_blocks() == [block(1), other]


def test_a_lock_is_final_only_at_its_depth_and_only_when_confirmed(world: BridgeWorld) -> None:
    world.swap()
    ingest = Ingest(world.store, CHAIN)
    _ingest(world, _scan([block(1), block(2)], (_locked(world, block(1)),)), [])
    assert ingest.finality_candidates() == []
    _ingest(world, _scan([block(3)]), [block(1), block(2)])
    (candidate,) = ingest.finality_candidates()
    assert world.get().source.state is LegState.SEEN
    assert ingest.confirm([candidate]) == 1
    assert world.get().source.state is LegState.FINAL
    assert ingest.confirm([candidate]) == 0
    assert ingest.finality_candidates() == []


def test_a_strange_claim_that_shows_our_secret_is_heard_and_the_secret_kept(world: BridgeWorld) -> None:
    world.swap()
    secret = world.secrets["swap1"]
    _ingest(
        world, _scan([block(1)], (Claimed(block(1), TxId("tx"), LockId("a stranger's lock"), secret),)), []
    )
    assert world.get().secret_known
    with world.store.reading() as tx:
        assert tx.secrets.get(secret.hashlock()) == secret


def test_a_claim_that_failed_still_gives_our_secret_away(world: BridgeWorld) -> None:
    world.swap()
    secret = world.secrets["swap1"]
    assert _ingest(world, _scan([block(1)], (Revealed(block(1), TxId("tx"), secret),)), []).news == 1
    assert world.get().secret_public
    with world.store.reading() as tx:
        assert tx.secrets.get(secret.hashlock()) == secret
    assert (
        _ingest(world, _scan([block(2)], (Revealed(block(2), TxId("tx"), preimage(9)),)), [block(1)]).news
        == 0
    )


def test_other_peoples_locks_leave_no_trace(world: BridgeWorld) -> None:
    world.swap()
    _ingest(world, _scan([block(1)], (Claimed(block(1), TxId("tx"), LockId("lock"), preimage(77)),)), [])
    with world.store.reading() as tx:
        assert tx.observations.of_swap(SwapId("swap1")) == []
        assert not tx.secrets.known(preimage(77).hashlock())
    assert _events(world.store) == []


def test_events_of_a_swap_nobody_knows_are_refused(world: BridgeWorld) -> None:
    with world.store.reading() as tx, pytest.raises(NotFoundError):
        apply_events(tx, SwapId("nobody"))


def test_applying_the_same_events_twice_stores_nothing_new(world: BridgeWorld) -> None:
    world.swap()
    _ingest(world, _scan([block(1), block(2), block(3)], (_locked(world, block(1)),)), [])
    ingest = Ingest(world.store, CHAIN)
    ingest.confirm(ingest.finality_candidates())
    with world.store.transaction() as tx:
        tx.chains.put(ChainStatus(instances.ZION, tip=Tip(block(3), block(3).time), healthy=True))
        first = apply_events(tx, SwapId("swap1"))
        second = apply_events(tx, SwapId("swap1"))
        intents = tx.intents.of_swap(SwapId("swap1"))
    assert first.changed
    assert not second.changed
    assert [intent.state for intent in intents] == [IntentState.PLANNED]
    assert world.get().source.state is LegState.FINAL
    with world.store.reading() as tx:
        stored = tx.swaps.get(SwapId("swap1"))
    assert stored is not None
    assert stored.meta == SwapMeta(quote_id="quote1")
