"""A database older than its chains: nothing is lost, nothing is done twice, and somebody is told."""

from __future__ import annotations

import shutil
from collections.abc import Callable

import msgspec
import pytest

from bridge.engine.recovery import _may_have_locked, _rebuilt
from bridge.protocol.acceptance import read_acceptance
from bridge.protocol.types import (
    BlockHeight,
    LegState,
    LockId,
    Preimage,
    SwapId,
    SwapState,
    TxId,
    UnixSeconds,
)
from bridge.store.repositories.recovery import RestorationState, RestoredEvent
from relayers.fake import FakeWallet
from relayers.fake.ledger import LedgerLockState
from tests import instances
from tests.scenario.restoring import accept, back_up, book_of, put_back
from tests.scenario.world import ALL_JOBS, BridgeWorld, Fuse, with_amount

PAUSES = {f"pause:{instances.ETHEREUM}", f"pause:{instances.ZION}"}


def _knows(world: BridgeWorld, swap_id: str = "swap1") -> bool:
    with world.store.reading() as tx:
        return tx.swaps.get(SwapId(swap_id)) is not None


def _paused(world: BridgeWorld) -> set[str]:
    with world.store.reading() as tx:
        return {switch.name for switch in tx.controls.all()}


async def _both_over(world: BridgeWorld) -> None:
    await world.until(lambda: _knows(world) and world.is_over(), 200)


MOMENTS: dict[str, Callable[[BridgeWorld], bool]] = {
    "nothing is locked": lambda _: True,
    "the source is locked": lambda world: world.get().source.state is LegState.SEEN,
    "the source is final": lambda world: world.get().source.state is LegState.FINAL,
    "the destination is locked": lambda world: world.get().destination.state is LegState.SEEN,
    "the destination is final": lambda world: world.get().destination.state is LegState.FINAL,
    "the destination is claimed": lambda world: world.get().destination.state is LegState.CLAIM_SEEN,
    "the claim is final": lambda world: world.get().destination.state is LegState.CLAIM_FINAL,
    "the source is claimed": lambda world: world.get().source.state is LegState.CLAIM_SEEN,
    "all is over": lambda world: world.is_over(),
}


@pytest.mark.parametrize("moment", MOMENTS)
async def test_a_swap_that_the_backup_does_not_have_comes_back_from_the_journal(
    world: BridgeWorld, moment: str
) -> None:
    await world.steps(3)
    backup = back_up(world)
    world.swap()
    accept(world, "swap1")
    await world.until(lambda: MOMENTS[moment](world))
    put_back(world, backup)
    assert book_of(world).compare() == 1
    assert _paused(world) == PAUSES, "nobody sells swaps on a database that lost some"
    await _both_over(world)
    # Where the lost database may have sent a lock that is on no chain, the user takes the source back.
    unsure = moment == "the source is locked"
    assert world.state() is (SwapState.REFUNDED if unsure else SwapState.COMPLETED)
    assert world.locks_sent() == (0 if unsure else 1)
    assert book_of(world).compare() == 0


async def test_our_lock_that_no_swap_knows_pauses_its_chain_and_is_kept(world: BridgeWorld) -> None:
    await world.steps(3)
    backup = back_up(world)
    world.swap()
    book = accept(world, "swap1", journal=False)
    receipt = book.receipt(SwapId("swap1"))
    await world.until(lambda: world.get().destination.state is LegState.SEEN)
    put_back(world, backup)
    await world.steps(2)
    assert not _knows(world)
    assert _paused(world) == {f"pause:{instances.ZION}"}
    with world.store.reading() as tx:
        (unknown,) = tx.unknown_locks.unresolved()
        audited = [entry.verb for entry in tx.audit.before()]
    assert (unknown.chain, unknown.terms, unknown.proved) == (
        instances.ZION,
        world.users["swap1"].swap.destination.terms,
        True,
    )
    assert audited == ["pause"]
    # Its user has kept the receipt.
    assert receipt is not None
    handed_in = book_of(world, journal=False)
    assert handed_in.hand_in(receipt.text, receipt.signature).state is RestorationState.READING
    assert handed_in.hand_in(receipt.text, receipt.signature).state is RestorationState.READING
    await _both_over(world)
    assert world.state() is SwapState.COMPLETED
    with world.store.reading() as tx:
        assert tx.unknown_locks.unresolved() == []
    assert handed_in.hand_in(receipt.text, receipt.signature).state is None


