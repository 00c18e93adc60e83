"""Intents, the transactions signed for them, and leases."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import msgspec
from sqlalchemy import Row, and_, case, func, or_, select, update

from bridge.chains.port import SignedTx
from bridge.protocol.types import ChainId, LockId, Purpose, SwapId, TxId
from bridge.store.errors import DuplicateError, LeaseLostError, UnreadableRowError
from bridge.store.records import (
    CLOCK_SKEW_MS,
    LIVE_INTENT_STATES,
    Intent,
    IntentState,
    Lease,
    PlannedIntent,
    StoredTx,
    StoredTxState,
)
from bridge.store.repositories.base import Repository, log, readable, record, records, unreadable
from bridge.store.tables import IntentRow, LeaseRow, TransactionRow, table_of

_intents = table_of(IntentRow)
_transactions = table_of(TransactionRow)
_leases = table_of(LeaseRow)

_LIVE = [state.value for state in LIVE_INTENT_STATES]
_DEAD = [IntentState.FAILED.value, IntentState.CANCELLED.value]
_ACTIONABLE = [state.value for state in LIVE_INTENT_STATES if state is not IntentState.INCLUDED]

LONGEST_WAIT_MS = 900_000
"""No intent is ever postponed by more than this, and no lease lasts longer."""

_BY_PRIORITY = case(
    {Purpose.CLAIM.value: 0, Purpose.CANCEL.value: 1, Purpose.REFUND.value: 2},
    value=_intents.c.purpose,
    else_=3,
)
"""A claim that comes too late costs money; a sequence that nobody uses blocks all later ones."""

_PENDING_TX = [StoredTxState.SIGNED.value, StoredTxState.BROADCAST.value, StoredTxState.INCLUDED.value]


def _stored_intent(row: Row[Any]) -> Intent:
    return record(row, Intent, batch_leader=row.carrier)


def _stored_intents(rows: Iterable[Row[Any]]) -> list[Intent]:
    return readable(rows, _stored_intent)


class Intents(Repository):
    """What is to be done on chain. One row at most stands per (subject, leg, purpose, lock)."""

    def plan(self, planned: PlannedIntent) -> bool:
        """Store an intent unless there is a standing one (in any state except FAILED and CANCELLED).

        Returns whether it is new. A FINAL intent still counts as standing: nothing is done twice.
        """
        values = {
            "subject": planned.subject,
            "swap_id": planned.swap_id,
            "leg": planned.leg,
            "purpose": planned.purpose.value,
            "lock_id": planned.lock_id,
            "chain": planned.chain,
            "action": planned.action,
            "state": IntentState.PLANNED.value,
            "created_ms": self.now_ms,
            "updated_ms": self.now_ms,
        }
        if self.standing(planned.subject, planned.leg, planned.purpose, planned.lock_id) is not None:
            return False
        try:
            self._insert(_intents, values, "intent")
        except DuplicateError:
            return False
        return True

    def get(self, intent_id: int) -> Intent | None:
        """Return an intent."""
        row = self._first(select(_intents).where(_intents.c.id == intent_id))
        return _stored_intent(row) if row else None

    def standing(
        self, subject: str, leg: str, purpose: Purpose, lock_id: LockId = LockId("")
    ) -> Intent | None:
        """Return the intent that stands for this (subject, leg, purpose, lock)."""
        row = self._first(
            select(_intents).where(
                _intents.c.subject == subject,
                _intents.c.leg == leg,
                _intents.c.purpose == purpose.value,
                _intents.c.lock_id == lock_id,
                _intents.c.state.not_in(_DEAD),
            )
        )
        return _stored_intent(row) if row else None

    def of_swap(self, swap_id: SwapId) -> list[Intent]:
        """Return all intents of a swap, oldest first."""
        where = _intents.c.swap_id == swap_id
        return _stored_intents(self._all(select(_intents).where(where).order_by(_intents.c.id)))

    def of_subject(self, subject: str) -> list[Intent]:
        """Return all intents of a subject, oldest first."""
        where = _intents.c.subject == subject
        return _stored_intents(self._all(select(_intents).where(where).order_by(_intents.c.id)))

    def due(self, chain: ChainId, limit: int = 2000, longest_wait_ms: int = LONGEST_WAIT_MS) -> list[Intent]:
        """Return the live intents of a chain that may be worked on now: claims first, then oldest first.

        Those whose transaction is in a block and waits for finality come after the others and do not count
        against their `limit`. Nothing is postponed by more than `longest_wait_ms`: a later time was written
        by a clock that was ahead, and is void.
        """
        where = (
            _intents.c.chain == chain,
            or_(
                _intents.c.not_before_ms <= self.now_ms,
                _intents.c.not_before_ms > self.now_ms + longest_wait_ms,
            ),
        )
        order = (_BY_PRIORITY, _intents.c.id)
        actionable = select(_intents).where(*where, _intents.c.state.in_(_ACTIONABLE))
        waiting = select(_intents).where(*where, _intents.c.state == IntentState.INCLUDED.value)
        return _stored_intents(
            row
            for statement in (actionable, waiting)
            for row in self._all(statement.order_by(*order).limit(limit))
        )

    def live(self, chain: ChainId) -> list[Intent]:
        """Return all live intents of a chain, due or not."""
        where = (_intents.c.chain == chain, _intents.c.state.in_(_LIVE))
        return _stored_intents(self._all(select(_intents).where(*where).order_by(_intents.c.id)))

    def take(self, chain: ChainId, lease: Lease, limit: int = 50, hold_ms: int = 30_000) -> list[Intent]:
        """Lease due intents to one worker, for `hold_ms`; rows that another worker works on are skipped."""
        free = or_(
            _intents.c.lease_until_ms <= self.now_ms,
            _intents.c.lease_until_ms > self.now_ms + hold_ms + CLOCK_SKEW_MS,
            _intents.c.owner == lease.owner,
        )
        statement = (
            select(_intents)
            .where(
                _intents.c.chain == chain,
                _intents.c.state.in_(_LIVE),
                _intents.c.not_before_ms <= self.now_ms,
                free,
            )
            .order_by(_intents.c.id)
            .limit(limit)
            .with_for_update(skip_locked=True)
        )
        taken = _stored_intents(self._all(statement))
        if taken:
            until = self.now_ms + hold_ms
            self._run(
                update(_intents)
                .where(_intents.c.id.in_([intent.id for intent in taken]))
                .values(owner=lease.owner, fence=lease.fence, lease_until_ms=until)
            )
        return taken

    def move(
        self,
        intent_id: int,
        state: IntentState,
        *,
        reason: str = "",
        attempt: int | None = None,
        not_before_ms: int = 0,
    ) -> None:
        """Set an intent's state, why, its attempt number and the earliest time of the next step."""
        values: dict[str, Any] = {
            "state": state.value,
            "reason": reason,
            "not_before_ms": not_before_ms,
            "updated_ms": self.now_ms,
        }
        if attempt is not None:
            values["attempt"] = attempt
        self._run(update(_intents).where(_intents.c.id == intent_id).values(**values))

    def postpone(self, intent_id: int, until_ms: int, reason: str, attempt: int = 0) -> None:
        """Look at the intent again only at `until_ms`; `attempt` counts the failures in a row."""
        values = {
            "not_before_ms": until_ms,
            "reason": reason,
            "attempt": attempt,
            "updated_ms": self.now_ms,
        }
        self._run(update(_intents).where(_intents.c.id == intent_id).values(**values))

    def join_batch(self, intent_ids: Sequence[int], leader: int) -> None:
        """Let the transactions of another intent, the leader, make these claims too."""
        self._set_leader(intent_ids, leader)

    def leave_batch(self, intent_ids: Sequence[int]) -> None:
        """Let these claims continue alone."""
        self._set_leader(intent_ids, None)

    def _set_leader(self, intent_ids: Sequence[int], leader: int | None) -> None:
        if not intent_ids:
            return
        self._run(
            update(_intents)
            .where(_intents.c.id.in_(intent_ids))
            .values(carrier=leader, not_before_ms=0, updated_ms=self.now_ms)
        )

    def batch_members(self, leader: int) -> list[Intent]:
        """Return the live intents of the batch that this one leads, without itself, oldest first."""
        where = (_intents.c.carrier == leader, _intents.c.state.in_(_LIVE))
        return _stored_intents(self._all(select(_intents).where(*where).order_by(_intents.c.id)))

    def disband_batch(self, leader: int) -> int:
        """Let all members of a batch continue alone; returns how many there were."""
        return self._run(
            update(_intents)
            .where(_intents.c.carrier == leader, _intents.c.state.in_(_LIVE))
            .values(carrier=None, not_before_ms=0, updated_ms=self.now_ms)
        )

    def cancel(self, intent_id: int, reason: str) -> bool:
        """Ask that a live intent no longer happens; the outbox takes care of it. Returns whether this is
        new."""
        return bool(
            self._run(
                update(_intents)
                .where(_intents.c.id == intent_id, _intents.c.state.in_(_LIVE), _intents.c.cancel.is_(False))
                .values(cancel=True, reason=reason, not_before_ms=0, updated_ms=self.now_ms)
            )
        )

    def standing_of(self, swap_ids: Sequence[str]) -> list[Intent]:
        """Return all intents that stand for these swaps."""
        if not swap_ids:
            return []
        where = (_intents.c.swap_id.in_(swap_ids), _intents.c.state.not_in(_DEAD))
        return _stored_intents(self._all(select(_intents).where(*where)))

    def count_by_state(self) -> dict[tuple[ChainId, IntentState], int]:
        """Return how many intents there are by chain and state."""
        statement = select(_intents.c.chain, _intents.c.state, func.count().label("n")).group_by(
            _intents.c.chain, _intents.c.state
        )
        return {(ChainId(row.chain), IntentState(row.state)): row.n for row in self._all(statement)}


