"""Operations on trustlines: change trust, the issuer's authorisation flags, clawback."""

from __future__ import annotations

from stellar_sdk import xdr

from relayers.stellar.devnet import reserves
from relayers.stellar.devnet.entries import (
    AssetId,
    TrustLine,
    account,
    account_key,
    asset_id,
    muxed_key,
)
from relayers.stellar.devnet.ledger import LedgerTxn
from relayers.stellar.devnet.ops.accounts import AUTH_CLAWBACK, AUTH_REQUIRED, AUTH_REVOCABLE
from relayers.stellar.devnet.ops.base import RULES, Context, Rules, charge, low, source_account
from relayers.stellar.devnet.ops.payments import AUTHORIZED
from relayers.stellar.devnet.results import OperationFailedError

MAINTAIN_LIABILITIES = xdr.TrustLineFlags.AUTHORIZED_TO_MAINTAIN_LIABILITIES_FLAG.value
CLAWBACK_ENABLED = xdr.TrustLineFlags.TRUSTLINE_CLAWBACK_ENABLED_FLAG.value
AUTH_FLAGS = AUTHORIZED | MAINTAIN_LIABILITIES
ALL_LINE_FLAGS = AUTH_FLAGS | CLAWBACK_ENABLED


def _check_change(body: xdr.ChangeTrustOp, context: Context) -> None:
    asset = asset_id(body.line)
    malformed = asset.is_native or not asset.is_valid() or asset.issuer == context.source
    if body.limit.int64 < 0 or malformed:
        raise OperationFailedError("CHANGE_TRUST_MALFORMED")


def _change(txn: LedgerTxn, body: xdr.ChangeTrustOp, context: Context) -> None:
    asset, limit = asset_id(body.line), body.limit.int64
    line = txn.trustline(context.source, asset)
    if line is None:
        _add_line(txn, asset, limit, context)
        return
    if limit < line.balance + line.buying_liabilities:
        raise OperationFailedError("CHANGE_TRUST_INVALID_LIMIT")
    if limit == 0:
        reserves.remove_entry(txn, line, source_account(txn, context))
        return
    if not txn.has_account(asset.issuer):
        raise OperationFailedError("CHANGE_TRUST_NO_ISSUER")
    line.limit = limit


def _add_line(txn: LedgerTxn, asset: AssetId, limit: int, context: Context) -> None:
    if limit == 0:
        raise OperationFailedError("CHANGE_TRUST_INVALID_LIMIT")
    issuer = txn.peek(account(asset.issuer))
    if issuer is None:
        raise OperationFailedError("CHANGE_TRUST_NO_ISSUER")
    flags = 0 if issuer.flags & AUTH_REQUIRED else AUTHORIZED
    flags |= CLAWBACK_ENABLED if issuer.flags & AUTH_CLAWBACK else 0
    line = TrustLine(context.source, asset, limit=limit, flags=flags)
    charge(reserves.create_entry(txn, line, source_account(txn, context)), "CHANGE_TRUST_LOW_RESERVE")


def _code_asset(body: xdr.AllowTrustOp, context: Context) -> AssetId | None:
    if body.asset.asset_code4 is not None:
        return AssetId(body.asset.asset_code4.asset_code4, context.source)
    if body.asset.asset_code12 is not None:
        return AssetId(body.asset.asset_code12.asset_code12, context.source)
    return None


def _check_allow(body: xdr.AllowTrustOp, context: Context) -> None:
    asset = _code_asset(body, context)
    if asset is None or not asset.is_valid() or body.authorize.uint32 > MAINTAIN_LIABILITIES:
        raise OperationFailedError("ALLOW_TRUST_MALFORMED")
    if account_key(body.trustor) == context.source:
        raise OperationFailedError("ALLOW_TRUST_MALFORMED")


