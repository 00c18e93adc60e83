"""Sample values shared by unit tests of the store, the engine and the worker."""

from __future__ import annotations

import hashlib

from bridge.protocol.types import (
    Asset,
    BlockRef,
    ChainTiming,
    Leg,
    LegRole,
    LockTerms,
    Preimage,
    Swap,
    SwapPolicy,
    SwapState,
)
from tests import instances

ETH = Asset(instances.ETHEREUM, "ETH", 18)
ZION = Asset(instances.ZION, "ZION", 8)
START = 1_800_000_000
POLICY = SwapPolicy(
    source=ChainTiming(block_interval=2, finality_depth=3, inclusion_p99=30, clock_skew=10),
    destination=ChainTiming(block_interval=2, finality_depth=3, inclusion_p99=30, clock_skew=10),
    user_window=600,
    outage_budget=600,
    lock_by=START + 600,
)


def preimage(number: int = 1) -> Preimage:
    return Preimage(hashlib.sha256(b"preimage %d" % number).digest())


def block(height: int, branch: str = "a") -> BlockRef:
    return BlockRef(height, f"{branch}{height}", f"{branch}{height - 1}", START + 2 * height)


def swap(number: int = 1, state: SwapState = SwapState.AWAIT_LOCK) -> Swap:
    """An ETH → ZION swap; 2**70 wei, more than SQLite's integers hold."""
    hashlock = preimage(number).hashlock()
    source = LockTerms(instances.ETHEREUM, "0xc", "user", "bridge", ETH, 2**70, hashlock, START + 7200)
    destination = LockTerms(instances.ZION, "", "bridge", "user", ZION, 5 * 10**8, hashlock, START + 3600)
    return Swap(
        id=f"swap{number}",
        hashlock=hashlock,
        source=Leg(LegRole.SOURCE, source),
        destination=Leg(LegRole.DESTINATION, destination),
        policy=POLICY,
        state=state,
    )
