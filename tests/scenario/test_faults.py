"""The other faults that must be survived: nodes, mempools, fees, clocks, workers, money, and odd locks."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from bridge.chains.actions import Action, CancelAction
from bridge.chains.errors import PortUnavailableError
from bridge.chains.port import BroadcastOutcome, BroadcastResult, FeeLevel, SignedTx
from bridge.engine.actions import encode_action
from bridge.protocol.types import ChainId, LegState, Preimage, Purpose, SwapId, SwapState
from bridge.store.records import IntentState, PlannedIntent, StoredTxState
from relayers.fake.ledger import FakeTx, LedgerLockState, lock_id_of
from tests import instances
from tests.scenario.world import (
    ALL_JOBS,
    INTERVAL,
    NATIVE,
    RICH,
    Behaviour,
    BridgeWorld,
    FusedPort,
    copy_database,
    with_amount,
)

BOTH = pytest.mark.parametrize("chain", [instances.ETHEREUM, instances.ZION])


# -- nodes -----------------------------------------------------------------------------------


@BOTH
async def test_an_rpc_that_is_down_for_a_while_only_delays(world: BridgeWorld, chain: ChainId) -> None:
    world.swap()
    await world.steps(2)
    world.ports[chain].faults.down = True
    await world.steps(6)
    with world.store.reading() as tx:
        status = tx.chains.get(chain)
    assert status is not None
    assert not status.healthy
    world.ports[chain].faults.down = False
    await world.until(world.is_over)
    assert world.state() is SwapState.COMPLETED


async def test_an_rpc_that_fails_every_third_call_only_delays(world: BridgeWorld) -> None:
    for port in world.ports.values():
        port.faults.flaky = 0.33
    world.swap()
    await world.until(world.is_over, limit=300)
    assert world.state() is SwapState.COMPLETED


@BOTH
async def test_a_node_that_lags_behind_only_delays(world: BridgeWorld, chain: ChainId) -> None:
    world.ports[chain].faults.lag = 2
    world.swap()
    await world.until(world.is_over)
    assert world.state() is SwapState.COMPLETED


async def test_a_claim_that_a_lying_node_hid_is_found_by_asking_for_the_lock_itself(
    world: BridgeWorld,
) -> None:
    world.swap()
    await world.until(lambda: world.get().destination.state is LegState.FINAL)
    world.ports[instances.ZION].faults.hides_events = True
    await world.until(lambda: world.lock_state(world.get().destination) is LedgerLockState.CLAIMED)
    await world.steps(3)
    assert not world.get().secret_known
    world.ports[instances.ZION].faults.hides_events = False
    await world.until(world.is_over)
    assert world.state() is SwapState.COMPLETED


async def test_a_counter_lock_is_not_sent_while_the_source_chain_cannot_be_heard(world: BridgeWorld) -> None:
    world.swap()
    await world.until(lambda: world.get().source.state is LegState.SEEN)
    world.mine(4)
    await world.workers[instances.ETHEREUM].run_pass(ALL_JOBS)
    assert world.get().source.state is LegState.FINAL
    world.now_ms += 61_000
    for _ in range(3):
        world.mine()
        await world.workers[instances.ZION].run_pass(ALL_JOBS)  # the other relayer is gone
    assert world.transactions_signed() == 0
    await world.until(world.is_over)


async def test_a_transaction_that_the_node_never_answers_to_keeps_no_other_waiting(
    world: BridgeWorld,
) -> None:
    world.swap(1)
    world.swap(2)
    port = world.ports[instances.ZION]
    send = port.broadcast
    deaf: list[str] = []

    async def broadcast(tx: SignedTx) -> BroadcastResult:
        locked = msgspec.json.decode(tx.raw, type=FakeTx).terms
        if locked is not None and locked.hashlock == world.get("swap1").hashlock:
            deaf.append(tx.tx_id)
            raise PortUnavailableError("no answer to this one")
        result: BroadcastResult = await send(tx)
        return result

    world.chains[instances.ZION].sequences = False  # else the second rightly waits for the first
    port.broadcast = broadcast  # type: ignore[method-assign]
    await world.until(lambda: world.state("swap2") is SwapState.COMPLETED)
    assert deaf
    port.broadcast = send  # type: ignore[method-assign]
    await world.until(lambda: world.is_over("swap1"))


async def test_intents_that_never_get_an_answer_do_not_keep_those_waiting_that_got_none_once(
    world: BridgeWorld,
) -> None:
    for number in range(1, 6):
        world.swap(number)
    port = world.ports[instances.ZION]
    send = port.broadcast
    hopeless = {world.get(f"swap{number}").hashlock for number in (1, 2, 3)}
    outage = True

    async def broadcast(tx: SignedTx) -> BroadcastResult:
        locked = msgspec.json.decode(tx.raw, type=FakeTx).terms
        if locked is not None and (outage or locked.hashlock in hopeless):
            raise PortUnavailableError("no answer to this one")
        result: BroadcastResult = await send(tx)
        return result

    world.chains[instances.ZION].sequences = False
    port.broadcast = broadcast  # type: ignore[method-assign]
    await world.steps(9)
    outage = False
    await world.until(lambda: all(world.is_over(f"swap{number}") for number in (4, 5)), limit=40)
    assert {world.state(f"swap{number}") for number in (4, 5)} == {SwapState.COMPLETED}
    port.broadcast = send  # type: ignore[method-assign]
    await world.until(lambda: all(world.is_over(swap_id) for swap_id in world.users))


async def test_bytes_that_no_node_ever_takes_do_not_block_their_sequence(world: BridgeWorld) -> None:
    world.swap()
    port = world.ports[instances.ETHEREUM]
    send = port.broadcast
    refused: set[str] = set()

    async def broadcast(tx: SignedTx) -> BroadcastResult:
        refused.add(min(refused, default=tx.tx_id))
        if tx.tx_id in refused:
            return BroadcastResult(BroadcastOutcome.REJECTED, "exceeds the block's gas limit")
        result: BroadcastResult = await send(tx)
        return result

    port.broadcast = broadcast  # type: ignore[method-assign]
    await world.until(world.is_over, limit=60)
    assert len(refused) == 1
    assert world.state() is SwapState.COMPLETED


async def test_where_an_account_has_one_transaction_waiting_at_a_time_urgent_ones_do_not_block_earlier_ones(
    tmp_path: Path,
) -> None:
    world = BridgeWorld(tmp_path, one_at_a_time=frozenset({"bridge"}))
    for number in range(1, 9):
        world.swap(number, instances.ETHEREUM if number % 2 else instances.ZION)
    await world.until(lambda: all(world.is_over(swap_id) for swap_id in world.users), limit=200)
    world.check()
    with world.store.reading() as tx:
        bids = {t.signed.fee["price"] for s in world.users for _, t in tx.transactions.of_swap(SwapId(s))}
    assert bids == {10}, "waiting for one's turn does not raise the bid"
    assert {world.state(swap_id) for swap_id in world.users} == {SwapState.COMPLETED}
    world.close()


# -- transactions ----------------------------------------------------------------------------


@BOTH
async def test_a_dropped_transaction_is_sent_again(world: BridgeWorld, chain: ChainId) -> None:
    world.swap()
    await world.until(lambda: world.get().source.state is LegState.SEEN)
    if chain == instances.ETHEREUM:
        await world.until(lambda: world.get().destination.state is LegState.FINAL)
    world.chains[chain].faults.drop_broadcasts = 2
    await world.until(world.is_over)
    assert world.state() is SwapState.COMPLETED


async def test_delayed_transactions_land_and_nothing_is_done_twice(world: BridgeWorld) -> None:
    for fake in world.chains.values():
        fake.faults.hold_blocks = 2
    world.swap()
    await world.until(world.is_over)
    assert world.state() is SwapState.COMPLETED


@BOTH
async def test_a_fee_spike_of_100_times_is_outbid(world: BridgeWorld, chain: ChainId) -> None:
    world.swap()
    role = "source" if chain == instances.ETHEREUM else "destination"
    intent_chain = chain
    if role == "source":
        await world.until(lambda: world.get().destination.state is LegState.CLAIM_SEEN)
    else:
        await world.until(lambda: world.get().source.state is LegState.FINAL)
    world.chains[intent_chain].price *= 100
    await world.until(world.is_over)
    assert world.state() is SwapState.COMPLETED


async def test_a_transaction_stuck_below_a_spike_is_replaced_with_its_own_sequence(
    world: BridgeWorld,
) -> None:
    world.swap()
    world.chains[instances.ETHEREUM].faults.hold_blocks = 2
    await world.until(
        lambda: any(
            i.purpose is Purpose.CLAIM and i.state is IntentState.BROADCAST
            for i in world.unfinished_intents()
        )
    )
    world.chains[instances.ETHEREUM].price *= 100
    await world.until(world.is_over)
    with world.store.reading() as tx:
        (claim,) = [i for i in tx.intents.of_swap(SwapId("swap1")) if i.purpose is Purpose.CLAIM]
        sent = tx.transactions.of_intent(claim.id)
    assert len(sent) > 1
    assert len({stored.sequence for stored in sent}) == 1
    assert world.state() is SwapState.COMPLETED


async def test_a_claim_without_a_sequence_of_ours_is_outbid_too_on_a_chain_that_has_them(
    world: BridgeWorld,
) -> None:
    """As on Stellar, where a claim that the recipient signed uses the gate's sequence."""
    world.swap()
    port = world.ports[instances.ETHEREUM]
    prepare = port.prepare

    async def without_sequence(action: Action, sequence: int | None, fee: FeeLevel) -> SignedTx:
        signed: SignedTx = await prepare(action, None if action.purpose is Purpose.CLAIM else sequence, fee)
        return signed

    port.prepare = without_sequence  # type: ignore[method-assign]
    world.chains[instances.ETHEREUM].faults.hold_blocks = 2
    await world.until(
        lambda: any(
            i.purpose is Purpose.CLAIM and i.state is IntentState.BROADCAST
            for i in world.unfinished_intents()
        )
    )
    world.chains[instances.ETHEREUM].price *= 100
    await world.until(world.is_over)
    assert world.state() is SwapState.COMPLETED