def _stored_tx(row: Row[Any]) -> StoredTx:
    try:
        fee = msgspec.json.decode(row.fee)
    except msgspec.DecodeError as error:
        raise unreadable("transaction", row) from error
    return record(row, StoredTx, signed=record(row, SignedTx, fee=fee))


class Transactions(Repository):
    """Signed transactions: stored before they are sent, never deleted."""

    def add(
        self,
        intent_id: int,
        chain: ChainId,
        signed: SignedTx,
        *,
        attempt: int,
        cancels: bool,
        signed_height: int,
    ) -> int:
        """Store a signed transaction; the same bytes a second time are the same row. Returns its id."""
        stored = self.by_tx_id(chain, signed.tx_id)
        if stored is not None:
            return stored.id
        values = {
            "intent_id": intent_id,
            "chain": chain,
            **msgspec.structs.asdict(signed),
            "fee": msgspec.json.encode(signed.fee).decode(),
            "attempt": attempt,
            "cancels": cancels,
            "state": StoredTxState.SIGNED.value,
            "signed_height": signed_height,
            "signed_ms": self.now_ms,
        }
        return self._insert(_transactions, values, f"transaction {signed.tx_id}")

    def by_tx_id(self, chain: ChainId, tx_id: TxId) -> StoredTx | None:
        """Return a transaction by the id its chain gives it."""
        where = (_transactions.c.chain == chain, _transactions.c.tx_id == tx_id)
        row = self._first(select(_transactions).where(*where))
        return _stored_tx(row) if row else None

    def of_intent(self, intent_id: int) -> list[StoredTx]:
        """Return all transactions of an intent, oldest first."""
        where = _transactions.c.intent_id == intent_id
        return [
            _stored_tx(row)
            for row in self._all(select(_transactions).where(where).order_by(_transactions.c.id))
        ]

    def of_intents(self, intent_ids: Iterable[int]) -> dict[int, list[StoredTx]]:
        """Return the transactions of several intents, oldest first.

        An intent with a transaction that cannot be read is missing in the answer: a sender that does not
        know all that was signed for an intent must not sign for it again.
        """
        ids = list(intent_ids)
        found: dict[int, list[StoredTx]] = {intent_id: [] for intent_id in ids}
        if ids:
            where = _transactions.c.intent_id.in_(ids)
            for row in self._all(select(_transactions).where(where).order_by(_transactions.c.id)):
                try:
                    stored = _stored_tx(row)
                except UnreadableRowError as error:
                    log.error("intent_passed_over", intent=row.intent_id, reason=str(error), hint=error.hint)
                    found.pop(row.intent_id, None)
                    continue
                if row.intent_id in found:
                    found[row.intent_id].append(stored)
        return found

    def pending_sequences(self, chain: ChainId, account: str) -> dict[int, list[StoredTx]]:
        """Return, by sequence, what may still be included or was included but is not settled: these sequences
        are taken."""
        where = (
            _transactions.c.chain == chain,
            _transactions.c.account == account,
            _transactions.c.sequence.is_not(None),
            _transactions.c.state.in_(_PENDING_TX),
        )
        found: dict[int, list[StoredTx]] = {}
        for row in self._all(select(_transactions).where(*where).order_by(_transactions.c.id)):
            # A row that cannot be read still takes its sequence.
            found.setdefault(row.sequence, []).extend(readable([row], _stored_tx))
        return found

    def settled_floor(self, chain: ChainId, account: str) -> int:
        """Return one more than the highest sequence that was used up finally: no lower one is free."""
        where = (
            _transactions.c.chain == chain,
            _transactions.c.account == account,
            _transactions.c.state.in_([StoredTxState.FINAL.value, StoredTxState.FAILED.value]),
        )
        highest = select(func.coalesce(func.max(_transactions.c.sequence), -1)).where(*where)
        return int(self._connection.execute(highest).scalar_one()) + 1

    def move(
        self,
        tx_row_id: int,
        state: StoredTxState,
        *,
        block_height: int | None = None,
        block_id: str = "",
        reason: str = "",
        replaced_by: str = "",
    ) -> None:
        """Set what is known of a transaction; BROADCAST also notes the time of its first sending."""
        values: dict[str, Any] = {
            "state": state.value,
            "block_height": block_height,
            "block_id": block_id,
            "reason": reason,
        }
        if replaced_by:
            values["replaced_by"] = replaced_by
        if state is StoredTxState.BROADCAST:
            values["sent_ms"] = func.coalesce(_transactions.c.sent_ms, self.now_ms)
        self._run(update(_transactions).where(_transactions.c.id == tx_row_id).values(**values))

    def of_swap(self, swap_id: SwapId) -> list[tuple[Intent, StoredTx]]:
        """Return a swap's intents with their transactions, oldest first."""
        intents = {
            row.id: _stored_intent(row)
            for row in self._all(select(_intents).where(_intents.c.swap_id == swap_id))
        }
        found = self.of_intents(intents)
        return [(intents[key], tx) for key in sorted(found) for tx in found[key]]


