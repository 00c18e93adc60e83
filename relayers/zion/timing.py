"""How fast and how sure ZION is: the numbers that timelocks are computed from, with their sources."""

from __future__ import annotations

from bridge.protocol.types import ChainTiming
from chain.rules.params import BLOCK_TIME, FUTURE_LIMIT, NETWORKS, Network

INCLUSION_P99 = 10 * BLOCK_TIME
"""Blocks come as a Poisson process: with probability 0.99 the first comes within 4.6 intervals (ln 100).
Ten leave room for one replacement and for full blocks."""

CLOCK_SKEW = FUTURE_LIMIT
"""A block's time may run ahead of true time by the future limit. The median time past, which deadlines are
compared with, lags by about six blocks and cannot run ahead further than that."""


def timing(network: Network, amount: int = 0) -> ChainTiming:
    """Return the timing of a network for `amount` (smallest units) at stake.

    The finality depth is the chain's own advice (`chain.rules.params`): it grows with the amount, because
    what a rented majority can steal must stay below what the blocks cost it.
    """
    if network is Network.DEV:
        return ChainTiming(
            block_interval=1,
            finality_depth=NETWORKS[network].finality_depth(amount),
            inclusion_p99=5,
            clock_skew=15,
        )
    return ChainTiming(
        block_interval=BLOCK_TIME,
        finality_depth=NETWORKS[network].finality_depth(amount),
        inclusion_p99=INCLUSION_P99,
        clock_skew=CLOCK_SKEW,
    )
