"""Sample values shared by unit tests of the store, the engine and the worker."""

from __future__ import annotations

import hashlib

from bridge.protocol.types import (
    Address,
    Amount,
    Asset,
    BlockHeight,
    BlockRef,
    ChainTiming,
    Leg,
    LegRole,
    LockTerms,
    Preimage,
    Swap,
    SwapId,
    SwapPolicy,
    SwapState,
    UnixSeconds,
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
    lock_by=UnixSeconds(START + 600),
)


def preimage(number: int = 1) -> Preimage:
    return Preimage(hashlib.sha256(b"preimage %d" % number).digest())


def block(height: int, branch: str = "a") -> BlockRef:
    return BlockRef(
        BlockHeight(height), f"{branch}{height}", f"{branch}{height - 1}", UnixSeconds(START + 2 * height)
    )


def swap(number: int = 1, state: SwapState = SwapState.AWAIT_LOCK) -> Swap:
    """An ETH → ZION swap; 2**70 wei, more than SQLite's integers hold."""
    hashlock = preimage(number).hashlock()
    source = LockTerms(
        instances.ETHEREUM,
        Address("0xc"),
        Address("user"),
        Address("bridge"),
        ETH,
        Amount(2**70),
        hashlock,
        UnixSeconds(START + 7200),
    )
    destination = LockTerms(
        instances.ZION,
        Address(""),
        Address("bridge"),
        Address("user"),
        ZION,
        Amount(5 * 10**8),
        hashlock,
        UnixSeconds(START + 3600),
    )
    return Swap(
        id=SwapId(f"swap{number}"),
        hashlock=hashlock,
        source=Leg(LegRole.SOURCE, source),
        destination=Leg(LegRole.DESTINATION, destination),
        policy=POLICY,
        state=state,
    )
