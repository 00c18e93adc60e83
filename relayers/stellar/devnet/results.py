"""Results of operations and transactions, kept light and turned into XDR at the end.

Until an operation has failed, its result reads as its success with empty details: this is how stellar-core
fills the results of operations that it never came to.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any

from stellar_sdk import xdr

from kernels.errors import RainbowError
from relayers.stellar.devnet.entries import NATIVE, account_xdr

OuterCode = xdr.OperationResultCode
TxCode = xdr.TransactionResultCode
ZERO_KEY = bytes(32)

_SPECIAL_FIELDS = {
    xdr.OperationType.BUMP_SEQUENCE: "bump_seq_result",
    xdr.OperationType.CREATE_PASSIVE_SELL_OFFER: "create_passive_sell_offer_result",
}


def _class_stem(kind: xdr.OperationType) -> str:
    if kind is xdr.OperationType.EXTEND_FOOTPRINT_TTL:
        return "ExtendFootprintTTL"
    return "".join(word.capitalize() for word in kind.name.split("_"))


def code_enum(kind: xdr.OperationType) -> type[IntEnum]:
    """Return the enum of an operation's own result codes."""
    found: type[IntEnum] = getattr(xdr, _class_stem(kind) + "ResultCode")
    return found


def balance_id_xdr(balance_id: bytes) -> xdr.ClaimableBalanceID:
    """Return a claimable balance's id as XDR."""
    kind = xdr.ClaimableBalanceIDType.CLAIMABLE_BALANCE_ID_TYPE_V0
    return xdr.ClaimableBalanceID(kind, v0=xdr.Hash(balance_id))


class OperationFailedError(RainbowError):
    """An operation ends here with a code of its own, e.g. `PAYMENT_NO_TRUST`."""

    def __init__(self, code: str, **details: Any) -> None:
        super().__init__(code)
        self.code = code
        self.details = details


class OperationRefusedError(RainbowError):
    """An operation ends here with a general code, e.g. `opNO_ACCOUNT`."""

    def __init__(self, outer: xdr.OperationResultCode) -> None:
        super().__init__(outer.name)
        self.outer = outer


@dataclass
class OpResult:
    """What became of one operation."""

    kind: xdr.OperationType
    outer: xdr.OperationResultCode = OuterCode.opINNER
    code: str = ""
    details: dict[str, Any] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """The code's full name, as in the protocol's XDR."""
        if self.outer is not OuterCode.opINNER:
            return self.outer.name
        return self.code or code_enum(self.kind)(0).name

    def to_xdr(self) -> xdr.OperationResult:
        """Return the result as XDR."""
        if self.outer is not OuterCode.opINNER:
            return xdr.OperationResult(self.outer)
        attribute = _SPECIAL_FIELDS.get(self.kind, self.kind.name.lower() + "_result")
        codes = code_enum(self.kind)
        code = codes[self.code] if self.code else codes(0)
        result_class = getattr(xdr, _class_stem(self.kind) + "Result")
        details = self.details or (_empty_details(self.kind) if code == 0 else {})
        inner = result_class(code, **details)
        return xdr.OperationResult(self.outer, xdr.OperationResultTr(self.kind, **{attribute: inner}))


def _empty_details(kind: xdr.OperationType) -> dict[str, Any]:
    if kind is xdr.OperationType.CREATE_CLAIMABLE_BALANCE:
        return {"balance_id": balance_id_xdr(ZERO_KEY)}
    if kind is xdr.OperationType.ACCOUNT_MERGE:
        return {"source_account_balance": xdr.Int64(0)}
    if kind is xdr.OperationType.INFLATION:
        return {"payouts": []}
    path = re.match(r"PATH_PAYMENT_STRICT_(RECEIVE|SEND)", kind.name)
    if path:
        success = getattr(xdr, _class_stem(kind) + "ResultSuccess")
        last = xdr.SimplePaymentResult(account_xdr(ZERO_KEY), NATIVE.to_xdr(), xdr.Int64(0))
        return {"success": success([], last)}
    return {}


@dataclass
class TxResult:
    """What became of a transaction; `inner` is set for fee bumps that got as far as their inner one."""

    code: xdr.TransactionResultCode
    fee_charged: int = 0
    operations: list[OpResult] = field(default_factory=list)
    inner: tuple[bytes, TxResult] | None = None

    @property
    def succeeded(self) -> bool:
        """Tell whether the transaction took effect."""
        return self.code in (TxCode.txSUCCESS, TxCode.txFEE_BUMP_INNER_SUCCESS)

    @property
    def names(self) -> tuple[str, ...]:
        """The codes in words: of the transaction, of its inner one, of the operations."""
        own = [self.code.name]
        if self.inner is not None:
            own += self.inner[1].names
        elif self.code in (TxCode.txSUCCESS, TxCode.txFAILED):
            own += [each.name for each in self.operations]
        return tuple(own)

    def to_xdr(self) -> xdr.TransactionResult:
        """Return the result as XDR."""
        if self.inner is not None:
            contents_hash, inner = self.inner
            pair = xdr.InnerTransactionResultPair(xdr.Hash(contents_hash), inner._inner_xdr())
            body = xdr.TransactionResultResult(self.code, inner_result_pair=pair)
        else:
            body = xdr.TransactionResultResult(self.code, results=self._operations_xdr())
        return xdr.TransactionResult(xdr.Int64(self.fee_charged), body, xdr.TransactionResultExt(0))

    def _operations_xdr(self) -> list[xdr.OperationResult] | None:
        if self.code not in (TxCode.txSUCCESS, TxCode.txFAILED):
            return None
        return [each.to_xdr() for each in self.operations]

    def _inner_xdr(self) -> xdr.InnerTransactionResult:
        body = xdr.InnerTransactionResultResult(self.code, results=self._operations_xdr())
        return xdr.InnerTransactionResult(xdr.Int64(self.fee_charged), body, xdr.InnerTransactionResultExt(0))
