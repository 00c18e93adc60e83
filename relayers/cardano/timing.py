"""How fast and how sure Cardano is: the numbers that timelocks are computed from, with their sources."""

from __future__ import annotations

from bridge.protocol.types import ChainTiming
from relayers.cardano.settings import Network

PUBLIC = ChainTiming(
    # One slot in twenty has a leader (active slots coefficient 0.05), and a slot lasts a second.
    block_interval=20,
    # Ouroboros Praos settles exponentially: forks deeper than a few blocks have not been seen on mainnet,
    # exchanges wait for 15 blocks or more. Thirty are ten minutes. Rolling back is possible up to k = 2160.
    finality_depth=30,
    # Blocks come as a Poisson process: with probability 0.99 the first comes within 4.6 intervals (ln 100).
    # Three full blocks ahead of us are allowed for: the fee buys no precedence.
    inclusion_p99=240,
    # A block's time is its slot's; nodes refuse blocks from the future. A relayer may be off by as much.
    clock_skew=20,
)

DEVNET = ChainTiming(block_interval=1, finality_depth=3, inclusion_p99=5, clock_skew=2)
"""The local chain with one-second blocks. It rolls back only on request."""


def timing(network: Network, amount: int = 0) -> ChainTiming:  # noqa: ARG001 - the depth is the same for all
    """Return the timing of a network for `amount` (smallest units) at stake."""
    return DEVNET if network is Network.DEV else PUBLIC
