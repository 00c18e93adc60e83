"""What can be mined now: for each sender an unbroken run of nonces from the account's next one on."""

from __future__ import annotations

import heapq
from collections.abc import Iterator

import numpy as np

from chain.mempool.entries import Entry
from chain.rules.accounts import Account
from chain.rules.records import SPENDS_LOCK, Kind
from chain.rules.types import KeyHash, LockId, TxId, WtxId


class SenderRun:
    """One sender's transactions in order of nonce. The confirmed balance covers them in this order."""

    __slots__ = ("account", "balance", "entries")

    def __init__(self, account: Account) -> None:
        self.account = account
        self.balance = account.balance
        """What is left after all entries."""
        self.entries: list[Entry] = []

    @property
    def next_nonce(self) -> int:
        """The nonce after the last entry."""
        return self.account.nonce + len(self.entries)

    def at(self, nonce: int) -> Entry | None:
        """Return the entry with a nonce."""
        index = nonce - self.account.nonce
        return self.entries[index] if 0 <= index < len(self.entries) else None

    def covers(self, entry: Entry, index: int) -> bool:
        """Tell whether the balance covers all entries once `entry` is the one at `index`."""
        if index == len(self.entries):
            return self.balance + entry.effect >= 0
        balance = self.account.balance
        for position, old in enumerate(self.entries):
            balance += entry.effect if position == index else old.effect
            if balance < 0:
                return False
        return True

    def rank_before(self, index: int) -> int | None:
        """Return the rank of the entry before `index`; None at the front."""
        return self.entries[index - 1].rank if index else None

    def rerank(self, first: int) -> None:
        """Set ranks and the balance again from an index on."""
        rank = self.rank_before(first)
        for entry in self.entries[first:]:
            rank = entry.tx.fee if rank is None else min(rank, entry.tx.fee)
            entry.rank = rank
        self.balance = self.account.balance + sum(entry.effect for entry in self.entries)


class Ready:
    """All runs, with what the pool asks of them: by id, by lock, the weakest end, the best for a block."""

    def __init__(self) -> None:
        self.by_wtxid: dict[WtxId, Entry] = {}
        self.by_txid: dict[TxId, Entry] = {}
        self.runs: dict[KeyHash, SenderRun] = {}
        self.spends: dict[LockId, Entry] = {}
        self.makes: dict[LockId, Entry] = {}
        self._ends: list[tuple[int, TxId, KeyHash]] = []
        self._deadlines: list[tuple[int, LockId]] = []
        self._ordered: list[Entry] | None = None

    def __len__(self) -> int:
        return len(self.by_wtxid)

    def __iter__(self) -> Iterator[Entry]:
        return iter(self.by_wtxid.values())

    def put(self, run: SenderRun, entry: Entry) -> None:
        """Append an entry to its sender's run, or put it in the place of the same nonce."""
        tx = entry.tx
        index = tx.nonce - run.account.nonce
        if index == len(run.entries):
            before = run.rank_before(index)
            entry.rank = tx.fee if before is None else min(before, tx.fee)
            run.entries.append(entry)
            run.balance += entry.effect
            self.runs[tx.sender] = run
        else:
            self._unlist(run.entries[index])
            run.entries[index] = entry
            run.rerank(index)
        self.by_wtxid[entry.wtxid] = self.by_txid[tx.txid] = entry
        if tx.kind == Kind.HTLC_LOCK:
            self.makes[tx.lock_id] = entry
            heapq.heappush(self._deadlines, (tx.deadline, tx.lock_id))
            if len(self._deadlines) > 4 * len(self.makes) + 1_024:
                self._deadlines = [(made.tx.deadline, lock_id) for lock_id, made in self.makes.items()]
                heapq.heapify(self._deadlines)
        elif tx.kind in SPENDS_LOCK:
            self.spends[tx.lock_id] = entry
        self._note_end(run)
        self._ordered = None

    def cut(self, sender: KeyHash, nonce: int) -> list[Entry]:
        """Take out the entry with a nonce and all after it; returns them in order."""
        run = self.runs.get(sender)
        if run is None or (index := max(0, nonce - run.account.nonce)) >= len(run.entries):
            return []
        gone = run.entries[index:]
        del run.entries[index:]
        for entry in gone:
            self._unlist(entry)
            run.balance -= entry.effect
        if run.entries:
            self._note_end(run)
        else:
            del self.runs[sender]
        return gone

    def _unlist(self, entry: Entry) -> None:
        tx = entry.tx
        del self.by_wtxid[entry.wtxid]
        del self.by_txid[tx.txid]
        if tx.kind == Kind.HTLC_LOCK:
            if self.makes.get(tx.lock_id) is entry:
                del self.makes[tx.lock_id]
        elif tx.kind in SPENDS_LOCK and self.spends.get(tx.lock_id) is entry:
            del self.spends[tx.lock_id]
        self._ordered = None

    def _note_end(self, run: SenderRun) -> None:
        last = run.entries[-1]
        heapq.heappush(self._ends, (last.rank, last.tx.txid, last.tx.sender))
        if len(self._ends) > 4 * len(self.by_wtxid) + 1_024:
            self._ends = [
                (run.entries[-1].rank, run.entries[-1].tx.txid, sender) for sender, run in self.runs.items()
            ]
            heapq.heapify(self._ends)

    def weakest_end(self) -> Entry | None:
        """Return the last entry of a run with the least rank: the one to go when the pool is full."""
        while self._ends:
            rank, txid, sender = self._ends[0]
            run = self.runs.get(sender)
            if run is not None and run.entries[-1].tx.txid == txid and run.entries[-1].rank == rank:
                return run.entries[-1]
            heapq.heappop(self._ends)
        return None

    def locks_made_too_late(self, median_time: int) -> list[Entry]:
        """Return waiting locks whose deadline has passed: no block takes them any more."""
        late: list[Entry] = []
        while self._deadlines and self._deadlines[0][0] <= median_time:
            entry = self.makes.get(heapq.heappop(self._deadlines)[1])
            if entry is not None:
                late.append(entry)
        return late

    def best(self, limit: int) -> list[Entry]:
        """Return up to `limit` entries, highest rank first, each sender's in order of nonce.

        Ranks never rise along a run, so that what is cut off at the limit leaves no gap.
        """
        if self._ordered is None:
            entries = list(self.by_wtxid.values())
            ranks = np.array([entry.rank for entry in entries], np.int64)
            nonces = np.array([entry.tx.nonce for entry in entries], np.uint64)
            self._ordered = [entries[i] for i in np.lexsort((nonces, -ranks)).tolist()]
        return self._ordered[:limit]
