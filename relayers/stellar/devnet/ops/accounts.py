"""Operations on accounts: create, merge, bump sequence, set options, data entries."""

from __future__ import annotations

from typing import Any

from stellar_sdk import xdr

from relayers.stellar.devnet import reserves
from relayers.stellar.devnet.entries import (
    Account,
    Data,
    Signer,
    SignerId,
    account_key,
    muxed_key,
    signer_id,
)
from relayers.stellar.devnet.ledger import MAX_SEQUENCE, SPONSORING, LedgerTxn
from relayers.stellar.devnet.ops.base import (
    RULES,
    Context,
    Rules,
    Threshold,
    charge,
    low,
    source_account,
)
from relayers.stellar.devnet.results import OperationFailedError, OperationRefusedError, OuterCode
from relayers.stellar.devnet.signatures import ED25519, SIGNED_PAYLOAD

AUTH_REQUIRED = xdr.AccountFlags.AUTH_REQUIRED_FLAG.value
AUTH_REVOCABLE = xdr.AccountFlags.AUTH_REVOCABLE_FLAG.value
AUTH_IMMUTABLE = xdr.AccountFlags.AUTH_IMMUTABLE_FLAG.value
AUTH_CLAWBACK = xdr.AccountFlags.AUTH_CLAWBACK_ENABLED_FLAG.value
ALL_FLAGS = AUTH_REQUIRED | AUTH_REVOCABLE | AUTH_IMMUTABLE | AUTH_CLAWBACK
MAX_BYTE = 255
MAX_SIGNERS = 20


def is_plain_text(text: bytes) -> bool:
    """Tell whether a string is ASCII without control characters, as home domains and data names must be."""
    return all(0x20 <= each < 0x7F for each in text)


def _check_create(body: xdr.CreateAccountOp, context: Context) -> None:
    if body.starting_balance.int64 < 0 or account_key(body.destination) == context.source:
        raise OperationFailedError("CREATE_ACCOUNT_MALFORMED")


def _create(txn: LedgerTxn, body: xdr.CreateAccountOp, context: Context) -> None:
    destination, amount = account_key(body.destination), body.starting_balance.int64
    if txn.has_account(destination):
        raise OperationFailedError("CREATE_ACCOUNT_ALREADY_EXIST")
    account = Account(destination, amount, txn.header.starting_sequence)
    charge(reserves.create_entry(txn, account, account), "CREATE_ACCOUNT_LOW_RESERVE")
    source = source_account(txn, context)
    if reserves.available(txn.header, source) < amount:
        raise OperationFailedError("CREATE_ACCOUNT_UNDERFUNDED")
    reserves.add_native(txn.header, source, -amount)


def _check_merge(body: xdr.MuxedAccount, context: Context) -> None:
    if muxed_key(body) == context.source:
        raise OperationFailedError("ACCOUNT_MERGE_MALFORMED")


def _merge(txn: LedgerTxn, body: xdr.MuxedAccount, context: Context) -> dict[str, Any]:
    destination = txn.account(muxed_key(body))
    if destination is None:
        raise OperationFailedError("ACCOUNT_MERGE_NO_ACCOUNT")
    source = source_account(txn, context)
    if source.flags & AUTH_IMMUTABLE:
        raise OperationFailedError("ACCOUNT_MERGE_IMMUTABLE_SET")
    if source.subentries != len(source.signers):
        raise OperationFailedError("ACCOUNT_MERGE_HAS_SUB_ENTRIES")
    # Re-created later, the account must not start below a sequence that it has already used.
    pending: int = txn.peek((MAX_SEQUENCE, context.source)) or 0
    if max(source.sequence, pending) >= txn.header.starting_sequence:
        raise OperationFailedError("ACCOUNT_MERGE_SEQNUM_TOO_FAR")
    if txn.peek((SPONSORING, context.source)) or source.num_sponsoring > 0:
        raise OperationFailedError("ACCOUNT_MERGE_IS_SPONSOR")
    for signer in list(source.signers):
        reserves.remove_signer(txn, source, signer)
    balance = source.balance
    if not reserves.add_native(txn.header, destination, balance):
        raise OperationFailedError("ACCOUNT_MERGE_DEST_FULL")
    reserves.remove_entry(txn, source, source)
    return {"source_account_balance": xdr.Int64(balance)}


def _check_bump(body: xdr.BumpSequenceOp, _context: Context) -> None:
    if body.bump_to.sequence_number.int64 < 0:
        raise OperationFailedError("BUMP_SEQUENCE_BAD_SEQ")


def _bump(txn: LedgerTxn, body: xdr.BumpSequenceOp, context: Context) -> None:
    source = source_account(txn, context)
    source.sequence_ledger = txn.header.sequence
    source.sequence_time = txn.header.close_time
    source.sequence = max(source.sequence, body.bump_to.sequence_number.int64)


def _options_threshold(body: xdr.SetOptionsOp) -> Threshold:
    sensitive = (
        body.master_weight,
        body.low_threshold,
        body.med_threshold,
        body.high_threshold,
        body.signer,
    )
    return Threshold.MEDIUM if all(each is None for each in sensitive) else Threshold.HIGH


def _number(value: xdr.Uint32 | None) -> int | None:
    return None if value is None else value.uint32


