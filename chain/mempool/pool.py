"""Transactions waiting for a block: policy, not consensus.

Every transaction here would be valid in the next block once the earlier nonces of its sender are in. Fees
order them; a higher fee replaces a transaction with the same nonce, or another spend of the same lock.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from chain.consensus.chain import Chain, ChainChange
from chain.rules.accounts import Account
from chain.rules.block import Block, pack_transactions
from chain.rules.compiled import check_records
from chain.rules.errors import Reason, RuleBrokenError
from chain.rules.locks import make_lock, spend_lock
from chain.rules.params import MAX_BLOCK_TRANSACTIONS, MIN_FEE
from chain.rules.records import PAYS_AMOUNT, SPENDS_LOCK, Kind, Transaction
from chain.rules.types import BlockHeight, KeyHash, LockId, TxId
from chain.state.evaluation import check_signature
from chain.state.store import StateReader

MAX_PER_SENDER = 64
DEFAULT_CAPACITY = 20_000


@dataclass(frozen=True)
class Added:
    """What adding a transaction did. `replaced` left the pool for it."""

    txid: TxId
    known: bool = False
    replaced: tuple[TxId, ...] = ()


def replacement_fee(old: int) -> int:
    """Return the least fee that replaces a transaction with fee `old`: a tenth more, rounded up."""
    return old + max(MIN_FEE, -(-old // 10))


class Mempool:
    """The pool over one chain. Call `update` after every change of the head."""

    def __init__(self, chain: Chain, capacity: int = DEFAULT_CAPACITY) -> None:
        self._chain = chain
        self._capacity = capacity
        self._by_id: dict[TxId, Transaction] = {}
        self._queues: dict[KeyHash, dict[int, Transaction]] = {}
        self._spends: dict[LockId, TxId] = {}
        self._makes: dict[LockId, TxId] = {}

    def __len__(self) -> int:
        return len(self._by_id)

    def __contains__(self, txid: TxId) -> bool:
        return txid in self._by_id

    def __iter__(self) -> Iterator[Transaction]:
        return iter(self._by_id.values())

    def get(self, txid: TxId) -> Transaction | None:
        """Return a waiting transaction."""
        return self._by_id.get(txid)

    def spender_of(self, lock_id: LockId) -> TxId | None:
        """Return the id of the waiting transaction that spends a lock."""
        return self._spends.get(lock_id)

    def next_nonce(self, sender: KeyHash, confirmed: int) -> int:
        """Return the nonce after the sender's unbroken run of waiting transactions."""
        queue = self._queues.get(sender, {})
        while confirmed in queue:
            confirmed += 1
        return confirmed

    def fee_for_next_block(self) -> int:
        """Return the least fee that would be in the next block as things stand."""
        room = MAX_BLOCK_TRANSACTIONS - 1
        if len(self._by_id) < room:
            return MIN_FEE
        return heapq.nlargest(room, (tx.fee for tx in self._by_id.values()))[-1] + 1

    # adding ------------------------------------------------------------------------------------------

    def add(self, tx: Transaction) -> Added:
        """Take a transaction. One already here is known, not an error. Raises `RuleBrokenError`."""
        if tx.txid in self._by_id:
            return Added(tx.txid, known=True)
        bodies, witnesses = pack_transactions([tx])
        try:
            check_records(bodies, witnesses, self._chain.params.chain_id, None)
        except RuleBrokenError as error:
            error.index = None
            raise
        with self._chain.store.view() as view:
            evicted = self._check_state(view, tx)
        check_signature(tx, self._chain.signatures)
        if len(self._by_id) - len(evicted) >= self._capacity:
            self._make_room(tx)
        for txid in evicted:
            self._drop(txid)
        self._insert(tx)
        return Added(tx.txid, replaced=tuple(evicted))

    def _check_state(self, view: StateReader, tx: Transaction) -> list[TxId]:
        """Return the transactions that `tx` replaces. Raises `RuleBrokenError`."""
        if tx.fee < MIN_FEE:
            raise RuleBrokenError(
                Reason.FEE_TOO_LOW, f"the fee {tx.fee} is below {MIN_FEE}", hint="ask estimateFee"
            )
        account = view.get_account(tx.sender)
        if tx.nonce < account.nonce:
            raise RuleBrokenError(
                Reason.NONCE_TOO_LOW,
                f"the nonce {tx.nonce} is used, the account's next is {account.nonce}",
                hint="look whether this transaction, or one you replaced, is in a block already",
            )
        if tx.nonce >= account.nonce + MAX_PER_SENDER:
            raise RuleBrokenError(
                Reason.NONCE_TOO_HIGH,
                f"the nonce {tx.nonce} is too far above the account's next, {account.nonce}",
                hint="send the transactions before it first",
            )
        evicted: list[TxId] = []
        same_nonce = self._queues.get(tx.sender, {}).get(tx.nonce)
        if same_nonce is not None:
            self._must_outbid(tx, same_nonce, Reason.REPLACEMENT_UNDERPRICED)
            evicted.append(same_nonce.txid)
        height = BlockHeight(self._chain.tip.height + 1)
        rival = None
        if tx.kind == Kind.HTLC_LOCK:
            make_lock(view, tx, self._chain.median_time, height)
            rival = self._makes.get(tx.lock_id)
            if rival is not None and rival not in evicted:
                raise RuleBrokenError(
                    Reason.LOCK_EXISTS,
                    f"the waiting transaction {rival.hex()} makes this very lock",
                    hint="change a term, or replace that transaction by reusing its nonce",
                )
        elif tx.kind in SPENDS_LOCK:
            spend_lock(view, tx, self._chain.median_time, height)
            rival = self._spends.get(tx.lock_id)
            if rival is not None and rival not in evicted:
                self._must_outbid(tx, self._by_id[rival], Reason.LOCK_SPEND_PENDING)
                evicted.append(rival)
        self._check_balance(tx, account, set(evicted))
        return evicted

    @staticmethod
    def _must_outbid(tx: Transaction, old: Transaction, reason: Reason) -> None:
        needed = replacement_fee(old.fee)
        if tx.fee < needed:
            raise RuleBrokenError(
                reason,
                f"the waiting transaction {old.txid.hex()} is in the way",
                hint=f"a fee of at least {needed} replaces it",
            )

    def _check_balance(self, tx: Transaction, account: Account, evicted: set[TxId]) -> None:
        queue = {
            nonce: queued
            for nonce, queued in self._queues.get(tx.sender, {}).items()
            if queued.txid not in evicted
        }
        queue[tx.nonce] = tx
        balance = account.balance
        for _, queued in sorted(queue.items()):
            if queued.kind in SPENDS_LOCK and queued.recipient == tx.sender:
                balance += queued.amount
            balance -= queued.fee + (queued.amount if queued.kind in PAYS_AMOUNT else 0)
            if balance < 0:
                raise RuleBrokenError(
                    Reason.INSUFFICIENT_BALANCE,
                    f"the confirmed balance {account.balance} does not cover the sender's transactions",
                    hint="wait for incoming payments to be in a block, or send less",
                )

    def _make_room(self, tx: Transaction) -> None:
        """Drop the cheapest transaction that no other of its sender waits behind, if `tx` pays more."""
        cheapest = min(
            (queue[max(queue)] for queue in self._queues.values()), key=lambda last: (last.fee, last.txid)
        )
        if cheapest.fee >= tx.fee or cheapest.sender == tx.sender:
            raise RuleBrokenError(
                Reason.MEMPOOL_FULL, "the mempool is full", hint=f"pay more than {cheapest.fee}, or wait"
            )
        self._drop(cheapest.txid)

    def _insert(self, tx: Transaction) -> None:
        self._by_id[tx.txid] = tx
        self._queues.setdefault(tx.sender, {})[tx.nonce] = tx
        if tx.kind == Kind.HTLC_LOCK:
            self._makes[tx.lock_id] = tx.txid
        elif tx.kind in SPENDS_LOCK:
            self._spends[tx.lock_id] = tx.txid

    def _drop(self, txid: TxId) -> None:
        tx = self._by_id.pop(txid, None)
        if tx is None:
            return
        queue = self._queues[tx.sender]
        del queue[tx.nonce]
        if not queue:
            del self._queues[tx.sender]
        if self._makes.get(tx.lock_id) == txid:
            del self._makes[tx.lock_id]
        if self._spends.get(tx.lock_id) == txid:
            del self._spends[tx.lock_id]

    def remove(self, txid: TxId) -> None:
        """Forget a transaction."""
        self._drop(txid)

    # following the chain -----------------------------------------------------------------------------

    def update(self, change: ChainChange, leave_out: frozenset[TxId] = frozenset()) -> None:
        """Follow a change of the head: included transactions leave, orphaned ones come back.

        `leave_out`: ids that must not come back (dev_reorg).
        """
        if not change.connected:
            return
        if change.disconnected:
            back = [tx for block in reversed(change.disconnected) for tx in block.transactions()[1:]]
            waiting = [queue[nonce] for queue in self._queues.values() for nonce in sorted(queue)]
            self._by_id, self._queues, self._spends, self._makes = {}, {}, {}, {}
            self._readmit(tx for tx in [*back, *waiting] if tx.txid not in leave_out)
            return
        suspects: set[TxId] = set()
        for block in change.connected:
            for tx in block.transactions()[1:]:
                suspects.update(queued.txid for queued in self._queues.get(tx.sender, {}).values())
                suspects.update(filter(None, (self._spends.get(tx.lock_id), self._makes.get(tx.lock_id))))
        late = self._chain.median_time
        suspects.update(txid for txid in self._makes.values() if self._by_id[txid].deadline <= late)
        checked = sorted((self._by_id[txid] for txid in suspects), key=lambda tx: tx.nonce)
        for tx in checked:
            self._drop(tx.txid)
        self._readmit(checked)

    def _readmit(self, transactions: Iterable[Transaction]) -> None:
        for tx in transactions:
            try:
                self.add(tx)
            except RuleBrokenError:
                continue

    # mining ------------------------------------------------------------------------------------------

    def best(self, limit: int = MAX_BLOCK_TRANSACTIONS - 1) -> list[Transaction]:
        """Return transactions for a block: highest fees first, each sender's in order of nonce."""
        chosen: list[Transaction] = []
        heads: list[tuple[int, bytes, Transaction]] = []
        with self._chain.store.view() as view:
            for sender, queue in self._queues.items():
                first = queue.get(view.get_account(sender).nonce)
                if first is not None:
                    heads.append((-first.fee, first.txid, first))
        heapq.heapify(heads)
        while heads and len(chosen) < limit:
            _, _, tx = heapq.heappop(heads)
            chosen.append(tx)
            following = self._queues[tx.sender].get(tx.nonce + 1)
            if following is not None:
                heapq.heappush(heads, (-following.fee, following.txid, following))
        return chosen


def transactions_of(blocks: Iterable[Block]) -> list[Transaction]:
    """Return all but the coinbases of blocks, in order."""
    return [tx for block in blocks for tx in block.transactions()[1:]]
