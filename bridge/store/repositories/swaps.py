"""Swaps, their event log, notifications and receipts."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import msgspec
from sqlalchemy import (
    Row,
    and_,
    bindparam,
    delete,
    func,
    or_,
    select,
    text,
    update,
)

from bridge.protocol.alarms import next_alarm
from bridge.protocol.events import Event, redacted_json
from bridge.protocol.types import ChainId, LockId, Swap, SwapId, SwapState, UnixSeconds
from bridge.store.errors import ConflictError
from bridge.store.records import Notification, Receipt, StoredSwap, SwapEvent, SwapMeta
from bridge.store.repositories.base import Repository, in_parts, readable, record, records, unreadable
from bridge.store.tables import NotificationRow, ReceiptRow, SwapEventRow, SwapRow, table_of

_swaps = table_of(SwapRow)
_events = table_of(SwapEventRow)
_notifications = table_of(NotificationRow)
_receipts = table_of(ReceiptRow)

CLOSED_STATES = frozenset({SwapState.COMPLETED, SwapState.REFUNDED, SwapState.EXPIRED_UNFUNDED})
"""A swap in one of these needs nothing more. (ATTENTION and INVALID_LOCK are still open.)"""

_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(Swap)


def _alarms(swap: Swap) -> dict[str, Any]:
    return {
        "source_alarm": next_alarm(swap, swap.source.terms.chain),
        "destination_alarm": next_alarm(swap, swap.destination.terms.chain),
    }


def _columns(swap: Swap) -> dict[str, Any]:
    return {
        "state": swap.state.value,
        "open": swap.state not in CLOSED_STATES,
        "source_state": swap.source.state.value,
        "destination_state": swap.destination.state.value,
        **_alarms(swap),
        "source_lock_id": swap.source.lock_id,
        "destination_lock_id": swap.destination.lock_id,
        "snapshot": _encoder.encode(swap).decode(),
    }


def _stored(row: Row[Any]) -> StoredSwap:
    meta = SwapMeta(row.quote_id, row.client, row.refund_address, row.recipient, row.idempotency_key)
    try:
        swap = _decoder.decode(row.snapshot)
    except msgspec.DecodeError as error:
        raise unreadable("swap", row) from error
    return StoredSwap(swap, row.version, meta, row.created_ms, row.updated_ms, row.finished_ms)


_IS_OPEN = text("open")
"""As the partial indexes have it: SQLite uses them only for the very same words, not for `open = 1`."""

_ENDED = select(_swaps.c.id).where(_swaps.c.open.is_(False))

# The statements of every event, built once: building costs as much as executing.
_GET_SWAP = select(_swaps).where(_swaps.c.id == bindparam("wanted"))
_GET_SWAP_TO_CHANGE = _GET_SWAP.with_for_update()
_LAST_SWAP_SEQ = select(func.coalesce(func.max(_events.c.swap_seq), 0)).where(
    _events.c.swap_id == bindparam("wanted")
)


class Swaps(Repository):
    """The swaps. Every change goes through `save`, which compares the version it was read at."""

    def add(self, swap: Swap, meta: SwapMeta) -> StoredSwap:
        """Store a new swap at version 1. Raises `DuplicateError` for a known id, quote or hashlock."""
        finished = self.now_ms if swap.state in CLOSED_STATES else None
        values = {
            "id": swap.id,
            "version": 1,
            "source_chain": swap.source.terms.chain,
            "destination_chain": swap.destination.terms.chain,
            "source_asset": swap.source.terms.asset.key,
            "destination_asset": swap.destination.terms.asset.key,
            "hashlock": swap.hashlock.hex(),
            "lane": swap.destination.terms.lane,
            "quote_id": meta.quote_id,
            "client": meta.client,
            "refund_address": meta.refund_address,
            "recipient": meta.recipient,
            "idempotency_key": meta.idempotency_key,
            "created_ms": self.now_ms,
            "updated_ms": self.now_ms,
            "finished_ms": finished,
            **_columns(swap),
        }
        self._insert(
            _swaps, values, f"a swap with this id, quote or hashlock ({swap.id})", "use a fresh hashlock"
        )
        return StoredSwap(swap, 1, meta, self.now_ms, self.now_ms, finished)

    def get(self, swap_id: SwapId, *, for_update: bool = False) -> StoredSwap | None:
        """Return a swap; with `for_update` other writers of it wait until this transaction ends."""
        row = self._first(_GET_SWAP_TO_CHANGE if for_update else _GET_SWAP, {"wanted": swap_id})
        return _stored(row) if row else None

    def save(self, swap: Swap, version: int) -> int:
        """Replace the snapshot if the row still has `version`; returns the new one. Raises
        `ConflictError`."""
        values = _columns(swap)
        changes = {**values, "version": version + 1, "updated_ms": self.now_ms}
        if values["open"]:
            changes["finished_ms"] = None
        else:
            changes["finished_ms"] = func.coalesce(_swaps.c.finished_ms, self.now_ms)
        where = (_swaps.c.id == swap.id, _swaps.c.version == version)
        if not self._run(update(_swaps).where(*where).values(**changes)):
            raise ConflictError(
                f"swap {swap.id} has changed since version {version}", "read it again and retry"
            )
        return version + 1

    def by_hashlock(self, hashlock: bytes) -> StoredSwap | None:
        """Return the swap with this hashlock: there is at most one."""
        row = self._first(select(_swaps).where(_swaps.c.hashlock == hashlock.hex()))
        return _stored(row) if row else None

    def hold(self, swap_ids: Iterable[SwapId]) -> None:
        """Make other writers of these swaps wait until this transaction ends.

        Who changes several swaps in one transaction holds all of them first: rows are taken in the order of
        their ids, and before the event log's lock. Two such transactions that took them one by one, as they
        came, would wait for each other (on SQLite there is only one writing transaction anyway).
        """
        for part in in_parts(sorted(swap_ids)):
            statement = select(_swaps.c.id).where(_swaps.c.id.in_(part)).order_by(_swaps.c.id)
            self._all(statement.with_for_update())

    def by_hashlocks(self, hashlocks: Iterable[bytes]) -> dict[bytes, SwapId]:
        """Return the swaps' ids of those of the hashlocks that a swap has: one query for all."""
        found: dict[bytes, SwapId] = {}
        for part in in_parts(hashlock.hex() for hashlock in hashlocks):
            rows = self._all(select(_swaps.c.hashlock, _swaps.c.id).where(_swaps.c.hashlock.in_(part)))
            found |= {bytes.fromhex(row.hashlock): SwapId(row.id) for row in rows}
        return found

    def by_lock(self, chain: ChainId, lock_id: LockId) -> StoredSwap | None:
        """Return the swap that has this lock as one of its legs."""
        row = self._first(
            select(_swaps).where(
                or_(
                    and_(_swaps.c.source_chain == chain, _swaps.c.source_lock_id == lock_id),
                    and_(_swaps.c.destination_chain == chain, _swaps.c.destination_lock_id == lock_id),
                )
            )
        )
        return _stored(row) if row else None

    def by_idempotency_key(self, client: str, key: str) -> StoredSwap | None:
        """Return the swap that a client asked for under this key."""
        row = self._first(select(_swaps).where(_swaps.c.client == client, _swaps.c.idempotency_key == key))
        return _stored(row) if row else None

    def open(self, chain: ChainId) -> list[StoredSwap]:
        """Return the swaps of a chain that are not over, oldest first."""
        here = or_(_swaps.c.source_chain == chain, _swaps.c.destination_chain == chain)
        statement = select(_swaps).where(_swaps.c.open, here)
        return readable(self._all(statement.order_by(_swaps.c.created_ms, _swaps.c.id)), _stored)

    def with_alarm(self, chain: ChainId, time: UnixSeconds) -> list[StoredSwap]:
        """Return the open swaps in which that time of a chain can change what is required."""
        found: dict[str, Row[Any]] = {}
        for at, alarm in (
            (_swaps.c.source_chain, _swaps.c.source_alarm),
            (_swaps.c.destination_chain, _swaps.c.destination_alarm),
        ):
            rows = self._all(select(_swaps).where(_IS_OPEN, at == chain, alarm <= time))
            found |= {row.id: row for row in rows}
        return readable(found.values(), _stored)

    def open_after(self, swap_id: SwapId, limit: int) -> tuple[list[StoredSwap], SwapId]:
        """Return some open swaps in the order of their ids, after one, and where to go on ("" at the end). It
        goes on also where a row cannot be read."""
        after = (_IS_OPEN, _swaps.c.id > swap_id)
        rows = self._all(select(_swaps).where(*after).order_by(_swaps.c.id).limit(limit))
        return readable(rows, _stored), SwapId(rows[-1].id if len(rows) == limit else "")

    def set_alarms(self, swap: Swap, version: int) -> None:
        """Store when a swap wants to hear the time next, if it is still at that version."""
        where = (_swaps.c.id == swap.id, _swaps.c.version == version)
        self._run(update(_swaps).where(*where).values(**_alarms(swap)))

    def lanes_in_use(self, chain: ChainId) -> set[int]:
        """Return the lanes that our locks on a chain hold or may still take: those of open swaps."""
        where = (_swaps.c.open, _swaps.c.destination_chain == chain, _swaps.c.lane > 0)
        return {int(row.lane) for row in self._all(select(_swaps.c.lane).where(*where))}

    def open_ids(self, chain: ChainId | None = None) -> list[str]:
        """Return the ids of the swaps that are not over, oldest first, of one chain or all."""
        statement = select(_swaps.c.id).where(_swaps.c.open)
        if chain is not None:
            statement = statement.where(
                or_(_swaps.c.source_chain == chain, _swaps.c.destination_chain == chain)
            )
        return [row.id for row in self._all(statement.order_by(_swaps.c.created_ms, _swaps.c.id))]

    def page(
        self,
        limit: int,
        after: tuple[int, str] | None = None,
        *,
        states: Sequence[SwapState] = (),
        client: str = "",
        hashlock: bytes = b"",
    ) -> list[StoredSwap]:
        """Return swaps, newest first. `after` is the (created_ms, id) of the last one of the page before."""
        statement = select(_swaps)
        if after is not None:
            created, last = after
            older = and_(_swaps.c.created_ms == created, _swaps.c.id < last)
            statement = statement.where(or_(_swaps.c.created_ms < created, older))
        if states:
            statement = statement.where(_swaps.c.state.in_([state.value for state in states]))
        if client:
            statement = statement.where(_swaps.c.client == client)
        if hashlock:
            statement = statement.where(_swaps.c.hashlock == hashlock.hex())
        ordered = statement.order_by(_swaps.c.created_ms.desc(), _swaps.c.id.desc()).limit(limit)
        return readable(self._all(ordered), _stored)

    def count_by_state(self) -> dict[SwapState, int]:
        """Return how many swaps there are in each state."""
        statement = select(_swaps.c.state, func.count().label("n")).group_by(_swaps.c.state)
        return {SwapState(row.state): row.n for row in self._all(statement)}

    def count_open(self, client: str) -> int:
        """Return how many swaps of a client are not over."""
        statement = select(func.count()).where(_swaps.c.client == client, _swaps.c.open)
        return int(self._connection.execute(statement).scalar_one())


