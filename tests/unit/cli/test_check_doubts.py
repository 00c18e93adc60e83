"""`rainbow check` names what could not be read and the locks whose fate nobody can prove."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from bridge.chains.port import Locked, Scan, SetAside, Spent, Tip
from bridge.commands.check import Level, older_locks, unproven_spends, unread_items
from bridge.engine.ingest import Ingest
from bridge.protocol.types import TxId
from bridge.store.records import ChainStatus
from relayers.evm.plugin import EvmSection
from relayers.fake.ledger import lock_id_of
from tests import instances
from tests.scenario.world import BridgeWorld
from tests.unit.samples import block

CHAIN = instances.ETHEREUM


@pytest.fixture
def world(tmp_path: Path) -> Iterator[BridgeWorld]:
    made = BridgeWorld(tmp_path)
    yield made
    made.close()


def test_an_item_that_could_not_be_read_is_named_with_its_reason(world: BridgeWorld) -> None:
    assert list(unread_items(world.store, CHAIN)) == []
    scan = Scan(
        (),
        (block(1),),
        (),
        Tip(block(1), block(1).time),
        (SetAside(block(1), "5f2a", "version 1 of a transaction"),),
    )
    Ingest(world.store, CHAIN, "1.0").ingest(scan, [], ChainStatus(CHAIN, tip=scan.tip))
    (found,) = unread_items(world.store, CHAIN)
    assert found.level is Level.WARN
    assert "1 items could not be read; the oldest is 5f2a in block 1" in found.detail
    assert "version 1 of a transaction" in found.hint
    assert list(unread_items(world.store, instances.ZION)) == []


def test_a_lock_whose_fate_nobody_can_prove_fails_the_check_and_is_named(world: BridgeWorld) -> None:
    world.swap()
    terms = world.get().source.terms
    lock_id = lock_id_of(terms)
    events = (Locked(block(1), TxId("l"), lock_id, terms), Spent(block(1), TxId("s"), lock_id, "odd"))
    scan = Scan((), (block(1),), events, Tip(block(1), block(1).time))
    Ingest(world.store, CHAIN).ingest(scan, [], ChainStatus(CHAIN, tip=scan.tip))
    (found,) = unproven_spends(world.store, CHAIN)
    assert found.level is Level.FAIL
    assert lock_id in found.detail
    assert "swap1" in found.detail
    assert found.hint
    assert list(unproven_spends(world.store, instances.ZION)) == []


def test_swaps_that_only_the_release_before_can_finish_are_named(world: BridgeWorld) -> None:
    world.swap()
    without = EvmSection(rpc_urls=("http://127.0.0.1:1",), contract="")
    moved = EvmSection(rpc_urls=("http://127.0.0.1:1",), contract="0x" + "12" * 20)
    assert list(older_locks(world.store, CHAIN, moved)) == []
    swap = world.get()
    terms = msgspec.structs.replace(swap.source.terms, contract="")
    older = msgspec.structs.replace(swap, source=msgspec.structs.replace(swap.source, terms=terms))
    with world.store.transaction() as tx:
        stored = tx.swaps.get(swap.id)
        assert stored is not None
        tx.swaps.save(older, stored.version)
    assert list(older_locks(world.store, CHAIN, without)) == []
    (found,) = older_locks(world.store, CHAIN, moved)
    assert found.level is Level.FAIL
    assert "swap1" in found.detail
    assert "the release before this one" in found.hint
    assert list(older_locks(world.store, instances.SOLANA, moved)) == []