async def test_an_operator_who_resumed_is_not_paused_again_by_the_same_lock(world: BridgeWorld) -> None:
    backup = back_up(world)
    world.swap(claims=False)
    accept(world, "swap1")
    await world.until(lambda: world.get().destination.state is LegState.SEEN)
    put_back(world, backup)
    await world.steps(2)
    with world.store.transaction() as tx:
        tx.controls.clear(f"pause:{instances.ZION}")
    for _ in range(3):
        await world.workers[instances.ZION].run_pass(ALL_JOBS)
        world.mine()
    assert _paused(world) == set()
    book_of(world).compare()
    await _both_over(world)
    assert world.state() is SwapState.REFUNDED


async def test_a_stranger_who_locks_to_us_pauses_nothing(world: BridgeWorld) -> None:
    world.swap(locks=False)
    terms = world.get().source.terms
    stranger = with_amount(terms, 1)
    stranger = type(terms)(
        **{
            name: getattr(stranger, name)
            for name in terms.__struct_fields__
            if name not in {"hashlock", "deadline"}
        },
        hashlock=Preimage(b"a stranger's").hashlock(),
        deadline=UnixSeconds(terms.deadline),
    )
    FakeWallet(world.chains[terms.chain], "user").lock(stranger)
    await world.steps(4)
    # They claim it for us, too: anybody can.
    lock_id = next(iter(world.chains[terms.chain].ledger.locks))
    FakeWallet(world.chains[terms.chain], "user").claim(LockId(lock_id), Preimage(b"a stranger's"))
    await world.steps(4)
    assert _paused(world) == set()
    with world.store.reading() as tx:
        assert tx.unknown_locks.unresolved() == []


async def test_a_held_swap_neither_locks_nor_gives_back_until_our_lock_appears(world: BridgeWorld) -> None:
    """The lost database had sent a lock that waits in the mempool."""
    backup = back_up(world)
    world.swap()
    accept(world, "swap1")
    zion = world.chains[instances.ZION]
    await world.until(lambda: world.get().destination.state is LegState.INTENT and bool(zion.mempool))
    waiting = dict(zion.mempool)
    put_back(world, backup)
    book_of(world).compare()
    zion.mempool.clear()
    for _ in range(6):
        world.mine()
        await world.work()
    with world.store.reading() as tx:
        restoration = tx.restorations.get(SwapId("swap1"))
    assert restoration is not None
    assert restoration.state is RestorationState.HELD
    assert not zion.mempool
    assert world.lock_state(world.users["swap1"].swap.source) is LedgerLockState.OPEN
    zion.mempool.update(waiting)
    await _both_over(world)
    assert world.state() is SwapState.COMPLETED
    assert world.locks_sent() == 1


async def test_a_held_swap_ends_when_its_user_has_taken_the_source_back(world: BridgeWorld) -> None:
    backup = back_up(world)
    world.swap()
    accept(world, "swap1")
    zion = world.chains[instances.ZION]
    await world.until(lambda: world.get().destination.state is LegState.INTENT and bool(zion.mempool))
    zion.mempool.clear()
    put_back(world, backup)
    book_of(world).compare()
    await _both_over(world)
    assert world.state() is SwapState.REFUNDED
    assert world.locks_sent() == 0


async def test_a_backup_of_any_moment_of_a_swap_harms_nobody(world: BridgeWorld) -> None:
    """Backups of every fifth block; those of each block are in the long test."""
    await _any_backup(world, claims=True, every=5)


@pytest.mark.long
@pytest.mark.parametrize("claims", [True, False], ids=["claims", "walks away"])
async def test_a_backup_of_each_moment_of_a_swap_harms_nobody(world: BridgeWorld, claims: bool) -> None:
    await _any_backup(world, claims, every=1)


