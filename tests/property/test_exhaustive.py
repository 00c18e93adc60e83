"""Every event in every state that any order of events can reach, in a small world: nothing is sampled.

One lock a leg, the dates that matter, and no promise whatever about the order of events: claims before locks,
finality of what was never seen, clocks that jump. States are explored breadth first until none is new.
"""

from __future__ import annotations

import msgspec
import pytest

from bridge.protocol import events as ev
from bridge.protocol.rules import required_effects
from bridge.protocol.timelocks import expiry_time, latest_claim_start, latest_counterlock
from bridge.protocol.transition import transition
from bridge.protocol.types import BlockHeight, BlockRef, LockId, Purpose, Swap, SwapState, TxId, UnixSeconds
from tests import instances
from tests.property.invariants import check_step, check_swap
from tests.unit.protocol.factory import (
    DESTINATION,
    DESTINATION_TERMS,
    PLAN,
    POLICY,
    PREIMAGE,
    SOURCE,
    SOURCE_TERMS,
    START,
    Player,
    block,
)

NO_NEWS = ev.Tick(instances.SOLANA, UnixSeconds(0), BlockHeight(0))


def chain_facts(leg, lock_id: str, terms, at: BlockRef) -> list[ev.Event]:  # type: ignore[no-untyped-def]
    return [
        ev.LockSeen(leg, LockId(lock_id), terms, TxId("lock"), at),
        ev.LockFinal(leg, LockId(lock_id)),
        ev.LockOrphaned(leg, LockId(lock_id)),
        ev.ClaimSeen(leg, LockId(lock_id), TxId("claim"), block(30), PREIMAGE),
        ev.ClaimFinal(leg, LockId(lock_id)),
        ev.ClaimOrphaned(leg, LockId(lock_id)),
        ev.RefundSeen(leg, LockId(lock_id), TxId("refund"), block(30)),
        ev.RefundFinal(leg, LockId(lock_id)),
        ev.RefundOrphaned(leg, LockId(lock_id)),
    ]


def source_ticks(*times: int) -> list[ev.Event]:
    return [ev.Tick(instances.ETHEREUM, UnixSeconds(time), BlockHeight(1)) for time in times]


def destination_ticks(*times: int) -> list[ev.Event]:
    return [ev.Tick(instances.ZION, UnixSeconds(time), BlockHeight(1)) for time in times]


PEOPLE: list[ev.Event] = [
    ev.SecretShared(PREIMAGE),
    ev.SecretRevealed(PREIMAGE),
    ev.TxFailed(DESTINATION, Purpose.LOCK, "void"),
    ev.OperatorCommand(ev.OperatorVerb.ABANDON, by="op"),
]
GOOD_LOCKS = [
    *chain_facts(SOURCE, "s", SOURCE_TERMS, block(10)),
    *chain_facts(DESTINATION, "d", DESTINATION_TERMS, block(20)),
]
LATE_LOCK = chain_facts(SOURCE, "s", SOURCE_TERMS, block(11, time=PLAN.lock_by + 1))[0]

WORLDS: dict[str, list[ev.Event]] = {
    "deadlines": [
        *GOOD_LOCKS,
        *PEOPLE[:-1],
        *source_ticks(latest_claim_start(POLICY, PLAN.source), PLAN.source),
        *destination_ticks(latest_counterlock(POLICY, PLAN.destination) + 1, PLAN.destination),
    ],
    "late and expired": [
        *GOOD_LOCKS,
        *PEOPLE[1:],
        LATE_LOCK,
        *source_ticks(expiry_time(POLICY) + 1),
    ],
}


@pytest.mark.parametrize("name", WORLDS)
def test_no_order_of_events_leads_to_a_swap_that_breaks_an_invariant(name: str) -> None:
    alphabet = WORLDS[name]
    start = Player().feed(ev.Accepted(), *source_ticks(START), *destination_ticks(START)).swap
    seen = {msgspec.msgpack.encode(start)}
    frontier: list[Swap] = [start]
    states: set[SwapState] = set()
    steps = 0
    while frontier:
        following: list[Swap] = []
        for swap in frontier:
            for event in alphabet:
                steps += 1
                after = transition(swap, event).swap
                if after is swap:
                    continue
                check_step(swap, after)
                key = msgspec.msgpack.encode(after)
                again = transition(after, event).swap
                assert again is after or again == after, f"7: {event} repeated changes the swap"
                if key in seen:
                    continue
                seen.add(key)
                check_swap(after)
                assert transition(after, NO_NEWS).effects == required_effects(after)
                states.add(after.state)
                following.append(after)
        frontier = following
    print(f"{name}: {len(seen)} swaps, {steps} steps")
    assert len(seen) > 1000
    assert {SwapState.COMPLETED, SwapState.REFUNDED, SwapState.INVALID_LOCK} <= states