async def test_a_sequence_used_behind_our_back_is_noticed_and_another_one_taken(world: BridgeWorld) -> None:
    world.swap()
    await world.until(lambda: world.get().source.state is LegState.SEEN)
    zion = world.chains[instances.ZION]
    zion.faults.drop_broadcasts = 1
    await world.until(lambda: any(i.state is IntentState.BROADCAST for i in world.unfinished_intents()))
    zion.submit(FakeTx("bridge", 0, Purpose.CANCEL, price=zion.price * 3))
    await world.until(world.is_over)
    assert world.state() is SwapState.COMPLETED
    assert zion.ledger.sequences["bridge"] == 2


async def test_a_gap_in_the_sequences_is_filled_so_that_later_transactions_land(world: BridgeWorld) -> None:
    """The account's key was used elsewhere, in a branch that a reorg removed: sequence 0 is free again."""
    zion = world.chains[instances.ZION]
    world.swap()
    await world.until(lambda: world.get().source.state is LegState.SEEN)
    other = FakeTx("bridge", 0, Purpose.CANCEL, price=zion.price)
    zion.submit(other)
    await world.until(lambda: world.get().destination.state is LegState.INTENT)
    await world.work()
    zion.reorg(4, drop=[other.tx_id], again=False)
    await world.until(world.is_over)
    assert world.state() is SwapState.COMPLETED
    assert zion.ledger.sequences["bridge"] == 2
    with world.store.reading() as tx:
        (gap,) = tx.intents.of_subject("gap:bridge:0")
    assert gap.state is IntentState.FINAL


