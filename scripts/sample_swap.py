"""A sample swap for benchmarks and drawings: ETH on Ethereum for ZION, on fixed dates."""

from __future__ import annotations

from bridge.protocol.timelocks import plan_deadlines
from bridge.protocol.transition import new_swap
from bridge.protocol.types import (
    Address,
    Amount,
    Asset,
    BlockHeight,
    BlockRef,
    ChainTiming,
    LockTerms,
    Preimage,
    Swap,
    SwapId,
    SwapPolicy,
    UnixSeconds,
)
from tests import instances

START = 1_700_000_000
PREIMAGE = Preimage(bytes(range(32)))


def sample_swap() -> Swap:
    """Return a quoted swap."""
    ethereum = ChainTiming(block_interval=12, finality_depth=64, inclusion_p99=120, clock_skew=30)
    zion = ChainTiming(block_interval=60, finality_depth=20, inclusion_p99=300, clock_skew=600)
    user_window, outage_budget = 3600, 7200
    plan = plan_deadlines(
        UnixSeconds(START),
        UnixSeconds(START),
        source=ethereum,
        destination=zion,
        user_window=user_window,
        outage_budget=outage_budget,
        lock_window=900,
    )
    policy = SwapPolicy(ethereum, zion, user_window, outage_budget, plan.lock_by)
    hashlock = PREIMAGE.hashlock()
    return new_swap(
        SwapId("01890a5d-ac96-774b-bcce-b302099a8057"),
        source=LockTerms(
            chain=instances.ETHEREUM,
            contract=Address("0x5FbDB2315678afecb367f032d93F642f64180aa3"),
            sender=Address("0x70997970C51812dc3A010C7d01b50e0d17dc79C8"),
            recipient=Address("0x3C44CdDdB6a900fa2b585dd299e03d12FA4293BC"),
            asset=Asset(instances.ETHEREUM, "ETH", 18),
            amount=Amount(10**17),
            hashlock=hashlock,
            deadline=plan.source,
        ),
        destination=LockTerms(
            chain=instances.ZION,
            contract=Address(""),
            sender=Address("zion1bridge"),
            recipient=Address("zion1user"),
            asset=Asset(instances.ZION, "ZION", 8),
            amount=Amount(249 * 10**8),
            hashlock=hashlock,
            deadline=plan.destination,
        ),
        policy=policy,
    )


def block(height: int) -> BlockRef:
    """Return a block soon after the start."""
    return BlockRef(BlockHeight(height), f"{height:064x}", f"{height - 1:064x}", UnixSeconds(START + height))