class Events(Repository):
    """The append-only log of what happened to swaps."""

    def append(self, swap: Swap, event: Event) -> SwapEvent:
        """Log an event together with the states it led to.

        PostgreSQL hands out sequence numbers before commit; without the lock, a reader that polls "after seq"
        could miss an event that commits late.
        """
        if self._postgres:
            self._connection.execute(select(func.pg_advisory_xact_lock(_EVENT_ORDER_LOCK)))
        swap_seq = int(self._connection.execute(_LAST_SWAP_SEQ, {"wanted": swap.id}).scalar_one()) + 1
        values: dict[str, Any] = {
            "swap_id": swap.id,
            "swap_seq": swap_seq,
            "kind": type(event).__name__,
            "body": redacted_json(event).decode(),
            "state": swap.state.value,
            "source_state": swap.source.state.value,
            "destination_state": swap.destination.state.value,
            "at_ms": self.now_ms,
        }
        seq = self._insert(_events, values, f"event {swap_seq} of swap {swap.id}")
        return msgspec.convert({"seq": seq, **values}, SwapEvent)

    def after(self, seq: int, limit: int = 500, swap_id: SwapId = SwapId("")) -> list[SwapEvent]:
        """Return the events after a sequence number, in order, of one swap or all."""
        statement = select(_events).where(_events.c.seq > seq)
        if swap_id:
            statement = statement.where(_events.c.swap_id == swap_id)
        return records(self._all(statement.order_by(_events.c.seq).limit(limit)), SwapEvent)

    def last_seq_of(self, swap_id: SwapId) -> int:
        """Return the newest sequence number of one swap, 0 if there is none."""
        statement = select(func.coalesce(func.max(_events.c.seq), 0)).where(_events.c.swap_id == swap_id)
        return int(self._connection.execute(statement).scalar_one())

    def last_seq(self) -> int:
        """Return the newest sequence number, 0 if there is none."""
        return int(self._connection.execute(select(func.coalesce(func.max(_events.c.seq), 0))).scalar_one())

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


