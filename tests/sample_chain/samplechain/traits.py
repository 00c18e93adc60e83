"""What sets the sample chain apart."""

from __future__ import annotations

from bridge.chains.traits import Traits
from bridge.protocol.types import Amount
from samplechain.ledger import DECIMALS, MAX_AMOUNT, SYMBOL

TRAITS = Traits(
    native_symbol=SYMBOL, native_decimals=DECIMALS, max_amount=Amount(MAX_AMOUNT), carries_anchors=True
)