async def test_the_line_behind_an_unsent_transaction_is_left_to_claims(tmp_path: Path) -> None:
    """Otherwise a claim stands last in a line of refunds and locks, and its deadline passes."""
    world = BridgeWorld(tmp_path, one_at_a_time=frozenset({"bridge"}))
    for number in range(1, 13):
        world.swap(number, claims=number % 2 == 0)
    while not all(world.is_over(swap_id) for swap_id in world.users):
        await world.step()
        with world.store.reading() as tx:
            for chain in world.chains:
                unsent = [
                    tx.intents.get(stored.intent_id)
                    for line in tx.transactions.pending_sequences(chain, "bridge").values()
                    for stored in line
                    if stored.state is StoredTxState.SIGNED
                ]
                assert len([each for each in unsent if each and each.purpose is not Purpose.CLAIM]) <= 1
    world.check()
    assert all(world.state(s) in {SwapState.COMPLETED, SwapState.REFUNDED} for s in world.users)
    world.close()


async def test_what_was_to_fill_a_gap_sends_nothing_when_there_is_none_any_more(world: BridgeWorld) -> None:
    zion = world.chains[instances.ZION]
    action = encode_action(CancelAction())
    planned = PlannedIntent("gap:bridge:0", Purpose.CANCEL, zion.chain, action=action)
    with world.store.transaction() as tx:
        assert tx.intents.plan(planned)
    for _ in range(6):
        await world.step()
    assert zion.ledger.sequences.get("bridge", 0) == 0
    with world.store.transaction() as tx:
        (gap,) = tx.intents.of_subject("gap:bridge:0")
        assert gap.state is IntentState.CANCELLED
        assert tx.intents.plan(planned), "the same sequence may become a gap again"


