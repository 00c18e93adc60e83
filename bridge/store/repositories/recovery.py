"""What is needed when the database is older than its chains: receipts of accepted swaps, locks that nobody
knows, and swaps that are being restored."""

from __future__ import annotations

from enum import StrEnum
from typing import Any

import msgspec
from sqlalchemy import Row, delete, func, select, update

from bridge.protocol.types import (
    Address,
    BlockHeight,
    BlockRef,
    ChainId,
    LockId,
    LockTerms,
    SwapId,
    TxId,
)
from bridge.store.recovery_tables import (
    AcceptanceRow,
    AccountMarkRow,
    RescanRow,
    RestorationRow,
    RestoredEventRow,
    UnknownLockRow,
)
from bridge.store.repositories.base import Repository, readable_records, record, records
from bridge.store.tables import TransactionRow, table_of

_acceptances = table_of(AcceptanceRow)
_unknown = table_of(UnknownLockRow)
_restorations = table_of(RestorationRow)
_rescans = table_of(RescanRow)
_restored_events = table_of(RestoredEventRow)
_marks = table_of(AccountMarkRow)
_transactions = table_of(TransactionRow)

_terms = msgspec.json.Decoder(LockTerms)

MAX_UNPROVED = 100
"""Locks per chain kept that name our account without proving it: a stranger can make any number."""


class StoredAcceptance(msgspec.Struct, frozen=True):
    """A signed receipt of an accepted swap: `body` is the text that was signed."""

    swap_id: SwapId
    body: str
    signature: str
    created_ms: int


class UnknownLock(msgspec.Struct, frozen=True):
    """A lock of our account that no swap knew when it was seen. `resolution` is "" until it is explained."""

    id: int
    chain: ChainId
    lock_id: LockId
    tx_id: TxId
    hashlock: str
    terms: LockTerms
    block_height: BlockHeight
    block_id: str
    proved: bool
    resolution: str
    seen_ms: int
    resolved_ms: int | None


class RestorationState(StrEnum):
    """READING: its chains are read again. HELD: our lock may still appear. DONE: it is a swap again."""

    READING = "reading"
    HELD = "held"
    DONE = "done"


class Restoration(msgspec.Struct, frozen=True):
    """An accepted swap that this database lost."""

    swap_id: SwapId
    hashlock: str
    body: str
    signature: str
    client: str
    origin: str
    state: RestorationState
    detail: str
    created_ms: int
    updated_ms: int


class Rescan(msgspec.Struct, frozen=True):
    """How far a chain was read again for a swap. `block_id` "" stands for whichever block is at `height`."""

    swap_id: SwapId
    chain: ChainId
    from_height: BlockHeight
    height: BlockHeight
    block_id: str
    caught_up: bool
    done: bool


class RestoredEvent(msgspec.Struct, frozen=True):
    """What a chain showed of a swap that is being restored; `kind` is the event's class in
    `bridge.chains.port`."""

    id: int
    swap_id: SwapId
    chain: ChainId
    kind: str
    lock_id: LockId
    tx_id: TxId
    block: BlockRef
    terms: LockTerms | None
    reason: str


class AccountMark(msgspec.Struct, frozen=True):
    """Up to which sequence the use of an account is explained, and where the last alarm was."""

    chain: ChainId
    account: Address
    sequence: int
    alarmed: int | None


class Acceptances(Repository):
    """The receipts of accepted swaps."""

    def add(self, swap_id: SwapId, body: str, signature: str) -> None:
        """Store one. Raises `DuplicateError`."""
        values = {"swap_id": swap_id, "body": body, "signature": signature, "created_ms": self.now_ms}
        self._insert(_acceptances, values, f"a receipt of swap {swap_id}")

    def get(self, swap_id: SwapId) -> StoredAcceptance | None:
        """Return a swap's receipt, None for swaps of older versions."""
        row = self._first(select(_acceptances).where(_acceptances.c.swap_id == swap_id))
        return record(row, StoredAcceptance) if row else None

    def page(self, after: str, limit: int) -> list[StoredAcceptance]:
        """Return receipts in the order of their swaps' ids, after one of them."""
        statement = select(_acceptances).where(_acceptances.c.swap_id > after)
        ordered = statement.order_by(_acceptances.c.swap_id).limit(limit)
        return readable_records(self._all(ordered), StoredAcceptance)


