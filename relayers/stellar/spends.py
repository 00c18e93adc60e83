"""What one transaction did to a lock: proven to be its claim, proven to be its refund, or neither.

R and the preimage together are all of the gate: what they sign may change its signers, weights and
thresholds, and later transactions then need no preimage. So a spend is a claim only where the preimage and
R's payment stand in it, and a refund only where S itself takes the balance, which the ledger allows from the
deadline on. Whatever else touches the gate proves nothing.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass

from stellar_sdk import StrKey, xdr

from bridge.chains.port import LockStatus
from bridge.chains.preimages import opening
from bridge.protocol.types import Preimage, UnixSeconds
from relayers.stellar import htlc
from relayers.stellar.assets import to_stellar
from relayers.stellar.htlc import Gate
from relayers.stellar.preimages import strings_in
from relayers.stellar.recognition import inner_transaction


@dataclass(frozen=True)
class Spend:
    """How a transaction spent a lock: CLAIMED (then with the preimage), REFUNDED or SPENT, and why, for
    people."""

    status: LockStatus
    reason: str = ""
    preimage: Preimage | None = None


def end_of(envelope: xdr.TransactionEnvelope, gate: Gate, closed_at: UnixSeconds) -> Spend | None:
    """Tell how a successful transaction of a ledger closed at this time ended a lock's claimable balance,
    None if it left it alone."""
    claimers = [who for who, balance_id in claims_in(envelope) if balance_id == gate.balance_id]
    if not claimers:
        taken = gate.balance_id in _clawed_back(envelope)
        return Spend(LockStatus.SPENT, "its issuer took the balance back") if taken else None
    preimage = opening(gate.terms.hashlock, strings_in(envelope))
    if claimers == [gate.terms.sender]:
        if closed_at >= gate.terms.deadline:
            return Spend(LockStatus.REFUNDED)
        return Spend(LockStatus.SPENT, "the sender took the balance before the deadline")
    if preimage is None:
        return Spend(LockStatus.SPENT, "the gate took the balance, and no preimage stands by it")
    if not _pays_recipient(envelope, gate):
        return Spend(LockStatus.SPENT, "the gate took the balance and did not pay the recipient")
    return Spend(LockStatus.CLAIMED, preimage=preimage)


def change_of(envelope: xdr.TransactionEnvelope, gate: Gate, passphrase: str) -> Spend | None:
    """Tell whether a successful transaction that left the balance alone used the gate, None if it did not or
    is the reclaim that was agreed upon."""
    if gate.address not in sources_in(envelope):
        return None
    reclaim = htlc.reclaim_transaction(gate.terms, gate.address, gate.sequence, passphrase)
    if inner_hash(envelope, passphrase) == reclaim.hash():
        return None
    return Spend(LockStatus.SPENT, "a transaction that is neither claim nor refund used the gate")


def inner_hash(envelope: xdr.TransactionEnvelope, passphrase: str) -> bytes:
    """Return the hash of a transaction, of a fee bump that of the inner one; b"" for the oldest form."""
    inner = inner_transaction(envelope)
    if not isinstance(inner, xdr.Transaction):
        return b""
    network = hashlib.sha256(passphrase.encode()).digest()
    kind = xdr.EnvelopeType.ENVELOPE_TYPE_TX.value.to_bytes(4)
    return hashlib.sha256(network + kind + inner.to_xdr_bytes()).digest()


def claims_in(envelope: xdr.TransactionEnvelope) -> list[tuple[str, str]]:
    """Return claimer and balance id of each claim of a claimable balance in a transaction."""
    return [
        (source, "00000000" + body.claim_claimable_balance_op.balance_id.v0.hash.hex())
        for source, body in _operations(envelope)
        if body.claim_claimable_balance_op is not None
        and body.claim_claimable_balance_op.balance_id.v0 is not None
    ]


def sources_in(envelope: xdr.TransactionEnvelope) -> set[str]:
    """Return the accounts that a transaction acts for: its source and those of its operations."""
    return {_source_of(inner_transaction(envelope)), *(source for source, _ in _operations(envelope))}


def _clawed_back(envelope: xdr.TransactionEnvelope) -> set[str]:
    return {
        "00000000" + body.clawback_claimable_balance_op.balance_id.v0.hash.hex()
        for _, body in _operations(envelope)
        if body.clawback_claimable_balance_op is not None
        and body.clawback_claimable_balance_op.balance_id.v0 is not None
    }


def _pays_recipient(envelope: xdr.TransactionEnvelope, gate: Gate) -> bool:
    """Tell whether the gate pays R the whole amount, into its account or by creating it."""
    asset = to_stellar(gate.terms.asset).to_xdr_object()
    paid = 0
    for source, body in _operations(envelope):
        if source != gate.address:
            continue
        payment, creation = body.payment_op, body.create_account_op
        if payment is not None and payment.asset == asset:
            paid += payment.amount.int64 * (_address(payment.destination) == gate.terms.recipient)
        elif creation is not None and not gate.terms.asset.contract:
            key = creation.destination.account_id.ed25519
            created = key is not None and StrKey.encode_ed25519_public_key(key.uint256)
            paid += creation.starting_balance.int64 * (created == gate.terms.recipient)
    return paid >= gate.terms.amount


def _operations(envelope: xdr.TransactionEnvelope) -> Iterator[tuple[str, xdr.OperationBody]]:
    """Yield each operation with the account that it acts for."""
    inner = inner_transaction(envelope)
    for operation in inner.operations:
        source = operation.source_account
        yield (_source_of(inner) if source is None else _address(source)), operation.body


def _source_of(inner: xdr.Transaction | xdr.TransactionV0) -> str:
    if isinstance(inner, xdr.Transaction):
        return _address(inner.source_account)
    return StrKey.encode_ed25519_public_key(inner.source_account_ed25519.uint256)


def _address(account: xdr.MuxedAccount) -> str:
    key = account.med25519.ed25519 if account.med25519 is not None else account.ed25519
    if key is None:
        raise ValueError("an account of an unknown kind")
    return StrKey.encode_ed25519_public_key(key.uint256)
