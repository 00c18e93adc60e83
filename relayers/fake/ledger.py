"""The fake chain's ledger: accounts, HTLCs and what a transaction does to them. Pure state, no faults."""

from __future__ import annotations

import copy
import hashlib
from dataclasses import dataclass, field
from enum import StrEnum

import msgspec

from bridge.chains.port import Claimed, HtlcEvent, Locked, LockStatus, Refunded
from bridge.protocol.types import (
    Amount,
    Asset,
    BlockHeight,
    BlockRef,
    LockId,
    LockTerms,
    Preimage,
    Purpose,
    TxId,
)
from kernels.errors import RainbowError


class FakeTx(msgspec.Struct, frozen=True):
    """A transaction; its id is the SHA-256 of its encoding. `preimage` is hex; `others` are further claims,
    each a lock id and its preimage."""

    account: str
    sequence: int | None
    purpose: Purpose
    price: int
    terms: LockTerms | None = None
    lock_id: LockId = LockId("")
    preimage: str = ""
    payload: str = ""
    amount: int = 0
    valid_until: BlockHeight | None = None
    salt: int = 0
    others: tuple[tuple[LockId, str], ...] = ()

    def encode(self) -> bytes:
        """Return the bytes that are broadcast."""
        return msgspec.json.encode(self)

    @property
    def tx_id(self) -> TxId:
        """The id, hex."""
        return TxId(hashlib.sha256(self.encode()).hexdigest())

    @property
    def cost(self) -> Amount:
        """What it pays for being included, native units."""
        return Amount((GAS[self.purpose] + BATCHED_CLAIM_GAS * len(self.others)) * self.price)

    def __repr__(self) -> str:
        return f"FakeTx({self.purpose}, account={self.account}, sequence={self.sequence})"


GAS = {
    Purpose.LOCK: 100,
    Purpose.CLAIM: 60,
    Purpose.REFUND: 60,
    Purpose.COOPERATIVE_REFUND: 60,
    Purpose.APPROVE: 40,
    Purpose.ANCHOR: 50,
    Purpose.CANCEL: 20,
}
"""Gas per purpose; a transaction costs gas × price."""

BATCHED_CLAIM_GAS = 10
"""Gas of each further claim in a batch."""


def shown_by(tx: FakeTx) -> tuple[bytes, ...]:
    """Return the byte strings that a transaction shows which names a lock, whatever it does, and whether or
    not it works."""
    if not tx.lock_id and tx.terms is None:
        return ()
    texts = (tx.preimage, *(preimage for _, preimage in tx.others))
    return (*(bytes.fromhex(text) for text in texts if text), tx.payload.encode("latin-1"))


def lock_id_of(terms: LockTerms) -> LockId:
    """Return the id of a lock with these terms: SHA-256 of all of them."""
    return LockId(hashlib.sha256(b"fake-lock" + msgspec.json.encode(terms)).hexdigest())


class InvalidTxError(RainbowError):
    """The transaction reverts."""


class LedgerLockState(StrEnum):
    """Whether a lock stands or how it was spent."""

    OPEN = "open"
    CLAIMED = "claimed"
    REFUNDED = "refunded"


