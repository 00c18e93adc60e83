"""Transactions: the fixed 128-byte body and the separate 200-byte witness.

docs/zion-protocol.md holds the layout in words and tests/vectors/zion_protocol.json its vectors.
Integers are little-endian. `Transaction` is the readable form of one; blocks keep theirs as arrays.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, replace
from enum import IntEnum
from functools import cached_property

from chain.rules.errors import Reason, RuleBrokenError
from chain.rules.hashing import keccak256, sha256
from chain.rules.types import KeyHash, LockId, TxId, WtxId

BODY = struct.Struct("<BBHIQQQ20s20s32sQ16s")
BODY_BYTES = 128
BODY_WORDS = 16
BODY_VERSION = 1

SIGNATURE_BYTES = 64
PUBLIC_KEY_BYTES = 33
AUX_BYTES = 97
MAX_PREIMAGE_BYTES = 64
CONSENT_BYTES = SIGNATURE_BYTES + PUBLIC_KEY_BYTES
WITNESS = struct.Struct(f"<{SIGNATURE_BYTES}s{PUBLIC_KEY_BYTES}sB{AUX_BYTES}s5s")
WITNESS_BYTES = 200
WITNESS_WORDS = 25

RAW_BYTES = BODY_BYTES + WITNESS_BYTES
"""A whole transaction on the wire: body ‖ witness."""

LOCK_ID_KIND = 0x83
"""First byte of the record that a lock id hashes: no transaction has this kind."""

CONSENT_DOMAIN = b"ZION cooperative refund v1"

ZERO20 = KeyHash(bytes(20))
ZERO32 = bytes(32)


class Kind(IntEnum):
    """Kinds of transactions. 8 and 9 are kept for private notes."""

    COINBASE = 1
    TRANSFER = 2
    HTLC_LOCK = 3
    HTLC_CLAIM = 4
    HTLC_REFUND = 5
    HTLC_COOPERATIVE_REFUND = 6
    ANCHOR = 7


SPENDS_LOCK = frozenset({Kind.HTLC_CLAIM, Kind.HTLC_REFUND, Kind.HTLC_COOPERATIVE_REFUND})
PAYS_AMOUNT = frozenset({Kind.TRANSFER, Kind.HTLC_LOCK})


@dataclass(frozen=True, slots=True)
class Witness:
    """What authorises a body: the sender's signature and key, and `aux`.

    `aux` is the preimage of a claim (0–64 bytes), or the recipient's consent (signature ‖ public key, 97
    bytes) to a cooperative refund, else empty.
    """

    signature: bytes = bytes(SIGNATURE_BYTES)
    public_key: bytes = bytes(PUBLIC_KEY_BYTES)
    aux: bytes = b""

    def encode(self) -> bytes:
        """Return the 200 bytes."""
        if len(self.aux) > AUX_BYTES:
            raise RuleBrokenError(Reason.PREIMAGE_TOO_LONG, f"{len(self.aux)} bytes do not fit a witness")
        return WITNESS.pack(self.signature, self.public_key, len(self.aux), self.aux, bytes(5))

    @staticmethod
    def decode(data: bytes) -> Witness:
        """Read the 200 bytes; bytes beyond `aux` are checked by `chain.rules.compiled`, not here."""
        signature, public_key, length, aux, _ = WITNESS.unpack(data)
        return Witness(signature, public_key, aux[: min(length, AUX_BYTES)])


@dataclass(frozen=True)
class Transaction:
    """One transaction. Addresses are 20-byte key hashes, amounts smallest units, the deadline Unix seconds.

    What `hash`, `amount`, `recipient` and `deadline` mean depends on the kind: see docs/zion-protocol.md.
    """

    kind: int
    chain_id: int
    nonce: int
    amount: int
    fee: int
    sender: KeyHash
    recipient: KeyHash = ZERO20
    hash: bytes = ZERO32
    deadline: int = 0
    witness: Witness = Witness()

    @cached_property
    def body(self) -> bytes:
        """The 128 bytes that the transaction id and the signature cover."""
        try:
            return BODY.pack(
                self.kind, BODY_VERSION, 0, self.chain_id, self.nonce, self.amount, self.fee,
                self.sender, self.recipient, self.hash, self.deadline, bytes(16),
            )  # fmt: skip
        except struct.error as error:
            raise RuleBrokenError(
                Reason.MALFORMED, f"a field does not fit its place: {error}", hint="integers are u64"
            ) from None

    @cached_property
    def txid(self) -> TxId:
        """keccak256(body); also the digest that the sender signs."""
        return TxId(keccak256(self.body))

    @cached_property
    def wtxid(self) -> WtxId:
        """sha256(txid ‖ witness). The txid does not cover the witness, so a stranger can send the same txid
        under a broken witness: what is waiting, relayed or refused is named by this id."""
        return WtxId(sha256(self.txid + self.witness_bytes))

    @cached_property
    def witness_bytes(self) -> bytes:
        """The 200 bytes of the witness."""
        return self.witness.encode()

    @property
    def raw(self) -> bytes:
        """Body ‖ witness, 328 bytes."""
        return self.body + self.witness_bytes

    @cached_property
    def lock_id(self) -> LockId:
        """The lock this transaction makes or spends; zeros for kinds without."""
        if self.kind == Kind.HTLC_LOCK:
            return lock_id(self.chain_id, self.sender, self.recipient, self.amount, self.hash, self.deadline)
        return LockId(self.hash if self.kind in SPENDS_LOCK else ZERO32)

    def with_witness(self, witness: Witness) -> Transaction:
        """Return the same body under another witness."""
        return replace(self, witness=witness)

    def __repr__(self) -> str:
        """Names the transaction without its witness, which may hold a preimage."""
        kind = Kind(self.kind).name if self.kind in set(Kind) else self.kind
        return f"Transaction({kind}, {self.txid.hex()}, nonce={self.nonce})"


def decode_transaction(raw: bytes) -> Transaction:
    """Read body ‖ witness. Raises `RuleBrokenError(MALFORMED)`; says nothing of validity.

    Fields that a `Transaction` does not carry must have their one allowed value here, or the bytes would
    not survive a round trip.
    """
    if len(raw) != RAW_BYTES:
        raise RuleBrokenError(
            Reason.MALFORMED,
            f"a transaction has {RAW_BYTES} bytes, not {len(raw)}",
            hint="send body ‖ witness",
        )
    kind, version, flags, chain_id, nonce, amount, fee, sender, recipient, hash32, deadline, reserved = (
        BODY.unpack(raw[:BODY_BYTES])
    )
    if version != BODY_VERSION:
        raise RuleBrokenError(Reason.BAD_VERSION, f"version {version} of a body is unknown")
    if flags or any(reserved):
        raise RuleBrokenError(Reason.RESERVED_NOT_ZERO)
    witness = Witness.decode(raw[BODY_BYTES:])
    transaction = Transaction(
        kind, chain_id, nonce, amount, fee, sender, recipient, hash32, deadline, witness
    )
    if raw[BODY_BYTES + 97] > AUX_BYTES or witness.encode() != raw[BODY_BYTES:]:
        raise RuleBrokenError(Reason.BAD_WITNESS, "unused bytes of a witness must be zero")
    return transaction


def lock_id(
    chain_id: int, sender: bytes, recipient: bytes, amount: int, hashlock: bytes, deadline: int
) -> LockId:
    """Return the id of the lock with these terms: keccak256 of its body under kind 0x83, nonce 0, fee 0."""
    return LockId(keccak256(
        BODY.pack(
            LOCK_ID_KIND, BODY_VERSION, 0, chain_id, 0, amount, 0, sender, recipient, hashlock, deadline,
            bytes(16),
        )
    ))  # fmt: skip


def consent_digest(lock: LockId) -> bytes:
    """Return what a recipient signs to let a lock be refunded at once: keccak256(domain ‖ lock id)."""
    return keccak256(CONSENT_DOMAIN + lock)
