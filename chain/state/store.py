"""The node's data directory: one LMDB environment, one write transaction per accepted block.

LMDB is copy-on-write with two alternating meta pages: a process killed at any byte leaves the last committed
state. Everything a block changes goes through `StateWriter`, which keeps the old values: they are the
block's undo record.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from enum import IntEnum
from pathlib import Path
from typing import Any

import lmdb
import msgspec
import numpy as np

from chain.rules.accounts import Account
from chain.rules.block import Block, U64Array, split_rows
from chain.rules.errors import StoreError
from chain.rules.header import HEADER_BYTES, Header
from chain.rules.locks import Lock
from chain.rules.types import BlockHeight, BlockId, KeyHash, LockId, TxId
from chain.state.headers import HeaderRecord, HeaderStatus

SCHEMA = b"1"
MAP_SIZE = 1 << 38
"""Address space reserved, 256 GiB; the file grows only as it fills."""

_HEADER_RECORD = struct.Struct("<88s32sIB")
_TIP = struct.Struct("<32sI32sQQ")
_PLACE = struct.Struct("<I32sI")
_PLACES = np.dtype([("height", "<u4"), ("block_id", "V32"), ("index", "<u4")])
ACCOUNT = struct.Struct("<QQQQ")


class Table(IntEnum):
    """The LMDB databases. Those up to ANCHORS are state, which undo records restore."""

    ACCOUNTS = 0
    LOCKS = 1
    HASHLOCKS = 2
    TRANSACTIONS = 3
    HEIGHTS = 4
    ANCHORS = 5
    META = 6
    HEADERS = 7
    BLOCKS = 8
    UNDO = 9
    SIDES = 10


STATE_TABLES = (
    Table.ACCOUNTS, Table.LOCKS, Table.HASHLOCKS, Table.TRANSACTIONS, Table.HEIGHTS, Table.ANCHORS
)  # fmt: skip
_TIP_KEY = b"tip"


class Tip(msgspec.Struct, frozen=True):
    """The head of the main chain. `issued`: all subsidies so far; `locked`: the sum of open locks."""

    id: BlockId
    height: BlockHeight
    work: int
    issued: int
    locked: int


class Place(msgspec.Struct, frozen=True):
    """Where a transaction stands on the main chain."""

    height: int
    block_id: BlockId
    index: int


class _Undo(msgspec.Struct, frozen=True, array_like=True):
    """An undo record: accounts as they were (zeros: absent), transactions added, other old values."""

    addresses: bytes
    accounts: bytes
    txids: bytes
    journal: list[tuple[int, bytes, bytes | None]]


def _side_key(block_id: BlockId, record: HeaderRecord) -> bytes:
    return record.work.to_bytes(32, "big") + block_id


def _chunks(data: bytes, size: int) -> list[bytes]:
    return [data[i : i + size] for i in range(0, len(data), size)]


class StateReader:
    """Typed reads within one LMDB transaction."""

    def __init__(self, txn: Any, tables: list[Any]) -> None:
        self._txn = txn
        self._tables = tables

    def _get(self, table: Table, key: bytes) -> bytes | None:
        value: bytes | None = self._txn.get(key, db=self._tables[table])
        return value

    def get_many(self, table: Table, keys: list[bytes]) -> dict[bytes, bytes]:
        """Return those of `keys` that exist."""
        with self._txn.cursor(self._tables[table]) as cursor:
            return dict(cursor.getmulti(keys))

    def tip(self) -> Tip | None:
        """Return the head, None before genesis."""
        data = self._get(Table.META, _TIP_KEY)
        if data is None:
            return None
        block_id, height, work, issued, locked = _TIP.unpack(data)
        return Tip(block_id, height, int.from_bytes(work, "big"), issued, locked)

    def get_account(self, address: KeyHash) -> Account:
        """Return an account; one never seen is empty."""
        data = self._get(Table.ACCOUNTS, address)
        return Account(*ACCOUNT.unpack(data)) if data else Account()

    def get_lock(self, lock_id: LockId) -> Lock | None:
        """Return a lock, open or spent."""
        data = self._get(Table.LOCKS, lock_id)
        return Lock.decode(data) if data else None

    def find_locks(self, hashlock: bytes, limit: int) -> list[LockId]:
        """Return the ids of locks under a hashlock."""
        return [LockId(key) for key in self._suffixes(Table.HASHLOCKS, hashlock, limit)]

    def find_anchors(self, root: bytes, limit: int) -> list[TxId]:
        """Return the ids of anchor transactions of a root."""
        return [TxId(key) for key in self._suffixes(Table.ANCHORS, root, limit)]

    def _suffixes(self, table: Table, prefix: bytes, limit: int) -> list[bytes]:
        found: list[bytes] = []
        with self._txn.cursor(self._tables[table]) as cursor:
            more = cursor.set_range(prefix)
            while more and len(found) < limit and cursor.key().startswith(prefix):
                found.append(cursor.key()[len(prefix) :])
                more = cursor.next()
        return found

    def get_place(self, txid: TxId) -> Place | None:
        """Return where a transaction stands on the main chain."""
        data = self._get(Table.TRANSACTIONS, txid)
        return Place(*_PLACE.unpack(data)) if data else None

    def id_at(self, height: int) -> BlockId | None:
        """Return the main chain's block id at a height."""
        found = self._get(Table.HEIGHTS, height.to_bytes(4, "big")) if 0 <= height < 2**32 else None
        return None if found is None else BlockId(found)

    def get_header(self, block_id: BlockId) -> HeaderRecord | None:
        """Return a known header, on any branch."""
        data = self._get(Table.HEADERS, block_id)
        if data is None:
            return None
        header, work, count, status = _HEADER_RECORD.unpack(data)
        return HeaderRecord(Header.decode(header), int.from_bytes(work, "big"), count, HeaderStatus(status))

    def get_block(self, block_id: BlockId) -> Block | None:
        """Return a stored block, on any branch."""
        data = self._get(Table.BLOCKS, block_id)
        return Block.decode(data) if data else None

    def sides(self) -> list[BlockId]:
        """Return the stored blocks that are not on the main chain, the least work first."""
        return [
            BlockId(key[32:]) for key in self._txn.cursor(self._tables[Table.SIDES]).iternext(values=False)
        ]

    def side_count(self) -> int:
        """Return how many stored blocks are not on the main chain."""
        entries: int = self._txn.stat(self._tables[Table.SIDES])["entries"]
        return entries

    def get_undo(self, block_id: BlockId) -> bytes | None:
        """Return a main-chain block's undo record."""
        return self._get(Table.UNDO, block_id)

    def get_meta(self, key: bytes) -> bytes | None:
        """Return a value of the node itself."""
        return self._get(Table.META, key)

    def accounts(self) -> Iterator[tuple[KeyHash, Account]]:
        """Yield all accounts: audits and tests."""
        for address, data in self._txn.cursor(self._tables[Table.ACCOUNTS]):
            yield address, Account(*ACCOUNT.unpack(data))

    def locks(self) -> Iterator[tuple[LockId, Lock]]:
        """Yield all locks: audits and tests."""
        for lock_id, data in self._txn.cursor(self._tables[Table.LOCKS]):
            yield lock_id, Lock.decode(data)

    def state_digest(self) -> bytes:
        """SHA-256 over every key and value of the state and the tip: equal states, equal digests."""
        digest = hashlib.sha256(self._get(Table.META, _TIP_KEY) or b"")
        for table in STATE_TABLES:
            digest.update(bytes([table]))
            for key, value in self._txn.cursor(self._tables[table]):
                digest.update(len(key).to_bytes(4, "big") + key + len(value).to_bytes(4, "big") + value)
        return digest.digest()