_EVENT_ORDER_LOCK = 0x5241494E
"""Key of the advisory lock that keeps event numbers in commit order ("RAIN")."""


class Notifications(Repository):
    """Public status changes for watchers, replayable from a sequence number."""

    def add(self, swap_id: SwapId, state: SwapState, detail: str = "") -> None:
        """Append one."""
        values = {"swap_id": swap_id, "state": state.value, "detail": detail, "at_ms": self.now_ms}
        self._insert(_notifications, values, "notification")

    def after(self, seq: int, limit: int = 500, swap_id: SwapId = SwapId("")) -> list[Notification]:
        """Return the notifications after a sequence number, in order."""
        statement = select(_notifications).where(_notifications.c.seq > seq)
        if swap_id:
            statement = statement.where(_notifications.c.swap_id == swap_id)
        return records(self._all(statement.order_by(_notifications.c.seq).limit(limit)), Notification)

    def ended_before(self, before_ms: int, limit: int) -> list[int]:
        """Return the numbers of status changes from before a time of swaps that have ended."""
        old = (_notifications.c.at_ms < before_ms, _notifications.c.swap_id.in_(_ENDED))
        return [row.seq for row in self._all(select(_notifications.c.seq).where(*old).limit(limit))]

    def forget(self, seqs: Sequence[int]) -> None:
        """Delete status changes."""
        self._run(delete(_notifications).where(_notifications.c.seq.in_(seqs)))


