"""What we bid for a place in a block, and how long a bid stands before it is raised. Pure.

Nothing can be outbid on Solana: there is no pool, no sequence, and two transactions for one thing are two
transactions. What did not land expires, and the next one bids more. So ordinary lives are short.
"""

from __future__ import annotations

from collections.abc import Sequence

from bridge.chains.port import FeeLevel
from bridge.protocol.types import Purpose
from relayers.solana.settings import SolanaFees

SIGNATURE_FEE = 5_000
"""Lamports per signature (DEFAULT_TARGET_LAMPORTS_PER_SIGNATURE)."""

MICRO = 1_000_000
"""Micro-lamports in a lamport."""

URGENT = frozenset({Purpose.CLAIM, Purpose.REFUND, Purpose.COOPERATIVE_REFUND})
"""They save money that is at stake already."""

GROWTH = 4
"""How much more each attempt bids than the one before. From the default minimum to the urgent limit it takes
seven: about two minutes, in which the price of a spike is found even when no sample shows it."""

FULL_LIFE = 150
"""Blocks in which a transaction may name a block's hash (MAX_PROCESSING_AGE)."""

_LIVES = (60, 40, 40, 40, 40, 40, 40)
"""Blocks (of 0.4 s) that each attempt has. What lands at all lands within a few; the rest is for sending
again. After these the bid is at its limit: then the price is not what is wrong (the RPC may lag behind by
more than a short life), and an attempt gets all there is."""


def life(attempt: int) -> int:
    """Return the blocks for which attempt 0, 1, … should be valid; `FULL_LIFE` for as long as possible."""
    return _LIVES[attempt] if attempt < len(_LIVES) else FULL_LIFE


def market(samples: Sequence[int], attempt: int, purpose: Purpose) -> int:
    """Return what the market asks, from recent prices in micro-lamports per unit: three quarters of the
    blocks took less, nine of ten for what is urgent; after an attempt that failed, all of them."""
    if not samples:
        return 0
    ordered = sorted(samples)
    if attempt:
        return ordered[-1]
    tenths = 9 if purpose in URGENT else 7.5
    return ordered[min(int(len(ordered) * tenths / 10), len(ordered) - 1)]


def price(asked: int, level: FeeLevel, purpose: Purpose, fees: SolanaFees) -> int:
    """Return micro-lamports per compute unit for a market that asks for `asked`.

    Each attempt bids `GROWTH` times the one before, up to the limit, and there it stays: a transaction at the
    limit may land when the spike is over, one that is not sent may not.
    """
    cap = fees.urgent_maximum if purpose in URGENT else fees.maximum
    ordinary = max(asked, fees.minimum)
    if level.previous is not None and level.attempt:
        raised = level.previous["unit_price"] * GROWTH
    else:
        raised = fees.minimum * GROWTH ** min(level.attempt, len(_LIVES))
    return min(max(ordinary, raised), cap)


def fee_of(units: int, unit_price: int, signatures: int = 1) -> int:
    """Return lamports: the base fee and the priority fee, rounded up as the runtime does."""
    return signatures * SIGNATURE_FEE + -(-units * unit_price // MICRO)
