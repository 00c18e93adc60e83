"""What sets Cardano apart."""

from __future__ import annotations

from bridge.chains.traits import ExplorerLinks, Traits
from bridge.protocol.types import Amount

TRAITS = Traits(
    native_symbol="ADA",
    native_decimals=6,
    max_amount=Amount(2**63 - 1),
    max_claims=8,
    split_funding=10,
    locks_prove_sender=False,
    explorer=ExplorerLinks(
        transaction="https://cardanoscan.io/transaction/{}",
        address="https://cardanoscan.io/address/{}",
        block="https://cardanoscan.io/block/{}",
    ),
)
"""An output's amounts end at int64; each transaction that waits holds an output of its own. A lock's
sender is a field of its datum, which the payer of the output writes."""
