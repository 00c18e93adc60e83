"""Ledger headers and close meta as XDR."""

from __future__ import annotations

import hashlib

from stellar_sdk import xdr

from relayers.stellar.devnet.network import ClosedLedger, StandaloneNetwork
from relayers.stellar.devnet.soroban.meta import transaction_meta

_ZERO = xdr.Hash(bytes(32))


class Headers:
    """The headers of a network's ledgers, each with the hash that it really has: of its parent, and of the
    results of its transactions (stellar-core: `txSetResultHash = xdrSha256(txResultSet)`)."""

    def __init__(self, network: StandaloneNetwork) -> None:
        self._network = network
        self._known: dict[bytes, xdr.LedgerHeaderHistoryEntry] = {}
        """By the devnet's own hash of a ledger."""

    def entry(self, sequence: int) -> xdr.LedgerHeaderHistoryEntry:
        """Return the header of a ledger and its hash."""
        ledgers = self._network.ledgers
        first = sequence
        while first > 1 and ledgers[first - 1].header.hash not in self._known:
            first -= 1
        for ledger in ledgers[first - 1 : sequence]:
            if ledger.header.hash not in self._known:
                self._known[ledger.header.hash] = self._made(ledger)
        return self._known[ledgers[sequence - 1].header.hash]

    def _made(self, ledger: ClosedLedger) -> xdr.LedgerHeaderHistoryEntry:
        before = ledger.header.sequence - 2
        previous = self._known[self._network.ledgers[before].header.hash].hash if before >= 0 else _ZERO
        return _header_entry(ledger, self._network.settings.protocol, previous)


def _result_hash(ledger: ClosedLedger) -> xdr.Hash:
    pairs = [
        xdr.TransactionResultPair(xdr.Hash(each.frame.contents_hash), each.result.to_xdr())
        for each in ledger.transactions
    ]
    return xdr.Hash(hashlib.sha256(xdr.TransactionResultSet(pairs).to_xdr_bytes()).digest())


def _header_entry(ledger: ClosedLedger, protocol: int, previous: xdr.Hash) -> xdr.LedgerHeaderHistoryEntry:
    """Return a header with its hash. What only stellar-core keeps is zero, but for the hash of the bucket
    list, where the devnet's own hash tells apart ledgers that are closed again after a rewind."""
    header = ledger.header
    value = xdr.StellarValue(
        _ZERO,
        xdr.TimePoint(xdr.Uint64(header.close_time)),
        [],
        xdr.StellarValueExt(xdr.StellarValueType.STELLAR_VALUE_BASIC),
    )
    body = xdr.LedgerHeader(
        xdr.Uint32(protocol),
        previous,
        value,
        _result_hash(ledger),
        xdr.Hash(header.hash),
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
    digest = xdr.Hash(hashlib.sha256(body.to_xdr_bytes()).digest())
    return xdr.LedgerHeaderHistoryEntry(digest, body, xdr.LedgerHeaderHistoryEntryExt(0))


def ledger_meta(
    ledger: ClosedLedger, network_id: bytes, header: xdr.LedgerHeaderHistoryEntry
) -> xdr.LedgerCloseMeta:
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
        header,
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
