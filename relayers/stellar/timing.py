"""How fast and how sure Stellar is: the numbers that timelocks are computed from, with their sources."""

from __future__ import annotations

from bridge.protocol.types import ChainTiming

MAINNET = ChainTiming(
    # Ledgers close every 5–6 seconds (SCP nomination and ballot timeouts); six to be on the safe side.
    block_interval=6,
    # SCP: a closed ledger is final, there are no reorganisations.
    finality_depth=1,
    # Ten ledgers: one attempt waits for its ledger and, under surge pricing, for two fee bumps.
    inclusion_p99=60,
    # A ledger's close time may run ahead of true time by at most 60 s (MAX_TIME_SLIP_SECONDS of
    # stellar-core); in practice validators reject what is off by more than their own clocks.
    clock_skew=60,
)

DEVNET = ChainTiming(block_interval=1, finality_depth=1, inclusion_p99=5, clock_skew=2)
"""The emulator with one-second ledgers; like the real network it is final at once."""
