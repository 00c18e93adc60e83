"""Transactions that want the same: which of two stays, and what stands by.

Only one spend of a lock can be mined. A claim shows the preimage and pays the recipient, so that it goes
before a refund whatever either pays: otherwise the lock's sender could buy the recipient's money back with a
fee. Between claims, and between refunds, the fee that a miner can collect decides. The loser stands by: a
stranger who outbids a claim and then replaces its own must not leave the lock without one.
"""

from __future__ import annotations

from collections.abc import Iterator

from chain.mempool.entries import Entry, replacement_fee
from chain.mempool.ready import Ready
from chain.rules.errors import Reason, RuleBrokenError
from chain.rules.params import MIN_FEE
from chain.rules.records import SPENDS_LOCK, Kind, Transaction
from chain.rules.types import LockId, TxId, WtxId

STANDING_BY_PER_LOCK = 4
STANDING_BY = 1_024


def must_outbid(offer: int, old: Transaction, paid: int, reason: Reason) -> None:
    """Raise `RuleBrokenError` unless `offer` replaces `old`, for which a miner gets `paid`."""
    needed = replacement_fee(paid, MIN_FEE)
    if offer < needed:
        raise RuleBrokenError(
            reason,
            f"the waiting transaction {old.txid.hex()} is in the way",
            hint=f"a fee of at least {needed} replaces it",
        )


def displaced(ready: Ready, entry: Entry, rank: int, old: Entry | None) -> Entry | None:
    """Return the waiting transaction that `entry` takes the lock of; None when there is none.

    `rank` is what a miner can collect for `entry`, `old` the one whose nonce it takes. Raises
    `RuleBrokenError` when the one that waits stays.
    """
    tx = entry.tx
    if tx.kind == Kind.HTLC_LOCK:
        maker = ready.makes.get(tx.lock_id)
        if maker is not None and maker is not old:
            raise RuleBrokenError(
                Reason.LOCK_EXISTS,
                f"the waiting transaction {maker.tx.txid.hex()} makes this very lock",
                hint="change a term, or replace that transaction by reusing its nonce",
            )
        return None
    rival = ready.spends.get(tx.lock_id) if tx.kind in SPENDS_LOCK else None
    if rival is None or rival is old:
        return None
    if rival.tx.sender == tx.sender:
        raise RuleBrokenError(
            Reason.LOCK_SPEND_PENDING,
            f"the sender's own transaction {rival.tx.txid.hex()} spends the lock",
            hint="replace it by reusing its nonce",
        )
    claims, rival_claims = tx.kind == Kind.HTLC_CLAIM, rival.tx.kind == Kind.HTLC_CLAIM
    if rival_claims and not claims:
        raise RuleBrokenError(
            Reason.LOCK_SPEND_PENDING,
            f"the claim {rival.tx.txid.hex()} waits, and a claim goes before a refund",
            hint="wait: the lock is about to be claimed",
        )
    if claims == rival_claims:
        must_outbid(rank, rival.tx, rival.rank, Reason.LOCK_SPEND_PENDING)
    return rival


class StandBy:
    """Spends of locks that were outbid: a few for each lock, out of the way until the lock is free."""

    def __init__(self) -> None:
        self._by_lock: dict[LockId, list[Entry]] = {}
        self._by_wtxid: dict[WtxId, Entry] = {}

    def __len__(self) -> int:
        return len(self._by_wtxid)

    def __iter__(self) -> Iterator[Entry]:
        return iter(self._by_wtxid.values())

    def waits_for(self, lock_id: LockId) -> bool:
        """Tell whether a spend of a lock stands by."""
        return lock_id in self._by_lock

    def put(self, entry: Entry) -> None:
        """Let a spend stand by; the one that pays least of its lock, or the oldest of all, makes room."""
        waiting = self._by_lock.setdefault(entry.tx.lock_id, [])
        waiting.append(entry)
        self._by_wtxid[entry.wtxid] = entry
        if len(waiting) > STANDING_BY_PER_LOCK:
            self.drop(min(waiting, key=_order).wtxid)
        if len(self._by_wtxid) > STANDING_BY:
            self.drop(next(iter(self._by_wtxid)))

    def take(self, lock_id: LockId) -> Entry | None:
        """Take out the spend of a lock that goes first: a claim, then the highest fee."""
        waiting = self._by_lock.get(lock_id)
        if not waiting:
            return None
        first = max(waiting, key=_order)
        self.drop(first.wtxid)
        return first

    def drop(self, wtxid: WtxId) -> None:
        """Take one out."""
        entry = self._by_wtxid.pop(wtxid, None)
        if entry is None:
            return
        waiting = self._by_lock[entry.tx.lock_id]
        waiting.remove(entry)
        if not waiting:
            del self._by_lock[entry.tx.lock_id]

    def expire(self, wtxid: WtxId, now: float) -> None:
        """Drop one whose time is over."""
        entry = self._by_wtxid.get(wtxid)
        if entry is not None and entry.expires <= now:
            self.drop(wtxid)

    def forget(self, lock_id: LockId) -> None:
        """Drop all of a lock: a block spends it."""
        for entry in list(self._by_lock.get(lock_id, ())):
            self.drop(entry.wtxid)


def _order(entry: Entry) -> tuple[bool, int, TxId]:
    return entry.tx.kind == Kind.HTLC_CLAIM, entry.tx.fee, entry.tx.txid
