"""What was seen of chains: the recent blocks, what could not be read in them, and each chain's status."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import msgspec
from sqlalchemy import Connection, Row, bindparam, delete, func, select, update

from bridge.chains.port import SetAside
from bridge.protocol.types import BlockRef, ChainId, LockId
from bridge.store.records import ChainStatus, StoredSetAside
from bridge.store.repositories.base import Repository, in_parts, readable, record, records, unreadable
from bridge.store.tables import BlockRow, ChainStatusRow, SetAsideRow, table_of
from bridge.store.write_buffer import WriteBuffer

_blocks = table_of(BlockRow)
_set_aside = table_of(SetAsideRow)
_status = table_of(ChainStatusRow)

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


def _item(row: Row[Any]) -> StoredSetAside:
    block = BlockRef(row.block_height, row.block_id, row.block_parent, row.block_time)
    try:
        lock_ids = _lock_ids.decode(row.lock_ids)
    except msgspec.DecodeError as error:
        raise unreadable("item", row) from error
    return record(row, StoredSetAside, block=block, lock_ids=lock_ids)


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
        return readable(self._all(statement.limit(limit)), _item)

    def get(self, item_id: int) -> StoredSetAside | None:
        """Return an item."""
        row = self._first(select(_set_aside).where(_set_aside.c.id == item_id))
        return _item(row) if row else None

    def count(self, chain: ChainId) -> int:
        """Return how many items are not read yet."""
        where = (_set_aside.c.chain == chain, _set_aside.c.resolved.is_(False))
        return int(
            self._connection.execute(select(func.count()).select_from(_set_aside).where(*where)).scalar_one()
        )

    def resolve(self, item_id: int) -> None:
        """Note that an item was read after all, or that a person has seen that it does not matter."""
        self._run(update(_set_aside).where(_set_aside.c.id == item_id).values(resolved=True))


_GET_STATUS = select(_status.c.chain, _status.c.body).where(_status.c.chain == bindparam("wanted"))


def _stored_status(row: Row[Any]) -> ChainStatus:
    try:
        return _status_decoder.decode(row.body)
    except msgspec.DecodeError as error:
        raise unreadable("status of", row) from error


class Chains(Repository):
    """The status of each chain: written by its relayer, read by everybody.

    Within a transaction a chain's status is read once, and then only what the transaction itself writes
    changes it.
    """

    def __init__(self, connection: Connection, now_ms: int, buffer: WriteBuffer) -> None:
        super().__init__(connection, now_ms, buffer)
        self._read: dict[ChainId, ChainStatus | None] = {}
        buffer.on_undo(self._read.clear)

    def put(self, status: ChainStatus) -> None:
        """Replace a chain's status."""
        stamped = msgspec.structs.replace(status, updated_ms=self.now_ms)
        values = {"body": msgspec.json.encode(stamped).decode(), "updated_ms": self.now_ms}
        this = _status.c.chain == status.chain
        if not self._run(update(_status).where(this).values(**values)):
            self._insert(_status, {"chain": status.chain, **values}, f"status of {status.chain}")
        self._read[status.chain] = stamped

    def get(self, chain: ChainId) -> ChainStatus | None:
        """Return a chain's status, None before its relayer first ran, and where it cannot be read: until its
        relayer writes it again nothing is concluded from it."""
        if chain not in self._read:
            found = readable(self._all(_GET_STATUS, {"wanted": chain}), _stored_status)
            self._read[chain] = found[0] if found else None
        return self._read[chain]

    def all(self) -> dict[ChainId, ChainStatus]:
        """Return the status of every chain that has one."""
        rows = self._all(select(_status.c.chain, _status.c.body).order_by(_status.c.chain))
        return {status.chain: status for status in readable(rows, _stored_status)}
