"""What a transaction changed and emitted, as TransactionMeta V4 (CAP-67)."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

from stellar_sdk import xdr

from relayers.stellar.devnet.entries import Account, ContractEntry, Entry, TrustLine
from relayers.stellar.devnet.fee_bump import Frame
from relayers.stellar.devnet.ledger import Change
from relayers.stellar.devnet.soroban.events import Stage, fee_event, operation_events
from relayers.stellar.devnet.soroban.ledger_xdr import entry_xdr, key_of_data

Kind = xdr.LedgerEntryChangeType


def _ttl_xdr(entry: ContractEntry) -> xdr.LedgerEntry:
    ttl = xdr.TTLEntry(xdr.Hash(hashlib.sha256(entry.key).digest()), xdr.Uint32(entry.live_until))
    data = xdr.LedgerEntryData(xdr.LedgerEntryType.TTL, ttl=ttl)
    return xdr.LedgerEntry(xdr.Uint32(entry.last_modified), data, xdr.LedgerEntryExt(0))


def _ttl_key(entry: ContractEntry) -> xdr.LedgerKey:
    named = xdr.LedgerKeyTtl(xdr.Hash(hashlib.sha256(entry.key).digest()))
    return xdr.LedgerKey(xdr.LedgerEntryType.TTL, ttl=named)


def _change(
    key: xdr.LedgerKey, before: xdr.LedgerEntry | None, after: xdr.LedgerEntry | None, *, restored: bool
) -> list[xdr.LedgerEntryChange]:
    if restored and after is not None:
        return [xdr.LedgerEntryChange(Kind.LEDGER_ENTRY_RESTORED, restored=after)]
    if before is None:
        return [] if after is None else [xdr.LedgerEntryChange(Kind.LEDGER_ENTRY_CREATED, created=after)]
    state = xdr.LedgerEntryChange(Kind.LEDGER_ENTRY_STATE, state=before)
    if after is None:
        return [state, xdr.LedgerEntryChange(Kind.LEDGER_ENTRY_REMOVED, removed=key)]
    return [state, xdr.LedgerEntryChange(Kind.LEDGER_ENTRY_UPDATED, updated=after)]


def changes_xdr(changes: Iterable[Change], restored: set[bytes]) -> xdr.LedgerEntryChanges:
    """Return changes of accounts, trustlines, contract data and code; of other entries nothing is told."""
    found: list[xdr.LedgerEntryChange] = []
    for _, before, after in changes:
        either: Entry | None = after if after is not None else before
        if isinstance(either, ContractEntry):
            old = before if isinstance(before, ContractEntry) else None
            new = after if isinstance(after, ContractEntry) else None
            found += _contract_changes(either, old, new, either.key in restored)
        elif isinstance(either, Account | TrustLine):
            shown = [None if each is None else entry_xdr(each) for each in (before, after)]
            found += _change(key_of_data(entry_xdr(either).data), shown[0], shown[1], restored=False)
    return xdr.LedgerEntryChanges(found)


def _contract_changes(
    either: ContractEntry, old: ContractEntry | None, new: ContractEntry | None, restored: bool
) -> list[xdr.LedgerEntryChange]:
    found: list[xdr.LedgerEntryChange] = []
    if restored or old is None or new is None or old.data != new.data:
        shown = [None if each is None else entry_xdr(each) for each in (old, new)]
        found += _change(key_of_data(either.data), shown[0], shown[1], restored=restored)
    if old is None or new is None or old.live_until != new.live_until:
        times = [None if each is None else _ttl_xdr(each) for each in (old, new)]
        found += _change(_ttl_key(either), times[0], times[1], restored=restored)
    return found


def contract_events(frame: Frame, network_id: bytes) -> list[list[xdr.ContractEvent]]:
    """Return the events of each operation; none of a transaction that failed."""
    inner = frame.inner
    if not inner.result.succeeded:
        return [[] for _ in inner.tx.operations]
    if inner.soroban is not None:
        outcome = inner.soroban.outcome
        return [list(outcome.events) if outcome is not None else []]
    return [
        operation_events(network_id, operation, inner.operation_source(index), inner.result.operations[index])
        for index, operation in enumerate(inner.tx.operations)
    ]


def transaction_events(frame: Frame, network_id: bytes) -> list[xdr.TransactionEvent]:
    """Return the events of the fee and of what was given back."""
    charged = frame.result.fee_charged + frame.refunded
    found = [fee_event(network_id, frame.fee_source, charged, Stage.TRANSACTION_EVENT_STAGE_BEFORE_ALL_TXS)]
    if frame.refunded:
        stage = Stage.TRANSACTION_EVENT_STAGE_AFTER_ALL_TXS
        found.append(fee_event(network_id, frame.fee_source, -frame.refunded, stage))
    return found


def transaction_meta(frame: Frame, network_id: bytes) -> xdr.TransactionMeta:
    """Return the whole meta of an applied transaction."""
    inner = frame.inner
    point = xdr.ExtensionPoint(0)
    outcome = inner.soroban.outcome if inner.soroban is not None else None
    restored = outcome.restored if outcome is not None else set()
    soroban = None
    if inner.soroban is not None:
        succeeded = inner.result.succeeded and outcome is not None
        value = outcome.value if succeeded and outcome is not None else None
        soroban = xdr.SorobanTransactionMetaV2(xdr.SorobanTransactionMetaExt(0), value)
    events = contract_events(frame, network_id)
    operations = [
        xdr.OperationMetaV2(point, changes_xdr(changes, restored), events[index])
        for index, changes in enumerate(inner.record.operations)
    ]
    body = xdr.TransactionMetaV4(
        point,
        changes_xdr(inner.record.before, set()),
        operations,
        xdr.LedgerEntryChanges([]),
        soroban,
        transaction_events(frame, network_id),
        [],
    )
    return xdr.TransactionMeta(4, v4=body)
