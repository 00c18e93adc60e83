"""What the repositories promise, on SQLite and on PostgreSQL."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import msgspec
import pytest

from bridge.chains.port import FeeEstimate, SignedTx, Tip
from bridge.protocol.events import Accepted, ClaimSeen
from bridge.protocol.types import (
    Address,
    Amount,
    BlockHeight,
    LegRole,
    LockId,
    Preimage,
    Purpose,
    SwapId,
    SwapState,
    TxId,
    UnixSeconds,
)
from bridge.store import (
    ConflictError,
    DuplicateError,
    LeaseLostError,
    SecretsLockedError,
    Store,
    StoreError,
    Transaction,
)
from bridge.store.records import (
    ChainStatus,
    IntentState,
    Lease,
    ObservedKind,
    PlannedIntent,
    Quote,
    StoredTxState,
    SwapMeta,
)
from tests import instances
from tests.unit.samples import block, preimage, swap
from tests.unit.store.conftest import KEY, Clock

LOCK = PlannedIntent("swap1", Purpose.LOCK, instances.ZION, "destination", SwapId("swap1"))


def _quote(clock: Clock, number: int = 1) -> Quote:
    now = clock.now_ms
    return Quote(f"q{number}", "alice", "a", "b", Amount(2**255), Amount(7), "{}", now, now + 30_000)


def _sign(store: Store, intent_id: int, tx_id: str, sequence: int | None) -> int:
    with store.transaction() as tx:
        return tx.transactions.add(
            intent_id,
            instances.ZION,
            SignedTx(
                TxId(tx_id),
                b"raw",
                Address("bridge"),
                sequence,
                {"fee": 5},
                Amount(2**200),
                valid_until_height=BlockHeight(12),
            ),
            attempt=0,
            cancels=False,
            signed_height=3,
        )


def test_a_transaction_that_raises_stores_nothing(any_store: Store) -> None:
    with pytest.raises(RuntimeError), any_store.transaction() as tx:  # noqa: PT012
        tx.swaps.add(swap(), SwapMeta())
        raise RuntimeError
    with any_store.reading() as tx:
        assert tx.swaps.get(SwapId("swap1")) is None


def test_reading_can_never_write(any_store: Store) -> None:
    with any_store.reading() as tx:
        tx.swaps.add(swap(), SwapMeta())
    with any_store.reading() as tx:
        assert tx.swaps.get(SwapId("swap1")) is None


def test_a_swap_comes_back_as_it_went_in_with_amounts_beyond_64_bits(any_store: Store) -> None:
    with any_store.transaction() as tx:
        tx.swaps.add(swap(), SwapMeta("q1", "alice", "refund-here", "recipient", "key"))
    with any_store.reading() as tx:
        found = tx.swaps.by_hashlock(swap().hashlock)
    assert found is not None
    assert found.swap == swap()
    assert found.meta.refund_address == "refund-here"
    assert found.version == 1


def test_of_two_writers_that_read_the_same_version_the_second_is_refused(any_store: Store) -> None:
    with any_store.transaction() as tx:
        tx.swaps.add(swap(), SwapMeta())
    changed = msgspec.structs.replace(swap(), state=SwapState.COUNTERLOCKING)
    with any_store.transaction() as tx:
        assert tx.swaps.save(changed, 1) == 2
    with pytest.raises(ConflictError), any_store.transaction() as tx:
        tx.swaps.save(changed, 1)


def test_a_hashlock_serves_one_swap_only(any_store: Store) -> None:
    again = msgspec.structs.replace(swap(), id="other")
    with any_store.transaction() as tx:
        tx.swaps.add(swap(), SwapMeta())
        with pytest.raises(DuplicateError):
            tx.swaps.add(again, SwapMeta())
        assert tx.swaps.get(SwapId("swap1")) is not None  # the transaction is still usable


def test_closed_swaps_leave_the_open_list_and_keep_their_first_finishing_time(
    any_store: Store, clock: Clock
) -> None:
    done = msgspec.structs.replace(swap(), state=SwapState.COMPLETED)
    with any_store.transaction() as tx:
        tx.swaps.add(swap(), SwapMeta())
        tx.swaps.add(swap(2), SwapMeta())
        assert tx.swaps.open_ids(instances.ZION) == ["swap1", "swap2"]
        tx.swaps.save(done, 1)
    finished = clock.now_ms
    clock.now_ms += 5
    with any_store.transaction() as tx:
        tx.swaps.save(done, 2)
        assert tx.swaps.open_ids() == ["swap2"]
        stored = tx.swaps.get(SwapId("swap1"))
    assert stored is not None
    assert stored.finished_ms == finished


def test_swaps_page_newest_first_without_gaps_or_repeats(any_store: Store, clock: Clock) -> None:
    for number in range(1, 8):
        clock.now_ms += number % 2
        with any_store.transaction() as tx:
            tx.swaps.add(swap(number), SwapMeta(client="alice" if number < 7 else "bob"))
    seen: list[str] = []
    after = None
    with any_store.reading() as tx:
        while page := tx.swaps.page(2, after, client="alice"):
            seen += [stored.id for stored in page]
            after = (page[-1].created_ms, page[-1].id)
    assert sorted(seen) == [f"swap{n}" for n in range(1, 7)]
    assert seen[0] == "swap6"


def test_events_are_numbered_per_swap_and_never_show_a_preimage(any_store: Store) -> None:
    secret = preimage()
    claim = ClaimSeen(LegRole.DESTINATION, LockId("lock"), TxId("tx"), block(5), secret)
    with any_store.transaction() as tx:
        tx.swaps.add(swap(), SwapMeta())
        tx.swaps.add(swap(2), SwapMeta())
        tx.events.append(swap(), Accepted())
        tx.events.append(swap(2), Accepted())
        tx.events.append(swap(), claim)
    with any_store.reading() as tx:
        mine = tx.events.after(0, swap_id=SwapId("swap1"))
        everything = tx.events.after(0)
    assert [event.swap_seq for event in mine] == [1, 2]
    assert [event.seq for event in everything] == sorted(event.seq for event in everything)
    assert secret.reveal().hex() not in mine[1].body
    assert "redacted" in mine[1].body


def test_a_quote_is_taken_once_and_not_after_its_expiry(any_store: Store, clock: Clock) -> None:
    with any_store.transaction() as tx:
        tx.quotes.add(_quote(clock))
        tx.quotes.add(_quote(clock, 2))
        assert tx.quotes.count_open("alice") == 2
        tx.quotes.take("q1")
    with pytest.raises(ConflictError), any_store.transaction() as tx:
        tx.quotes.take("q1")
    clock.now_ms += 30_000
    with pytest.raises(ConflictError), any_store.transaction() as tx:
        tx.quotes.take("q2")
    with any_store.transaction() as tx:
        assert list(tx.quotes.expire()) == ["q2"]


def test_reservations_count_until_released_or_expired(any_store: Store, clock: Clock) -> None:
    huge = 2**200
    with any_store.transaction() as tx:
        tx.lock("inventory:a")
        tx.reservations.hold("a", huge, "q1", clock.now_ms + 1000)
        tx.reservations.hold("a", 5, "q2", clock.now_ms + 1000)
        assert tx.reservations.reserved("a") == huge + 5
        assert tx.reservations.assign("q1", SwapId("swap1")) == 1
    clock.now_ms += 1000
    with any_store.transaction() as tx:
        assert tx.reservations.reserved("a") == huge
        assert tx.reservations.release_expired() == 1
        assert tx.reservations.release(swap_id=SwapId("swap1")) == 1
        assert tx.reservations.release(swap_id=SwapId("swap1")) == 0
        assert tx.reservations.reserved("a") == 0


def test_at_most_one_intent_stands_per_swap_leg_and_purpose(any_store: Store) -> None:
    with any_store.transaction() as tx:
        assert tx.intents.plan(LOCK)
        assert not tx.intents.plan(LOCK)
        standing = tx.intents.standing("swap1", "destination", Purpose.LOCK)
        assert standing is not None
        tx.intents.move(standing.id, IntentState.FINAL)
        assert not tx.intents.plan(LOCK), "what was done is not done twice"
        tx.intents.move(standing.id, IntentState.FAILED)
        assert tx.intents.plan(LOCK)


def test_the_database_itself_refuses_a_second_standing_intent(any_store: Store) -> None:
    from bridge.store.tables import IntentRow, table_of

    with any_store.transaction() as tx:
        tx.intents.plan(LOCK)
    with any_store.reading() as tx, pytest.raises(DuplicateError):  # noqa: PT012
        row = tx.intents.of_swap(SwapId("swap1"))[0]
        values = {name: getattr(row, name) for name in row.__struct_fields__ if name != "id"}
        tx.intents._insert(table_of(IntentRow), values, "intent")


def test_a_live_intent_is_asked_to_cancel_once_and_a_finished_one_never(any_store: Store) -> None:
    with any_store.transaction() as tx:
        tx.intents.plan(LOCK)
        intent = tx.intents.of_swap(SwapId("swap1"))[0]
        tx.intents.move(intent.id, IntentState.SIGNED)
        assert tx.intents.cancel(intent.id, "too late")
        assert not tx.intents.cancel(intent.id, "too late")
        assert tx.intents.of_swap(SwapId("swap1"))[0].cancel
        tx.intents.move(intent.id, IntentState.FAILED)
        tx.intents.plan(LOCK)
        second = tx.intents.of_swap(SwapId("swap1"))[1]
        tx.intents.move(second.id, IntentState.FINAL)
        assert not tx.intents.cancel(second.id, "too late")


def test_stray_locks_of_one_leg_have_intents_of_their_own(any_store: Store) -> None:
    stray = msgspec.structs.replace(LOCK, purpose=Purpose.REFUND, lock_id="stray")
    with any_store.transaction() as tx:
        assert tx.intents.plan(msgspec.structs.replace(LOCK, purpose=Purpose.REFUND))
        assert tx.intents.plan(stray)
        assert not tx.intents.plan(stray)
        assert len(tx.intents.standing_of(["swap1", "other"])) == 2


def test_intents_taken_by_one_worker_are_not_given_to_another_until_the_lease_ends(
    any_store: Store, clock: Clock
) -> None:
    first, second = Lease("l", "one", 1, 0), Lease("l", "two", 2, 0)
    with any_store.transaction() as tx:
        tx.intents.plan(LOCK)
        assert len(tx.intents.take(instances.ZION, first, hold_ms=1000)) == 1
    with any_store.transaction() as tx:
        assert tx.intents.take(instances.ZION, second) == []
        assert tx.intents.take(instances.ETHEREUM, second) == []
    clock.now_ms += 1000
    with any_store.transaction() as tx:
        assert len(tx.intents.take(instances.ZION, second)) == 1


def test_a_lease_passes_on_only_when_it_ran_out_and_the_old_holder_is_found_out(
    any_store: Store, clock: Clock
) -> None:
    with any_store.transaction() as tx:
        mine = tx.leases.acquire("sender", "one", 1000)
        assert mine is not None
        assert tx.leases.acquire("sender", "two", 1000) is None
        renewed = tx.leases.acquire("sender", "one", 1000)
        assert renewed is not None
        assert renewed.fence == mine.fence
    clock.now_ms += 1000
    with any_store.transaction() as tx:
        tx.leases.require(mine)  # nobody took it
        theirs = tx.leases.acquire("sender", "two", 1000)
        assert theirs is not None
        assert theirs.fence == mine.fence + 1
    with pytest.raises(LeaseLostError), any_store.transaction() as tx:
        tx.leases.require(mine)
    with any_store.transaction() as tx:
        tx.leases.release(theirs)
        assert tx.leases.acquire("sender", "one", 1000) is not None


def test_signed_transactions_hold_their_sequence_until_they_are_settled(any_store: Store) -> None:
    with any_store.transaction() as tx:
        tx.intents.plan(LOCK)
        intent = tx.intents.of_swap(SwapId("swap1"))[0]
    first = _sign(any_store, intent.id, "t1", 7)
    assert _sign(any_store, intent.id, "t1", 7) == first, "the same bytes are the same row"
    _sign(any_store, intent.id, "t2", 9)
    with any_store.transaction() as tx:
        assert sorted(tx.transactions.pending_sequences(instances.ZION, "bridge")) == [7, 9]
        tx.transactions.move(first, StoredTxState.DEAD, replaced_by="t3")
        assert sorted(tx.transactions.pending_sequences(instances.ZION, "bridge")) == [9]
        stored = tx.transactions.of_intent(intent.id)
    assert stored[0].replaced_by == "t3"
    assert stored[1].signed == SignedTx(
        TxId("t2"),
        b"raw",
        Address("bridge"),
        9,
        {"fee": 5},
        Amount(2**200),
        valid_until_height=BlockHeight(12),
        signed_height=BlockHeight(3),
    )
    assert b"raw" not in repr(stored).encode()


def test_secrets_are_sealed_on_disk_and_need_their_key(tmp_path: Path) -> None:
    url, secret = f"sqlite:///{tmp_path}/s.db", preimage()
    with_key = Store.open(url, secrets_key=KEY)
    for _ in range(2):
        with with_key.transaction() as tx:
            tx.secrets.put(secret)
    with with_key.reading() as tx:
        assert tx.secrets.get(secret.hashlock()) == secret
        assert tx.secrets.get(bytes(32)) is None
    with_key.close()
    assert secret.reveal() not in (tmp_path / "s.db").read_bytes()

    without = Store.open(url)
    with without.reading() as tx:
        assert tx.secrets.known(secret.hashlock())
        with pytest.raises(SecretsLockedError):
            tx.secrets.get(secret.hashlock())
    without.close()
    other = Store.open(url, secrets_key=bytes(32))
    with other.reading() as tx, pytest.raises(StoreError, match="another key"):
        tx.secrets.get(secret.hashlock())
    other.close()


def test_a_secret_that_was_swapped_for_another_in_the_database_is_refused(tmp_path: Path) -> None:
    opened = Store.open(f"sqlite:///{tmp_path}/s.db", secrets_key=KEY)
    with opened.transaction() as tx:
        tx.secrets.put(preimage(1))
        tx.secrets.put(preimage(2))
    with sqlite3.connect(tmp_path / "s.db") as raw:
        sealed = raw.execute(
            "SELECT sealed FROM secrets WHERE hashlock=?", [preimage(2).hashlock().hex()]
        ).fetchone()
        raw.execute("UPDATE secrets SET sealed=? WHERE hashlock=?", [*sealed, preimage(1).hashlock().hex()])
    with opened.reading() as tx, pytest.raises(StoreError, match="does not open"):
        tx.secrets.get(preimage(1).hashlock())
    opened.close()


def test_an_empty_preimage_is_a_preimage(any_store: Store) -> None:
    with any_store.transaction() as tx:
        tx.secrets.put(Preimage(b""))
        assert tx.secrets.get(Preimage(b"").hashlock()) == Preimage(b"")


def test_the_ring_keeps_the_newest_blocks_and_forgets_orphans(any_store: Store) -> None:
    with any_store.transaction() as tx:
        tx.blocks.append(instances.ZION, [block(height) for height in range(1, 11)])
        tx.blocks.append(instances.ETHEREUM, [block(1)])
        tx.blocks.trim(instances.ZION, 4)
        assert [known.height for known in tx.blocks.ring(instances.ZION)] == [7, 8, 9, 10]
        tx.blocks.remove(instances.ZION, [block(10), block(9, "other")])
        tx.blocks.append(instances.ZION, [block(9, "b")])
        assert [known.id for known in tx.blocks.ring(instances.ZION)] == ["a7", "a8", "b9"]
        assert tx.blocks.contains(instances.ZION, block(8))
        assert not tx.blocks.contains(instances.ZION, block(9))
        assert tx.blocks.last(instances.ETHEREUM) == block(1)


def test_an_observation_is_news_once_and_again_after_its_block_came_back(any_store: Store) -> None:
    terms = swap().source.terms

    def see(tx: Transaction) -> bool:
        return tx.observations.add(
            instances.ETHEREUM,
            ObservedKind.LOCKED,
            SwapId("swap1"),
            LegRole.SOURCE,
            lock_id=LockId("l1"),
            tx_id=TxId("t1"),
            block=block(5),
            depth=3,
            terms=terms,
        )

    with any_store.transaction() as tx:
        assert see(tx)
        assert not see(tx)
        (seen,) = tx.observations.unsettled(instances.ETHEREUM)
        assert (seen.terms, seen.block) == (terms, block(5))
        tx.observations.settle(seen.id)
        assert tx.observations.unsettled(instances.ETHEREUM) == []
        assert tx.observations.orphan(instances.ETHEREUM, [block(6)]) == []
        assert [gone.lock_id for gone in tx.observations.orphan(instances.ETHEREUM, [block(5)])] == ["l1"]
        assert tx.observations.of_lock(instances.ETHEREUM, LockId("l1"), ObservedKind.LOCKED) is None
        assert see(tx)
        assert len(tx.observations.unsettled(instances.ETHEREUM)) == 1


def test_a_chain_status_is_replaced_whole(any_store: Store, clock: Clock) -> None:
    status = ChainStatus(
        instances.ZION,
        tip=Tip(block(9), UnixSeconds(7)),
        balances={"zion:ZION": Amount(2**90)},
        fees={"x": FeeEstimate(Amount(1), Amount(2), Amount(3))},
    )
    with any_store.transaction() as tx:
        tx.chains.put(ChainStatus(instances.ZION))
        tx.chains.put(status)
    with any_store.reading() as tx:
        found = tx.chains.all()[instances.ZION]
    assert found == msgspec.structs.replace(status, updated_ms=clock.now_ms)


def test_receipts_are_numbered_without_gaps_one_for_each_outcome(any_store: Store) -> None:
    with any_store.transaction() as tx:
        for swap_id, body in (("swap1", "{}"), ("swap2", "{}"), ("swap1", "{}")):
            tx.receipts.append(SwapId(swap_id), body)
        indices = [getattr(tx.receipts.get(SwapId(swap_id)), "index", None) for swap_id in ("swap1", "swap2")]
        assert indices == [0, 1]
        for body in ("{}", "changed", "changed", "{}"):
            tx.receipts.append(SwapId("swap1"), body)
        assert tx.receipts.size() == 4
        leaves = [(leaf.swap_id, leaf.body) for leaf in tx.receipts.slice(0, 5)]
        assert leaves == [("swap1", "{}"), ("swap2", "{}"), ("swap1", "changed"), ("swap1", "{}")]
        newest = tx.receipts.get(SwapId("swap1"))
    assert newest is not None
    assert (newest.index, newest.body) == (3, "{}")


def test_notifications_answers_audit_and_switches_are_kept(any_store: Store, clock: Clock) -> None:
    with any_store.transaction() as tx:
        tx.notifications.add(SwapId("swap1"), SwapState.AWAIT_LOCK)
        tx.notifications.add(SwapId("swap2"), SwapState.CLAIMING, "secret known")
        tx.idempotency.put("alice", "k", "digest", "answer")
        with pytest.raises(DuplicateError):
            tx.idempotency.put("alice", "k", "digest", "answer")
        tx.audit.append("op", "retry", "swap1")
        tx.audit.append("op", "pause", "zion", "maintenance")
        tx.controls.set("pause:zion", "true", "op")
        tx.controls.set("pause:zion", "false", "op")
    with any_store.reading() as tx:
        first = tx.notifications.after(0, limit=1)[0]
        assert [n.swap_id for n in tx.notifications.after(first.seq)] == ["swap2"]
        answer = tx.idempotency.get("alice", "k")
        assert answer is not None
        assert answer.response == "answer"
        assert [entry.verb for entry in tx.audit.before()] == ["pause", "retry"]
        assert [control.value for control in tx.controls.all()] == ["false"]


@pytest.mark.parametrize("amount", [-1, 2**256, 1.0, True])
def test_an_amount_that_is_no_u256_is_refused(store: Store, amount: int) -> None:
    with pytest.raises(Exception, match="an amount is an integer"), store.transaction() as tx:
        tx.reservations.hold("a", amount, "q", None)
