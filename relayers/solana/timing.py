"""How fast and how sure Solana is: the numbers that timelocks are computed from, with their sources."""

from __future__ import annotations

from bridge.protocol.types import ChainTiming

FINALIZED_DEPTH = 32
"""A block is rooted, in Solana's word finalized, with 31 votes stacked on it (MAX_LOCKOUT_HISTORY)."""

MAINNET = ChainTiming(
    # Slots take 400 ms (DEFAULT_MS_PER_SLOT); whole seconds, rounded up.
    block_interval=1,
    finality_depth=FINALIZED_DEPTH,
    # A transaction lives 150 blocks (MAX_PROCESSING_AGE), some 60 to 80 s; two of them and a new signature.
    inclusion_p99=180,
    # The cluster's clock is a stake-weighted median of the voters' and may run 25 % fast or 150 % slow
    # within an epoch (MAX_ALLOWABLE_DRIFT_PERCENTAGE); in practice it is off by a few seconds.
    clock_skew=60,
)

DEVNET = ChainTiming(block_interval=1, finality_depth=3, inclusion_p99=5, clock_skew=2)
"""The local chain. It rolls back only on request; three blocks make that testable."""
