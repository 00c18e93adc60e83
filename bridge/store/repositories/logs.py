"""What only grows: the event log of swaps and status changes for watchers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
from sqlalchemy import bindparam, delete, func, select

from bridge.protocol.events import Event, redacted_json
from bridge.protocol.types import Swap, SwapId, SwapState
from bridge.store.records import Notification, SwapEvent
from bridge.store.repositories.base import Repository, in_parts, readable_records
from bridge.store.tables import NotificationRow, SwapEventRow, SwapRow, table_of

_swaps = table_of(SwapRow)
_events = table_of(SwapEventRow)
_notifications = table_of(NotificationRow)

_ENDED = select(_swaps.c.id).where(_swaps.c.open.is_(False))
_LAST_SWAP_SEQS = (
    select(_events.c.swap_id, func.max(_events.c.swap_seq).label("last"))
    .where(_events.c.swap_id.in_(bindparam("ids", expanding=True)))
    .group_by(_events.c.swap_id)
)
_LATER_EVENTS = select(_events).where(_events.c.seq > bindparam("after"), _events.c.seq <= bindparam("last"))
_LAST_SEQ = select(func.coalesce(func.max(_events.c.seq), 0))
_EVENTS_LOCK = 0x5241494E
"""Key of PostgreSQL's advisory lock for the order of the event log ("RAIN")."""
_WRITES_EVENTS = select(func.pg_advisory_xact_lock_shared(_EVENTS_LOCK))
_AWAITS_EVENTS = select(func.pg_advisory_xact_lock(_EVENTS_LOCK))
_INSERT_EVENT = _events.insert()
_INSERT_NOTIFICATION = _notifications.insert()


class EventPage(msgspec.Struct, frozen=True):
    """Some events in order, the number of the newest row that was looked at, and whether it was the last."""

    events: list[SwapEvent]
    seq: int
    is_last: bool


class Events(Repository):
    """The append-only log of what happened to swaps."""

    def append(self, swap: Swap, event: Event) -> None:
        """Log an event together with the states it led to. It gets its number when the buffer is emptied."""
        row: dict[str, Any] = {
            "swap_id": swap.id,
            "kind": type(event).__name__,
            "body": redacted_json(event).decode(),
            "state": swap.state.value,
            "source_state": swap.source.state.value,
            "destination_state": swap.destination.state.value,
            "at_ms": self.now_ms,
        }
        self._buffer.add(self._append_all, row)

    def _append_all(self, rows: list[dict[str, Any]]) -> None:
        """Number and store events. Within a swap they cannot get mixed up: its row is locked.

        PostgreSQL hands out the numbers over all before the commit, so that a lower one may show later. The
        lock is shared: writers do not wait for one another, and readers know by it whom to wait for.
        """
        if self._postgres:
            self._opened_connection.execute(_WRITES_EVENTS)
        last: dict[str, int] = {}
        for part in in_parts(row["swap_id"] for row in rows):
            found = self._opened_connection.execute(_LAST_SWAP_SEQS, {"ids": part})
            last |= {row.swap_id: row.last for row in found}
        for row in rows:
            row["swap_seq"] = last[row["swap_id"]] = last.get(row["swap_id"], 0) + 1
        self._write_all(_INSERT_EVENT, rows)

    def _settled(self) -> int:
        """Return the newest number up to which all events show, and none can come any more."""
        last = int(self._connection.execute(_LAST_SEQ).scalar_one())
        if self._postgres:
            # A writer with a number up to this one holds the lock until its events show or are given up.
            # Rolling back to the savepoint lets go of it at once (PostgreSQL's manual, 13.3.5).
            with self._connection.begin_nested() as point:
                self._connection.execute(_AWAITS_EVENTS)
                point.rollback()
        return last

    def after(self, seq: int, limit: int = 500, swap_id: SwapId = SwapId("")) -> list[SwapEvent]:
        """Return the events after a sequence number, in order, of one swap or all."""
        return self.page(seq, limit, swap_id).events

    def page(self, seq: int, limit: int, swap_id: SwapId = SwapId("")) -> EventPage:
        """Return the same with where to go on: also past an event that cannot be read, which is left out."""
        if swap_id:  # those of one swap show in their order
            statement = select(_events).where(_events.c.seq > seq, _events.c.swap_id == swap_id)
            rows = self._all(statement.order_by(_events.c.seq).limit(limit))
        else:
            last = self._settled()
            if last <= seq:
                return EventPage([], seq, is_last=True)
            statement = _LATER_EVENTS.order_by(_events.c.seq).limit(limit)
            rows = self._all(statement, {"after": seq, "last": last})
        return EventPage(
            readable_records(rows, SwapEvent), rows[-1].seq if rows else seq, is_last=len(rows) < limit
        )

    def last_seq_of(self, swap_id: SwapId) -> int:
        """Return the newest sequence number of one swap, 0 if there is none."""
        statement = select(func.coalesce(func.max(_events.c.seq), 0)).where(_events.c.swap_id == swap_id)
        return int(self._connection.execute(statement).scalar_one())

    def last_seq(self) -> int:
        """Return the newest sequence number, 0 if there is none. No event with a lower one can come later."""
        return self._settled()

    def ended_before(self, before_ms: int, limit: int) -> list[int]:
        """Return the numbers of events from before a time of swaps that have ended, without the newest of
        each swap: the next one is numbered after it."""
        later = _events.alias("later")
        newer = select(later.c.seq).where(
            later.c.swap_id == _events.c.swap_id, later.c.swap_seq > _events.c.swap_seq
        )
        old = select(_events.c.seq).where(
            _events.c.at_ms < before_ms, _events.c.swap_id.in_(_ENDED), newer.exists()
        )
        return [row.seq for row in self._all(old.limit(limit))]

    def forget(self, seqs: Sequence[int]) -> None:
        """Delete events."""
        self._run(delete(_events).where(_events.c.seq.in_(seqs)))


class Notifications(Repository):
    """Public status changes for watchers, replayable from a sequence number."""

    def add(self, swap_id: SwapId, state: SwapState, detail: str = "") -> None:
        """Append one."""
        values = {"swap_id": swap_id, "state": state.value, "detail": detail, "at_ms": self.now_ms}
        self._buffer.add(self._add_all, values)

    def _add_all(self, rows: list[dict[str, Any]]) -> None:
        self._write_all(_INSERT_NOTIFICATION, rows)

    def after(self, seq: int, limit: int = 500, swap_id: SwapId = SwapId("")) -> list[Notification]:
        """Return the notifications after a sequence number, in order."""
        statement = select(_notifications).where(_notifications.c.seq > seq)
        if swap_id:
            statement = statement.where(_notifications.c.swap_id == swap_id)
        return readable_records(
            self._all(statement.order_by(_notifications.c.seq).limit(limit)), Notification
        )

    def ended_before(self, before_ms: int, limit: int) -> list[int]:
        """Return the numbers of status changes from before a time of swaps that have ended."""
        old = (_notifications.c.at_ms < before_ms, _notifications.c.swap_id.in_(_ENDED))
        return [row.seq for row in self._all(select(_notifications.c.seq).where(*old).limit(limit))]

    def forget(self, seqs: Sequence[int]) -> None:
        """Delete status changes."""
        self._run(delete(_notifications).where(_notifications.c.seq.in_(seqs)))