async def test_where_few_land_before_they_expire_none_gives_its_turn_to_one_that_does_nothing(
    tmp_path: Path,
) -> None:
    """An expired transaction leaves a gap. Its own intent takes that sequence again."""
    swaps = 24
    world = BridgeWorld(tmp_path, expiry_blocks=6)
    for number in range(1, swaps + 1):
        world.swap(number, claims=False)
        if number % 2 == 0:  # the refunds are due two a block, and one lands
            await world.step()
    await world.until(
        lambda: all(world.get(swap_id).destination.state is LegState.FINAL for swap_id in world.users)
    )
    for fake in world.chains.values():
        fake.one_at_a_time = frozenset({"bridge"})
    await world.until(lambda: all(world.is_over(swap_id) for swap_id in world.users), limit=100)
    world.check()
    used = {chain: fake.ledger.sequences["bridge"] for chain, fake in world.chains.items()}
    assert used == {instances.ZION: 2 * swaps, instances.ETHEREUM: swaps}  # lock, refund; the source's refund
    world.close()


@pytest.mark.parametrize("expiry", [2, 6])
async def test_on_a_chain_without_sequences_expired_transactions_are_signed_anew(
    tmp_path: Path, expiry: int
) -> None:
    world = BridgeWorld(tmp_path, sequences=False, expiry_blocks=expiry)
    world.swap()
    for fake in world.chains.values():
        fake.faults.drop_broadcasts = 1
    await world.until(world.is_over)
    assert world.state() is SwapState.COMPLETED
    world.check()
    world.close()


async def test_a_counter_lock_overtaken_by_time_is_withdrawn_and_its_sequence_used_up(
    world: BridgeWorld,
) -> None:
    world.swap()
    await world.until(lambda: world.get().source.state is LegState.SEEN)
    world.chains[instances.ZION].faults.hold_blocks = 10_000
    await world.until(lambda: any(i.state is IntentState.BROADCAST for i in world.unfinished_intents()))
    world.pass_time(400)
    await world.work()
    assert world.get().abandoned is not None
    world.chains[instances.ZION].faults.hold_blocks = 0
    await world.until(world.is_over)
    assert world.state() is SwapState.REFUNDED
    assert world.locks_sent() == 0
    assert world.chains[instances.ZION].ledger.sequences["bridge"] == 1
    with world.store.reading() as tx:
        lock = next(i for i in tx.intents.of_swap(SwapId("swap1")) if i.purpose is Purpose.LOCK)
    assert lock.state is IntentState.CANCELLED


async def test_a_hot_wallet_without_gas_waits_and_goes_on_once_it_is_filled(world: BridgeWorld) -> None:
    world.swap()
    await world.until(lambda: world.get().destination.state is LegState.FINAL)
    eth = world.chains[instances.ETHEREUM]
    held = eth.ledger.balance("bridge", NATIVE[instances.ETHEREUM])
    eth.credit("bridge", NATIVE[instances.ETHEREUM], -held)
    await world.steps(6)
    assert world.get().secret_known
    assert world.lock_state(world.get().source) is LedgerLockState.OPEN
    eth.credit("bridge", NATIVE[instances.ETHEREUM], held)
    await world.until(world.is_over)
    assert world.state() is SwapState.COMPLETED


