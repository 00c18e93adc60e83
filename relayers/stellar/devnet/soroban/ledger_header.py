"""Ledger headers and close meta as XDR."""

from __future__ import annotations

from stellar_sdk import xdr

from relayers.stellar.devnet.ledger import Header
from relayers.stellar.devnet.network import ClosedLedger
from relayers.stellar.devnet.soroban.meta import transaction_meta

_ZERO = xdr.Hash(bytes(32))


def header_entry(header: Header, protocol: int) -> xdr.LedgerHeaderHistoryEntry:
    """Return a header with its hash. What only stellar-core keeps (bucket list, skip list) is zero."""
    value = xdr.StellarValue(
        _ZERO,
        xdr.TimePoint(xdr.Uint64(header.close_time)),
        [],
        xdr.StellarValueExt(xdr.StellarValueType.STELLAR_VALUE_BASIC),
    )
    body = xdr.LedgerHeader(
        xdr.Uint32(protocol),
        xdr.Hash(header.previous_hash),
        value,
        _ZERO,
        _ZERO,
        xdr.Uint32(header.sequence),
        xdr.Int64(10**18),
        xdr.Int64(0),
        xdr.Uint32(0),
        xdr.Uint64(0),
        xdr.Uint32(header.base_fee),
        xdr.Uint32(header.base_reserve),
        xdr.Uint32(header.max_tx_set_size),
        [_ZERO] * 4,
        xdr.LedgerHeaderExt(0),
    )
    return xdr.LedgerHeaderHistoryEntry(xdr.Hash(header.hash), body, xdr.LedgerHeaderHistoryEntryExt(0))


def ledger_meta(ledger: ClosedLedger, network_id: bytes, protocol: int) -> xdr.LedgerCloseMeta:
    """Return what a ledger did; of its transaction set only the envelopes are told."""
    phase = xdr.TransactionPhase(0, v0_components=[_component(ledger)])
    tx_set = xdr.GeneralizedTransactionSet(1, v1_tx_set=xdr.TransactionSetV1(_ZERO, [phase]))
    done = [
        xdr.TransactionResultMetaV1(
            xdr.ExtensionPoint(0),
            xdr.TransactionResultPair(xdr.Hash(each.frame.contents_hash), each.result.to_xdr()),
            xdr.LedgerEntryChanges([]),
            transaction_meta(each.frame, network_id),
            xdr.LedgerEntryChanges([]),
        )
        for each in ledger.transactions
    ]
    meta = xdr.LedgerCloseMetaV2(
        xdr.LedgerCloseMetaExt(0),
        header_entry(ledger.header, protocol),
        tx_set,
        done,
        [],
        [],
        xdr.Uint64(0),
        [],
    )
    return xdr.LedgerCloseMeta(2, v2=meta)


def _component(ledger: ClosedLedger) -> xdr.TxSetComponent:
    envelopes = [each.frame.envelope for each in ledger.transactions]
    kind = xdr.TxSetComponentType.TXSET_COMP_TXS_MAYBE_DISCOUNTED_FEE
    fees = xdr.TxSetComponentTxsMaybeDiscountedFee(None, envelopes)
    return xdr.TxSetComponent(kind, txs_maybe_discounted_fee=fees)