def _check_options(body: xdr.SetOptionsOp, context: Context) -> None:
    setting, clearing = _number(body.set_flags) or 0, _number(body.clear_flags) or 0
    if (setting | clearing) & ~ALL_FLAGS:
        raise OperationFailedError("SET_OPTIONS_UNKNOWN_FLAG")
    if setting & clearing:
        raise OperationFailedError("SET_OPTIONS_BAD_FLAGS")
    for weight in (body.master_weight, body.low_threshold, body.med_threshold, body.high_threshold):
        if weight is not None and weight.uint32 > MAX_BYTE:
            raise OperationFailedError("SET_OPTIONS_THRESHOLD_OUT_OF_RANGE")
    if body.signer is not None:
        key = signer_id(body.signer.key)
        empty_payload = key.kind == SIGNED_PAYLOAD and not key.payload
        is_self = key == SignerId(ED25519, context.source)
        if is_self or body.signer.weight.uint32 > MAX_BYTE or empty_payload:
            raise OperationFailedError("SET_OPTIONS_BAD_SIGNER")
    if body.home_domain is not None and not is_plain_text(body.home_domain.string32):
        raise OperationFailedError("SET_OPTIONS_INVALID_HOME_DOMAIN")


def _set_options(txn: LedgerTxn, body: xdr.SetOptionsOp, context: Context) -> None:
    source = source_account(txn, context)
    if body.inflation_dest is not None:
        destination = account_key(body.inflation_dest)
        if not txn.has_account(destination):
            raise OperationFailedError("SET_OPTIONS_INVALID_INFLATION")
        source.inflation_dest = destination
    _change_flags(source, _number(body.set_flags), _number(body.clear_flags))
    if body.home_domain is not None:
        source.home_domain = body.home_domain.string32
    if body.master_weight is not None:
        source.master_weight = body.master_weight.uint32
    wanted = (_number(body.low_threshold), _number(body.med_threshold), _number(body.high_threshold))
    lowest, medium, high = (
        old if new is None else new for old, new in zip(source.thresholds, wanted, strict=True)
    )
    source.thresholds = (lowest, medium, high)
    if body.signer is not None:
        _change_signer(txn, source, signer_id(body.signer.key), body.signer.weight.uint32)


def _change_flags(source: Account, setting: int | None, clearing: int | None) -> None:
    # Clearing comes first, and an immutable account refuses even a change that changes nothing.
    if ((clearing or 0) & ALL_FLAGS or (setting or 0) & ALL_FLAGS) and source.flags & AUTH_IMMUTABLE:
        raise OperationFailedError("SET_OPTIONS_CANT_CHANGE")
    source.flags = (source.flags & ~(clearing or 0)) | (setting or 0)
    changed = setting is not None or clearing is not None
    if changed and source.flags & AUTH_CLAWBACK and not source.flags & AUTH_REVOCABLE:
        raise OperationFailedError("SET_OPTIONS_AUTH_REVOCABLE_REQUIRED")


def _change_signer(txn: LedgerTxn, source: Account, key: SignerId, weight: int) -> None:
    existing = reserves.find_signer(source, key)
    if weight == 0:
        if existing is not None:
            reserves.remove_signer(txn, source, existing)
        return
    if existing is not None:
        existing.weight = weight
        return
    if len(source.signers) == MAX_SIGNERS:
        raise OperationFailedError("SET_OPTIONS_TOO_MANY_SIGNERS")
    charge(reserves.add_signer(txn, source, Signer(key, weight)), "SET_OPTIONS_LOW_RESERVE")


def _check_data(body: xdr.ManageDataOp, _context: Context) -> None:
    name = body.data_name.string64
    if not name or not is_plain_text(name):
        raise OperationFailedError("MANAGE_DATA_INVALID_NAME")


def _manage_data(txn: LedgerTxn, body: xdr.ManageDataOp, context: Context) -> None:
    name = body.data_name.string64
    entry = txn.data(context.source, name)
    if body.data_value is None:
        if entry is None:
            raise OperationFailedError("MANAGE_DATA_NAME_NOT_FOUND")
        reserves.remove_entry(txn, entry, source_account(txn, context))
    elif entry is None:
        new = Data(context.source, name, body.data_value.data_value)
        outcome = reserves.create_entry(txn, new, source_account(txn, context))
        charge(outcome, "MANAGE_DATA_LOW_RESERVE")
    else:
        entry.value = body.data_value.data_value


def _inflation(_txn: LedgerTxn, _body: Any, _context: Context) -> None:
    raise OperationRefusedError(OuterCode.opNOT_SUPPORTED)


def _high(_body: Any) -> Threshold:
    return Threshold.HIGH


RULES[xdr.OperationType.CREATE_ACCOUNT] = Rules(_create, _check_create)
RULES[xdr.OperationType.ACCOUNT_MERGE] = Rules(_merge, _check_merge, _high)
RULES[xdr.OperationType.BUMP_SEQUENCE] = Rules(_bump, _check_bump, low)
RULES[xdr.OperationType.SET_OPTIONS] = Rules(_set_options, _check_options, _options_threshold)
RULES[xdr.OperationType.MANAGE_DATA] = Rules(_manage_data, _check_data)
RULES[xdr.OperationType.INFLATION] = Rules(_inflation, threshold=low, supported=False)