def _allow(txn: LedgerTxn, body: xdr.AllowTrustOp, context: Context) -> None:
    asset, authorize = _code_asset(body, context), body.authorize.uint32
    assert asset is not None  # noqa: S101 - checked before
    revocable = source_account(txn, context).flags & AUTH_REVOCABLE
    if not revocable and authorize == 0:
        raise OperationFailedError("ALLOW_TRUST_CANT_REVOKE")
    line = txn.trustline(account_key(body.trustor), asset)
    if line is None:
        raise OperationFailedError("ALLOW_TRUST_NO_TRUST_LINE")
    wanted = (line.flags & ~AUTH_FLAGS) | authorize
    if not revocable and line.flags & AUTHORIZED and wanted & MAINTAIN_LIABILITIES:
        raise OperationFailedError("ALLOW_TRUST_CANT_REVOKE")
    line.flags = wanted


def _check_flags(body: xdr.SetTrustLineFlagsOp, context: Context) -> None:
    asset = asset_id(body.asset)
    setting, clearing = body.set_flags.uint32, body.clear_flags.uint32
    malformed = (
        asset.is_native
        or not asset.is_valid()
        or asset.issuer != context.source
        or account_key(body.trustor) == context.source
        or setting & clearing
        or setting & ~AUTH_FLAGS
        or setting & AUTH_FLAGS == AUTH_FLAGS
        or clearing & ~ALL_LINE_FLAGS
    )
    if malformed:
        raise OperationFailedError("SET_TRUST_LINE_FLAGS_MALFORMED")


def _set_flags(txn: LedgerTxn, body: xdr.SetTrustLineFlagsOp, context: Context) -> None:
    setting, clearing = body.set_flags.uint32, body.clear_flags.uint32
    revocable = source_account(txn, context).flags & AUTH_REVOCABLE
    if not revocable and clearing & AUTH_FLAGS and not setting & AUTHORIZED:
        raise OperationFailedError("SET_TRUST_LINE_FLAGS_CANT_REVOKE")
    line = txn.trustline(account_key(body.trustor), asset_id(body.asset))
    if line is None:
        raise OperationFailedError("SET_TRUST_LINE_FLAGS_NO_TRUST_LINE")
    wanted = (line.flags & ~clearing) | setting
    if wanted & AUTH_FLAGS == AUTH_FLAGS:
        raise OperationFailedError("SET_TRUST_LINE_FLAGS_INVALID_STATE")
    line.flags = wanted


def _check_clawback(body: xdr.ClawbackOp, context: Context) -> None:
    asset = asset_id(body.asset)
    # A multiplexed `from` of the source itself passes: the ledger compares the whole address.
    from_self = body.from_.med25519 is None and muxed_key(body.from_) == context.source
    if from_self or body.amount.int64 < 1 or asset.is_native or not asset.is_valid():
        raise OperationFailedError("CLAWBACK_MALFORMED")
    if asset.issuer != context.source:
        raise OperationFailedError("CLAWBACK_MALFORMED")


def _clawback(txn: LedgerTxn, body: xdr.ClawbackOp, _context: Context) -> None:
    line = txn.trustline(muxed_key(body.from_), asset_id(body.asset))
    if line is None:
        raise OperationFailedError("CLAWBACK_NO_TRUST")
    if not line.flags & CLAWBACK_ENABLED:
        raise OperationFailedError("CLAWBACK_NOT_CLAWBACK_ENABLED")
    if not reserves.add_credit(line, -body.amount.int64):
        raise OperationFailedError("CLAWBACK_UNDERFUNDED")


RULES[xdr.OperationType.CHANGE_TRUST] = Rules(_change, _check_change)
RULES[xdr.OperationType.ALLOW_TRUST] = Rules(_allow, _check_allow, low)
RULES[xdr.OperationType.SET_TRUST_LINE_FLAGS] = Rules(_set_flags, _check_flags, low)
RULES[xdr.OperationType.CLAWBACK] = Rules(_clawback, _check_clawback)
