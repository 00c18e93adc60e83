"""What to bid on ZION: records have a fixed size, so a fee is simply an amount. Pure."""

from __future__ import annotations

from bridge.chains.errors import TooDearError
from bridge.chains.port import FeeLevel
from bridge.protocol.types import Purpose
from chain.rules.params import MIN_FEE
from relayers.zion.settings import ZionSettings

BUMP_DIVISOR = 8
"""A replacement pays an eighth more, and at least `MIN_FEE` more: the pool asks for a tenth."""

URGENT = frozenset({Purpose.CLAIM, Purpose.REFUND, Purpose.COOPERATIVE_REFUND})
"""What saves money already at stake may bid up to the urgent cap; a new lock can wait."""


def bid(next_block: int, level: FeeLevel, purpose: Purpose, settings: ZionSettings) -> int:
    """Return the fee to offer, `next_block` being what suffices for the next block now.

    Later attempts offer multiples of it, a replacement also the pool's bump over `level.previous`. Raises
    `TooDearError` when that is over the cap: it passes when fees fall, and what waits stays valid.
    """
    fee = max(next_block, MIN_FEE) * (1 + level.attempt)
    cap = settings.urgent_max_fee if purpose in URGENT else settings.max_fee
    floor = 0
    if level.previous is not None:
        previous = level.previous["fee"]
        floor = previous + max(MIN_FEE, -(-previous // BUMP_DIVISOR))
    needed = max(floor, next_block)
    if needed > cap:
        raise TooDearError(
            f"a {purpose} needs a fee of {needed} now, over the cap of {cap}",
            "wait for lower fees or raise the fee cap in the configuration",
        )
    return min(max(fee, floor), cap)
