"""What the ledger adds to a transaction with a Soroban operation: resources, their fee, archived entries.

The order of checks and the codes follow stellar-core 25 (TransactionFrame.cpp, InvokeHostFunctionOpFrame.cpp,
ExtendFootprintTTLOpFrame.cpp, RestoreFootprintOpFrame.cpp).
"""

from __future__ import annotations

from dataclasses import dataclass, field

from stellar_sdk import StrKey, xdr

from relayers.stellar.devnet.entries import ContractEntry, contract
from relayers.stellar.devnet.ledger import LedgerTxn
from relayers.stellar.devnet.results import OperationFailedError, TxCode
from relayers.stellar.devnet.soroban.execution import Outcome, execute
from relayers.stellar.devnet.soroban.fees import RentChange, events_fee, rent_fee, resource_fee, size_for_rent
from relayers.stellar.devnet.soroban.ledger_xdr import is_contract_key, is_temporary, state_key
from relayers.stellar.devnet.soroban.settings import Settings
from relayers.stellar.devnet.soroban.storage import Footprint, entry_at, entry_bytes

Kind = xdr.OperationType
SOROBAN_KINDS = frozenset({Kind.INVOKE_HOST_FUNCTION, Kind.EXTEND_FOOTPRINT_TTL, Kind.RESTORE_FOOTPRINT})


