"""Deposits come in by themselves: from a leg that is spent for good through the store and the outbox."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from prometheus_client import CollectorRegistry

from bridge.chains.actions import ClaimAction, CloseAction, LockAction
from bridge.engine.apply import carry_out
from bridge.engine.metrics import Metrics
from bridge.engine.outbox import Outbox, OutboxSettings
from bridge.protocol.types import ChainId, LegState, LockTerms, Swap
from bridge.store import Store
from bridge.store.records import ChainStatus, IntentState
from relayers.stellar import htlc
from relayers.stellar.adapter import StellarPort
from relayers.stellar.traits import TRAITS
from tests import instances
from tests.unit import samples
from tests.unit.stellar.conftest import SECRET, Net

SETTINGS = OutboxSettings(retry_ms=1, max_retry_ms=1, max_close_retry_ms=1)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    opened = Store.open(f"sqlite:///{tmp_path}/bridge.db", secrets_key=bytes(32))
    yield opened
    opened.close()


def outbox(store: Store, port: StellarPort) -> Outbox:
    return Outbox(store, port, "one", SETTINGS, Metrics(CollectorRegistry()))


def spent(terms: LockTerms, port: StellarPort, state: LegState) -> Swap:
    swap = samples.swap()
    leg = msgspec.structs.replace(swap.source, terms=terms, state=state, lock_id=port.lock_id(terms))
    return msgspec.structs.replace(swap, source=leg)


async def a_claimed_lock(net: Net, ours: StellarPort) -> LockTerms:
    theirs = await net.port("theirs")
    terms = net.terms(theirs, ours)
    await net.done(theirs, LockAction(terms))
    await net.done(ours, ClaimAction(terms, SECRET))
    return terms


def plan(store: Store, swap: Swap) -> None:
    with store.transaction() as tx:
        tx.chains.put(ChainStatus(instances.STELLAR, leaves_deposit=TRAITS.leaves_deposit))
        carry_out(tx, swap)


def states(store: Store) -> dict[tuple[ChainId, IntentState], int]:
    with store.reading() as tx:
        return tx.intents.count_by_state()


async def test_the_deposit_of_a_claimed_lock_comes_in_once_its_gate_can_be_closed(
    net: Net, ours: StellarPort, store: Store
) -> None:
    terms = await a_claimed_lock(net, ours)
    plan(store, spent(terms, ours, LegState.CLAIM_SEEN))
    assert states(store) == {}, "not before the claim is final"
    for _ in range(2):
        plan(store, spent(terms, ours, LegState.CLAIM_FINAL))
    box = outbox(store, ours)
    assert not await box.work(), "the gate's sequence lies ahead of the ledger"
    for _ in range(htlc.SEQUENCE_LEDGERS):
        await net.node.close()
    before = await ours.balance(ours.account, terms.asset)
    assert await box.work()
    await box.release()
    for _ in range(4):
        await net.node.close()
        await outbox(store, ours).work()
    assert await ours.balance(ours.account, terms.asset) == before + htlc.deposit(terms) - 200
    assert states(store) == {(instances.STELLAR, IntentState.FINAL): 1}


async def test_a_gate_that_somebody_else_has_closed_ends_the_matter(
    net: Net, ours: StellarPort, store: Store
) -> None:
    terms = await a_claimed_lock(net, ours)
    for _ in range(htlc.SEQUENCE_LEDGERS):
        await net.node.close()
    await net.done(ours, CloseAction(terms))
    plan(store, spent(terms, ours, LegState.CLAIM_FINAL))
    assert await outbox(store, ours).work()
    assert states(store) == {(instances.STELLAR, IntentState.FINAL): 1}
