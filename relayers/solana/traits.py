"""What sets Solana apart."""

from __future__ import annotations

from bridge.chains.traits import ExplorerLinks, Traits
from bridge.protocol.types import Amount

TRAITS = Traits(
    native_symbol="SOL",
    native_decimals=9,
    max_amount=Amount(2**64 - 1),
    explorer=ExplorerLinks(
        transaction="https://explorer.solana.com/tx/{}",
        address="https://explorer.solana.com/address/{}",
        block="https://explorer.solana.com/block/{}",
    ),
)
"""Amounts are u64."""