# -- workers and the database ----------------------------------------------------------------


async def test_two_workers_of_one_chain_and_one_expired_lease_send_nothing_twice(world: BridgeWorld) -> None:
    rivals = {chain: world.make_worker(chain, owner="rival") for chain in NATIVE}
    world.swap()
    for turn in range(60):
        if world.is_over():
            break
        world.mine()
        world.users["swap1"].act()
        order = [world.workers, rivals] if turn % 2 else [rivals, world.workers]
        for workers in order:
            for worker in workers.values():
                await worker.run_pass(ALL_JOBS)
        if turn % 3 == 0:
            world.now_ms += 16_000  # the lease runs out between the two
    assert world.state() is SwapState.COMPLETED


async def test_a_worker_whose_lease_ran_out_while_it_signed_stores_and_sends_nothing(
    world: BridgeWorld,
) -> None:
    rival = world.make_worker(instances.ZION, owner="rival")
    slow = world.workers[instances.ZION].port
    assert isinstance(slow, FusedPort)
    world.ports[instances.ZION] = slow
    world.swap()
    await world.until(lambda: world.get().source.state is LegState.SEEN)

    async def overtake() -> None:
        world.now_ms += 16_000
        await rival.run_pass(ALL_JOBS)

    slow.meanwhile = overtake
    await world.until(lambda: world.transactions_signed() > 0)
    assert world.ports[instances.ZION].meanwhile is None
    assert not world.workers[instances.ZION].outbox.holds_lease, "it knows that it lost the lease"
    await world.until(world.is_over)
    with world.store.reading() as tx:
        locks = [
            sent
            for intent, sent in tx.transactions.of_swap(SwapId("swap1"))
            if intent.purpose is Purpose.LOCK
        ]
    assert len(locks) == 1


async def test_an_older_backup_is_brought_up_to_date_from_the_chains(world: BridgeWorld) -> None:
    world.swap()
    await world.until(lambda: world.get().source.state is LegState.SEEN)
    backup = world.folder / "backup.db"
    copy_database(world.folder / "bridge.db", backup)
    await world.until(lambda: world.get().destination.state is LegState.CLAIM_SEEN)
    world.store.close()
    for name in ("bridge.db-wal", "bridge.db-shm"):
        (world.folder / name).unlink(missing_ok=True)
    shutil.copy(backup, world.folder / "bridge.db")
    world.process()
    assert world.get().destination.state is LegState.NONE
    await world.until(world.is_over)
    assert world.state() is SwapState.COMPLETED
    assert world.locks_sent() == 1


