"""What sets Stellar apart."""

from __future__ import annotations

from bridge.chains.traits import Authorization, ExplorerLinks, Traits
from bridge.protocol.types import Amount

TRAITS = Traits(
    native_symbol="XLM",
    native_decimals=7,
    max_amount=Amount(2**63 - 1),
    leaves_deposit=True,
    needs_consent=True,
    authorization=Authorization.REQUIRED,
    explorer=ExplorerLinks(
        transaction="https://stellar.expert/explorer/public/tx/{}",
        address="https://stellar.expert/explorer/public/account/{}",
        block="https://stellar.expert/explorer/public/ledger/{}",
    ),
)
"""Amounts are int64; a spent lock's gate account still holds its reserve; a trustline is the consent."""
