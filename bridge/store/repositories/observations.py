"""What was seen of our swaps' locks, with the blocks it was seen in."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

import msgspec
from sqlalchemy import Connection, Row, bindparam, select, update

from bridge.protocol.types import BlockRef, ChainId, LegRole, LockId, LockTerms, SwapId, TxId
from bridge.store.records import Observation, ObservedKind
from bridge.store.repositories.base import Repository, in_parts, readable, record, unreadable
from bridge.store.tables import ObservationRow, table_of
from bridge.store.write_buffer import WriteBuffer

_observations = table_of(ObservationRow)
_terms = msgspec.json.Decoder(LockTerms)


class _Known(NamedTuple):
    """An observation that this transaction knows of; `row` None if it has only just added it."""

    kind: str
    tx_id: TxId
    block_id: str
    canonical: bool
    settled: bool
    row: Row[Any] | None = None


def _observation(row: Row[Any]) -> Observation:
    block = BlockRef(row.block_height, row.block_id, row.block_parent, row.block_time)
    try:
        terms = _terms.decode(row.terms) if row.terms else None
    except msgspec.DecodeError as error:
        raise unreadable("observation", row) from error
    return record(row, Observation, block=block, terms=terms)


_INSERT_OBSERVATION = _observations.insert()
_SETTLE = update(_observations).where(_observations.c.id == bindparam("this")).values(settled=True)
_SAME = select(_observations.c.id, _observations.c.canonical).where(
    _observations.c.chain == bindparam("here"),
    _observations.c.lock_id == bindparam("lock_id"),
    _observations.c.kind == bindparam("kind"),
    _observations.c.tx_id == bindparam("tx_id"),
    _observations.c.block_id == bindparam("block_id"),
)
_OF_LOCKS = (
    select(_observations)
    .where(
        _observations.c.chain == bindparam("here"),
        _observations.c.lock_id.in_(bindparam("lock_ids", expanding=True)),
    )
    .order_by(_observations.c.id)
)


class Observations(Repository):
    """HTLC events of our swaps, with the blocks they were seen in: finality and orphaning follow.

    What is known of many locks can be read at once (`remember`); any other change here forgets it again.
    """

    def __init__(self, connection: Connection, now_ms: int, buffer: WriteBuffer) -> None:
        super().__init__(connection, now_ms, buffer)
        self._of_lock: dict[tuple[ChainId, LockId], list[_Known]] = {}
        buffer.on_undo(self._of_lock.clear)

    def _run(self, statement: Any, values: dict[str, Any] | None = None) -> int:
        self._of_lock.clear()
        return super()._run(statement, values)

    def remember(self, chain: ChainId, lock_ids: Iterable[LockId]) -> None:
        """Read all that was seen of these locks, with one query."""
        for part in in_parts(lock_ids):
            known: dict[LockId, list[_Known]] = {LockId(lock_id): [] for lock_id in part}
            for row in self._all(_OF_LOCKS, {"here": chain, "lock_ids": part}):
                known[row.lock_id].append(
                    _Known(row.kind, row.tx_id, row.block_id, row.canonical, row.settled, row)
                )
            self._of_lock.update({(chain, lock_id): rows for lock_id, rows in known.items()})

    def add(
        self,
        chain: ChainId,
        kind: ObservedKind,
        swap_id: SwapId,
        leg: LegRole,
        *,
        lock_id: LockId,
        tx_id: TxId,
        block: BlockRef,
        depth: int,
        needs_finalized: bool = False,
        terms: LockTerms | None = None,
    ) -> bool:
        """Store an observation; returns whether it is news (seen first, or canonical again after a reorg)."""
        known = self._of_lock.get((chain, lock_id))
        this = (kind.value, tx_id, block.id)
        is_new = known is not None and all(seen[:3] != this for seen in known)
        if not is_new:
            values = dict(zip(("kind", "tx_id", "block_id"), this, strict=True))
            earlier = self._first(_SAME, {"here": chain, "lock_id": lock_id, **values})
            if earlier is not None and not earlier.canonical:
                again = update(_observations).where(_observations.c.id == earlier.id)
                self._run(again.values(canonical=True, settled=False))
            if earlier is not None:
                return not earlier.canonical
        row = {
            "chain": chain,
            "kind": kind.value,
            "swap_id": swap_id,
            "leg": leg.value,
            "lock_id": lock_id,
            "tx_id": tx_id,
            "block_height": block.height,
            "block_id": block.id,
            "block_parent": block.parent,
            "block_time": block.time,
            "depth": depth,
            "needs_finalized": needs_finalized,
            "terms": msgspec.json.encode(terms).decode() if terms else "",
            "canonical": True,
            "settled": False,
            "created_ms": self.now_ms,
        }
        if known is not None and is_new:
            known.append(_Known(*this, canonical=True, settled=False))
            self._buffer.add(self._add_all, row)
        else:
            self._insert(_observations, row, "observation")
        return True

    def _add_all(self, rows: list[dict[str, Any]]) -> None:
        self._write_all(_INSERT_OBSERVATION, rows)

    def orphan(self, chain: ChainId, blocks: Iterable[BlockRef]) -> list[Observation]:
        """Mark what was seen in orphaned blocks as not canonical; returns it, newest first."""
        ids = [block.id for block in blocks]
        if not ids:
            return []
        where = (
            _observations.c.chain == chain,
            _observations.c.block_id.in_(ids),
            _observations.c.canonical,
        )
        found = readable(self._all(select(_observations).where(*where)), _observation)
        if found:
            self._run(update(_observations).where(*where).values(canonical=False, settled=False))
        return sorted(found, key=lambda seen: (seen.block.height, seen.id), reverse=True)

    def unsettled(self, chain: ChainId) -> list[Observation]:
        """Return what is canonical but not final yet, oldest first."""
        where = (
            _observations.c.chain == chain,
            _observations.c.canonical,
            _observations.c.settled.is_(False),
        )
        order = (_observations.c.block_height, _observations.c.id)
        return readable(self._all(select(_observations).where(*where).order_by(*order)), _observation)

    def settle(self, observation_id: int) -> None:
        """Note that an observation is final and that its swap knows."""
        self._buffer.add(self._settle_all, {"this": observation_id})

    def _settle_all(self, rows: list[dict[str, Any]]) -> None:
        self._of_lock.clear()
        self._write_all(_SETTLE, rows)

    def withdraw(self, observation_id: int) -> None:
        """Note that an observation is not so: something else was shown instead."""
        self._run(
            update(_observations)
            .where(_observations.c.id == observation_id)
            .values(canonical=False, settled=False)
        )

    def reopen(self, chain: ChainId, kind: ObservedKind, lock_id: LockId, block: BlockRef) -> None:
        """Note that an observation is not final yet after all."""
        known = self._of_lock.get((chain, lock_id))
        if known is not None and not any(seen.kind == kind.value and seen.settled for seen in known):
            return
        where = (
            _observations.c.chain == chain,
            _observations.c.kind == kind.value,
            _observations.c.lock_id == lock_id,
            _observations.c.block_id == block.id,
            _observations.c.canonical,
        )
        self._run(update(_observations).where(*where).values(settled=False))

    def of_locks(self, chain: ChainId, lock_ids: Iterable[LockId]) -> dict[LockId, Observation]:
        """Return the newest canonical sight of each of these locks that is one of ours: one query for all."""
        found: dict[LockId, Observation] = {}
        for part in in_parts(lock_ids):
            where = (
                _observations.c.chain == chain,
                _observations.c.lock_id.in_(part),
                _observations.c.kind == ObservedKind.LOCKED.value,
                _observations.c.canonical,
            )
            for row in self._all(select(_observations).where(*where).order_by(_observations.c.id)):
                found[row.lock_id] = _observation(row)
        return found

    def of_swap(self, swap_id: SwapId, *, canonical: bool = True) -> list[Observation]:
        """Return a swap's observations in chain order; with `canonical=False` also the orphaned ones."""
        statement = select(_observations).where(_observations.c.swap_id == swap_id)
        if canonical:
            statement = statement.where(_observations.c.canonical)
        order = (_observations.c.block_height, _observations.c.id)
        return [_observation(row) for row in self._all(statement.order_by(*order))]

    def of_lock(self, chain: ChainId, lock_id: LockId, kind: ObservedKind) -> Observation | None:
        """Return the newest canonical observation of a lock of one kind."""
        return next(iter(self.all_of_lock(chain, lock_id, kind)), None)

    def all_of_lock(self, chain: ChainId, lock_id: LockId, kind: ObservedKind) -> list[Observation]:
        """Return the canonical observations of a lock of one kind, newest first."""
        known = self._of_lock.get((chain, lock_id))
        if known is not None:
            here = [seen for seen in reversed(known) if seen.kind == kind.value and seen.canonical]
            if all(seen.row is not None for seen in here):
                return [_observation(seen.row) for seen in here if seen.row is not None]
        where = (
            _observations.c.chain == chain,
            _observations.c.lock_id == lock_id,
            _observations.c.kind == kind.value,
            _observations.c.canonical,
        )
        rows = self._all(select(_observations).where(*where).order_by(_observations.c.id.desc()))
        return [_observation(row) for row in rows]