async def test_a_full_disk_stops_nothing_for_good(
    world: BridgeWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.swap()
    await world.until(lambda: world.get().source.state is LegState.SEEN)

    def full(commit: Callable[[], None]) -> None:
        raise sqlite3.OperationalError("database or disk is full")

    with monkeypatch.context() as patched:
        patched.setattr(world.store, "_commit", full)
        await world.steps(4)
    await world.until(world.is_over)
    assert world.state() is SwapState.COMPLETED


# -- clocks ----------------------------------------------------------------------------------


@BOTH
async def test_a_chain_that_halts_near_the_deadline_harms_nobody(world: BridgeWorld, chain: ChainId) -> None:
    world.swap()
    await world.until(lambda: world.get().destination.state is LegState.FINAL)
    world.chains[chain].faults.halted = True
    await world.steps(25)
    world.chains[chain].faults.halted = False
    await world.until(world.is_over)
    assert world.state() is SwapState.COMPLETED


async def test_no_counter_lock_while_the_source_chain_stands_still_too_long(world: BridgeWorld) -> None:
    """Its clock will jump when it comes back: the time that passed here counts."""
    world.swap()
    await world.until(lambda: world.get().source.state is LegState.SEEN)
    await world.step()
    world.mine()
    await world.workers[instances.ETHEREUM].run_pass(ALL_JOBS)
    assert world.get().source.state is LegState.FINAL
    world.chains[instances.ETHEREUM].faults.halted = True
    world.now_ms += 400_000
    await world.workers[instances.ETHEREUM].run_pass(ALL_JOBS)
    await world.workers[instances.ZION].run_pass(ALL_JOBS)
    assert world.transactions_signed() == 0
    world.chains[instances.ETHEREUM].faults.halted = False
    await world.until(world.is_over)
    assert world.state() is SwapState.REFUNDED
    assert world.locks_sent() == 0


async def test_a_clock_that_is_ahead_within_its_skew_changes_nothing(world: BridgeWorld) -> None:
    world.chains[instances.ZION].mine(1, interval=INTERVAL + 14)
    world.swap()
    await world.until(world.is_over)
    assert world.state() is SwapState.COMPLETED


# -- odd locks -------------------------------------------------------------------------------


@pytest.mark.parametrize("change", ["amount", "deadline"])
async def test_a_lock_with_wrong_terms_is_given_back_and_never_answered(
    world: BridgeWorld, change: str
) -> None:
    world.swap()
    user = world.users["swap1"]
    wrong = {
        "amount": with_amount(user.terms, user.terms.amount - 1),
        "deadline": msgspec.structs.replace(user.terms, deadline=user.terms.deadline - 1),
    }[change]
    user.terms = wrong
    await world.until(lambda: lock_id_of(wrong) in world.chains[instances.ETHEREUM].ledger.locks)
    user.locks = False
    await world.until(world.is_over)
    assert world.locks_sent() == 0
    assert world.chains[instances.ETHEREUM].ledger.locks[lock_id_of(wrong)][1] is LedgerLockState.REFUNDED


async def test_a_late_lock_is_given_back_and_never_answered(world: BridgeWorld) -> None:
    world.swap(late=True)
    await world.until(world.is_over)
    assert world.locks_sent() == 0
    assert world.state() is SwapState.REFUNDED


async def test_a_user_who_funds_twice_gets_the_second_one_back(world: BridgeWorld) -> None:
    world.swap()
    user = world.users["swap1"]
    await world.until(lambda: world.get().source.state is LegState.SEEN)
    second = with_amount(user.terms, user.terms.amount + 1)
    world.wallet(instances.ETHEREUM).lock(second)
    await world.until(world.is_over)
    assert world.state() is SwapState.COMPLETED
    assert world.chains[instances.ETHEREUM].ledger.locks[lock_id_of(second)][1] is LedgerLockState.REFUNDED


async def test_a_stranger_who_reuses_the_hashlock_harms_nobody(world: BridgeWorld) -> None:
    world.swap()
    terms = world.get().source.terms
    for chain in NATIVE:
        world.chains[chain].credit("user", NATIVE[chain], 0)
    strange = msgspec.structs.replace(terms, recipient="mallory", amount=5)
    world.wallet(instances.ETHEREUM).lock(strange)
    await world.until(world.is_over)
    assert world.state() is SwapState.COMPLETED
    assert world.get().source.strays == ()


async def test_a_wrong_preimage_claims_nothing(world: BridgeWorld) -> None:
    world.swap(claims=False)
    await world.until(lambda: world.get().destination.state is LegState.FINAL)
    world.wallet(instances.ZION).claim(world.get().destination.lock_id, Preimage(b"guess"))
    await world.steps(3)
    assert not world.get().secret_known
    assert world.lock_state(world.get().destination) is LedgerLockState.OPEN
    world.users["swap1"].claims = True
    await world.until(world.is_over)


async def test_many_swaps_both_ways_at_once_share_the_senders_sequences(world: BridgeWorld) -> None:
    for number in range(1, 9):
        behaviour: Behaviour = {"claims": False, "refunds": False} if number % 4 == 0 else {}
        world.swap(
            number, instances.ETHEREUM if number % 2 else instances.ZION, amount=10**6 * number, **behaviour
        )
    await world.until(lambda: all(world.is_over(swap_id) for swap_id in world.users), limit=200)
    ends = [world.state(swap_id) for swap_id in world.users]
    assert ends.count(SwapState.COMPLETED) == 6
    assert ends.count(SwapState.REFUNDED) == 2
    spent = RICH - world.chains[instances.ZION].ledger.balance("bridge", NATIVE[instances.ZION])
    assert spent != 0