class Receipts(Repository):
    """The leaves of the transparency log: indices without gaps, one per swap that ended."""

    def append(self, swap_id: SwapId, body: str) -> int:
        """Append a swap's receipt and return its index; a swap that has one keeps it unchanged."""
        kept = self._first(select(_receipts.c.index).where(_receipts.c.swap_id == swap_id))
        if kept:
            return int(kept[0])
        if self._postgres:
            self._connection.execute(select(func.pg_advisory_xact_lock(_EVENT_ORDER_LOCK + 1)))
        index = self.size()
        values = {"index": index, "swap_id": swap_id, "body": body, "created_ms": self.now_ms}
        self._insert(_receipts, values, f"receipt {index}")
        return index

    def size(self) -> int:
        """Return the number of leaves."""
        return int(self._connection.execute(select(func.count()).select_from(_receipts)).scalar_one())

    def get(self, swap_id: SwapId) -> Receipt | None:
        """Return a swap's receipt."""
        row = self._first(select(_receipts).where(_receipts.c.swap_id == swap_id))
        return record(row, Receipt) if row else None

    def slice(self, start: int, end: int) -> list[Receipt]:
        """Return the leaves with start ≤ index < end, in order."""
        where = (_receipts.c.index >= start, _receipts.c.index < end)
        return records(self._all(select(_receipts).where(*where).order_by(_receipts.c.index)), Receipt)
