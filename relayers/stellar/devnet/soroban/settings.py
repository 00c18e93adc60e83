"""Soroban settings of the network: limits, fees, times to live.

The numbers are those of the public network on 2026-07-29 (stellar/laboratory, networkLimits.ts). Fees are
in stroops, times to live in ledgers.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Settings:
    """What validators voted for. Tests lower single values to reach an edge."""

    protocol: int = 27
    min_persistent_ttl: int = 2_073_600
    min_temporary_ttl: int = 17_280
    max_ttl: int = 3_110_400
    max_wasm_bytes: int = 131_072
    max_entry_bytes: int = 65_536
    max_key_bytes: int = 250
    # Limits of one transaction
    tx_instructions: int = 400_000_000
    tx_memory_bytes: int = 41_943_040
    tx_footprint_entries: int = 400
    tx_disk_read_entries: int = 200
    tx_write_entries: int = 200
    tx_disk_read_bytes: int = 200_000
    tx_write_bytes: int = 132_096
    tx_event_bytes: int = 16_384
    tx_bytes: int = 132_096
    # Limits of one ledger
    ledger_instructions: int = 600_000_000
    ledger_transactions: int = 2_000
    # Fees
    fee_instructions: int = 7
    """For 10,000 instructions."""
    fee_disk_read_entry: int = 1_563
    fee_write_entry: int = 2_500
    fee_disk_read_kb: int = 447
    fee_write_kb: int = 875
    fee_history_kb: int = 4_059
    fee_events_kb: int = 5_000
    fee_size_kb: int = 406
    fee_rent_kb: int = 1_000
    """At its floor; it grows with the size of the live state."""
    persistent_rent_denominator: int = 1_215
    temporary_rent_denominator: int = 2_430
