"""What sets Stellar apart."""

from __future__ import annotations

from bridge.chains.traits import ExplorerLinks, Traits
from bridge.protocol.types import Amount

TRAITS = Traits(
    native_symbol="XLM",
    native_decimals=7,
    max_amount=Amount(2**63 - 1),
    needs_consent=True,
    explorer=ExplorerLinks(
        transaction="https://stellar.expert/explorer/public/tx/{}",
        address="https://stellar.expert/explorer/public/account/{}",
        block="https://stellar.expert/explorer/public/ledger/{}",
    ),
)
"""Amounts are int64: those of accounts and trustlines. A trustline is the consent."""
