"""Payments. There is no order book here, so a path that would convert anything finds too few offers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from stellar_sdk import xdr

from relayers.stellar.devnet import reserves
from relayers.stellar.devnet.entries import AssetId, TrustLine, account_xdr, asset_id, muxed_key
from relayers.stellar.devnet.ledger import LedgerTxn
from relayers.stellar.devnet.ops.base import RULES, Context, Rules, source_account
from relayers.stellar.devnet.results import OperationFailedError

AUTHORIZED = xdr.TrustLineFlags.AUTHORIZED_FLAG.value


def held_line(
    txn: LedgerTxn, owner: bytes, asset: AssetId, no_trust: str, not_authorized: str
) -> TrustLine | None:
    """Load an authorised trustline, ending the operation with these codes if there is none.

    Returns None for the issuer, whose own asset is without limit.
    """
    if owner == asset.issuer:
        return None
    line = txn.trustline(owner, asset)
    if line is None:
        raise OperationFailedError(no_trust)
    if not line.flags & AUTHORIZED:
        raise OperationFailedError(not_authorized)
    return line


def credit(txn: LedgerTxn, to: bytes, asset: AssetId, amount: int, stem: str) -> None:
    """Pay into an account or trustline; codes begin with `stem`."""
    if asset.is_native:
        if not reserves.add_native(txn.header, txn.existing_account(to), amount):
            raise OperationFailedError(f"{stem}_LINE_FULL")
        return
    line = held_line(txn, to, asset, f"{stem}_NO_TRUST", f"{stem}_NOT_AUTHORIZED")
    if line is not None and not reserves.add_credit(line, amount):
        raise OperationFailedError(f"{stem}_LINE_FULL")


def debit(txn: LedgerTxn, context: Context, asset: AssetId, amount: int, stem: str) -> None:
    """Pay out of the operation's source; codes begin with `stem`."""
    if asset.is_native:
        source = source_account(txn, context)
        if amount > reserves.available(txn.header, source):
            raise OperationFailedError(f"{stem}_UNDERFUNDED")
        reserves.add_native(txn.header, source, -amount)
        return
    codes = (f"{stem}_SRC_NO_TRUST", f"{stem}_SRC_NOT_AUTHORIZED")
    line = held_line(txn, context.source, asset, *codes)
    if line is not None and not reserves.add_credit(line, -amount):
        raise OperationFailedError(f"{stem}_UNDERFUNDED")


def _require_destination(
    txn: LedgerTxn, to: bytes, assets: tuple[AssetId, AssetId], path: Sequence[AssetId], stem: str
) -> None:
    sending, receiving = assets
    back_to_issuer = not receiving.is_native and not path and sending == receiving and receiving.issuer == to
    if not back_to_issuer and not txn.has_account(to):
        raise OperationFailedError(f"{stem}_NO_DESTINATION")


def _check_payment(body: xdr.PaymentOp, _context: Context) -> None:
    if body.amount.int64 <= 0 or not asset_id(body.asset).is_valid():
        raise OperationFailedError("PAYMENT_MALFORMED")


def _payment(txn: LedgerTxn, body: xdr.PaymentOp, context: Context) -> None:
    to, asset, amount = muxed_key(body.destination), asset_id(body.asset), body.amount.int64
    if asset.is_native and to == context.source:
        return
    _require_destination(txn, to, (asset, asset), (), "PAYMENT")
    credit(txn, to, asset, amount, "PAYMENT")
    debit(txn, context, asset, amount, "PAYMENT")


def _success(kind: type[Any], to: bytes, asset: AssetId, amount: int) -> dict[str, Any]:
    last = xdr.SimplePaymentResult(account_xdr(to), asset.to_xdr(), xdr.Int64(amount))
    return {"success": kind([], last)}


RECEIVE = "PATH_PAYMENT_STRICT_RECEIVE"
SEND = "PATH_PAYMENT_STRICT_SEND"


def _check_path(amounts: tuple[int, int], assets: Sequence[xdr.Asset], stem: str) -> None:
    if min(amounts) <= 0 or not all(asset_id(each).is_valid() for each in assets):
        raise OperationFailedError(f"{stem}_MALFORMED")


def _check_receive(body: xdr.PathPaymentStrictReceiveOp, _context: Context) -> None:
    amounts = (body.dest_amount.int64, body.send_max.int64)
    _check_path(amounts, [body.send_asset, body.dest_asset, *body.path], RECEIVE)


def _receive(txn: LedgerTxn, body: xdr.PathPaymentStrictReceiveOp, context: Context) -> dict[str, Any]:
    to, amount = muxed_key(body.destination), body.dest_amount.int64
    sending, receiving = asset_id(body.send_asset), asset_id(body.dest_asset)
    path = [asset_id(each) for each in body.path]
    _require_destination(txn, to, (sending, receiving), path, RECEIVE)
    credit(txn, to, receiving, amount, RECEIVE)
    if any(each != receiving for each in [*path, sending]):
        raise OperationFailedError(f"{RECEIVE}_TOO_FEW_OFFERS")
    if amount > body.send_max.int64:
        raise OperationFailedError(f"{RECEIVE}_OVER_SENDMAX")
    debit(txn, context, sending, amount, RECEIVE)
    return _success(xdr.PathPaymentStrictReceiveResultSuccess, to, receiving, amount)


def _check_send(body: xdr.PathPaymentStrictSendOp, _context: Context) -> None:
    amounts = (body.send_amount.int64, body.dest_min.int64)
    _check_path(amounts, [body.send_asset, body.dest_asset, *body.path], SEND)


def _send(txn: LedgerTxn, body: xdr.PathPaymentStrictSendOp, context: Context) -> dict[str, Any]:
    to, amount = muxed_key(body.destination), body.send_amount.int64
    sending, receiving = asset_id(body.send_asset), asset_id(body.dest_asset)
    path = [asset_id(each) for each in body.path]
    _require_destination(txn, to, (sending, receiving), path, SEND)
    debit(txn, context, sending, amount, SEND)
    if any(each != sending for each in [*path, receiving]):
        raise OperationFailedError(f"{SEND}_TOO_FEW_OFFERS")
    if amount < body.dest_min.int64:
        raise OperationFailedError(f"{SEND}_UNDER_DESTMIN")
    credit(txn, to, receiving, amount, SEND)
    return _success(xdr.PathPaymentStrictSendResultSuccess, to, receiving, amount)


RULES[xdr.OperationType.PAYMENT] = Rules(_payment, _check_payment)
RULES[xdr.OperationType.PATH_PAYMENT_STRICT_RECEIVE] = Rules(_receive, _check_receive)
RULES[xdr.OperationType.PATH_PAYMENT_STRICT_SEND] = Rules(_send, _check_send)