class UnknownLocks(Repository):
    """Locks of our own accounts that no swap knew."""

    def add(self, block: BlockRef, tx_id: TxId, lock_id: LockId, terms: LockTerms, *, proved: bool) -> bool:
        """Store one; returns whether it is news. Of unproved ones only the first are kept."""
        here = _unknown.c.chain == terms.chain
        if self._first(select(_unknown.c.id).where(here, _unknown.c.lock_id == lock_id)):
            return False
        if not proved:
            count = select(func.count()).where(here, _unknown.c.proved.is_(False))
            if self._connection.execute(count).scalar_one() >= MAX_UNPROVED:
                return False
        values = {
            "chain": terms.chain,
            "lock_id": lock_id,
            "tx_id": tx_id,
            "hashlock": terms.hashlock.hex(),
            "terms": msgspec.json.encode(terms).decode(),
            "block_height": block.height,
            "block_id": block.id,
            "proved": proved,
            "resolution": "",
            "seen_ms": self.now_ms,
        }
        self._insert(_unknown, values, f"unknown lock {lock_id}")
        return True

    def unresolved(self, chain: ChainId | None = None, *, limit: int = 1_000) -> list[UnknownLock]:
        """Return those that nobody has explained yet, oldest first."""
        statement = select(_unknown).where(_unknown.c.resolved_ms.is_(None))
        if chain is not None:
            statement = statement.where(_unknown.c.chain == chain)
        rows = self._all(statement.order_by(_unknown.c.id).limit(limit))
        return [record(row, UnknownLock, terms=_terms.decode(row.terms)) for row in rows]

    def resolve(self, hashlock: bytes, resolution: str) -> int:
        """Note what became of the locks with a hashlock; returns how many there were."""
        where = (_unknown.c.hashlock == hashlock.hex(), _unknown.c.resolved_ms.is_(None))
        changes = {"resolution": resolution, "resolved_ms": self.now_ms}
        return self._run(update(_unknown).where(*where).values(**changes))


