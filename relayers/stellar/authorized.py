"""Claims that the recipient R signed for, so that anybody can put them on the ledger: what exactly is signed.

Their source is the gate, for nobody but R with the preimage can move its sequence before the deadline: what
R signed stays good whatever R's or the relayer's own accounts do meanwhile. R signs two transactions:

- the first claims, pays R, and puts the way back of the gate's deposit to R (`way_back`) in the place of the
  sender's pre-authorised reclaim, so that the deposit too reaches R without another signature;
- the second, for the case that the first was in a ledger and failed, or does not fit any more, claims and
  pays R and nothing else; of native XLM in the other way (CreateAccount instead of Payment or the reverse),
  for whether R's account exists is up to strangers: creating it costs them one XLM.

At most one of the two can succeed, both pay R alone, neither is worth anything without the preimage.
"""

from __future__ import annotations

from enum import Enum

from stellar_sdk import (
    AccountMerge,
    ChangeTrust,
    ClaimClaimableBalance,
    CreateAccount,
    Keypair,
    Network,
    Payment,
    Preconditions,
    SetOptions,
    Signer,
    TimeBounds,
    Transaction,
    TransactionEnvelope,
    xdr,
)
from stellar_sdk.exceptions import BadSignatureError, SdkError
from stellar_sdk.operation import Operation

from bridge.chains.errors import BadAuthorizationError
from bridge.protocol.types import LockTerms
from relayers.stellar import htlc
from relayers.stellar.assets import decimal, to_stellar
from relayers.stellar.htlc import Gate

VALID_AFTER_DEADLINE = 30 * 86_400
"""Seconds after the deadline until which R's signature is good: a late claim may still win while nobody has
refunded, but what is signed should have an end."""
WAY_BACK_SEQUENCE = 1_000
"""How far above q the sequence of the way back lies: beyond every claim of the gate's own that may fail."""
_OTHER_NETWORKS = (
    Network.PUBLIC_NETWORK_PASSPHRASE,
    Network.TESTNET_NETWORK_PASSPHRASE,
    Network.STANDALONE_NETWORK_PASSPHRASE,
)


class Way(Enum):
    """How R is paid: into its account, or by creating it."""

    PAYMENT = "payment"
    CREATION = "creation"


def ways(terms: LockTerms) -> tuple[Way, ...]:
    """Return the ways in which a claim of these terms can pay R."""
    creates = not terms.asset.contract and terms.amount >= htlc.MIN_NEW_ACCOUNT
    return (Way.PAYMENT, Way.CREATION) if creates else (Way.PAYMENT,)


def claims(
    gate: Gate, sequence: int, way: Way, passphrase: str
) -> tuple[TransactionEnvelope, TransactionEnvelope]:
    """Return the two transactions for R to sign while the gate's account is at `sequence`; the first one pays
    R in this way, the second in the other one if there is one."""
    other = next((each for each in ways(gate.terms) if each is not way), way)
    return first(gate, sequence, way, passphrase), second(gate, sequence, other, passphrase)


def first(gate: Gate, sequence: int, way: Way, passphrase: str) -> TransactionEnvelope:
    """Return the claim that takes the gate's next sequence and hands the deposit's way back over to R."""
    operations = [*_hand_over(gate, passphrase), *_pay(gate, way)]
    return TransactionEnvelope(_claim(gate, sequence + 1, None, operations), passphrase)


def second(gate: Gate, sequence: int, way: Way, passphrase: str) -> TransactionEnvelope:
    """Return the plain claim that is good whether the first one used its sequence or not."""
    return TransactionEnvelope(_claim(gate, sequence + 2, sequence, _pay(gate, way)), passphrase)


def _claim(gate: Gate, sequence: int, at_least: int | None, operations: list[Operation]) -> Transaction:
    bounds = TimeBounds(0, gate.terms.deadline + VALID_AFTER_DEADLINE)
    conditions = Preconditions(bounds, min_sequence_number=at_least)
    return Transaction(gate.address, sequence, 0, operations, preconditions=conditions)


def _pay(gate: Gate, way: Way) -> list[Operation]:
    terms = gate.terms
    claim = ClaimClaimableBalance(gate.balance_id, source=gate.address)
    if way is Way.CREATION:
        return [claim, CreateAccount(terms.recipient, decimal(terms.amount), source=gate.address)]
    return [
        claim,
        Payment(terms.recipient, to_stellar(terms.asset), decimal(terms.amount), source=gate.address),
    ]


