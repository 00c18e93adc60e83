"""Soroban's three operations: InvokeHostFunction, ExtendFootprintTTL, RestoreFootprint."""

from __future__ import annotations

from typing import Any

from stellar_sdk import xdr

from relayers.stellar.devnet.ledger import LedgerTxn
from relayers.stellar.devnet.ops.base import RULES, Context, Rules, low
from relayers.stellar.devnet.results import OperationFailedError
from relayers.stellar.devnet.soroban.ledger_xdr import is_contract_key, is_temporary
from relayers.stellar.devnet.soroban.transaction import SorobanPart


def _part(context: Context) -> SorobanPart:
    assert context.soroban is not None  # noqa: S101 - a transaction without its data was refused before
    return context.soroban


def _check_invoke(body: xdr.InvokeHostFunctionOp, context: Context) -> None:
    wasm = body.host_function.wasm
    if wasm is not None and not 0 < len(wasm) <= _part(context).settings.max_wasm_bytes:
        raise OperationFailedError("INVOKE_HOST_FUNCTION_MALFORMED")


def _invoke(txn: LedgerTxn, body: xdr.InvokeHostFunctionOp, context: Context) -> dict[str, Any]:
    return {"success": xdr.Hash(_part(context).invoke(txn, body, context.source))}


def _check_extend(body: xdr.ExtendFootprintTTLOp, context: Context) -> None:
    part = _part(context)
    footprint = part.resources.footprint
    if (
        footprint.read_write
        or not all(is_contract_key(each) for each in footprint.read_only)
        or body.extend_to.uint32 > part.settings.max_ttl - 1
    ):
        raise OperationFailedError("EXTEND_FOOTPRINT_TTL_MALFORMED")


def _extend(txn: LedgerTxn, body: xdr.ExtendFootprintTTLOp, context: Context) -> None:
    _part(context).extend(txn, body.extend_to.uint32)


def _check_restore(_: xdr.RestoreFootprintOp, context: Context) -> None:
    footprint = _part(context).resources.footprint
    persistent = all(is_contract_key(each) and not is_temporary(each) for each in footprint.read_write)
    if footprint.read_only or not persistent:
        raise OperationFailedError("RESTORE_FOOTPRINT_MALFORMED")


def _restore(txn: LedgerTxn, _: xdr.RestoreFootprintOp, context: Context) -> None:
    _part(context).restore(txn)


RULES[xdr.OperationType.INVOKE_HOST_FUNCTION] = Rules(_invoke, _check_invoke)
RULES[xdr.OperationType.EXTEND_FOOTPRINT_TTL] = Rules(_extend, _check_extend, low)
RULES[xdr.OperationType.RESTORE_FOOTPRINT] = Rules(_restore, _check_restore, low)
