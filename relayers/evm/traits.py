"""What sets EVM chains apart."""

from __future__ import annotations

from bridge.chains.traits import Authorization, Traits
from bridge.protocol.types import Amount

TRAITS = Traits(
    native_symbol="ETH",
    native_decimals=18,
    max_amount=Amount(2**256 - 1),
    max_claims=20,
    max_lanes=65_535,
    authorization=Authorization.OPTIONAL,
)
"""Amounts are uint256; lanes and batches are the contract's, `MAX_CLAIMS` says why twenty."""