class StateWriter(StateReader):
    """Reads and writes within one LMDB write transaction; state writes are journalled for undo."""

    def __init__(self, txn: Any, tables: list[Any]) -> None:
        super().__init__(txn, tables)
        self._journal: list[tuple[int, bytes, bytes | None]] = []
        self._old_accounts = (b"", b"")
        self._added = b""

    def _set(self, table: Table, key: bytes, value: bytes) -> None:
        """Write a state value, keeping the old one."""
        self._journal.append((table, key, self._get(table, key)))
        self._txn.put(key, value, db=self._tables[table])

    def set_accounts(self, addresses: list[bytes], accounts: U64Array, before: U64Array) -> None:
        """Write accounts (M, 4) and keep what they were; zeros stand for absent."""
        self._old_accounts = (b"".join(addresses), before.tobytes())
        with self._txn.cursor(self._tables[Table.ACCOUNTS]) as cursor:
            cursor.putmulti(sorted(zip(addresses, split_rows(accounts), strict=True)))

    def set_lock(self, lock_id: LockId, lock: Lock) -> None:
        """Write a lock, and its hashlock's index when new."""
        self._set(Table.LOCKS, lock_id, lock.encode())
        index_key = lock.hashlock + lock_id
        if self._get(Table.HASHLOCKS, index_key) is None:
            self._set(Table.HASHLOCKS, index_key, b"\x01")

    def add_anchor(self, root: bytes, txid: TxId) -> None:
        """Index an anchor by its root."""
        self._set(Table.ANCHORS, root + txid, b"\x01")

    def add_transactions(self, txids: list[TxId], height: int, block_id: BlockId) -> None:
        """Index a block's transactions; none can be there already, nonces make ids unique."""
        self._added = b"".join(txids)
        places = np.empty(len(txids), _PLACES)
        places["height"], places["block_id"], places["index"] = height, block_id, np.arange(len(txids))
        rows = places.view(f"V{_PLACE.size}").tolist()
        with self._txn.cursor(self._tables[Table.TRANSACTIONS]) as cursor:
            cursor.putmulti(sorted(zip(txids, rows, strict=True)))

    def set_tip(self, tip: Tip) -> None:
        """Move the head."""
        self._set(Table.HEIGHTS, tip.height.to_bytes(4, "big"), tip.id)
        value = _TIP.pack(tip.id, tip.height, tip.work.to_bytes(32, "big"), tip.issued, tip.locked)
        self._set(Table.META, _TIP_KEY, value)

    def finish_block(self, block_id: BlockId) -> None:
        """Write the block's undo record and begin a new one."""
        undo = _Undo(*self._old_accounts, self._added, self._journal)
        self._txn.put(block_id, msgspec.msgpack.encode(undo), db=self._tables[Table.UNDO])
        self._journal, self._old_accounts, self._added = [], (b"", b""), b""

    def undo_block(self, block_id: BlockId) -> None:
        """Restore what the block, the head, changed."""
        record = self.get_undo(block_id)
        if record is None:
            raise StoreError(
                f"the undo record of block {block_id.hex()} is missing",
                hint="the data directory is damaged: delete it and sync again",
            )
        undo = msgspec.msgpack.decode(record, type=_Undo)
        for table, key, old in reversed(undo.journal):
            self._restore(table, key, old)
        for txid in _chunks(undo.txids, 32):
            self._restore(Table.TRANSACTIONS, txid, None)
        olds = _chunks(undo.accounts, ACCOUNT.size)
        for address, old in zip(_chunks(undo.addresses, 20), olds, strict=True):
            self._restore(Table.ACCOUNTS, address, old if any(old) else None)
        self._txn.delete(block_id, db=self._tables[Table.UNDO])

    def _restore(self, table: int, key: bytes, old: bytes | None) -> None:
        if old is None:
            self._txn.delete(key, db=self._tables[table])
        else:
            self._txn.put(key, old, db=self._tables[table])

    def put_block(self, block: Block, record: HeaderRecord) -> None:
        """Store a block of any branch."""
        self.put_header(block.id, record)
        self._txn.put(block.id, block.encode(), db=self._tables[Table.BLOCKS])

    def put_header(self, block_id: BlockId, record: HeaderRecord) -> None:
        """Store or mark a header."""
        value = _HEADER_RECORD.pack(
            record.header.encode(), record.work.to_bytes(32, "big"), record.transactions, record.status
        )
        self._txn.put(block_id, value, db=self._tables[Table.HEADERS])

    def add_side(self, block_id: BlockId, record: HeaderRecord) -> None:
        """List a stored block as one that is not on the main chain."""
        self._txn.put(_side_key(block_id, record), b"", db=self._tables[Table.SIDES])

    def end_side(self, block_id: BlockId, record: HeaderRecord) -> None:
        """Take a block that joined the main chain off that list."""
        self._txn.delete(_side_key(block_id, record), db=self._tables[Table.SIDES])

    def forget_body(self, block_id: BlockId, record: HeaderRecord) -> HeaderRecord:
        """Delete a block of another branch and keep its header. Returns the header's new record."""
        self.end_side(block_id, record)
        self._txn.delete(block_id, db=self._tables[Table.BLOCKS])
        kept = record if record.invalid else record.marked(HeaderStatus.HEADER)
        self.put_header(block_id, kept)
        return kept

    def drop_undo(self, height: int) -> None:
        """Delete the undo record of the main chain's block at a height, which no reorganisation reaches."""
        block_id = self.id_at(height)
        if block_id is not None:
            self._txn.delete(block_id, db=self._tables[Table.UNDO])

    def set_meta(self, key: bytes, value: bytes) -> None:
        """Store a value of the node itself, outside consensus."""
        self._txn.put(key, value, db=self._tables[Table.META])


