"""Gate accounts: what locks on Stellar were before our contract, kept as a rich use of the classic rules.

A lock makes, in one transaction, an account with three signers (the hash of the preimage, the recipient, a
transaction that is authorised beforehand) and a claimable balance that it, or later the sender, may claim.
"""

from __future__ import annotations

from dataclasses import dataclass

from stellar_sdk import (
    AccountMerge,
    BumpSequence,
    ChangeTrust,
    Claimant,
    ClaimClaimableBalance,
    ClaimPredicate,
    CreateAccount,
    CreateClaimableBalance,
    FeeBumpTransaction,
    FeeBumpTransactionEnvelope,
    Keypair,
    Payment,
    Preconditions,
    SetOptions,
    Signer,
    TimeBounds,
    Transaction,
    TransactionEnvelope,
)
from stellar_sdk.operation import Operation

from bridge.protocol.types import LockTerms
from relayers.stellar.assets import INT64_MAX, decimal, to_stellar

BASE_RESERVE = 5_000_000
"""Stroops of one base reserve on the public network since 2019; validators may vote another."""
GATE_RESERVES = 5
"""Base reserves that a gate needs: two for the account and one for each of its three signers."""
BALANCE_RESERVES = 2
"""Base reserves that the claimable balance takes of its sponsor S: one for each claimant."""
MIN_NEW_ACCOUNT = 2 * BASE_RESERVE
"""Stroops below which an account cannot be created."""
SEQUENCE_LEDGERS = 60
"""How many ledgers ahead of the present one the gate's sequence lies, about five minutes: time enough for
the lock to land, and a later merge must wait for that ledger (ACCOUNT_MERGE_SEQNUM_TOO_FAR)."""
MAX_SEQUENCE_LEDGERS = 17_280
"""A gate whose sequence lies farther ahead, about a day, is not one of ours."""


@dataclass(frozen=True)
class Gate:
    """One lock on the ledger: its terms, the gate's address and sequence, the claimable balance's id (72 hex
    digits), and the stroops that the gate was created with."""

    terms: LockTerms
    address: str
    sequence: int
    balance_id: str
    deposit: int


def deposit(terms: LockTerms, base_reserve: int = BASE_RESERVE) -> int:
    """Return the stroops that S puts into the gate: its reserve, one unit more for a trustline."""
    return (GATE_RESERVES + bool(terms.asset.contract)) * base_reserve


def gate_sequence(ledger: int) -> int:
    """Return the sequence q for a gate whose lock is built while `ledger` is the newest."""
    return (ledger + SEQUENCE_LEDGERS) << 32


def lock_operations(
    terms: LockTerms, gate: str, sequence: int, passphrase: str, gate_balance: int
) -> list[Operation]:
    """Return the operations of a lock, each with its source; the claimable balance comes last.

    The transaction is signed by its source, S and G.
    """
    asset = to_stellar(terms.asset)
    reclaim = reclaim_transaction(terms, gate, sequence, passphrase)
    not_before = ClaimPredicate.predicate_not(ClaimPredicate.predicate_before_absolute_time(terms.deadline))
    trust = [] if asset.is_native() else [ChangeTrust(asset, decimal(INT64_MAX), source=gate)]
    return [
        CreateAccount(gate, decimal(gate_balance), source=terms.sender),
        *trust,
        BumpSequence(sequence, source=gate),
        SetOptions(signer=Signer.sha256_hash(terms.hashlock, 1), source=gate),
        SetOptions(signer=Signer.pre_auth_tx(reclaim.hash(), 2), source=gate),
        SetOptions(
            signer=Signer.ed25519_public_key(terms.recipient, 1),
            master_weight=0,
            low_threshold=2,
            med_threshold=2,
            high_threshold=2,
            source=gate,
        ),
        CreateClaimableBalance(
            asset,
            decimal(terms.amount),
            [Claimant(gate), Claimant(terms.sender, not_before)],
            source=terms.sender,
        ),
    ]


def reclaim_transaction(terms: LockTerms, gate: str, sequence: int, passphrase: str) -> TransactionEnvelope:
    """Return the pre-authorised transaction that, from T on, gives S the gate's deposit back.

    It needs no signature and pays no fee: anybody submits it inside a fee bump.
    """
    asset = to_stellar(terms.asset)
    # Its source is the gate, so its operations name none: one form only, for its hash is agreed upon.
    close_line = [] if asset.is_native() else [ChangeTrust(asset, "0")]
    operations = [*close_line, AccountMerge(terms.sender)]
    bounds = Preconditions(TimeBounds(terms.deadline, 0))
    inner = Transaction(gate, sequence + 1, 0, operations, preconditions=bounds)
    return TransactionEnvelope(inner, passphrase)


def claim_operations(gate: Gate) -> list[Operation]:
    """Return the operations of a claim. Signed by its source, R, and the preimage (`sign_claim`)."""
    asset = to_stellar(gate.terms.asset)
    return [
        ClaimClaimableBalance(gate.balance_id, source=gate.address),
        Payment(gate.terms.recipient, asset, decimal(gate.terms.amount), source=gate.address),
    ]


def refund_operations(gate: Gate) -> list[Operation]:
    """Return the operation of a refund, good from T on. Signed by its source and S."""
    return [ClaimClaimableBalance(gate.balance_id, source=gate.terms.sender)]


def cleanup_operations(gate: Gate, gate_holds: int = 0) -> list[Operation]:
    """Return the operations by which R closes a claimed gate and keeps its deposit.

    `gate_holds` is what the gate holds of the issued asset beyond the claimed amount (dust that others
    sent): it goes to R too, for the trustline must be empty. Signed by the source, R, and the preimage.
    """
    asset = to_stellar(gate.terms.asset)
    operations: list[Operation] = []
    if not asset.is_native():
        if gate_holds:
            operations.append(Payment(gate.terms.recipient, asset, decimal(gate_holds), source=gate.address))
        operations.append(ChangeTrust(asset, "0", source=gate.address))
    return [*operations, AccountMerge(gate.terms.recipient, source=gate.address)]


def bump(inner: TransactionEnvelope, payer: Keypair, rate: int) -> FeeBumpTransactionEnvelope:
    """Return the fee bump by which `payer` bids `rate` stroops per operation for `inner`, signed."""
    fee = rate * (len(inner.transaction.operations) + 1)
    outer = FeeBumpTransactionEnvelope(FeeBumpTransaction(payer, fee, inner), inner.network_passphrase)
    outer.sign(payer)
    return outer
