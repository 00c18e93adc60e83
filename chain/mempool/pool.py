"""Transactions waiting for a block: policy, not consensus.

Two places (docs/decisions/0160). *Ready* can be mined now: every sender's unbroken run of nonces from the
account's next one. Only what is ready replaces, evicts or counts for the fee estimate, and by the fee that a
miner can collect. *Gapped* waits for an earlier nonce, apart, few and not for long. A claim goes before a
refund of the same lock whatever they pay; what was outbid for a lock stands by until the lock is spent.
"""

from __future__ import annotations

import heapq
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from chain.consensus.chain import Chain, ChainChange
from chain.mempool import entries, limits, rivals
from chain.mempool.entries import Admission, Entry, Verdict
from chain.mempool.queue import Gapped
from chain.mempool.ready import Ready, SenderRun
from chain.mempool.rivals import StandBy
from chain.rules.block import Block, pack_transactions, split_rows
from chain.rules.compiled import check_records, index_accounts
from chain.rules.errors import Reason, RuleBrokenError
from chain.rules.locks import make_lock, spend_lock
from chain.rules.params import MAX_BLOCK_TRANSACTIONS, MIN_FEE
from chain.rules.records import SPENDS_LOCK, Kind, Transaction
from chain.rules.types import BlockHeight, KeyHash, LockId, TxId, WtxId
from chain.state.evaluation import check_signature

DEFAULT_CAPACITY = 20_000
QUEUE_CAPACITY = 1_024
QUEUE_SECONDS = 3 * 3_600.0
"""How long a gapped transaction waits: Geth's figure, as those of one account and of the queue
(core/txpool/legacypool: AccountQueue 64, GlobalQueue 1,024, Lifetime 3 h)."""
READY_SECONDS = 72 * 3_600.0
"""How long a transaction waits for a block: nothing waits without end."""


@dataclass(frozen=True)
class Added:
    """What adding a transaction did. `replaced` left the pool for it; `queued`: it waits for an earlier nonce
    of its sender."""

    txid: TxId
    known: bool = False
    replaced: tuple[TxId, ...] = ()
    queued: bool = False


def replacement_fee(old: int) -> int:
    """Return the least fee that replaces a transaction with fee `old`: a tenth more, rounded up."""
    return entries.replacement_fee(old, MIN_FEE)