def _hand_over(gate: Gate, passphrase: str) -> list[Operation]:
    reclaim = htlc.reclaim_transaction(gate.terms, gate.address, gate.sequence, passphrase)
    # First the old one goes: the gate's balance is the reserve of three signers, not of four.
    return [
        SetOptions(signer=Signer.pre_auth_tx(reclaim.hash(), 0), source=gate.address),
        SetOptions(signer=Signer.pre_auth_tx(way_back(gate, passphrase).hash(), 2), source=gate.address),
    ]


def way_back(gate: Gate, passphrase: str) -> TransactionEnvelope:
    """Return the transaction that gives R the deposit of a gate whose claim R authorised.

    It needs no signature and pays no fee: anybody submits it in a fee bump, once the ledger has passed q.
    """
    asset = to_stellar(gate.terms.asset)
    close_line = [] if asset.is_native() else [ChangeTrust(asset, "0")]
    inner = Transaction(
        gate.address,
        gate.sequence + WAY_BACK_SEQUENCE,
        0,
        [*close_line, AccountMerge(gate.terms.recipient)],
        preconditions=Preconditions(TimeBounds(0, 0), min_sequence_number=gate.sequence),
    )
    return TransactionEnvelope(inner, passphrase)


def parse(text: str, passphrase: str) -> TransactionEnvelope:
    """Read an envelope that a wallet gave. Raises `BadAuthorizationError`."""
    try:
        envelope = xdr.TransactionEnvelope.from_xdr(text)
        if envelope.fee_bump is not None:
            raise BadAuthorizationError(
                "this is a fee bump, not the claim itself", "sign the transaction as it was requested"
            )
        return TransactionEnvelope.from_xdr_object(envelope, passphrase)
    except (SdkError, ValueError, TypeError, EOFError, ArithmeticError) as error:
        raise BadAuthorizationError(
            "there is no Stellar transaction envelope in this",
            "hand over the signed transaction, XDR in base64",
        ) from error


def signed_by(envelope: TransactionEnvelope, signer: str) -> TransactionEnvelope:
    """Return the envelope with `signer`'s signature alone: superfluous ones the ledger refuses.

    Raises `BadAuthorizationError` if it has none that is good.
    """
    for each in envelope.signatures:
        if _verifies(signer, envelope.hash(), each.signature):
            return TransactionEnvelope(envelope.transaction, envelope.network_passphrase, signatures=[each])
    for passphrase in _OTHER_NETWORKS:
        elsewhere = TransactionEnvelope(envelope.transaction, passphrase).hash()
        if any(_verifies(signer, elsewhere, each.signature) for each in envelope.signatures):
            raise BadAuthorizationError(
                f"the claim was signed for another network ({passphrase})",
                f"switch the wallet to {envelope.network_passphrase!r} and sign again",
            )
    raise BadAuthorizationError(
        f"the recipient {signer} has not signed the claim", "sign it with the recipient's own key"
    )


def _verifies(signer: str, digest: bytes, signature: bytes) -> bool:
    try:
        Keypair.from_public_key(signer).verify(digest, signature)
    except (BadSignatureError, ValueError):
        return False
    return True


def difference(envelope: TransactionEnvelope, wanted: TransactionEnvelope) -> str:
    """Say in what a transaction differs from the one that was wanted, "" if in nothing."""
    if envelope.hash() == wanted.hash():
        return ""
    got, want = envelope.transaction, wanted.transaction
    if got.source != want.source:
        return f"its source is {got.source.account_id}, not the lock's gate {want.source.account_id}"
    if _operations(got) != _operations(want):
        return "its operations are not exactly those of the claim of this lock"
    if got.sequence != want.sequence:
        return f"its sequence is {got.sequence}, and the gate's is such that it must be {want.sequence}"
    if _conditions(got) != _conditions(want):
        return "its time bounds or other preconditions are not those that were requested"
    return "its fee, memo or form is not what was requested"


def _operations(transaction: Transaction) -> list[str]:
    return [str(each.to_xdr_object().to_xdr()) for each in transaction.operations]


def _conditions(transaction: Transaction) -> str:
    conditions = transaction.preconditions
    return "" if conditions is None else str(conditions.to_xdr_object().to_xdr())


def fits_sequence(envelope: TransactionEnvelope, sequence: int) -> bool:
    """Tell whether a transaction of the gate's can still land while the gate's account is at `sequence`."""
    transaction = envelope.transaction
    conditions = transaction.preconditions
    least = conditions.min_sequence_number if conditions is not None else None
    if least is None:
        return bool(transaction.sequence == sequence + 1)
    return bool(least <= sequence < transaction.sequence)
