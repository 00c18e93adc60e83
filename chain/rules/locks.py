"""HTLC locks: what the state keeps of one, and the rules that make and spend it.

The rules are those that all chains of the bridge share: claim by anyone who shows the preimage, paying only
the recipient, with no upper time bound; refund by anyone from the deadline on, paying only the sender;
cooperative refund at any time with the recipient's signature.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Protocol

import msgspec

from chain.rules.address import key_hash
from chain.rules.errors import Reason, RuleBrokenError
from chain.rules.hashing import sha256
from chain.rules.records import (
    CONSENT_BYTES,
    MAX_PREIMAGE_BYTES,
    SIGNATURE_BYTES,
    SPENDS_LOCK,
    Kind,
    Transaction,
    consent_digest,
)
from chain.rules.signatures import verify_signature
from chain.rules.types import BlockHeight, KeyHash, LockId, TxId, UnixSeconds


class LockState(StrEnum):
    """State of a lock."""

    OPEN = "OPEN"
    CLAIMED = "CLAIMED"
    REFUNDED = "REFUNDED"


class Lock(msgspec.Struct, frozen=True, array_like=True):
    """A lock on the main chain. Spent locks stay, with who spent them and how.

    Addresses are key hashes, ids are bytes; `spent_*` are empty while the lock is open.
    """

    sender: KeyHash
    recipient: KeyHash
    amount: int
    hashlock: bytes
    deadline: int
    lock_txid: TxId
    lock_height: BlockHeight
    state: LockState = LockState.OPEN
    spent_by: bytes = b""
    spent_txid: bytes = b""
    spent_height: int = 0
    preimage: bytes | None = None
    cooperative: bool = False

    def encode(self) -> bytes:
        """Return the stored form."""
        return msgspec.msgpack.encode(self)

    @staticmethod
    def decode(data: bytes) -> Lock:
        """Read the stored form."""
        return msgspec.msgpack.decode(data, type=Lock)

    def __repr__(self) -> str:
        """Leaves the preimage out."""
        return f"Lock({self.state}, amount={self.amount}, hashlock={self.hashlock.hex()})"


class LockReader(Protocol):
    """Where the rules look locks up."""

    def get_lock(self, lock_id: LockId) -> Lock | None:
        """Return a lock or None."""
        ...


def make_lock(locks: LockReader, tx: Transaction, median_time: UnixSeconds, height: BlockHeight) -> Lock:
    """Return the lock that an HTLC_LOCK makes. Raises `RuleBrokenError`.

    A lock whose deadline has passed is refused, so that one delayed on its way can never land late.
    """
    if locks.get_lock(tx.lock_id) is not None:
        raise RuleBrokenError(
            Reason.LOCK_EXISTS,
            "a lock with exactly these terms was made before",
            hint="change a term, for example the deadline by one second",
        )
    if tx.deadline <= median_time:
        raise RuleBrokenError(
            Reason.LOCK_DEADLINE_PASSED,
            f"the deadline {tx.deadline} is not after the median time {median_time}",
            hint="choose a later deadline",
        )
    return Lock(tx.sender, tx.recipient, tx.amount, tx.hash, tx.deadline, tx.txid, height)


def spend_lock(locks: LockReader, tx: Transaction, median_time: UnixSeconds, height: BlockHeight) -> Lock:
    """Return the spent lock that a claim or refund leaves. Raises `RuleBrokenError`.

    `median_time` is the median time past of the parent of the block that holds `tx`.
    """
    if tx.kind not in SPENDS_LOCK:
        raise RuleBrokenError(Reason.BAD_KIND, "this kind spends no lock")
    lock = locks.get_lock(tx.lock_id)
    if lock is None:
        raise RuleBrokenError(
            Reason.UNKNOWN_LOCK, f"no lock {tx.hash.hex()}", hint="wait until the lock is in a block"
        )
    if lock.state is not LockState.OPEN:
        raise RuleBrokenError(
            Reason.LOCK_SPENT, f"the lock was {lock.state.lower()} in {lock.spent_txid.hex()}"
        )
    claims = tx.kind == Kind.HTLC_CLAIM
    payee = lock.recipient if claims else lock.sender
    if tx.amount != lock.amount or tx.recipient != payee:
        raise RuleBrokenError(
            Reason.LOCK_TERMS_MISMATCH,
            "amount or recipient differ from the lock's",
            hint="a claim pays the lock's recipient, a refund its sender, and both the whole amount",
        )
    aux = tx.witness.aux
    if claims:
        if len(aux) > MAX_PREIMAGE_BYTES:
            raise RuleBrokenError(Reason.PREIMAGE_TOO_LONG, hint="a preimage has at most 64 bytes")
        if sha256(aux) != lock.hashlock:
            raise RuleBrokenError(Reason.WRONG_PREIMAGE, "sha256 of the preimage is not the hashlock")
    elif tx.kind == Kind.HTLC_REFUND:
        if median_time < lock.deadline:
            raise RuleBrokenError(
                Reason.DEADLINE_NOT_REACHED,
                f"the deadline {lock.deadline} is {lock.deadline - median_time} s after the median time",
                hint="try again when the median time past has reached the deadline",
            )
    elif not (tx.sender == lock.recipient and not aux) and not consents(lock.recipient, tx.lock_id, aux):
        raise RuleBrokenError(
            Reason.BAD_CONSENT,
            "a cooperative refund needs the lock's recipient: as sender, or by consent in the witness",
        )
    return msgspec.structs.replace(
        lock,
        state=LockState.CLAIMED if claims else LockState.REFUNDED,
        spent_by=tx.sender,
        spent_txid=tx.txid,
        spent_height=height,
        preimage=aux if claims else None,
        cooperative=tx.kind == Kind.HTLC_COOPERATIVE_REFUND,
    )


def consents(recipient: KeyHash, lock_id: LockId, consent: bytes) -> bool:
    """Tell whether `consent` (signature ‖ public key) is the recipient's to refund this lock."""
    if len(consent) != CONSENT_BYTES:
        return False
    signature, public_key = consent[:SIGNATURE_BYTES], consent[SIGNATURE_BYTES:]
    return key_hash(public_key) == recipient and verify_signature(
        public_key, signature, consent_digest(lock_id)
    )
