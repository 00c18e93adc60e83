"""How a relayer finds out that its database is older than its chain, and what it takes for no such sign."""

from __future__ import annotations

import hashlib

import msgspec

from bridge.protocol.types import LegState, LockTerms, SwapId, SwapState
from bridge.store.repositories.recovery import MAX_UNPROVED, RestorationState
from relayers.fake import FakeWallet
from tests import instances
from tests.scenario.restoring import accept, back_up, book_of, put_back
from tests.scenario.world import BridgeWorld

SIGN = f"pause:{instances.ETHEREUM}"


def _paused(world: BridgeWorld) -> set[str]:
    with world.store.reading() as tx:
        return {switch.name for switch in tx.controls.all()}


def _other(terms: LockTerms, number: int) -> LockTerms:
    return msgspec.structs.replace(terms, amount=1, hashlock=hashlib.sha256(b"%d" % number).digest())


async def test_transactions_that_the_database_did_not_sign_pause_until_an_operator_resumes(
    world: BridgeWorld,
) -> None:
    """Of the lost swap only our claim of the source is on this chain: no lock of ours."""
    await world.steps(3)
    backup = back_up(world)
    world.swap()
    accept(world, "swap1")
    await world.until(world.is_over)
    put_back(world, backup)
    await world.steps(2)
    assert SIGN in _paused(world)
    with world.store.reading() as tx:
        mark = tx.accounts.mark(instances.ETHEREUM, world.ports[instances.ETHEREUM].account)
    assert mark is not None
    assert (mark.sequence, mark.alarmed) == (0, 1)
    with world.store.transaction() as tx:
        tx.controls.clear(SIGN)
    await world.steps(20)
    assert SIGN not in _paused(world), "explained once is explained"
    with world.store.reading() as tx:
        mark = tx.accounts.mark(instances.ETHEREUM, world.ports[instances.ETHEREUM].account)
    assert mark is not None
    assert (mark.sequence, mark.alarmed) == (1, None)
    book_of(world).compare()
    await world.until(lambda: _is_restored(world), 20)


def _is_restored(world: BridgeWorld) -> bool:
    with world.store.reading() as tx:
        stored = tx.swaps.get(SwapId("swap1"))
    return stored is not None and stored.swap.state is SwapState.COMPLETED


async def test_an_account_that_was_used_before_is_taken_as_it_is(world: BridgeWorld) -> None:
    world.swap()
    terms = world.get().source.terms
    wallet = FakeWallet(world.chains[instances.ETHEREUM], "bridge")
    ours = msgspec.structs.replace(_other(terms, 1), sender=terms.recipient, recipient=terms.sender)
    for fake in world.chains.values():
        fake.mine(1)
    wallet.lock(ours)
    world.chains[instances.ETHEREUM].mine(80)  # below what a first scan reads
    await world.until(world.is_over)
    assert _paused(world) == set()


async def test_ordinary_swaps_both_ways_look_like_no_older_database(world: BridgeWorld) -> None:
    for number in range(1, 5):
        source = instances.ETHEREUM if number % 2 else instances.ZION
        world.swap(number, source, claims=number < 3)
    await world.until(lambda: all(world.is_over(f"swap{number}") for number in range(1, 5)), 200)
    await world.steps(10)
    assert _paused(world) == set()
    with world.store.reading() as tx:
        assert tx.unknown_locks.unresolved() == []


async def test_where_anybody_can_name_a_sender_a_named_lock_is_kept_and_pauses_nothing(
    world: BridgeWorld,
) -> None:
    port = world.ports[instances.ETHEREUM]
    port.traits = msgspec.structs.replace(port.traits, locks_prove_sender=False)
    world.swap(locks=False)
    terms = world.get().source.terms
    await world.steps(2)
    wallet = FakeWallet(world.chains[instances.ETHEREUM], "bridge")
    for number in range(MAX_UNPROVED + 20):
        wallet.lock(msgspec.structs.replace(_other(terms, number), sender=terms.recipient))
        if number % 20 == 0:
            world.mine()
            await world.workers[instances.ETHEREUM].run_pass()
    world.mine()
    await world.steps(2)
    with world.store.reading() as tx:
        unknown = tx.unknown_locks.unresolved(instances.ETHEREUM)
        noted = [entry for entry in tx.audit.before() if "unknown: the database" in entry.detail]
    assert len(unknown) == MAX_UNPROVED
    assert not any(lock.proved for lock in unknown)
    assert noted == []


async def test_a_reorg_while_a_chain_is_read_again_begins_it_anew(world: BridgeWorld) -> None:
    await world.steps(3)
    backup = back_up(world)
    world.swap()
    accept(world, "swap1")
    await world.until(lambda: world.get().destination.state is LegState.FINAL)
    put_back(world, backup)
    book_of(world).compare()
    world.mine()
    # One chain is read; a reorg takes its newest blocks away before the other has its turn.
    await world.workers[instances.ZION].run_pass()
    with world.store.reading() as tx:
        restoration = tx.restorations.get(SwapId("swap1"))
    assert restoration is not None
    assert restoration.state is RestorationState.READING
    world.chains[instances.ZION].reorg(3)
    await world.until(lambda: _knows(world) and world.is_over(), 200)
    assert world.state() in {SwapState.COMPLETED, SwapState.REFUNDED}
    assert world.locks_sent() <= 1


def _knows(world: BridgeWorld) -> bool:
    with world.store.reading() as tx:
        return tx.swaps.get(SwapId("swap1")) is not None