@dataclass
class FakeLedger:
    """All state after some block. `burned` counts the fees paid, native units; `atomic_claims`: one claim
    that cannot be made spoils its whole batch."""

    native: Asset
    balances: dict[tuple[str, str], int] = field(default_factory=dict)
    sequences: dict[str, int] = field(default_factory=dict)
    locks: dict[str, tuple[LockTerms, LedgerLockState]] = field(default_factory=dict)
    approvals: set[tuple[str, str]] = field(default_factory=set)
    burned: int = 0
    atomic_claims: bool = False

    def snapshot(self) -> FakeLedger:
        """Return an independent copy."""
        return FakeLedger(
            self.native,
            dict(self.balances),
            dict(self.sequences),
            dict(self.locks),
            copy.copy(self.approvals),
            self.burned,
            self.atomic_claims,
        )

    def balance(self, address: str, asset: Asset) -> Amount:
        """Return a balance, smallest units."""
        return Amount(self.balances.get((address, asset.key), 0))

    def credit(self, address: str, asset: Asset, amount: int) -> None:
        """Add (or, negative, take) an amount. Raises `InvalidTxError` instead of going below zero."""
        after = self.balance(address, asset) + amount
        if after < 0:
            raise InvalidTxError(f"{address} lacks {-after} of {asset.key}")
        self.balances[(address, asset.key)] = after

    def supply(self, asset: Asset) -> int:
        """Return all there is of an asset: balances, open locks, and for the native coin burned fees."""
        held = sum(amount for (_, key), amount in self.balances.items() if key == asset.key)
        locked = sum(
            terms.amount
            for terms, state in self.locks.values()
            if state is LedgerLockState.OPEN and terms.asset.key == asset.key
        )
        return held + locked + (self.burned if asset.key == self.native.key else 0)

    def lock_status(self, lock_id: LockId) -> LockStatus:
        """Return what stands under a lock id."""
        found = self.locks.get(lock_id)
        return LockStatus(found[1].value) if found else LockStatus.ABSENT

    def pay_fee(self, tx: FakeTx) -> None:
        """Take the fee and use up the sequence: this happens even if the transaction then reverts."""
        self.credit(tx.account, self.native, -tx.cost)
        self.burned += tx.cost
        if tx.sequence is not None:
            self.sequences[tx.account] = tx.sequence + 1

    def execute(self, tx: FakeTx, block: BlockRef) -> tuple[HtlcEvent, ...]:
        """Do what a transaction says, at the block's time. Raises `InvalidTxError` and then changes
        nothing."""
        match tx.purpose:
            case Purpose.LOCK:
                return (self._lock(tx, block),)
            case Purpose.CLAIM:
                return self._claims(tx, block)
            case Purpose.REFUND | Purpose.COOPERATIVE_REFUND:
                return (self._refund(tx, block),)
            case Purpose.APPROVE:
                self.approvals.add((tx.account, tx.payload))
        return ()

    def _lock(self, tx: FakeTx, block: BlockRef) -> Locked:
        terms = tx.terms
        if terms is None or terms.amount <= 0:
            raise InvalidTxError("a lock needs terms and a positive amount")
        if terms.sender != tx.account:
            raise InvalidTxError("only the sender can lock")
        if {terms.chain, terms.asset.chain} != {self.native.chain}:
            raise InvalidTxError(
                f"the lock is of {terms.chain} and {terms.asset.key}, not of {self.native.chain}"
            )
        if terms.deadline <= block.time:
            raise InvalidTxError("the deadline has passed")
        lock_id = lock_id_of(terms)
        if lock_id in self.locks:
            raise InvalidTxError("a lock with these terms exists")
        if terms.asset.key != self.native.key and (tx.account, terms.asset.key) not in self.approvals:
            raise InvalidTxError(f"{terms.asset.key} is not approved")
        self.credit(tx.account, terms.asset, -terms.amount)
        self.locks[lock_id] = (terms, LedgerLockState.OPEN)
        return Locked(block, tx.tx_id, lock_id, terms)

    def _open(self, lock_id: LockId) -> LockTerms:
        found = self.locks.get(lock_id)
        if found is None:
            raise InvalidTxError("no such lock")
        if found[1] is not LedgerLockState.OPEN:
            raise InvalidTxError(f"the lock was {found[1].value}")
        return found[0]

    def _claims(self, tx: FakeTx, block: BlockRef) -> tuple[Claimed, ...]:
        """A batch leaves out what is not open, and fails if nothing is; an atomic one if anything is not."""
        claimed: list[Claimed] = []
        refusal: InvalidTxError | None = None
        for lock_id, preimage in ((tx.lock_id, tx.preimage), *tx.others):
            try:
                claimed.append(self._claim(tx, lock_id, Preimage(bytes.fromhex(preimage)), block))
            except InvalidTxError as error:
                refusal = error
        if refusal is not None and (self.atomic_claims or not claimed):
            for undone in claimed:
                terms, _ = self.locks[undone.lock_id]
                self.credit(terms.recipient, terms.asset, -terms.amount)
                self.locks[undone.lock_id] = (terms, LedgerLockState.OPEN)
            raise refusal
        return tuple(claimed)

    def _claim(self, tx: FakeTx, lock_id: LockId, preimage: Preimage, block: BlockRef) -> Claimed:
        terms = self._open(lock_id)
        if not preimage.opens(terms.hashlock):
            raise InvalidTxError("the preimage does not open the hashlock")
        self.credit(terms.recipient, terms.asset, terms.amount)
        self.locks[lock_id] = (terms, LedgerLockState.CLAIMED)
        return Claimed(block, tx.tx_id, lock_id, preimage)

    def _refund(self, tx: FakeTx, block: BlockRef) -> Refunded:
        terms = self._open(tx.lock_id)
        if tx.purpose is Purpose.REFUND and block.time < terms.deadline:
            raise InvalidTxError("the deadline has not passed")
        if tx.purpose is Purpose.COOPERATIVE_REFUND and tx.account != terms.recipient:
            raise InvalidTxError("a cooperative refund needs the recipient")
        self.credit(terms.sender, terms.asset, terms.amount)
        self.locks[tx.lock_id] = (terms, LedgerLockState.REFUNDED)
        return Refunded(block, tx.tx_id, tx.lock_id)
