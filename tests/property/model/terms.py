"""The terms of the one swap that a search is about."""

from __future__ import annotations

from fractions import Fraction

import msgspec

from bridge.protocol.timelocks import plan_deadlines
from bridge.protocol.types import (
    Address,
    Amount,
    Asset,
    ChainTiming,
    CounterlockRange,
    LegRole,
    LockTerms,
    PriceTerms,
    SwapPolicy,
    UnixSeconds,
    payback_terms,
)
from tests.property.model.world import CHAINS, DESTINATION, PAYBACK, PREIMAGE, SOURCE, STRAY, Bounds


class Terms:
    """What the swap of a search is about: its policy, both locks' terms, and every lock's deadline."""

    def __init__(self, bounds: Bounds) -> None:
        timing = ChainTiming(
            block_interval=1,
            finality_depth=bounds.depth,
            inclusion_p99=bounds.inclusion,
            clock_skew=bounds.skew,
        )
        plan = plan_deadlines(
            UnixSeconds(bounds.skew),
            UnixSeconds(0),
            source=timing,
            destination=timing,
            user_window=bounds.user_window,
            outage_budget=bounds.outage,
            lock_window=bounds.lock_window,
        )
        self.policy = SwapPolicy(timing, timing, bounds.user_window, bounds.outage, plan.lock_by)
        if bounds.floating:
            self.policy = msgspec.structs.replace(
                self.policy,
                price=PriceTerms(1, 1, 10_000_000),
                counterlock=CounterlockRange(
                    Amount(1000), Amount(990), Amount(1010), plan.destination, slack=bounds.inclusion
                ),
            )
        self.rate = 1 + Fraction(bounds.floating, 100)
        self.of = {
            SOURCE: _terms(SOURCE, "user", "bridge", plan.source),
            DESTINATION: _terms(DESTINATION, "bridge", "user", plan.destination),
        }
        self.stray = msgspec.structs.replace(self.of[SOURCE], amount=Amount(999))
        self.payback = payback_terms(self.of[SOURCE])
        self.deadlines = {
            "s": int(plan.source),
            PAYBACK: int(self.payback.deadline),
            STRAY: int(plan.source),
            "d": int(plan.destination),
        }


def _terms(role: LegRole, sender: str, recipient: str, deadline: UnixSeconds) -> LockTerms:
    chain = CHAINS[role]
    return LockTerms(
        chain,
        Address("htlc"),
        Address(sender),
        Address(recipient),
        Asset(chain, "COIN", 8),
        Amount(1000),
        PREIMAGE.hashlock(),
        deadline,
    )
