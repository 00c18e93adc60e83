"""What sets EVM chains apart."""

from __future__ import annotations

import msgspec

from bridge.chains.traits import Authorization, ExplorerLinks, Traits
from bridge.protocol.types import Amount
from relayers.evm.profiles import EvmProfile

TRAITS = Traits(
    native_symbol="ETH",
    native_decimals=18,
    max_amount=Amount(2**256 - 1),
    max_claims=20,
    max_lanes=65_535,
    authorization=Authorization.OPTIONAL,
)
"""Amounts are uint256; lanes and batches are the contract's, `MAX_CLAIMS` says why twenty."""


def traits_of(profile: EvmProfile) -> Traits:
    """Return the traits of one network: its coin, and where its transactions are looked up."""
    return msgspec.structs.replace(
        TRAITS,
        native_symbol=profile.native_symbol,
        explorer=ExplorerLinks(*(profile.explorer_page(kind) for kind in ("tx", "address", "block"))),
    )
