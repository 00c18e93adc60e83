"""simulateTransaction: what a transaction would do, need and cost (soroban-simulation, stellar-rpc)."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, replace
from typing import Final

from stellar_sdk import StrKey, xdr

from relayers.stellar.devnet.entries import ContractEntry, muxed_key
from relayers.stellar.devnet.ledger import LedgerTxn
from relayers.stellar.devnet.soroban.execution import Outcome, execute
from relayers.stellar.devnet.soroban.fees import RentChange, events_fee, rent_fee, resource_fee, size_for_rent
from relayers.stellar.devnet.soroban.ledger_xdr import is_temporary
from relayers.stellar.devnet.soroban.settings import Settings
from relayers.stellar.devnet.soroban.storage import Footprint, entry_at, entry_bytes
from relayers.stellar.devnet.soroban.transaction import SOROBAN_KINDS

Kind = xdr.OperationType
SIGNATURE_BYTES: Final = 72
ENFORCE, RECORD, RECORD_ANYWHERE = "enforce", "record", "record_allow_nonroot"


class SimulationError(Exception):
    """Why there is nothing to simulate; the message is what the RPC answers."""


@dataclass(frozen=True)
class Simulated:
    """A simulation that came to an end."""

    outcome: Outcome
    data: xdr.SorobanTransactionData
    min_resource_fee: int


def _leeway(measured: int, percent: int, least: int) -> int:
    return max(measured * (100 + percent) // 100, measured + least)


def simulate(
    root: LedgerTxn,
    close_time: int,
    network_id: bytes,
    settings: Settings,
    envelope: xdr.TransactionEnvelope,
    *,
    auth_mode: str | None = None,
    extra_instructions: int = 0,
    upgraded_auth: bool = True,
) -> Simulated:
    """Run a transaction as the next ledger would, without keeping anything. Raises `SimulationError`."""
    tx = _inner(envelope)
    operation = _operation(tx)
    header = replace(root.header, sequence=root.header.sequence + 1, close_time=close_time)
    txn = root.child(header).child()
    source = muxed_key(operation.source_account or tx.source_account)
    invoke = operation.body.invoke_host_function_op
    if invoke is None:
        outcome = _simulate_footprint(txn, operation, tx, settings)
    else:
        outcome = execute(
            txn,
            network_id,
            StrKey.encode_ed25519_public_key(source),
            settings,
            invoke.host_function,
            _auth(invoke.auth, auth_mode),
            Footprint(recording=True),
            settings.tx_instructions,
            new_nonce=lambda: secrets.randbelow(2**63),
            upgraded_auth=upgraded_auth,
            root_auth_only=auth_mode != RECORD_ANYWHERE,
        )
    return _priced(outcome, envelope, settings, header.sequence, extra_instructions)


def _inner(envelope: xdr.TransactionEnvelope) -> xdr.Transaction:
    if envelope.fee_bump is not None and envelope.fee_bump.tx.inner_tx.v1 is not None:
        return envelope.fee_bump.tx.inner_tx.v1.tx
    if envelope.v1 is None:
        raise SimulationError("Transaction is of an old form")
    return envelope.v1.tx


def _operation(tx: xdr.Transaction) -> xdr.Operation:
    if len(tx.operations) != 1:
        raise SimulationError("Transaction contains more than one operation")
    operation = tx.operations[0]
    if operation.body.type not in SOROBAN_KINDS:
        raise SimulationError(f"Transaction contains unsupported operation type: {operation.body.type.name}")
    if tx.memo.type is not xdr.MemoType.MEMO_NONE:
        raise SimulationError("Transaction contains a memo. Soroban transactions do not support memos.")
    return operation


def _auth(
    entries: list[xdr.SorobanAuthorizationEntry], mode: str | None
) -> list[xdr.SorobanAuthorizationEntry] | None:
    if mode in (RECORD, RECORD_ANYWHERE) and entries:
        raise SimulationError(f"Transaction contains auth entries, but authMode is {mode}")
    return entries if entries or mode == ENFORCE else None


def _simulate_footprint(
    txn: LedgerTxn, operation: xdr.Operation, tx: xdr.Transaction, settings: Settings
) -> Outcome:
    """ExtendFootprintTTL and RestoreFootprint: their footprint is given, the rest is worked out."""
    if tx.ext.soroban_data is None:
        raise SimulationError("Transaction's footprint is missing")
    given = tx.ext.soroban_data.resources.footprint
    extend = operation.body.extend_footprint_ttl_op
    outcome = Outcome(Footprint.declared(given))
    for key in given.read_only if extend is not None else given.read_write:
        entry = entry_at(txn, key)
        if not isinstance(entry, ContractEntry):
            continue
        size, code, live = size_for_rent(entry), key.contract_code is not None, entry.live_until
        archived = live < txn.header.sequence
        if extend is not None and not archived:
            until = txn.header.sequence + extend.extend_to.uint32
            if until > live:
                outcome.rent.append(RentChange(not is_temporary(key), code, size, size, live, until))
        elif extend is None and archived:
            until = txn.header.sequence + settings.min_persistent_ttl - 1
            outcome.rent.append(RentChange(True, code, 0, size, 0, until))
            outcome.disk_read_bytes += entry_bytes(entry)
            outcome.write_bytes += entry_bytes(entry)
            outcome.disk_read_entries += 1
            outcome.restored.add(entry.key)
    return outcome


def _priced(
    outcome: Outcome,
    envelope: xdr.TransactionEnvelope,
    settings: Settings,
    sequence: int,
    extra_instructions: int,
) -> Simulated:
    instructions = 0
    if outcome.instructions:
        instructions = _leeway(outcome.instructions, 4, 50_000) + extra_instructions
        instructions = min(instructions, settings.tx_instructions)
    footprint = outcome.footprint.to_xdr()
    extension = xdr.SorobanTransactionDataExt(0)
    archived = [
        xdr.Uint32(index)
        for index, key in enumerate(footprint.read_write)
        if key.to_xdr_bytes() in outcome.restored
    ]
    if archived and outcome.value is not None:
        extension = xdr.SorobanTransactionDataExt(1, resource_ext=xdr.SorobanResourcesExtV0(archived))
    resources = xdr.SorobanResources(
        footprint,
        xdr.Uint32(instructions),
        xdr.Uint32(outcome.disk_read_bytes),
        xdr.Uint32(outcome.write_bytes),
    )
    data = xdr.SorobanTransactionData(extension, resources, xdr.Int64(0))
    size = len(envelope.to_xdr_bytes()) + len(data.to_xdr_bytes()) + SIGNATURE_BYTES
    size += sum(len(each.to_xdr_bytes()) + 2 * SIGNATURE_BYTES for each in outcome.auth)
    refundable = rent_fee(settings, outcome.rent, sequence) + events_fee(settings, outcome.event_bytes)
    fixed = resource_fee(
        settings,
        instructions=instructions,
        disk_read_entries=outcome.disk_read_entries,
        write_entries=len(footprint.read_write),
        disk_read_bytes=outcome.disk_read_bytes,
        write_bytes=outcome.write_bytes,
        size=_leeway(size, 10, 500),
    )
    fee = fixed + refundable * 115 // 100
    data.resource_fee = xdr.Int64(fee)
    return Simulated(outcome, data, fee)