@dataclass
class SorobanPart:
    """A transaction's Soroban data and what became of it."""

    tx: xdr.Transaction
    data: xdr.SorobanTransactionData
    size: int
    """Of the envelope, in bytes."""
    network_id: bytes
    settings: Settings
    outcome: Outcome | None = None
    consumed: int = 0
    """Of the refundable fee: rent and events, stroops."""
    _archived: set[int] = field(default_factory=set)

    def __post_init__(self) -> None:
        extension = self.data.ext.resource_ext
        if extension is not None:
            self._archived = {each.uint32 for each in extension.archived_soroban_entries}

    @property
    def resources(self) -> xdr.SorobanResources:
        """What the transaction may use."""
        return self.data.resources

    @property
    def resource_fee(self) -> int:
        """What it declares to pay for them at most, stroops."""
        return self.data.resource_fee.int64

    @property
    def refund(self) -> int:
        """What it gets back after it was applied."""
        return max(0, self.resource_fee - self.fixed_fee - self.consumed)

    @property
    def fixed_fee(self) -> int:
        """The part of the resource fee that is never given back."""
        footprint = self.resources.footprint
        classic = [key for key in [*footprint.read_only, *footprint.read_write] if not is_contract_key(key)]
        return resource_fee(
            self.settings,
            instructions=self.resources.instructions.uint32,
            disk_read_entries=len(classic) + len(self._archived),
            write_entries=len(footprint.read_write),
            disk_read_bytes=self.resources.disk_read_bytes.uint32,
            write_bytes=self.resources.write_bytes.uint32,
            size=self.size,
        )

    # Before inclusion

    def problem(self, full_fee: int) -> xdr.TransactionResultCode | None:
        """Return why the transaction is invalid, if it is."""
        operation = self.tx.operations[0]
        if operation.body.type is Kind.INVOKE_HOST_FUNCTION and self._has_memo_or_muxed():
            return TxCode.txSOROBAN_INVALID
        if not 0 <= self.resource_fee <= full_fee:
            return TxCode.txSOROBAN_INVALID
        if not self._resources_are_allowed():
            return TxCode.txSOROBAN_INVALID
        return TxCode.txSOROBAN_INVALID if self.resource_fee < self.fixed_fee else None

    def _has_memo_or_muxed(self) -> bool:
        own = self.tx.operations[0].source_account
        muxed = self.tx.source_account.med25519 is not None or (own is not None and own.med25519 is not None)
        return muxed or self.tx.memo.type is not xdr.MemoType.MEMO_NONE

    def _resources_are_allowed(self) -> bool:
        limits, resources = self.settings, self.resources
        read_only, read_write = resources.footprint.read_only, resources.footprint.read_write
        keys = [*read_only, *read_write]
        raw = [each.to_xdr_bytes() for each in keys]
        classic = [each for each in keys if not is_contract_key(each)]
        return (
            resources.instructions.uint32 <= limits.tx_instructions
            and resources.disk_read_bytes.uint32 <= limits.tx_disk_read_bytes
            and resources.write_bytes.uint32 <= limits.tx_write_bytes
            and len(keys) <= limits.tx_footprint_entries
            and len(classic) + len(self._archived) <= limits.tx_disk_read_entries
            and len(read_write) <= limits.tx_write_entries
            and self.size <= limits.tx_bytes
            and len(set(raw)) == len(raw)
            and all(len(each) <= limits.max_key_bytes for each in raw)
            and all(state_key(each) is not None for each in keys)
            and self._archived_are_persistent(read_write)
        )

    def _archived_are_persistent(self, read_write: list[xdr.LedgerKey]) -> bool:
        extension = self.data.ext.resource_ext
        if extension is None:
            return True
        order = [each.uint32 for each in extension.archived_soroban_entries]
        return sorted(set(order)) == order and all(
            index < len(read_write)
            and is_contract_key(read_write[index])
            and not is_temporary(read_write[index])
            for index in order
        )

    # Application

    def invoke(self, txn: LedgerTxn, body: xdr.InvokeHostFunctionOp, source: bytes) -> bytes:
        """Run the host function and return the hash of its success. Raises `OperationFailedError`."""
        restored = self._restore_and_check(txn)
        footprint = Footprint.declared(self.resources.footprint)
        outcome = execute(
            txn,
            self.network_id,
            StrKey.encode_ed25519_public_key(source),
            self.settings,
            body.host_function,
            body.auth,
            footprint,
            self.resources.instructions.uint32,
            restored,
        )
        self.outcome = outcome
        if outcome.error is not None:
            code = "RESOURCE_LIMIT_EXCEEDED" if outcome.error.is_limit else "TRAPPED"
            raise OperationFailedError(f"INVOKE_HOST_FUNCTION_{code}")
        if (
            outcome.write_bytes > self.resources.write_bytes.uint32
            or outcome.event_bytes > self.settings.tx_event_bytes
            or self._has_oversized_entry(txn, footprint)
        ):
            raise OperationFailedError("INVOKE_HOST_FUNCTION_RESOURCE_LIMIT_EXCEEDED")
        self._consume(txn, outcome.rent, outcome.event_bytes, "INVOKE_HOST_FUNCTION")
        return outcome.result_hash

    def _has_oversized_entry(self, txn: LedgerTxn, footprint: Footprint) -> bool:
        limits = self.settings
        return any(
            entry_bytes(entry_at(txn, footprint.keys[raw]))
            > (limits.max_wasm_bytes if footprint.keys[raw].contract_code else limits.max_entry_bytes)
            for raw in footprint.writable
        )

    def _consume(self, txn: LedgerTxn, rent: list[RentChange], event_bytes: int, operation: str) -> None:
        needed = rent_fee(self.settings, rent, txn.header.sequence) + events_fee(self.settings, event_bytes)
        if needed > self.resource_fee - self.fixed_fee:
            raise OperationFailedError(f"{operation}_INSUFFICIENT_REFUNDABLE_FEE")
        self.consumed = needed

    def _restore_and_check(self, txn: LedgerTxn) -> dict[bytes, ContractEntry]:
        """Restore the archived entries that are listed; refuse others, and reading more than declared."""
        footprint = self.resources.footprint
        restored: dict[bytes, ContractEntry] = {}
        read = 0
        marked = {id(footprint.read_write[index]) for index in self._archived}
        for key in [*footprint.read_only, *footprint.read_write]:
            entry = entry_at(txn, key)
            if not isinstance(entry, ContractEntry):
                read += 0 if is_contract_key(key) else entry_bytes(entry)
                continue
            if entry.live_until >= txn.header.sequence or is_temporary(key):
                continue
            if id(key) not in marked:
                raise OperationFailedError("INVOKE_HOST_FUNCTION_ENTRY_ARCHIVED")
            read += entry_bytes(entry)
            restored[entry.key] = entry
            _revive(txn, entry, self.settings)
        if read > self.resources.disk_read_bytes.uint32:
            raise OperationFailedError("INVOKE_HOST_FUNCTION_RESOURCE_LIMIT_EXCEEDED")
        return restored

    def extend(self, txn: LedgerTxn, extend_to: int) -> None:
        """Let the entries of the read-only footprint live longer. Raises `OperationFailedError`."""
        rent = []
        for key in self.resources.footprint.read_only:
            entry = entry_at(txn, key)
            if not isinstance(entry, ContractEntry) or entry.live_until < txn.header.sequence:
                continue
            until = txn.header.sequence + extend_to
            if until <= entry.live_until:
                continue
            size = size_for_rent(entry)
            code = key.contract_code is not None
            rent.append(RentChange(not is_temporary(key), code, size, size, entry.live_until, until))
            longer = entry.copy()
            longer.live_until = until
            txn.mark(contract(entry.key), longer)
        self._consume(txn, rent, 0, "EXTEND_FOOTPRINT_TTL")

    def restore(self, txn: LedgerTxn) -> None:
        """Bring the archived entries of the read-write footprint back. Raises `OperationFailedError`."""
        rent, read = [], 0
        for key in self.resources.footprint.read_write:
            entry = entry_at(txn, key)
            if not isinstance(entry, ContractEntry) or entry.live_until >= txn.header.sequence:
                continue
            size, code = size_for_rent(entry), key.contract_code is not None
            read += entry_bytes(entry)
            live = _revive(txn, entry, self.settings)
            rent.append(RentChange(True, code, 0, size, 0, live))
        if max(read, 0) > min(self.resources.disk_read_bytes.uint32, self.resources.write_bytes.uint32):
            raise OperationFailedError("RESTORE_FOOTPRINT_RESOURCE_LIMIT_EXCEEDED")
        self._consume(txn, rent, 0, "RESTORE_FOOTPRINT")


def _revive(txn: LedgerTxn, entry: ContractEntry, settings: Settings) -> int:
    again = entry.copy()
    again.live_until = txn.header.sequence + settings.min_persistent_ttl - 1
    txn.create(again)
    return again.live_until


def soroban_part(
    envelope: xdr.TransactionEnvelope, tx: xdr.Transaction, network_id: bytes, settings: Settings
) -> SorobanPart | None:
    """Return a transaction's Soroban part, or None for a classic one."""
    if tx.ext.soroban_data is None:
        return None
    return SorobanPart(tx, tx.ext.soroban_data, len(envelope.to_xdr_bytes()), network_id, settings)


def is_consistent(tx: xdr.Transaction) -> bool:
    """Tell whether a Soroban operation stands alone and with its data, and no data without one."""
    kinds = [each.body.type for each in tx.operations]
    if any(kind in SOROBAN_KINDS for kind in kinds):
        return len(kinds) == 1 and tx.ext.soroban_data is not None
    return tx.ext.soroban_data is None
