"""The swaps."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import msgspec
from sqlalchemy import Connection, Row, and_, bindparam, func, or_, select, text, update

from bridge.protocol.alarms import next_alarm
from bridge.protocol.legs import UNLOCKED
from bridge.protocol.types import (
    Amount,
    BlockHeight,
    ChainId,
    LegState,
    LockId,
    Purpose,
    Swap,
    SwapId,
    SwapState,
    UnixSeconds,
)
from bridge.store.errors import ConflictError
from bridge.store.records import IntentState, ObservedKind, StoredSwap, SwapMeta
from bridge.store.repositories.base import Repository, in_parts, readable, unreadable
from bridge.store.tables import IntentRow, ObservationRow, QuoteRow, SwapRow, table_of
from bridge.store.write_buffer import WriteBuffer

_swaps = table_of(SwapRow)
_quotes = table_of(QuoteRow)
_intents = table_of(IntentRow)
_observations = table_of(ObservationRow)

CLOSED_STATES = frozenset({SwapState.COMPLETED, SwapState.REFUNDED, SwapState.EXPIRED_UNFUNDED})
"""A swap in one of these needs nothing more. (ATTENTION and INVALID_LOCK are still open.)"""

_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(Swap)


class _Amount(msgspec.Struct):
    """Of stored terms, the amount alone."""

    amount: Amount


_amount = msgspec.json.Decoder(_Amount)
_UNLOCKED = tuple(state.value for state in UNLOCKED)
_UNDONE = (LegState.SEEN.value, LegState.FINAL.value, LegState.CLAIM_SEEN.value)
_SIGNED = (
    IntentState.SIGNED.value,
    IntentState.BROADCAST.value,
    IntentState.INCLUDED.value,
    IntentState.FINAL.value,
)
_CHANGING = (
    "state",
    "open",
    "source_state",
    "destination_state",
    "source_alarm",
    "destination_alarm",
    "source_lock_id",
    "destination_lock_id",
    "snapshot",
)
"""The columns that change with a swap."""


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

# The statements of every event, built once: building costs as much as executing.
_GET_SWAP = select(_swaps).where(_swaps.c.id == bindparam("wanted"))
_BY_HASHLOCK = select(_swaps).where(_swaps.c.hashlock == bindparam("wanted"))
_GET_SWAP_TO_CHANGE = _GET_SWAP.with_for_update()
_GET_SWAPS_TO_CHANGE = (
    select(_swaps).where(_swaps.c.id.in_(bindparam("ids", expanding=True))).order_by(_swaps.c.id)
).with_for_update()
_IDS_OF_HASHLOCKS = select(_swaps.c.hashlock, _swaps.c.id).where(
    _swaps.c.hashlock.in_(bindparam("hashlocks", expanding=True))
)
_SAVE = (
    update(_swaps)
    .where(_swaps.c.id == bindparam("this"), _swaps.c.version == bindparam("was"))
    .values(
        **{name: bindparam(f"new_{name}") for name in (*_CHANGING, "version", "updated_ms")},
        finished_ms=bindparam("new_finished_ms"),
    )
)


class Swaps(Repository):
    """The swaps. Every change goes through `save`, which compares the version it was read at.

    A swap that was read to be changed is remembered: nobody else can change it before the transaction ends.
    """

    def __init__(self, connection: Connection, now_ms: int, buffer: WriteBuffer) -> None:
        super().__init__(connection, now_ms, buffer)
        self._held: dict[str, StoredSwap] = {}
        self._by_hashlock: dict[bytes, str] = {}
        buffer.on_undo(self._forget)

    def _forget(self) -> None:
        self._held.clear()
        self._by_hashlock.clear()

    def _hold(self, stored: StoredSwap) -> StoredSwap:
        self._held[stored.id] = stored
        self._by_hashlock[stored.swap.hashlock] = stored.id
        return stored

    def hold(self, swap_ids: Iterable[SwapId]) -> None:
        """Read many swaps to change them, with one query, and make other writers of them wait until this
        transaction ends. One that cannot be read is left to `get`.

        Who changes several swaps in one transaction holds all of them first: rows are taken in the order of
        their ids, and before the locks of logs. Two such transactions that took them one by one, as they
        came, would wait for each other (on SQLite there is only one writing transaction anyway).
        """
        for part in in_parts(sorted(set(swap_ids) - self._held.keys())):
            for stored in readable(self._all(_GET_SWAPS_TO_CHANGE, {"ids": part}), _stored):
                self._hold(stored)

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
        if swap_id in self._held:
            return self._held[swap_id]
        row = self._first(_GET_SWAP_TO_CHANGE if for_update else _GET_SWAP, {"wanted": swap_id})
        if row is None:
            return None
        return self._hold(_stored(row)) if for_update else _stored(row)

    def save(self, swap: Swap, version: int) -> int:
        """Replace the snapshot if the row still has `version`; returns the new one. Raises
        `ConflictError`."""
        stored = self.get(swap.id, for_update=True)
        if stored is None or stored.version != version:
            raise ConflictError(
                f"swap {swap.id} has changed since version {version}", "read it again and retry"
            )
        columns = _columns(swap)
        finished = None if columns["open"] else stored.finished_ms or self.now_ms
        changes = {**columns, "version": version + 1, "updated_ms": self.now_ms, "finished_ms": finished}
        row = {f"new_{name}": value for name, value in changes.items()}
        self._buffer.add(self._save_all, {"this": swap.id, "was": version, **row})
        self._hold(
            msgspec.structs.replace(
                stored, swap=swap, version=version + 1, updated_ms=self.now_ms, finished_ms=finished
            )
        )
        return version + 1

    def _save_all(self, rows: list[dict[str, Any]]) -> None:
        if self._write_all(_SAVE, rows) != len(rows):
            raise ConflictError("a swap has changed since it was read", "read it again and retry")

    def by_hashlock(self, hashlock: bytes) -> StoredSwap | None:
        """Return the swap with this hashlock: there is at most one."""
        if hashlock in self._by_hashlock:
            return self._held[self._by_hashlock[hashlock]]
        row = self._first(_BY_HASHLOCK, {"wanted": hashlock.hex()})
        return _stored(row) if row else None

    def by_hashlocks(self, hashlocks: Iterable[bytes]) -> dict[bytes, SwapId]:
        """Return the swaps' ids of those of the hashlocks that a swap has: one query for all."""
        found: dict[bytes, SwapId] = {}
        for part in in_parts(hashlock.hex() for hashlock in hashlocks):
            rows = self._all(_IDS_OF_HASHLOCKS, {"hashlocks": part})
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

    def completed_by(self, client: str, limit: int = 100) -> list[tuple[str, Amount]]:
        """Return the source assets and amounts of a client's newest completed swaps."""
        statement = (
            select(_swaps.c.source_asset, _quotes.c.source_amount)
            .join(_quotes, _quotes.c.id == _swaps.c.quote_id)
            .where(_swaps.c.client == client, _swaps.c.state == SwapState.COMPLETED.value)
            .order_by(_swaps.c.created_ms.desc())
            .limit(limit)
        )
        return [(row.source_asset, row.source_amount) for row in self._all(statement)]

    def walked_away(self, client: str) -> int:
        """Return how many swaps of a client were locked on both sides and left."""
        where = (_swaps.c.client == client, _swaps.c.destination_state == LegState.REFUND_FINAL.value)
        return int(self._connection.execute(select(func.count()).where(*where)).scalar_one())

    def at_risk(self, source_asset: str, without: SwapId) -> list[tuple[Amount, BlockHeight]]:
        """Return the source locks of other swaps that a reorganisation could still undo to our loss: their
        amounts and heights. The destination of those swaps is locked or taken, or its lock is signed."""
        signed = (
            select(_intents.c.id)
            .where(
                _intents.c.swap_id == _swaps.c.id,
                _intents.c.purpose == Purpose.LOCK.value,
                _intents.c.state.in_(_SIGNED),
            )
            .exists()
        )
        statement = (
            select(_observations.c.terms, _observations.c.block_height)
            .join(
                _swaps,
                and_(
                    _observations.c.chain == _swaps.c.source_chain,
                    _observations.c.lock_id == _swaps.c.source_lock_id,
                ),
            )
            .where(
                _swaps.c.open,
                _swaps.c.source_asset == source_asset,
                _swaps.c.id != without,
                _swaps.c.source_state.in_(_UNDONE),
                _observations.c.kind == ObservedKind.LOCKED.value,
                _observations.c.canonical,
                or_(_swaps.c.destination_state.not_in(_UNLOCKED), signed),
            )
        )
        return [
            (_amount.decode(row.terms).amount, BlockHeight(row.block_height))
            for row in self._all(statement)
            if row.terms
        ]

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
