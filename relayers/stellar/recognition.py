"""Recognising locks: in transactions, by rebuilding them, and in the ledger's state, by comparing all of it.

A lock counts only if it is exactly what `htlc.lock_operations` makes of the terms it shows: these signers,
weights, thresholds, claimants, predicates, asset and amount, and a pre-authorised transaction that is the
reclaim and nothing else.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from stellar_sdk import Asset as StellarAsset
from stellar_sdk import (
    BumpSequence,
    Claimant,
    CreateAccount,
    CreateClaimableBalance,
    FeeBumpTransactionEnvelope,
    SetOptions,
    StrKey,
    Transaction,
    TransactionEnvelope,
    xdr,
)
from stellar_sdk.exceptions import SdkError
from stellar_sdk.operation import Operation
from stellar_sdk.operation.create_claimable_balance import ClaimPredicateType
from stellar_sdk.signer_key import SignerKeyType

from bridge.protocol.types import Address, Amount, LockTerms, UnixSeconds
from relayers.stellar import htlc
from relayers.stellar.assets import from_stellar, horizon_name, stroops
from relayers.stellar.htlc import Gate
from relayers.stellar.settings import StellarSettings

_Type = xdr.OperationType
_NATIVE_SHAPE = (
    _Type.CREATE_ACCOUNT,
    _Type.BUMP_SEQUENCE,
    _Type.SET_OPTIONS,
    _Type.SET_OPTIONS,
    _Type.SET_OPTIONS,
    _Type.CREATE_CLAIMABLE_BALANCE,
)
_RECLAIM_WEIGHT = 2
_ISSUED_SHAPE = (_NATIVE_SHAPE[0], _Type.CHANGE_TRUST, *_NATIVE_SHAPE[1:])


def inner_transaction(envelope: xdr.TransactionEnvelope) -> xdr.Transaction | xdr.TransactionV0:
    """Return the transaction proper, of a fee bump the inner one."""
    if envelope.fee_bump is not None:
        inner = envelope.fee_bump.tx.inner_tx.v1
        if inner is not None:
            return inner.tx
    if envelope.v1 is not None:
        return envelope.v1.tx
    if envelope.v0 is not None:
        return envelope.v0.tx
    raise ValueError("an envelope of an unknown kind")


def looks_like_lock(envelope: xdr.TransactionEnvelope) -> bool:
    """Tell by the kinds of its operations whether a transaction could be a lock."""
    shape = tuple(each.body.type for each in inner_transaction(envelope).operations)
    return shape in (_NATIVE_SHAPE, _ISSUED_SHAPE)


def read_lock(envelope: xdr.TransactionEnvelope, ledger: int, settings: StellarSettings) -> Gate | None:
    """Return the lock that a successful transaction of `ledger` made, or None if it made no proper one."""
    passphrase = settings.passphrase
    if not looks_like_lock(envelope):
        return None
    try:
        transaction = _decoded(envelope, passphrase)
        operations = [_with_source(each, transaction) for each in transaction.operations]
        terms = _terms_of(operations, settings)
    except (ValueError, TypeError, ArithmeticError, SdkError):
        return None  # what the library cannot read no wallet has made for us; a watcher must not fall over it
    created, bumped = operations[0], next(each for each in operations if isinstance(each, BumpSequence))
    if terms is None or not isinstance(created, CreateAccount):
        return None
    gate_balance = stroops(created.starting_balance)
    if gate_balance < htlc.deposit(terms):
        return None
    if not ledger << 32 < bumped.bump_to < (ledger + htlc.MAX_SEQUENCE_LEDGERS) << 32:
        return None
    rebuilt = htlc.lock_operations(terms, created.destination, bumped.bump_to, passphrase, gate_balance)
    if [each.to_xdr_object().to_xdr() for each in rebuilt] != [
        each.to_xdr_object().to_xdr() for each in operations
    ]:
        return None
    balance_id = transaction.get_claimable_balance_id(len(operations) - 1)
    return Gate(terms, created.destination, bumped.bump_to, balance_id, gate_balance)


def _decoded(envelope: xdr.TransactionEnvelope, passphrase: str) -> Transaction:
    if envelope.fee_bump is not None:
        outer = FeeBumpTransactionEnvelope.from_xdr_object(envelope, passphrase)
        return outer.transaction.inner_transaction_envelope.transaction
    return TransactionEnvelope.from_xdr_object(envelope, passphrase).transaction


def _with_source(operation: Operation, transaction: Transaction) -> Operation:
    # A lock built by a wallet may leave S's operations without a source of their own.
    if operation.source is None:
        operation.source = transaction.source
    return operation


def _terms_of(operations: Sequence[Operation], settings: StellarSettings) -> LockTerms | None:
    """Read the terms that a transaction of the right shape claims to have; the rebuilding proves them."""
    balance = operations[-1]
    signers = [each.signer for each in operations if isinstance(each, SetOptions) and each.signer is not None]
    if not isinstance(balance, CreateClaimableBalance) or len(signers) != 3 or len(balance.claimants) != 2:
        return None
    hash_signer, _, recipient_signer = signers
    right_kinds = (
        hash_signer.signer_key.signer_key_type is SignerKeyType.SIGNER_KEY_TYPE_HASH_X
        and recipient_signer.signer_key.signer_key_type is SignerKeyType.SIGNER_KEY_TYPE_ED25519
    )
    deadline = _deadline_of(balance.claimants[1])
    if not right_kinds or deadline is None or balance.source is None:
        return None
    return LockTerms(
        chain=settings.chain,
        contract=Address(""),
        sender=Address(balance.source.account_id),
        recipient=Address(StrKey.encode_ed25519_public_key(recipient_signer.signer_key.signer_key)),
        asset=from_stellar(balance.asset, settings.native, settings.assets),
        amount=Amount(stroops(balance.amount)),
        hashlock=hash_signer.signer_key.signer_key,
        deadline=UnixSeconds(deadline),
    )


def _deadline_of(claimant: Claimant) -> int | None:
    predicate = claimant.predicate
    if predicate.claim_predicate_type is not ClaimPredicateType.CLAIM_PREDICATE_NOT:
        return None
    inner = predicate.not_predicate
    return inner.abs_before if inner is not None else None


# The ledger's state


def gate_stands(terms: LockTerms, account: Mapping[str, Any], passphrase: str) -> bool:
    """Tell whether an account (Horizon's JSON) is a gate for exactly these terms, ready for the claim."""
    address, sequence = str(account["account_id"]), int(account["sequence"])
    as_built = _signers_of(account) == _signers(terms, address, sequence, passphrase)
    return as_built and _thresholds_of(account) == {2} and line_is_free(terms, account)


def signers_stand(gate: Gate, account: Mapping[str, Any], passphrase: str) -> bool:
    """Tell whether nothing but R and the preimage together opens a gate, whatever sequence its account
    (Horizon's JSON) has reached: its signers, weights and thresholds are as it was built. The reclaim alone
    may be gone: a reclaim that failed in a ledger uses its signer up."""
    wanted = _signers(gate.terms, gate.address, gate.sequence, passphrase)
    without = {key: weight for key, weight in wanted.items() if weight != _RECLAIM_WEIGHT}
    return _signers_of(account) in (wanted, without) and _thresholds_of(account) == {2}


def _signers(terms: LockTerms, address: str, sequence: int, passphrase: str) -> dict[str, int]:
    reclaim = htlc.reclaim_transaction(terms, address, sequence, passphrase)
    return {
        address: 0,
        terms.recipient: 1,
        StrKey.encode_sha256_hash(terms.hashlock): 1,
        StrKey.encode_pre_auth_tx(reclaim.hash()): _RECLAIM_WEIGHT,
    }


def _signers_of(account: Mapping[str, Any]) -> dict[str, int]:
    return {each["key"]: each["weight"] for each in account["signers"]}


def _thresholds_of(account: Mapping[str, Any]) -> set[int]:
    return {account["thresholds"][name] for name in ("low_threshold", "med_threshold", "high_threshold")}


def line_is_free(terms: LockTerms, account: Mapping[str, Any]) -> bool:
    """Tell whether the gate's trustline (Horizon's account) can take the amount; of XLM it needs none."""
    if not terms.asset.contract:
        return True
    for line in account["balances"]:
        if f"{line.get('asset_code')}:{line.get('asset_issuer')}" == terms.asset.contract:
            room = stroops(line["limit"]) - stroops(line["balance"])
            free = line["is_authorized"] and not line["is_clawback_enabled"]
            return bool(free) and room >= terms.amount
    return False


def balance_stands(terms: LockTerms, gate: str, balance: Mapping[str, Any]) -> bool:
    """Tell whether a claimable balance (Horizon's JSON) is the one of a lock with exactly these terms."""
    claimants = [(each["destination"], each["predicate"]) for each in balance["claimants"]]
    wanted = {gate: {"unconditional": True}, terms.sender: {"not": {"abs_before_epoch": str(terms.deadline)}}}
    seen = {who: _without_dates(predicate) for who, predicate in claimants}
    return (
        len(claimants) == 2
        and seen == wanted
        and balance["asset"] == horizon_name(terms.asset)
        and stroops(balance["amount"]) == terms.amount
        and not balance.get("flags", {}).get("clawback_enabled", False)
    )


def terms_shown(
    account: Mapping[str, Any], balance: Mapping[str, Any], settings: StellarSettings
) -> LockTerms | None:
    """Return the terms that a gate and a claimable balance for it (Horizon's JSON) seem to stand for, None if
    they show none. Only `gate_stands` and `balance_stands` prove them."""
    gate = str(account["account_id"])
    claimants = {each["destination"]: each["predicate"] for each in balance["claimants"]}
    senders = [who for who in claimants if who != gate]
    kinds = {each["type"]: each["key"] for each in account["signers"] if each["key"] != gate}
    if len(senders) != 1 or not {"sha256_hash", "ed25519_public_key"} <= kinds.keys():
        return None
    bound = claimants[senders[0]].get("not", {}).get("abs_before_epoch", "")
    if not bound.isdecimal():
        return None
    named = balance["asset"]
    asset = StellarAsset.native() if named == "native" else StellarAsset(*named.split(":"))
    return LockTerms(
        chain=settings.chain,
        contract=Address(""),
        sender=senders[0],
        recipient=kinds["ed25519_public_key"],
        asset=from_stellar(asset, settings.native, settings.assets),
        amount=Amount(stroops(balance["amount"])),
        hashlock=StrKey.decode_sha256_hash(kinds["sha256_hash"]),
        deadline=UnixSeconds(int(bound)),
    )


def _without_dates(predicate: Mapping[str, Any]) -> dict[str, Any]:
    """Drop the calendar form of times, which says the same as the epoch form but not always exactly."""
    kept: dict[str, Any] = {}
    for name, value in predicate.items():
        if name == "not" and isinstance(value, Mapping):
            kept[name] = _without_dates(value)
        elif name != "abs_before":
            kept[name] = value
    return kept


def issuer_problem(account: Mapping[str, Any] | None) -> str:
    """Say why an issuer (Horizon's account) cannot be relied on, "" if it can.

    With any of these flags it could freeze or take back what is locked.
    """
    if account is None:
        return "its issuer's account does not exist"
    flags = account["flags"]
    bad = [name for name in ("auth_required", "auth_revocable", "auth_clawback_enabled") if flags.get(name)]
    return f"its issuer has set {', '.join(bad)}" if bad else ""
