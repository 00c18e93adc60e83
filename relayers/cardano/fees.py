"""What the HTLC's transactions cost: Cardano's fee is a formula of size and budget, not an auction. Pure."""

from __future__ import annotations

from pycardano import ProtocolParameters

from bridge.chains.port import FeeEstimate
from bridge.protocol.types import Amount
from relayers.cardano.script import validator

LOCK_BYTES = 430
CLAIM_BYTES = 760
"""Sizes of a lock and of a claim by reference with one own input and change (measured on the devnet)."""
CLAIM_MEMORY = 260_000
CLAIM_STEPS = 85_000_000
"""Budget of a claim or refund of one lock with the reserve, as `tests/unit/cardano` measures it."""


def estimate(
    parameters: ProtocolParameters, deposit: int, minimum: int, *, by_reference: bool
) -> FeeEstimate:
    """Return the expected cost of each purpose in lovelace; `deposit` goes into a lock of tokens, `minimum`
    is the least amount of a lock.

    The formula is the ledger's: constant + coefficient · bytes, plus price · budget for scripts, plus a price
    for each byte of a reference script (Conway).
    """
    script = len(bytes(validator()))
    lock = _size_fee(parameters, LOCK_BYTES) + deposit
    spend = _size_fee(parameters, CLAIM_BYTES + (0 if by_reference else script))
    spend += -(-(parameters.price_mem * CLAIM_MEMORY + parameters.price_step * CLAIM_STEPS) // 1)
    if by_reference and parameters.min_fee_reference_scripts is not None:
        spend += int(parameters.min_fee_reference_scripts["base"] * script) + 1
    return FeeEstimate(
        lock=Amount(lock), claim=Amount(int(spend)), refund=Amount(int(spend)), minimum=Amount(minimum)
    )


def _size_fee(parameters: ProtocolParameters, size: int) -> int:
    return int(parameters.min_fee_constant + parameters.min_fee_coefficient * size)
