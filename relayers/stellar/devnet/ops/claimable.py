"""Operations on claimable balances (CAP-0023, clawback CAP-0035)."""

from __future__ import annotations

import hashlib
from typing import Any

from stellar_sdk import xdr

from relayers.stellar.devnet import reserves
from relayers.stellar.devnet.entries import (
    INT64_MAX,
    ClaimableBalance,
    account_key,
    account_xdr,
    asset_id,
)
from relayers.stellar.devnet.ledger import LedgerTxn
from relayers.stellar.devnet.ops.accounts import AUTH_CLAWBACK
from relayers.stellar.devnet.ops.base import RULES, Context, Rules, charge, low, source_account
from relayers.stellar.devnet.ops.payments import held_line
from relayers.stellar.devnet.ops.trust import CLAWBACK_ENABLED
from relayers.stellar.devnet.results import OperationFailedError, balance_id_xdr

Kind = xdr.ClaimPredicateType
MAX_PREDICATE_DEPTH = 4


def balance_id(tx_source: bytes, tx_sequence: int, index: int) -> bytes:
    """Return the id of the balance created by operation `index` of a transaction (CAP-0023)."""
    operation = xdr.HashIDPreimageOperationID(
        account_xdr(tx_source), xdr.SequenceNumber(xdr.Int64(tx_sequence)), xdr.Uint32(index)
    )
    preimage = xdr.HashIDPreimage(xdr.EnvelopeType.ENVELOPE_TYPE_OP_ID, operation_id=operation)
    return hashlib.sha256(preimage.to_xdr_bytes()).digest()


def predicate_holds(predicate: xdr.ClaimPredicate, close_time: int) -> bool:
    """Tell whether an absolute predicate lets its claimant claim in a ledger closed at that time."""
    if predicate.type is Kind.CLAIM_PREDICATE_UNCONDITIONAL:
        return True
    if predicate.type is Kind.CLAIM_PREDICATE_AND:
        return all(predicate_holds(each, close_time) for each in predicate.and_predicates or [])
    if predicate.type is Kind.CLAIM_PREDICATE_OR:
        return any(predicate_holds(each, close_time) for each in predicate.or_predicates or [])
    if predicate.type is Kind.CLAIM_PREDICATE_NOT:
        assert predicate.not_predicate is not None  # noqa: S101 - checked at creation
        return not predicate_holds(predicate.not_predicate, close_time)
    assert predicate.abs_before is not None  # noqa: S101 - relative ones were made absolute
    return predicate.abs_before.int64 > close_time


def _is_valid(predicate: xdr.ClaimPredicate | None, depth: int) -> bool:
    if predicate is None or depth > MAX_PREDICATE_DEPTH:
        return False
    pair = predicate.and_predicates if predicate.type is Kind.CLAIM_PREDICATE_AND else predicate.or_predicates
    if predicate.type in (Kind.CLAIM_PREDICATE_AND, Kind.CLAIM_PREDICATE_OR):
        return pair is not None and len(pair) == 2 and all(_is_valid(each, depth + 1) for each in pair)
    if predicate.type is Kind.CLAIM_PREDICATE_NOT:
        return _is_valid(predicate.not_predicate, depth + 1)
    bound = predicate.abs_before or predicate.rel_before
    return bound is None or bound.int64 >= 0


def _made_absolute(predicate: xdr.ClaimPredicate, close_time: int) -> xdr.ClaimPredicate:
    if predicate.type is Kind.CLAIM_PREDICATE_BEFORE_RELATIVE_TIME:
        assert predicate.rel_before is not None  # noqa: S101
        bound = min(INT64_MAX, close_time + predicate.rel_before.int64)
        return xdr.ClaimPredicate(Kind.CLAIM_PREDICATE_BEFORE_ABSOLUTE_TIME, abs_before=xdr.Int64(bound))
    if predicate.type is Kind.CLAIM_PREDICATE_NOT and predicate.not_predicate is not None:
        inner = _made_absolute(predicate.not_predicate, close_time)
        return xdr.ClaimPredicate(predicate.type, not_predicate=inner)
    if predicate.and_predicates:
        both = [_made_absolute(each, close_time) for each in predicate.and_predicates]
        return xdr.ClaimPredicate(predicate.type, and_predicates=both)
    if predicate.or_predicates:
        either = [_made_absolute(each, close_time) for each in predicate.or_predicates]
        return xdr.ClaimPredicate(predicate.type, or_predicates=either)
    return predicate