class Mempool:
    """The pool over one chain. Call `update` after every change of the head.

    `clock` returns seconds and never goes back; it has nothing to do with the chain's time.
    """

    def __init__(
        self,
        chain: Chain,
        capacity: int = DEFAULT_CAPACITY,
        *,
        queue_capacity: int = QUEUE_CAPACITY,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._chain = chain
        self._capacity = capacity
        self._clock = clock
        self._ready = Ready()
        self._gapped = Gapped(queue_capacity)
        self._standby = StandBy()
        self._expiries: list[tuple[float, WtxId]] = []
        self._grown: set[KeyHash] = set()
        self._freed: list[LockId] = []

    def __len__(self) -> int:
        return len(self._ready) + len(self._gapped)

    def __contains__(self, txid: TxId) -> bool:
        return self.get(txid) is not None

    def __iter__(self) -> Iterator[Transaction]:
        """Yield what is ready, then what is gapped."""
        for place in (self._ready, self._gapped):
            yield from (entry.tx for entry in place)

    @property
    def ready_count(self) -> int:
        """How many transactions can be mined now."""
        return len(self._ready)

    @property
    def gapped_count(self) -> int:
        """How many transactions wait for an earlier nonce."""
        return len(self._gapped)

    def get(self, txid: TxId) -> Transaction | None:
        """Return a waiting transaction."""
        found = self._ready.by_txid.get(txid) or self._gapped.by_txid.get(txid)
        return found.tx if found else None

    def by_wtxid(self, wtxid: WtxId) -> Transaction | None:
        """Return a waiting transaction by the id that covers its witness: what peers ask for."""
        found = self._ready.by_wtxid.get(wtxid) or self._gapped.by_wtxid.get(wtxid)
        return found.tx if found else None

    def is_ready(self, txid: TxId) -> bool:
        """Tell whether a transaction can be mined now."""
        return txid in self._ready.by_txid

    def spender_of(self, lock_id: LockId) -> TxId | None:
        """Return the id of the waiting transaction that spends a lock and can be mined now."""
        found = self._ready.spends.get(lock_id)
        return found.tx.txid if found else None

    def next_nonce(self, sender: KeyHash, confirmed: int) -> int:
        """Return the nonce after the sender's unbroken run of waiting transactions."""
        run = self._ready.runs.get(sender)
        return confirmed if run is None else max(confirmed, run.next_nonce)

    def fee_for_next_block(self) -> int:
        """Return the least fee that would be in the next block as things stand."""
        room = MAX_BLOCK_TRANSACTIONS - 1
        if len(self._ready) < room:
            return MIN_FEE
        return self._ready.best(room)[-1].rank + 1

    def best(self, limit: int = MAX_BLOCK_TRANSACTIONS - 1) -> list[Transaction]:
        """Return transactions for a block: highest fees first, each sender's in order of nonce."""
        self._expire()
        return [entry.tx for entry in self._ready.best(limit)]

    # adding ------------------------------------------------------------------------------------------

    def admit(self, tx: Transaction) -> Admission:
        """Take a transaction and say what became of it. Never raises for what a stranger sent."""
        try:
            verdict, replaced = self._offer(tx)
        except RuleBrokenError as error:
            return Admission(tx.wtxid, Verdict.REFUSED, error=error)
        return Admission(tx.wtxid, verdict, tuple(replaced))

    def add(self, tx: Transaction) -> Added:
        """Take a transaction. One already here is known, not an error. Raises `RuleBrokenError`."""
        verdict, replaced = self._offer(tx)
        return Added(tx.txid, verdict is Verdict.KNOWN, tuple(replaced), verdict is Verdict.QUEUED)

    def _offer(self, tx: Transaction) -> tuple[Verdict, list[TxId]]:
        self._expire()
        outcome = self._take(tx, self._clock() + READY_SECONDS)
        self._settle()
        return outcome

    def _take(self, tx: Transaction, expires: float) -> tuple[Verdict, list[TxId]]:
        """Check and place a transaction; `_settle` must follow. Raises `RuleBrokenError`."""
        if tx.wtxid in self._ready.by_wtxid or tx.wtxid in self._gapped.by_wtxid:
            return Verdict.KNOWN, []
        bodies, witnesses = pack_transactions([tx])
        try:
            check_records(bodies, witnesses, self._chain.params.chain_id, None)
        except RuleBrokenError as error:
            error.index = None
            raise
        if tx.txid in self:  # the same body under another witness: a broken one is called broken
            self._check_lock(tx)
            check_signature(tx, self._chain.signatures)
            return Verdict.KNOWN, []
        limits.check_fee(tx)
        run = self._run_of(tx.sender)
        limits.check_nonce(tx, run.account.nonce)
        self._check_lock(tx)
        if tx.nonce > run.next_nonce:
            return self._put_gapped(tx, run, expires), []
        index = tx.nonce - run.account.nonce
        old, entry = run.at(tx.nonce), Entry(tx, expires)
        if old is not None:
            rivals.must_outbid(tx.fee, old.tx, old.tx.fee, Reason.REPLACEMENT_UNDERPRICED)
        before = run.rank_before(index)
        rank = tx.fee if before is None else min(before, tx.fee)
        rival = rivals.displaced(self._ready, entry, rank, old)
        if not run.covers(entry, index):
            raise limits.too_poor(run.account.balance)
        check_signature(tx, self._chain.signatures)
        if old is None and rival is None and len(self._ready) >= self._capacity:
            self._make_room(rank, tx.sender)
        replaced = [gone.tx.txid for gone in (old, rival) if gone is not None]
        if rival is not None:
            self._take_out(rival, stands_by=True)
        self._ready.put(run, entry)
        if old is not None:
            self._free(old)
        self._standby.drop(entry.wtxid)
        self._watch(entry)
        self._grown.add(tx.sender)
        return Verdict.ACCEPTED, replaced

    def _put_gapped(self, tx: Transaction, run: SenderRun, expires: float) -> Verdict:
        old = self._gapped.at(tx.sender, tx.nonce)
        if old is not None:
            rivals.must_outbid(tx.fee, old.tx, old.tx.fee, Reason.REPLACEMENT_UNDERPRICED)
        if run.account.balance + entries.effect(tx) < 0:
            raise limits.too_poor(run.account.balance)
        check_signature(tx, self._chain.signatures)
        if not self._queue(Entry(tx, expires)):
            raise RuleBrokenError(
                Reason.MEMPOOL_FULL,
                "too many transactions wait for an earlier nonce",
                hint="send the transactions before it first",
            )
        return Verdict.QUEUED

    def _queue(self, entry: Entry) -> bool:
        entry.expires = min(entry.expires, self._clock() + QUEUE_SECONDS)
        self._watch(entry)
        return self._gapped.put(entry)

    def _run_of(self, sender: KeyHash) -> SenderRun:
        run = self._ready.runs.get(sender)
        if run is not None:
            return run
        with self._chain.store.view() as view:
            return SenderRun(view.get_account(sender))

    def _check_lock(self, tx: Transaction) -> None:
        if tx.kind != Kind.HTLC_LOCK and tx.kind not in SPENDS_LOCK:
            return
        check = make_lock if tx.kind == Kind.HTLC_LOCK else spend_lock
        with self._chain.store.view() as view:
            check(view, tx, self._chain.median_time, BlockHeight(self._chain.tip.height + 1))

    def _make_room(self, rank: int, sender: KeyHash) -> None:
        """Drop the cheapest transaction that no other of its sender waits behind, if a miner gets more."""
        cheapest = self._ready.weakest_end()
        if cheapest is None or cheapest.rank >= rank or cheapest.tx.sender == sender:
            least = cheapest.rank if cheapest else 0
            raise RuleBrokenError(
                Reason.MEMPOOL_FULL, "the mempool is full", hint=f"pay more than {least}, or wait"
            )
        self._take_out(cheapest)

    # leaving -----------------------------------------------------------------------------------------

    def _take_out(self, entry: Entry, *, stands_by: bool = False) -> None:
        """Take an entry out of the ready ones; those behind it wait for its nonce."""
        gone = self._ready.cut(entry.tx.sender, entry.tx.nonce)
        for left in gone:
            self._free(left)
        if stands_by:
            self._standby.put(entry)
        for behind in gone[1:]:
            self._queue(behind)

    def _free(self, entry: Entry) -> None:
        if entry.tx.kind in SPENDS_LOCK and self._standby.waits_for(entry.tx.lock_id):
            self._freed.append(entry.tx.lock_id)

    def remove(self, txid: TxId) -> None:
        """Forget a transaction."""
        if (entry := self._ready.by_txid.get(txid)) is not None:
            self._take_out(entry)
        elif (entry := self._gapped.by_txid.get(txid)) is not None:
            self._gapped.drop(entry)
        self._settle()

    def _watch(self, entry: Entry) -> None:
        heapq.heappush(self._expiries, (entry.expires, entry.wtxid))
        if len(self._expiries) > 4 * len(self) + 4_096:  # mostly of transactions that left long ago
            living = (*self._ready, *self._gapped, *self._standby)
            self._expiries = [(waiting.expires, waiting.wtxid) for waiting in living]
            self._expiries.append((entry.expires, entry.wtxid))
            heapq.heapify(self._expiries)

    def _expire(self) -> None:
        now = self._clock()
        while self._expiries and self._expiries[0][0] <= now:
            _, wtxid = heapq.heappop(self._expiries)
            self._standby.expire(wtxid, now)
            if (entry := self._ready.by_wtxid.get(wtxid)) is not None and entry.expires <= now:
                self._take_out(entry)
            elif (entry := self._gapped.by_wtxid.get(wtxid)) is not None and entry.expires <= now:
                self._gapped.drop(entry)
        self._settle()

    def _settle(self) -> None:
        """Let in what has become possible: gaps that closed, locks that nothing spends any more."""
        while self._grown or self._freed:
            if self._grown:
                sender = self._grown.pop()
                run = self._ready.runs.get(sender)
                nonce = run.next_nonce if run else self._run_of(sender).account.nonce
                following = self._gapped.at(sender, nonce)
                if following is not None:
                    self._gapped.drop(following)
                    self._retake(following)
                continue
            lock_id = self._freed.pop()
            if lock_id not in self._ready.spends and (best := self._standby.take(lock_id)) is not None:
                self._retake(best)
                self._freed.append(lock_id)

    def _retake(self, entry: Entry) -> None:
        try:
            self._take(entry.tx, entry.expires)
        except RuleBrokenError:
            return  # what can no longer be mined is forgotten

    # following the chain -----------------------------------------------------------------------------

    def update(self, change: ChainChange, leave_out: frozenset[TxId] = frozenset()) -> None:
        """Follow a change of the head: included transactions leave, orphaned ones come back.

        `leave_out`: ids that must not come back (dev_reorg).
        """
        if change.disconnected:
            self._start_again(change, leave_out)
        else:
            for block in change.connected:
                self._follow(block)
        for late in self._ready.locks_made_too_late(self._chain.median_time):
            self._take_out(late)
        self._settle()

    def _start_again(self, change: ChainChange, leave_out: frozenset[TxId]) -> None:
        waiting = [entry for run in self._ready.runs.values() for entry in run.entries]
        waiting += [*self._gapped, *self._standby]
        back: list[Entry] = []
        for block in reversed(change.disconnected):
            if len(back) < self._capacity:  # a deep reorganisation brings back no more than fits
                expires = self._clock() + READY_SECONDS
                back += [Entry(tx, expires) for tx in block.transactions()[1:]]
        self._ready, self._gapped = Ready(), Gapped(self._gapped.capacity)
        self._standby, self._expiries = StandBy(), []
        for entry in [*back, *waiting]:
            if entry.tx.txid not in leave_out:
                self._retake(entry)
                self._settle()

    def _follow(self, block: Block) -> None:
        included = set(block.txid_list)
        kinds = block.bodies[:, 0] & np.uint64(0xFF)
        for index in np.flatnonzero((kinds >= Kind.HTLC_LOCK) & (kinds <= Kind.HTLC_COOPERATIVE_REFUND)):
            lock_id = block.transaction(int(index)).lock_id
            self._standby.forget(lock_id)
            for beaten in (self._ready.spends.get(lock_id), self._ready.makes.get(lock_id)):
                if beaten is not None and beaten.tx.txid not in included:
                    self._take_out(beaten)
        addresses = split_rows(index_accounts(block.bodies)[0])
        with self._chain.store.view() as view:
            for address in addresses:
                sender = KeyHash(address)
                if sender in self._ready.runs or self._gapped.has(sender):
                    self._refresh(sender, SenderRun(view.get_account(sender)))

    def _refresh(self, sender: KeyHash, run: SenderRun) -> None:
        """Build a sender's run again on its account after a block: what was checked stays checked."""
        for entry in self._gapped.of(sender):
            if entry.tx.nonce < run.account.nonce:
                self._gapped.drop(entry)
        for entry in self._ready.cut(sender, 0):
            if entry.tx.nonce < run.account.nonce:
                self._free(entry)
            elif entry.tx.nonce == run.next_nonce and run.covers(entry, len(run.entries)):
                self._ready.put(run, entry)
            else:
                self._free(entry)
                if entry.tx.nonce > run.next_nonce:
                    self._queue(entry)
        self._grown.add(sender)


def transactions_of(blocks: Iterable[Block]) -> list[Transaction]:
    """Return all but the coinbases of blocks, in order."""
    return [tx for block in blocks for tx in block.transactions()[1:]]
