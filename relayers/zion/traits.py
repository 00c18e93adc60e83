"""What sets ZION apart."""

from __future__ import annotations

from bridge.chains.traits import Traits
from bridge.protocol.types import Amount
from chain.rules.params import MAX_AMOUNT

TRAITS = Traits(native_symbol="ZION", native_decimals=8, max_amount=Amount(MAX_AMOUNT), carries_anchors=True)
