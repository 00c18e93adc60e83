"""What a transaction's resources cost (soroban-env-host 27, fees.rs). All fees in stroops."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from stellar_sdk import xdr

from relayers.stellar.devnet.entries import ContractEntry
from relayers.stellar.devnet.soroban.ledger_xdr import entry_xdr
from relayers.stellar.devnet.soroban.settings import Settings

BASE_RESULT_BYTES = 300
TTL_ENTRY_BYTES = 48
CODE_DISCOUNT = 3


def _up(numerator: int, denominator: int) -> int:
    return -(-numerator // denominator)


def resource_fee(
    settings: Settings,
    *,
    instructions: int,
    disk_read_entries: int,
    write_entries: int,
    disk_read_bytes: int,
    write_bytes: int,
    size: int,
) -> int:
    """Return the part of the fee that is never given back; `size` is the transaction's, in bytes."""
    return (
        _up(instructions * settings.fee_instructions, 10_000)
        + settings.fee_disk_read_entry * disk_read_entries
        + settings.fee_write_entry * write_entries
        + _up(disk_read_bytes * settings.fee_disk_read_kb, 1_024)
        + _up(write_bytes * settings.fee_write_kb, 1_024)
        + _up((size + BASE_RESULT_BYTES) * settings.fee_history_kb, 1_024)
        + _up(size * settings.fee_size_kb, 1_024)
    )


def events_fee(settings: Settings, event_bytes: int) -> int:
    """Return the fee for events and the returned value."""
    return _up(event_bytes * settings.fee_events_kb, 1_024)


@dataclass(frozen=True)
class RentChange:
    """One entry's size and life before and after; 0 where it did not exist."""

    persistent: bool
    code: bool
    old_size: int
    new_size: int
    old_live_until: int
    new_live_until: int


def rent_fee(settings: Settings, changes: Iterable[RentChange], sequence: int) -> int:
    """Return the rent for longer lives and larger entries."""
    fee = extended = 0
    for each in changes:
        fee += _entry_rent(settings, each, sequence)
        extended += each.new_live_until > each.old_live_until
    return (
        fee
        + settings.fee_write_entry * extended
        + _up(TTL_ENTRY_BYTES * extended * settings.fee_write_kb, 1_024)
    )


def _entry_rent(settings: Settings, change: RentChange, sequence: int) -> int:
    is_new = change.old_size == 0 and change.old_live_until == 0
    before = sequence - 1 if is_new else change.old_live_until
    fee = 0
    if change.new_live_until > before:
        fee += _rent(settings, change.persistent, change.new_size, change.new_live_until - before)
    growth = change.new_size - change.old_size
    if not is_new and growth > 0 and change.old_live_until >= sequence:
        fee += _rent(settings, change.persistent, growth, change.old_live_until - sequence + 1)
    return _up(fee, CODE_DISCOUNT) if change.code else fee


def _rent(settings: Settings, persistent: bool, size: int, ledgers: int) -> int:
    denominator = settings.persistent_rent_denominator if persistent else settings.temporary_rent_denominator
    return _up(size * settings.fee_rent_kb * ledgers, 1_024 * denominator)


def size_for_rent(entry: ContractEntry) -> int:
    """Return an entry's size as rent counts it: code counts as large as it is in memory once parsed."""
    size = len(entry_xdr(entry).to_xdr_bytes())
    code = entry.data.contract_code
    if code is None:
        return size
    return size + (code_memory(code.ext.v1.cost_inputs) if code.ext.v1 is not None else 0)


_MEMORY_PRICES = {
    "n_instructions": (17_564, 6_457),
    "n_functions": (0, 47_464),
    "n_globals": (0, 13_420),
    "n_table_entries": (0, 6_285),
    "n_types": (0, 64_670),
    "n_data_segments": (0, 29_074),
    "n_elem_segments": (0, 48_095),
    "n_imports": (0, 103_229),
    "n_exports": (0, 36_394),
    "n_data_segment_bytes": (0, 257),
}
"""Bytes of memory for parsing wasm, constant and for 128 of a kind (budget.rs, ParseWasm…)."""


def code_memory(costs: xdr.ContractCodeCostInputs) -> int:
    """Return the memory that a parsed contract takes (parsed_module.rs, `wasm_module_memory_cost`)."""
    return sum(
        constant + getattr(costs, name).uint32 * linear // 128
        for name, (constant, linear) in _MEMORY_PRICES.items()
    )
