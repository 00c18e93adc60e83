"""How fast and how sure Ethereum is: the numbers that timelocks are computed from, with their sources."""

from __future__ import annotations

from bridge.protocol.types import ChainTiming

MAINNET = ChainTiming(
    # SECONDS_PER_SLOT of the consensus specification; a missed slot only makes a block later.
    block_interval=12,
    # Casper FFG finalises a block once the two epochs (of 32 slots) after it are justified: 64 slots at
    # best, 95 for the first block of an epoch. 96 blocks are past that whatever the position.
    finality_depth=96,
    # Ten slots: EIP-1559 lets the base fee grow by 1/8 per full block and we bid twice the base fee, so a
    # bid stays valid through five full blocks; the rest is for missed slots and one replacement.
    inclusion_p99=120,
    # Block timestamps are slot times; two slots cover a relayer whose clock is off by as much.
    clock_skew=24,
)

FINALITY_AT_BEST = 64
"""Two epochs: no block is final sooner. Small amounts may do with it, see `value_per_block`."""

DEVNET = ChainTiming(block_interval=1, finality_depth=3, inclusion_p99=5, clock_skew=2)
"""anvil with one-second blocks. It reorganises only on request; three blocks make reorgs testable."""
