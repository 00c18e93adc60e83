"""What was seen of chains: the recent blocks, HTLC observations, and each chain's status."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import msgspec
from sqlalchemy import Row, bindparam, delete, func, select, update

from bridge.chains.port import SetAside
from bridge.protocol.types import BlockRef, ChainId, LegRole, LockId, LockTerms, SwapId, TxId
from bridge.store.records import ChainStatus, Observation, ObservedKind, StoredSetAside
from bridge.store.repositories.base import Repository, in_parts, readable, record, records, unreadable
from bridge.store.tables import BlockRow, ChainStatusRow, ObservationRow, SetAsideRow, table_of

_blocks = table_of(BlockRow)
_observations = table_of(ObservationRow)
_set_aside = table_of(SetAsideRow)
_status = table_of(ChainStatusRow)

_terms = msgspec.json.Decoder(LockTerms)
_lock_ids = msgspec.json.Decoder(tuple[LockId, ...])
_status_decoder = msgspec.json.Decoder(ChainStatus)


class Blocks(Repository):
    """The recent canonical blocks of each chain."""

    def ring(self, chain: ChainId) -> list[BlockRef]:
        """Return the recent canonical blocks, oldest first."""
        columns = (_blocks.c.height, _blocks.c.id, _blocks.c.parent, _blocks.c.time)
        statement = select(*columns).where(_blocks.c.chain == chain).order_by(_blocks.c.height)
        return records(self._all(statement), BlockRef)

    def last(self, chain: ChainId) -> BlockRef | None:
        """Return the newest of these blocks."""
        columns = (_blocks.c.height, _blocks.c.id, _blocks.c.parent, _blocks.c.time)
        statement = select(*columns).where(_blocks.c.chain == chain).order_by(_blocks.c.height.desc())
        row = self._first(statement.limit(1))
        return record(row, BlockRef) if row else None

    def first(self, chain: ChainId) -> BlockRef | None:
        """Return the oldest of these blocks."""
        columns = (_blocks.c.height, _blocks.c.id, _blocks.c.parent, _blocks.c.time)
        statement = select(*columns).where(_blocks.c.chain == chain).order_by(_blocks.c.height)
        row = self._first(statement.limit(1))
        return record(row, BlockRef) if row else None

    def contains(self, chain: ChainId, block: BlockRef) -> bool:
        """Tell whether exactly this block is among the recent ones."""
        where = (_blocks.c.chain == chain, _blocks.c.height == block.height, _blocks.c.id == block.id)
        return self._first(select(_blocks.c.id).where(*where)) is not None

    def append(self, chain: ChainId, blocks: Sequence[BlockRef]) -> None:
        """Add canonical blocks; a block stored at the same height is replaced."""
        if not blocks:
            return
        heights = [block.height for block in blocks]
        self._run(delete(_blocks).where(_blocks.c.chain == chain, _blocks.c.height.in_(heights)))
        rows = [{"chain": chain, **msgspec.structs.asdict(block)} for block in blocks]
        self._connection.execute(_blocks.insert(), rows)

    def remove(self, chain: ChainId, blocks: Iterable[BlockRef]) -> None:
        """Remove orphaned blocks."""
        for block in blocks:
            where = (
                _blocks.c.chain == chain,
                _blocks.c.height == block.height,
                _blocks.c.id == block.id,
            )
            self._run(delete(_blocks).where(*where))

    def oldest(self, chain: ChainId) -> int:
        """Return the height of the oldest of these blocks, 0 if there is none."""
        lowest = select(func.coalesce(func.min(_blocks.c.height), 0)).where(_blocks.c.chain == chain)
        return int(self._connection.execute(lowest).scalar_one())

    def trim(self, chain: ChainId, keep: int) -> None:
        """Forget all but the newest `keep` blocks."""
        newest = select(func.max(_blocks.c.height)).where(_blocks.c.chain == chain).scalar_subquery()
        self._run(delete(_blocks).where(_blocks.c.chain == chain, _blocks.c.height <= newest - keep))


def _observation(row: Row[Any]) -> Observation:
    block = BlockRef(row.block_height, row.block_id, row.block_parent, row.block_time)
    try:
        terms = _terms.decode(row.terms) if row.terms else None
    except msgspec.DecodeError as error:
        raise unreadable("observation", row) from error
    return record(row, Observation, block=block, terms=terms)


class Observations(Repository):
    """HTLC events of our swaps, with the blocks they were seen in: finality and orphaning follow."""

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
        same = (
            _observations.c.chain == chain,
            _observations.c.kind == kind.value,
            _observations.c.lock_id == lock_id,
            _observations.c.tx_id == tx_id,
            _observations.c.block_id == block.id,
        )
        earlier = self._first(select(_observations.c.id, _observations.c.canonical).where(*same))
        if earlier is not None:
            if earlier.canonical:
                return False
            self._run(
                update(_observations)
                .where(_observations.c.id == earlier.id)
                .values(canonical=True, settled=False)
            )
            return True
        values = {
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
        self._insert(_observations, values, "observation")
        return True

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
        self._run(update(_observations).where(_observations.c.id == observation_id).values(settled=True))

    def withdraw(self, observation_id: int) -> None:
        """Note that an observation is not so: something else was shown instead."""
        self._run(
            update(_observations)
            .where(_observations.c.id == observation_id)
            .values(canonical=False, settled=False)
        )

    def reopen(self, chain: ChainId, kind: ObservedKind, lock_id: LockId, block: BlockRef) -> None:
        """Note that an observation is not final yet after all."""
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
        where = (
            _observations.c.chain == chain,
            _observations.c.lock_id == lock_id,
            _observations.c.kind == kind.value,
            _observations.c.canonical,
        )
        rows = self._all(select(_observations).where(*where).order_by(_observations.c.id.desc()))
        return [_observation(row) for row in rows]


def _item(row: Row[Any]) -> StoredSetAside:
    block = BlockRef(row.block_height, row.block_id, row.block_parent, row.block_time)
    return record(row, StoredSetAside, block=block, lock_ids=_lock_ids.decode(row.lock_ids))


class SetAsides(Repository):
    """What stands in scanned blocks and could not be read."""

    def add(self, chain: ChainId, item: SetAside, software: str) -> bool:
        """Store an item, or note that this version of the software could not read it either; returns whether
        it is new."""
        same = (
            _set_aside.c.chain == chain,
            _set_aside.c.block_id == item.block.id,
            _set_aside.c.item == item.item,
        )
        if self._run(update(_set_aside).where(*same).values(software=software, resolved=False)):
            return False
        values = {
            "chain": chain,
            "item": item.item,
            "block_height": item.block.height,
            "block_id": item.block.id,
            "block_parent": item.block.parent,
            "block_time": item.block.time,
            "reason": item.reason,
            "lock_ids": msgspec.json.encode(item.lock_ids).decode(),
            "software": software,
            "resolved": False,
            "first_seen_ms": self.now_ms,
        }
        self._insert(_set_aside, values, "item set aside")
        return True

    def orphan(self, chain: ChainId, blocks: Iterable[BlockRef]) -> None:
        """Forget what was set aside in blocks that left the chain."""
        for part in in_parts(block.id for block in blocks):
            where = (_set_aside.c.chain == chain, _set_aside.c.block_id.in_(part))
            self._run(delete(_set_aside).where(*where))

    def open(self, chain: ChainId, *, not_by: str = "", limit: int = 100) -> list[StoredSetAside]:
        """Return what is not read yet, oldest first; with `not_by` only what that version has not tried."""
        where = [_set_aside.c.chain == chain, _set_aside.c.resolved.is_(False)]
        if not_by:
            where.append(_set_aside.c.software != not_by)
        statement = select(_set_aside).where(*where).order_by(_set_aside.c.block_height, _set_aside.c.id)
        return [_item(row) for row in self._all(statement.limit(limit))]

    def count(self, chain: ChainId) -> int:
        """Return how many items are not read yet."""
        where = (_set_aside.c.chain == chain, _set_aside.c.resolved.is_(False))
        return int(
            self._connection.execute(select(func.count()).select_from(_set_aside).where(*where)).scalar_one()
        )

    def resolve(self, item_id: int) -> None:
        """Note that an item was read after all."""
        self._run(update(_set_aside).where(_set_aside.c.id == item_id).values(resolved=True))


_GET_STATUS = select(_status.c.body).where(_status.c.chain == bindparam("wanted"))


class Chains(Repository):
    """The status of each chain: written by its relayer, read by everybody."""

    def put(self, status: ChainStatus) -> None:
        """Replace a chain's status."""
        stamped = msgspec.structs.replace(status, updated_ms=self.now_ms)
        values = {"body": msgspec.json.encode(stamped).decode(), "updated_ms": self.now_ms}
        this = _status.c.chain == status.chain
        if not self._run(update(_status).where(this).values(**values)):
            self._insert(_status, {"chain": status.chain, **values}, f"status of {status.chain}")

    def get(self, chain: ChainId) -> ChainStatus | None:
        """Return a chain's status, None before its relayer first ran."""
        row = self._first(_GET_STATUS, {"wanted": chain})
        return _status_decoder.decode(row.body) if row else None

    def all(self) -> dict[ChainId, ChainStatus]:
        """Return the status of every chain that has one."""
        rows = self._all(select(_status.c.body).order_by(_status.c.chain))
        found = [_status_decoder.decode(row.body) for row in rows]
        return {status.chain: status for status in found}
