"""Intents: what is to be done on chain."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import msgspec
from sqlalchemy import Connection, Row, bindparam, case, func, or_, select, update

from bridge.protocol.types import ChainId, LegRole, LockId, Purpose, SwapId, UnixSeconds
from bridge.store.errors import DuplicateError
from bridge.store.records import (
    CLOCK_SKEW_MS,
    LIVE_INTENT_STATES,
    Intent,
    IntentState,
    Lease,
    PlannedIntent,
)
from bridge.store.repositories.base import Repository, in_parts, readable, record
from bridge.store.tables import IntentRow, SwapRow, table_of
from bridge.store.write_buffer import WriteBuffer

_intents = table_of(IntentRow)
_swaps = table_of(SwapRow)

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


def stored_intent(row: Row[Any]) -> Intent:
    """Return the intent of a row. Raises `UnreadableRowError`."""
    return record(row, Intent, batch_leader=row.carrier)


def _stored_intents(rows: Iterable[Row[Any]]) -> list[Intent]:
    return readable(rows, stored_intent)


_Key = tuple[str, str, str, str]
"""Subject, leg, purpose and lock of an intent."""


def _key_of(planned: PlannedIntent) -> _Key:
    return planned.subject, planned.leg, planned.purpose.value, planned.lock_id


class _Deadline(msgspec.Struct):
    deadline: UnixSeconds


class _Leg(msgspec.Struct):
    terms: _Deadline


class _Deadlines(msgspec.Struct):
    """Of a stored swap, both legs' deadlines alone."""

    source: _Leg
    destination: _Leg


_deadlines = msgspec.json.Decoder(_Deadlines)

_SNAPSHOTS = select(_swaps.c.id, _swaps.c.snapshot).where(_swaps.c.id.in_(bindparam("ids", expanding=True)))
_GET_INTENT = select(_intents).where(_intents.c.id == bindparam("this"))
_INSERT_INTENT = _intents.insert()
_STANDING_OF = select(_intents).where(
    _intents.c.swap_id.in_(bindparam("ids", expanding=True)), _intents.c.state.not_in(_DEAD)
)
_STANDING = select(_intents).where(
    _intents.c.subject == bindparam("subject"),
    _intents.c.leg == bindparam("leg"),
    _intents.c.purpose == bindparam("purpose"),
    _intents.c.lock_id == bindparam("lock_id"),
    _intents.c.state.not_in(_DEAD),
)


class Intents(Repository):
    """What is to be done on chain. One row at most stands per (subject, leg, purpose, lock).

    What stands for many swaps can be read at once (`remember`); any other change here forgets it again.
    """

    def __init__(self, connection: Connection, now_ms: int, buffer: WriteBuffer) -> None:
        super().__init__(connection, now_ms, buffer)
        self._known: dict[str, dict[_Key, Row[Any] | None]] = {}
        """By swap; None for what this transaction has planned itself."""
        buffer.on_undo(self._known.clear)

    def _run(self, statement: Any, values: dict[str, Any] | None = None) -> int:
        self._known.clear()
        return super()._run(statement, values)

    def remember(self, swap_ids: Iterable[SwapId]) -> None:
        """Read what stands for these swaps, with one query. The swaps must be held: then nobody else plans
        for them."""
        for part in in_parts(swap_ids):
            known: dict[str, dict[_Key, Row[Any] | None]] = {swap_id: {} for swap_id in part}
            for row in self._all(_STANDING_OF, {"ids": part}):
                known[row.swap_id][row.subject, row.leg, row.purpose, row.lock_id] = row
            self._known.update(known)

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
            "pays": planned.pays,
            "chain": planned.chain,
            "action": planned.action,
            "state": IntentState.PLANNED.value,
            "created_ms": self.now_ms,
            "updated_ms": self.now_ms,
        }
        known = self._known.get(planned.swap_id) if planned.swap_id else None
        key = _key_of(planned)
        if known is not None:
            if key in known:
                return False
            known[key] = None
            self._buffer.add(self._plan_all, values)
            return True
        if self.standing(planned.subject, planned.leg, planned.purpose, planned.lock_id) is not None:
            return False
        try:
            self._insert(_intents, values, "intent")
        except DuplicateError:
            return False
        return True

    def _plan_all(self, rows: list[dict[str, Any]]) -> None:
        self._write_all(_INSERT_INTENT, rows)

    def is_final(self, planned: PlannedIntent) -> bool:
        """Tell whether what stands for this has been done finally."""
        key = _key_of(planned)
        known = self._known.get(planned.swap_id) if planned.swap_id else None
        if known is not None and key in known:
            row = known[key]
            return row is not None and row.state == IntentState.FINAL.value
        standing = self.standing(planned.subject, planned.leg, planned.purpose, planned.lock_id)
        return standing is not None and standing.state is IntentState.FINAL

    def get(self, intent_id: int) -> Intent | None:
        """Return an intent."""
        row = self._first(_GET_INTENT, {"this": intent_id})
        return stored_intent(row) if row else None

    def standing(
        self, subject: str, leg: str, purpose: Purpose, lock_id: LockId = LockId("")
    ) -> Intent | None:
        """Return the intent that stands for this (subject, leg, purpose, lock)."""
        wanted = {"subject": subject, "leg": leg, "purpose": purpose.value, "lock_id": lock_id}
        row = self._first(_STANDING, wanted)
        return stored_intent(row) if row else None

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

    def claim_deadlines(self, swap_ids: Iterable[SwapId]) -> dict[tuple[SwapId, str], UnixSeconds]:
        """Return, by swap and leg, until when these swaps' locks can be claimed before anybody may refund
        them. A swap that cannot be read is left out: who works on it says so."""
        found: dict[tuple[SwapId, str], UnixSeconds] = {}
        for part in in_parts(sorted(swap_ids)):
            for row in self._all(_SNAPSHOTS, {"ids": part}):
                try:
                    swap = _deadlines.decode(row.snapshot)
                except msgspec.DecodeError:
                    continue
                found[SwapId(row.id), LegRole.SOURCE] = swap.source.terms.deadline
                found[SwapId(row.id), LegRole.DESTINATION] = swap.destination.terms.deadline
        return found

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
        return _stored_intents(
            row for part in in_parts(swap_ids) for row in self._all(_STANDING_OF, {"ids": part})
        )

    def count_by_state(self) -> dict[tuple[ChainId, IntentState], int]:
        """Return how many intents there are by chain and state."""
        statement = select(_intents.c.chain, _intents.c.state, func.count().label("n")).group_by(
            _intents.c.chain, _intents.c.state
        )
        return {(ChainId(row.chain), IntentState(row.state)): row.n for row in self._all(statement)}