class Store:
    """The LMDB environment of one node. A second process on the same directory is refused by the node."""

    def __init__(self, directory: Path, identity: bytes, *, sync: bool = True) -> None:
        """Open or create. `identity` names the network; a directory of another one is refused."""
        directory.mkdir(parents=True, exist_ok=True)
        try:
            self._env = lmdb.open(
                str(directory), map_size=MAP_SIZE, max_dbs=len(Table), subdir=True, sync=sync, metasync=sync
            )
            self._tables = [self._env.open_db(table.name.lower().encode()) for table in Table]
        except lmdb.Error as error:
            raise StoreError(
                f"cannot open {directory}: {error}", hint="check rights, disk space and the path"
            ) from error
        with self.batch() as batch:
            found = batch.get_meta(b"identity")
            if found is None:
                batch.set_meta(b"identity", SCHEMA + identity)
        if found is not None and found != SCHEMA + identity:
            self.close()
            raise StoreError(
                f"{directory} belongs to another network or version",
                hint="choose another --data-dir",
            )

    @contextmanager
    def view(self) -> Iterator[StateReader]:
        """Read a consistent snapshot."""
        with self._env.begin() as txn:
            yield StateReader(txn, self._tables)

    @contextmanager
    def batch(self) -> Iterator[StateWriter]:
        """Write: one commit at the end, or nothing if the body raises; `StoreError` when the disk is full."""
        try:
            with self._env.begin(write=True) as txn:
                yield StateWriter(txn, self._tables)
        except lmdb.Error as error:
            raise StoreError(
                f"cannot write to the data directory: {error}",
                hint="free disk space; the node goes on by itself",
            ) from error

    @contextmanager
    def scratch(self) -> Iterator[StateWriter]:
        """Write as in `batch`, then throw everything away: trials of blocks not yet mined."""
        txn = self._env.begin(write=True)
        try:
            yield StateWriter(txn, self._tables)
        finally:
            txn.abort()

    def close(self) -> None:
        """Release the files."""
        self._env.close()


assert _HEADER_RECORD.size == HEADER_BYTES + 8 + 32 + 4 + 1  # noqa: S101