class Restorations(Repository):
    """Accepted swaps that this database lost, and what their chains show of them."""

    def add(self, lost: Restoration, heights: dict[ChainId, BlockHeight]) -> None:
        """Begin to restore a swap; its chains are read again from above `heights`. Raises
        `DuplicateError`."""
        values = {name: getattr(lost, name) for name in lost.__struct_fields__}
        values |= {"state": lost.state.value, "created_ms": self.now_ms, "updated_ms": self.now_ms}
        self._insert(_restorations, values, f"the restoration of swap {lost.swap_id}")
        for chain, height in heights.items():
            rescan = {
                "swap_id": lost.swap_id,
                "chain": chain,
                "from_height": height,
                "height": height,
                "block_id": "",
                "caught_up": False,
                "done": False,
            }
            self._insert(_rescans, rescan, f"the rescan of {chain} for swap {lost.swap_id}")

    def get(self, swap_id: SwapId) -> Restoration | None:
        """Return the restoration of a swap."""
        row = self._first(select(_restorations).where(_restorations.c.swap_id == swap_id))
        return record(row, Restoration) if row else None

    def by_hashlock(self, hashlock: bytes) -> Restoration | None:
        """Return the restoration of the swap with a hashlock."""
        row = self._first(select(_restorations).where(_restorations.c.hashlock == hashlock.hex()))
        return record(row, Restoration) if row else None

    def going_on(self) -> list[Restoration]:
        """Return those that have not become swaps yet, oldest first."""
        where = _restorations.c.state != RestorationState.DONE.value
        ordered = select(_restorations).where(where).order_by(_restorations.c.created_ms)
        return readable_records(self._all(ordered), Restoration)

    def count_going_on(self, origin: str) -> int:
        """Return how many of one origin have not become swaps yet."""
        where = (_restorations.c.state != RestorationState.DONE.value, _restorations.c.origin == origin)
        return int(self._connection.execute(select(func.count()).where(*where)).scalar_one())

    def move(self, swap_id: SwapId, state: RestorationState, detail: str) -> None:
        """Change the state."""
        values = {"state": state.value, "detail": detail, "updated_ms": self.now_ms}
        self._run(update(_restorations).where(_restorations.c.swap_id == swap_id).values(**values))

    # -- reading the chains again ------------------------------------------------------------

    def rescans(self, chain: ChainId) -> list[Rescan]:
        """Return what is still to be read of a chain, the lowest first."""
        where = (_rescans.c.chain == chain, _rescans.c.done.is_(False))
        return readable_records(self._all(select(_rescans).where(*where).order_by(_rescans.c.height)), Rescan)

    def rescans_of(self, swap_id: SwapId) -> list[Rescan]:
        """Return how far both chains of a swap were read again."""
        return records(self._all(select(_rescans).where(_rescans.c.swap_id == swap_id)), Rescan)

    def advance(self, rescan: Rescan) -> None:
        """Store how far a chain was read."""
        where = (_rescans.c.swap_id == rescan.swap_id, _rescans.c.chain == rescan.chain)
        changes = {
            "height": rescan.height,
            "block_id": rescan.block_id,
            "caught_up": rescan.caught_up,
            "done": rescan.done,
        }
        self._run(update(_rescans).where(*where).values(**changes))

    def begin_again(self, chain: ChainId) -> None:
        """After a reorg of what was read: forget it, and read the chain again from the start."""
        going_on = select(_rescans.c.swap_id).where(_rescans.c.chain == chain, _rescans.c.done.is_(False))
        where = (_restored_events.c.chain == chain, _restored_events.c.swap_id.in_(going_on))
        self._run(delete(_restored_events).where(*where))
        changes = {"height": _rescans.c.from_height, "block_id": "", "caught_up": False}
        self._run(
            update(_rescans).where(_rescans.c.chain == chain, _rescans.c.done.is_(False)).values(**changes)
        )

    def keep_event(
        self,
        swap_id: SwapId,
        kind: str,
        block: BlockRef,
        *,
        chain: ChainId,
        tx_id: TxId,
        lock_id: LockId = LockId(""),
        terms: LockTerms | None = None,
        reason: str = "",
    ) -> None:
        """Store what a chain showed of a swap; a second time changes nothing."""
        same = (
            _restored_events.c.swap_id == swap_id,
            _restored_events.c.chain == chain,
            _restored_events.c.kind == kind,
            _restored_events.c.lock_id == lock_id,
            _restored_events.c.tx_id == tx_id,
            _restored_events.c.block_id == block.id,
        )
        if self._first(select(_restored_events.c.id).where(*same)):
            return
        values: dict[str, Any] = {
            "swap_id": swap_id,
            "chain": chain,
            "kind": kind,
            "lock_id": lock_id,
            "tx_id": tx_id,
            "block_height": block.height,
            "block_id": block.id,
            "block_parent": block.parent,
            "block_time": block.time,
            "terms": msgspec.json.encode(terms).decode() if terms else "",
            "reason": reason,
        }
        self._insert(_restored_events, values, "restored event")

    def owner_of_lock(self, chain: ChainId, lock_id: LockId) -> SwapId | None:
        """Return the swap being restored of which this lock was seen."""
        where = (
            _restored_events.c.chain == chain,
            _restored_events.c.lock_id == lock_id,
            _restored_events.c.kind == "Locked",
        )
        row = self._first(select(_restored_events.c.swap_id).where(*where))
        return SwapId(row.swap_id) if row else None

    def events_of(self, swap_id: SwapId) -> list[RestoredEvent]:
        """Return what the chains showed of a swap, each chain's in its order."""
        order = (_restored_events.c.chain, _restored_events.c.block_height, _restored_events.c.id)
        where = _restored_events.c.swap_id == swap_id
        return [_event(row) for row in self._all(select(_restored_events).where(where).order_by(*order))]


class Accounts(Repository):
    """How far the use of our accounts' keys is explained."""

    def mark(self, chain: ChainId, account: Address) -> AccountMark | None:
        """Return the mark of an account, None before the first one."""
        row = self._first(select(_marks).where(_marks.c.chain == chain, _marks.c.account == account))
        return record(row, AccountMark) if row else None

    def put(self, mark: AccountMark) -> None:
        """Store a mark."""
        where = (_marks.c.chain == mark.chain, _marks.c.account == mark.account)
        values: dict[str, Any] = {
            "sequence": mark.sequence,
            "alarmed": mark.alarmed,
            "updated_ms": self.now_ms,
        }
        if not self._run(update(_marks).where(*where).values(**values)):
            values |= {"chain": mark.chain, "account": mark.account}
            self._insert(_marks, values, f"the mark of {mark.account}")

    def next_known(self, chain: ChainId, account: Address) -> int:
        """Return one more than the highest sequence that was ever signed here, 0 if none was."""
        where = (_transactions.c.chain == chain, _transactions.c.account == account)
        highest = select(func.max(_transactions.c.sequence)).where(*where)
        found = self._connection.execute(highest).scalar_one()
        return 0 if found is None else int(found) + 1


def _event(row: Row[Any]) -> RestoredEvent:
    block = BlockRef(row.block_height, row.block_id, row.block_parent, row.block_time)
    return record(row, RestoredEvent, block=block, terms=_terms.decode(row.terms) if row.terms else None)
