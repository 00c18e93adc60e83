"""Every event in every state that any order of events can reach, in a small world: nothing is sampled.

One lock a leg, the dates that matter, and no promise whatever about the order of events: claims before locks,
finality of what was never seen, clocks that jump. States are explored breadth first until none is new.
"""

from __future__ import annotations

import msgspec
import pytest

from bridge.protocol import events as ev
from bridge.protocol.rules import required_effects
from bridge.protocol.timelocks import expiry_time, latest_claim_start, latest_counterlock, user_time
from bridge.protocol.transition import new_swap, transition
from bridge.protocol.types import (
    Amount,
    BlockHeight,
    BlockRef,
    CounterlockRange,
    LockId,
    PriceSeen,
    PriceTerms,
    Purpose,
    Swap,
    SwapId,
    SwapState,
    TxId,
    UnixSeconds,
)
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
        ev.RefundSeen(leg, LockId(lock_id), TxId("refund"), block(30, time=terms.deadline)),
        ev.RefundFinal(leg, LockId(lock_id)),
        ev.RefundOrphaned(leg, LockId(lock_id)),
    ]


def doubtful_facts(leg, lock_id: str, terms) -> list[ev.Event]:  # type: ignore[no-untyped-def]
    """What proves nothing, in one block, and then a refund that comes too early to be one."""
    return [
        ev.SpendSeen(leg, LockId(lock_id), TxId("spend"), block(30)),
        ev.SpendOrphaned(leg, LockId(lock_id), block(30).id),
        ev.RefundSeen(leg, LockId(lock_id), TxId("early"), block(31, time=terms.deadline - 1)),
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
DOUBTFUL = [
    *doubtful_facts(SOURCE, "s", SOURCE_TERMS),
    *doubtful_facts(DESTINATION, "d", DESTINATION_TERMS),
]
SEEN_PRICE = PriceSeen("2000", "0.5", 1_000, 5)
LATE_LOCK = chain_facts(SOURCE, "s", SOURCE_TERMS, block(11, time=PLAN.lock_by + 1))[0]

EARLIEST = START + user_time(POLICY.destination, POLICY.user_window) + 240
LEFT_OPEN = CounterlockRange(
    DESTINATION_TERMS.amount, Amount(495_000_000), Amount(505_000_000), PLAN.destination, slack=240
)
DECIDED = {
    "low": msgspec.structs.replace(
        DESTINATION_TERMS, amount=LEFT_OPEN.minimum, deadline=UnixSeconds(EARLIEST)
    ),
    "high": msgspec.structs.replace(DESTINATION_TERMS, amount=LEFT_OPEN.maximum),
    "too little": msgspec.structs.replace(DESTINATION_TERMS, amount=Amount(LEFT_OPEN.minimum - 1)),
}
DECISIONS: list[ev.Event] = [
    *(
        ev.PriceChecked(SEEN_PRICE, go=True, amount=terms.amount, deadline=terms.deadline)
        for terms in DECIDED.values()
    ),
    ev.PriceChecked(
        SEEN_PRICE, go=True, amount=LEFT_OPEN.minimum, deadline=UnixSeconds(PLAN.destination + 1)
    ),
    ev.PriceChecked(SEEN_PRICE, go=False),
]

WORLDS: dict[str, list[ev.Event]] = {
    "deadlines": [
        *GOOD_LOCKS,
        *PEOPLE[:-1],
        *source_ticks(latest_claim_start(POLICY, PLAN.source), PLAN.source),
        *destination_ticks(latest_counterlock(POLICY, PLAN.destination) + 1, PLAN.destination),
    ],
    "what nobody can prove": [
        *(fact for fact in GOOD_LOCKS if not isinstance(fact, ev.LockOrphaned)),
        *DOUBTFUL,
        *PEOPLE[1:-1],
        *source_ticks(PLAN.source),
        *destination_ticks(PLAN.destination),
    ],
    "the price moves": [
        *GOOD_LOCKS,
        *PEOPLE[:-1],
        ev.PriceChecked(SEEN_PRICE, go=True),
        ev.PriceChecked(PriceSeen("2000", "0.6", 1_010, 200_000_000), go=False),
        *source_ticks(PLAN.source),
    ],
    "the terms are decided at the lock": [
        *(
            fact
            for fact in chain_facts(SOURCE, "s", SOURCE_TERMS, block(10))
            if isinstance(fact, ev.LockSeen | ev.LockFinal | ev.ClaimSeen | ev.RefundFinal)
        ),
        ev.RefundSeen(SOURCE, LockId("s"), TxId("refund"), block(29)),
        *DECISIONS,
        *(
            ev.LockSeen(DESTINATION, LockId(name), DECIDED[name], TxId(name), block(20))
            for name in ("low", "high")
        ),
        ev.ClaimSeen(DESTINATION, LockId("low"), TxId("claim"), block(30), PREIMAGE),
        ev.ClaimFinal(SOURCE, LockId("s")),
        ev.ClaimFinal(DESTINATION, LockId("low")),
        ev.RefundSeen(DESTINATION, LockId("high"), TxId("refund"), block(31, time=PLAN.destination)),
        ev.RefundFinal(DESTINATION, LockId("high")),
        *PEOPLE[2:3],
        *destination_ticks(PLAN.destination),
    ],
    "late and expired": [
        *GOOD_LOCKS,
        *PEOPLE[1:],
        LATE_LOCK,
        *source_ticks(expiry_time(POLICY) + 1),
    ],
}


class Exploration:
    """All swaps found so far, each with the event that first led to it."""

    def __init__(self, start: Swap) -> None:
        self.origin: dict[bytes, tuple[bytes, ev.Event] | None] = {msgspec.msgpack.encode(start): None}
        self.states: set[SwapState] = set()
        self.ended: set[int] = set()
        """The destination's amounts of the swaps that ended."""
        self.steps = 0

    def play(self, swap: Swap, event: ev.Event) -> Swap | None:
        """Let an event happen; returns the swap that it leads to if none has led there before. Whatever is
        wrong with it fails with the path of events from the start."""
        self.steps += 1
        try:
            after = transition(swap, event).swap
            if after is swap:
                return None
            check_step(swap, after)
            again = transition(after, event).swap
            assert again is after or again == after, "7: the event repeated changes the swap"
            key = msgspec.msgpack.encode(after)
            if key in self.origin:
                return None
            check_swap(after)
            assert transition(after, NO_NEWS).effects == required_effects(after)
        except Exception as error:
            before = msgspec.msgpack.encode(swap)
            path = "\n".join(f"  {number}. {step}" for number, step in enumerate(self.path(before, event), 1))
            raise AssertionError(f"{error}\nafter these events:\n{path}") from error
        self.origin[key] = msgspec.msgpack.encode(swap), event
        self.states.add(after.state)
        if after.state in {SwapState.COMPLETED, SwapState.REFUNDED}:
            self.ended.add(after.destination.terms.amount)
        return after

    def path(self, key: bytes, last: ev.Event) -> list[ev.Event]:
        """Return the shortest order of events to a swap, and one more."""
        events = [last]
        while (origin := self.origin[key]) is not None:
            key, event = origin
            events.append(event)
        return events[::-1]


def begin(name: str = "") -> Swap:
    policy = POLICY
    if name == "the terms are decided at the lock":
        price = PriceTerms(4_000, 1, 10_000_000)
        policy = msgspec.structs.replace(POLICY, price=price, counterlock=LEFT_OPEN)
    swap = new_swap(SwapId("swap-1"), source=SOURCE_TERMS, destination=DESTINATION_TERMS, policy=policy)
    return Player(swap).feed(ev.Accepted(), *source_ticks(START), *destination_ticks(START)).swap


LARGE = {"deadlines", "the price moves", "what nobody can prove", "late and expired"}
"""Worlds that only the long tests search. `test_protocol_model` looks at the same rules each time."""


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=pytest.mark.long) if name in LARGE else name for name in WORLDS],
)
def test_no_order_of_events_leads_to_a_swap_that_breaks_an_invariant(name: str) -> None:
    frontier = [begin(name)]
    exploration = Exploration(frontier[0])
    while frontier:
        frontier = [
            after
            for swap in frontier
            for event in WORLDS[name]
            if (after := exploration.play(swap, event)) is not None
        ]
    print(f"{name}: {len(exploration.origin)} swaps, {exploration.steps} steps")
    assert len(exploration.origin) > 1000
    odd = SwapState.ATTENTION if name == "what nobody can prove" else SwapState.INVALID_LOCK
    if name == "the terms are decided at the lock":
        odd = SwapState.COUNTERLOCKING
        ended = exploration.ended
        assert {LEFT_OPEN.quoted, LEFT_OPEN.minimum, LEFT_OPEN.maximum} == ended
    assert {SwapState.COMPLETED, SwapState.REFUNDED, odd} <= exploration.states


def test_a_failure_prints_the_path_of_events_to_it(monkeypatch: pytest.MonkeyPatch) -> None:
    first, second, third = GOOD_LOCKS[0], GOOD_LOCKS[1], ev.SecretRevealed(PREIMAGE)
    exploration = Exploration(begin())
    swap = exploration.play(begin(), first)
    assert swap is not None
    swap = exploration.play(swap, second)
    assert swap is not None

    def broken(after: Swap) -> None:
        raise AssertionError("an invariant")

    monkeypatch.setattr("tests.property.test_exhaustive.check_swap", broken)
    with pytest.raises(AssertionError) as failure:
        exploration.play(swap, third)
    assert str(failure.value).splitlines() == [
        "an invariant",
        "after these events:",
        f"  1. {first}",
        f"  2. {second}",
        f"  3. {third}",
    ]