async def _any_backup(world: BridgeWorld, claims: bool, every: int) -> None:
    first = back_up(world, "backup-first.db")
    world.swap(claims=claims)
    accept(world, "swap1")
    moments = [(first, None)]
    number = 0
    while not world.is_over():
        if number % every == 0:
            moments.append((back_up(world, f"backup{number}.db"), None))
        here = world.fork(world.folder / f"fork{number}", Fuse())
        shutil.copy(world.folder / "accepted.journal", here.folder / "accepted.journal")
        for at, (backup, _) in enumerate(moments):
            if number - (at - 1) * every not in {2, 7, 14}:
                continue
            twin = here.fork(here.folder / f"twin{at}", Fuse())
            shutil.copy(world.folder / "accepted.journal", twin.folder / "accepted.journal")
            put_back(twin, backup)
            book_of(twin).compare()
            await _both_over(twin)
            twin.check()
            assert twin.locks_sent() <= 1
            twin.close()
        here.close()
        await world.step()
        number += 1


@pytest.mark.parametrize("moment", ["nothing is locked", "the source is locked", "the source is final"])
async def test_nothing_is_given_back_while_the_destination_was_not_read_up_to_its_tip(
    world: BridgeWorld, moment: str
) -> None:
    """The backup knows the swap, but not that its destination was locked and claimed since. The destination's
    relayer starts late."""
    world.swap()
    await world.until(lambda: MOMENTS[moment](world))
    backup = back_up(world)
    await world.until(lambda: world.get().destination.state is LegState.FINAL)
    swap = world.users["swap1"].swap
    for _ in range(3):  # the whole bridge is down; its user claims
        world.mine()
        world.users["swap1"].act()
    assert world.lock_state(swap.destination) is LedgerLockState.CLAIMED
    while world.chains[instances.ZION].head.time < swap.destination.terms.deadline:
        world.mine()
    put_back(world, backup)
    for _ in range(6):
        world.mine()
        await world.workers[instances.ETHEREUM].run_pass(ALL_JOBS)
    assert world.lock_state(swap.source) is LedgerLockState.OPEN
    await world.until(world.is_over)
    assert world.state() is SwapState.COMPLETED


async def test_a_source_that_was_given_back_since_the_backup_ends_its_swap(world: BridgeWorld) -> None:
    """The backup knows nothing of our consent to give the source back, and the source's relayer comes up
    first: it sees a refund before the deadline that nobody can have agreed to."""
    world.swap(claims=False)
    await world.until(lambda: world.get().destination.state is LegState.FINAL)
    backup = back_up(world)
    await world.until(world.is_over)
    assert world.state() is SwapState.REFUNDED
    put_back(world, backup)
    for _ in range(6):
        world.mine()
        await world.workers[instances.ETHEREUM].run_pass(ALL_JOBS)
    assert world.get().source.state is LegState.SPENT_UNKNOWN
    await world.until(world.is_over)
    assert world.state() is SwapState.REFUNDED
    world.check()


async def test_a_source_whose_spend_nobody_can_prove_is_held_like_one_that_may_have_been_claimed(
    world: BridgeWorld,
) -> None:
    world.swap(locks=False)
    await world.steps(2)
    accept(world, "swap1")
    terms = world.get().source.terms
    with world.store.reading() as tx:
        kept = tx.acceptances.get(SwapId("swap1"))
        assert kept is not None
        acceptance = read_acceptance(kept.body)
        head = world.chains[terms.chain].head
        lock_id = world.ports[terms.chain].lock_id(terms)
        lock = RestoredEvent(1, SwapId("swap1"), terms.chain, "Locked", lock_id, TxId("a"), head, terms, "")
        later = msgspec.structs.replace(head, height=BlockHeight(head.height + 1), id="later")
        spend = RestoredEvent(2, SwapId("swap1"), terms.chain, "Spent", lock_id, TxId("b"), later, None, "?")
        seen, spent = (_rebuilt(tx, acceptance, events) for events in ((lock,), (lock, spend)))
        assert seen.source.state is LegState.SEEN
        assert spent.source.state is LegState.SPENT_UNKNOWN
        assert not _may_have_locked(tx, seen), "it was not deep enough yet for a lock of ours"
        assert _may_have_locked(tx, spent)