def _claimants(body: xdr.CreateClaimableBalanceOp) -> list[xdr.ClaimantV0]:
    return [each.v0 for each in body.claimants if each.v0 is not None]


def _check_create(body: xdr.CreateClaimableBalanceOp, _context: Context) -> None:
    claimants = _claimants(body)
    destinations = {account_key(each.destination) for each in claimants}
    malformed = (
        not asset_id(body.asset).is_valid()
        or body.amount.int64 <= 0
        or not claimants
        or len(destinations) != len(claimants)
        or not all(_is_valid(each.predicate, 1) for each in claimants)
    )
    if malformed:
        raise OperationFailedError("CREATE_CLAIMABLE_BALANCE_MALFORMED")


def _create(txn: LedgerTxn, body: xdr.CreateClaimableBalanceOp, context: Context) -> dict[str, Any]:
    asset, amount = asset_id(body.asset), body.amount.int64
    stem = "CREATE_CLAIMABLE_BALANCE"
    source = source_account(txn, context)
    clawback = False
    if asset.is_native:
        if reserves.available(txn.header, source) < amount:
            raise OperationFailedError(f"{stem}_UNDERFUNDED")
        reserves.add_native(txn.header, source, -amount)
    else:
        line = held_line(txn, context.source, asset, f"{stem}_NO_TRUST", f"{stem}_NOT_AUTHORIZED")
        if line is None:
            clawback = bool(source.flags & AUTH_CLAWBACK)
        else:
            if not reserves.add_credit(line, -amount):
                raise OperationFailedError(f"{stem}_UNDERFUNDED")
            clawback = bool(line.flags & CLAWBACK_ENABLED)
    new_id = balance_id(context.tx_source, context.tx_sequence, context.index)
    claimants = tuple(
        (account_key(each.destination), _made_absolute(each.predicate, txn.header.close_time))
        for each in _claimants(body)
    )
    balance = ClaimableBalance(new_id, asset, amount, claimants, clawback)
    charge(reserves.create_entry(txn, balance, source), f"{stem}_LOW_RESERVE")
    return {"balance_id": balance_id_xdr(new_id)}


def _id_of(balance: xdr.ClaimableBalanceID) -> bytes:
    assert balance.v0 is not None  # noqa: S101 - the only kind there is
    return balance.v0.hash


def _claim(txn: LedgerTxn, body: xdr.ClaimClaimableBalanceOp, context: Context) -> None:
    stem = "CLAIM_CLAIMABLE_BALANCE"
    balance = txn.balance(_id_of(body.balance_id))
    if balance is None:
        raise OperationFailedError(f"{stem}_DOES_NOT_EXIST")
    predicate = dict(balance.claimants).get(context.source)
    if predicate is None or not predicate_holds(predicate, txn.header.close_time):
        raise OperationFailedError(f"{stem}_CANNOT_CLAIM")
    if balance.asset.is_native:
        if not reserves.add_native(txn.header, source_account(txn, context), balance.amount):
            raise OperationFailedError(f"{stem}_LINE_FULL")
    else:
        codes = (f"{stem}_NO_TRUST", f"{stem}_NOT_AUTHORIZED")
        line = held_line(txn, context.source, balance.asset, *codes)
        if line is not None and not reserves.add_credit(line, balance.amount):
            raise OperationFailedError(f"{stem}_LINE_FULL")
    reserves.remove_entry(txn, balance, source_account(txn, context))


def _clawback(txn: LedgerTxn, body: xdr.ClawbackClaimableBalanceOp, context: Context) -> None:
    stem = "CLAWBACK_CLAIMABLE_BALANCE"
    balance = txn.balance(_id_of(body.balance_id))
    if balance is None:
        raise OperationFailedError(f"{stem}_DOES_NOT_EXIST")
    if balance.asset.is_native or balance.asset.issuer != context.source:
        raise OperationFailedError(f"{stem}_NOT_ISSUER")
    if not balance.clawback:
        raise OperationFailedError(f"{stem}_NOT_CLAWBACK_ENABLED")
    reserves.remove_entry(txn, balance, source_account(txn, context))


RULES[xdr.OperationType.CREATE_CLAIMABLE_BALANCE] = Rules(_create, _check_create)
RULES[xdr.OperationType.CLAIM_CLAIMABLE_BALANCE] = Rules(_claim, threshold=low)
RULES[xdr.OperationType.CLAWBACK_CLAIMABLE_BALANCE] = Rules(_clawback)
