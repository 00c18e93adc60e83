"""What the rules are about: transactions as their fields, the state, and how a rule refuses."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from chain.rules.accounts import Account
from chain.rules.block import Block
from chain.rules.errors import Reason, RuleBrokenError
from chain.rules.hashing import keccak256
from chain.rules.locks import Lock
from chain.rules.records import (
    BODY,
    CONSENT_BYTES,
    PUBLIC_KEY_BYTES,
    SIGNATURE_BYTES,
    Kind,
    lock_id,
)
from chain.rules.types import Amount, BlockHeight, KeyHash, LockId, TxId, UnixSeconds

UINT64_END = 2**64
"""Sums are unsigned 64-bit integers: one that reaches this overflows."""


@dataclass(frozen=True)
class SignedRecord:
    """A transaction's 328 bytes, read field by field; nothing is checked yet."""

    body: bytes
    witness: bytes
    kind: int
    version: int
    flags: int
    chain_id: int
    nonce: int
    amount: Amount
    fee: Amount
    sender: KeyHash
    recipient: KeyHash
    hash: bytes
    deadline: UnixSeconds
    reserved: bytes

    @staticmethod
    def read(body: bytes, witness: bytes) -> SignedRecord:
        """Read a body (128 bytes) and its witness (200 bytes)."""
        return SignedRecord(body, witness, *BODY.unpack(body))

    @property
    def txid(self) -> TxId:
        """The transaction id."""
        return TxId(keccak256(self.body))

    @property
    def signature(self) -> bytes:
        """The sender's signature of the transaction id."""
        return self.witness[:SIGNATURE_BYTES]

    @property
    def public_key(self) -> bytes:
        """The sender's public key."""
        return self.witness[SIGNATURE_BYTES : SIGNATURE_BYTES + PUBLIC_KEY_BYTES]

    @property
    def aux_length(self) -> int:
        """Bytes of `aux`, as the witness says."""
        return self.witness[CONSENT_BYTES]

    @property
    def aux(self) -> bytes:
        """The preimage of a claim, or the consent to a cooperative refund."""
        return self.witness[CONSENT_BYTES + 1 : CONSENT_BYTES + 1 + self.aux_length]

    @property
    def unused_witness(self) -> bytes:
        """What lies behind `aux`."""
        return self.witness[CONSENT_BYTES + 1 + self.aux_length :]

    @property
    def lock_id(self) -> LockId:
        """The lock that an HTLC transaction makes or spends."""
        if self.kind == Kind.HTLC_LOCK:
            terms = (self.chain_id, self.sender, self.recipient, self.amount, self.hash, self.deadline)
            return LockId(lock_id(*terms))
        return LockId(self.hash)


@dataclass
class State:
    """What blocks change. `issued` is all subsidies so far, `locked` the sum of open locks."""

    accounts: dict[KeyHash, Account] = field(default_factory=dict)
    locks: dict[LockId, Lock] = field(default_factory=dict)
    transactions: dict[TxId, tuple[BlockHeight, int]] = field(default_factory=dict)
    anchors: set[tuple[bytes, TxId]] = field(default_factory=set)
    issued: int = 0
    locked: int = 0

    def copy(self) -> State:
        """Return a state that can change without this one."""
        return State(
            dict(self.accounts),
            dict(self.locks),
            dict(self.transactions),
            set(self.anchors),
            self.issued,
            self.locked,
        )

    def account(self, address: KeyHash) -> Account:
        """Return an account; one never seen is empty."""
        return self.accounts.get(address, Account())


def require(holds: bool, reason: Reason) -> None:
    """Refuse what is being checked unless the rule holds."""
    if not holds:
        raise RuleBrokenError(reason)


@contextmanager
def at_fault(index: int) -> Iterator[None]:
    """Name the transaction that breaks a rule within this block of code."""
    try:
        yield
    except RuleBrokenError as error:
        error.index = index
        raise


def records_of(block: Block) -> list[SignedRecord]:
    """Return a block's transactions, coinbase first."""
    pairs = zip(block.bodies, block.witnesses, strict=True)
    return [SignedRecord.read(body.tobytes(), witness.tobytes()) for body, witness in pairs]
