"""Transactions of our contract as an endpoint gives them, made by hand, odd or not."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from stellar_sdk import (
    Address,
    Asset,
    FeeBumpTransaction,
    FeeBumpTransactionEnvelope,
    InvokeHostFunction,
    Keypair,
    StrKey,
    Transaction,
    TransactionEnvelope,
    scval,
    xdr,
)
from stellar_sdk.operation import Operation

from bridge.protocol.types import Address as PortAddress
from bridge.protocol.types import Amount, BlockHeight, BlockRef, LockTerms, Preimage, TxId, UnixSeconds
from relayers.stellar import contract
from relayers.stellar.ledgers import Applied
from relayers.stellar.settings import XLM, StellarSettings
from tests import instances

PASSPHRASE = "Standalone Network ; February 2017"
CONTRACT = StrKey.encode_contract(hashlib.sha256(b"our contract").digest())
ROUTER = StrKey.encode_contract(hashlib.sha256(b"another contract").digest())
SETTINGS = StellarSettings(("http://127.0.0.1:1",), CONTRACT, PASSPHRASE, (XLM,))
SECRET = Preimage(b"a preimage of thirty-two bytes..")
BLOCK = BlockRef(BlockHeight(7), "07" * 32, "06" * 32, UnixSeconds(1_700_000_000))
Code = xdr.TransactionResultCode


def key(name: str) -> Keypair:
    return Keypair.from_raw_ed25519_seed(hashlib.sha256(name.encode()).digest())


def terms(preimage: Preimage = SECRET, deadline: int = 1_700_010_000) -> LockTerms:
    return LockTerms(
        instances.STELLAR,
        PortAddress(CONTRACT),
        PortAddress(key("sender").public_key),
        PortAddress(key("recipient").public_key),
        XLM,
        Amount(50_000_000),
        preimage.hashlock(),
        UnixSeconds(deadline),
    )


def event(topics: Sequence[xdr.SCVal], data: xdr.SCVal, by: str = CONTRACT) -> xdr.ContractEvent:
    return xdr.ContractEvent(
        xdr.ExtensionPoint(0),
        xdr.ContractID(xdr.Hash(StrKey.decode_contract(by))),
        xdr.ContractEventType.CONTRACT,
        xdr.ContractEventBody(0, xdr.ContractEventV0(list(topics), data)),
    )


def lock_event(of: LockTerms) -> xdr.ContractEvent:
    values = contract.term_values(of, PASSPHRASE)
    return event(topics("lock", of), scval.to_vec(values[2:]))


def claim_event(of: LockTerms, preimage: bytes) -> xdr.ContractEvent:
    return event(topics("claim", of), scval.to_bytes(preimage))


def refund_event(of: LockTerms) -> xdr.ContractEvent:
    return event(topics("refund", of), scval.to_bool(False))


def topics(kind: str, of: LockTerms) -> list[xdr.SCVal]:
    return [
        scval.to_symbol(kind),
        contract.id_value(contract.lock_id(of, PASSPHRASE)),
        scval.to_address(of.sender),
        scval.to_address(of.recipient),
    ]


def router_call(*arguments: xdr.SCVal) -> InvokeHostFunction:
    return contract.call(ROUTER, "do_it", arguments)


def removed(of: LockTerms) -> xdr.LedgerEntryChange:
    key_of = contract.entry_key(CONTRACT, contract.lock_id(of, PASSPHRASE))
    return xdr.LedgerEntryChange(xdr.LedgerEntryChangeType.LEDGER_ENTRY_REMOVED, removed=key_of)


def result_of(code: Code, value: xdr.SCVal, events: Sequence[xdr.ContractEvent]) -> xdr.TransactionResult:
    succeeded = code is Code.txSUCCESS
    kind = xdr.InvokeHostFunctionResultCode
    image = xdr.InvokeHostFunctionSuccessPreImage(value, list(events)).to_xdr_bytes()
    invoked = xdr.InvokeHostFunctionResult(
        kind.INVOKE_HOST_FUNCTION_SUCCESS if succeeded else kind.INVOKE_HOST_FUNCTION_TRAPPED,
        success=xdr.Hash(hashlib.sha256(image).digest()) if succeeded else None,
    )
    tr = xdr.OperationResultTr(xdr.OperationType.INVOKE_HOST_FUNCTION, invoke_host_function_result=invoked)
    results = [xdr.OperationResult(xdr.OperationResultCode.opINNER, tr=tr)]
    return xdr.TransactionResult(
        xdr.Int64(1000), xdr.TransactionResultResult(code, results=results), xdr.TransactionResultExt(0)
    )


def applied(
    operation: Operation,
    events: Sequence[xdr.ContractEvent] = (),
    *,
    code: Code = Code.txSUCCESS,
    told: Sequence[xdr.ContractEvent] | None = None,
    changes: Sequence[xdr.LedgerEntryChange] = (),
    bump: bool = False,
    hashx: bytes | None = None,
    outer_hashx: bytes | None = None,
) -> Applied:
    """Return a transaction of one operation. `told`: the events that the endpoint tells, where they are not
    those that happened."""
    source = key("anybody")
    envelope = TransactionEnvelope(Transaction(source, 1, 1000, [operation]), PASSPHRASE)
    envelope.sign(source)
    if hashx is not None:
        envelope.sign_hashx(hashx)
    value = scval.to_void()
    result = result_of(code, value, events)
    raw, tx_id = envelope.to_xdr_object().to_xdr_bytes(), envelope.hash_hex()
    if bump:
        outer = FeeBumpTransactionEnvelope(FeeBumpTransaction(source, 5000, envelope), PASSPHRASE)
        outer.sign(source)
        if outer_hashx is not None:
            outer.sign_hashx(outer_hashx)
        inner = xdr.InnerTransactionResultPair(
            xdr.Hash(envelope.hash()),
            xdr.InnerTransactionResult(
                xdr.Int64(0),
                xdr.InnerTransactionResultResult(code, results=result.result.results),
                xdr.InnerTransactionResultExt(0),
            ),
        )
        kind = Code.txFEE_BUMP_INNER_SUCCESS if code is Code.txSUCCESS else Code.txFEE_BUMP_INNER_FAILED
        result = xdr.TransactionResult(
            xdr.Int64(1000),
            xdr.TransactionResultResult(kind, inner_result_pair=inner),
            xdr.TransactionResultExt(0),
        )
        raw, tx_id = outer.to_xdr_object().to_xdr_bytes(), outer.hash_hex()
    meta = xdr.TransactionMeta(
        4,
        v4=xdr.TransactionMetaV4(
            xdr.ExtensionPoint(0),
            xdr.LedgerEntryChanges([]),
            [
                xdr.OperationMetaV2(
                    xdr.ExtensionPoint(0),
                    xdr.LedgerEntryChanges(list(changes)),
                    list(events if told is None else told),
                )
            ],
            xdr.LedgerEntryChanges([]),
            xdr.SorobanTransactionMetaV2(xdr.SorobanTransactionMetaExt(0), value)
            if code is Code.txSUCCESS
            else None,
            [],
            [],
        ),
    )
    return Applied(TxId(tx_id), BlockHeight(7), 1, raw, result.to_xdr_bytes(), meta.to_xdr_bytes())


def address_bytes(address: str) -> bytes:
    return Address(address).key


NATIVE = Asset.native().contract_id(PASSPHRASE)