class Leases(Repository):
    """Who alone may do something. The fence grows with every new holder, so a stale one is detected."""

    def acquire(self, name: str, owner: str, hold_ms: int) -> Lease | None:
        """Take, renew or take over a lease that ran out; None while another owner holds it.

        A lease that lasts longer than any could have been given was written by a clock that was ahead: it is
        void. Its holder, if it lives, notices by the fence.
        """
        until = self.now_ms + hold_ms
        row = self._first(select(_leases).where(_leases.c.name == name).with_for_update())
        if row is None:
            values = {"name": name, "owner": owner, "fence": 1, "until_ms": until}
            try:
                self._insert(_leases, values, f"lease {name}")
            except DuplicateError:
                return None
            return Lease(name, owner, 1, until)
        if row.owner == owner:
            fence = row.fence
        elif row.until_ms <= self.now_ms or row.until_ms > until + CLOCK_SKEW_MS:
            fence = row.fence + 1
        else:
            return None
        this = and_(_leases.c.name == name, _leases.c.fence == row.fence, _leases.c.owner == row.owner)
        if not self._run(update(_leases).where(this).values(owner=owner, fence=fence, until_ms=until)):
            return None
        return Lease(name, owner, fence, until)

    def require(self, lease: Lease) -> None:
        """Check, in the transaction that writes, that the lease is still ours. Raises `LeaseLostError`.

        A lease that ran out is still ours as long as nobody has taken it: the fence decides, not the clock.
        The row is locked against a take-over until this transaction ends.
        """
        row = self._first(select(_leases).where(_leases.c.name == lease.name).with_for_update())
        if row is None or row.owner != lease.owner or row.fence != lease.fence:
            raise LeaseLostError(
                f"lease {lease.name} belongs to another worker now", "stop sending; acquire it again"
            )

    def release(self, lease: Lease) -> None:
        """Give the lease back, so that another worker need not wait."""
        this = and_(
            _leases.c.name == lease.name, _leases.c.fence == lease.fence, _leases.c.owner == lease.owner
        )
        self._run(update(_leases).where(this).values(until_ms=0))

    def all(self) -> Sequence[Lease]:
        """Return all leases, for the operator."""
        return records(self._all(select(_leases).order_by(_leases.c.name)), Lease)
