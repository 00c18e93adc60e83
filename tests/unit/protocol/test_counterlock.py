"""The destination's amount and deadline are decided as it is locked, within what the quote leaves open."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from bridge.protocol import events as ev
from bridge.protocol.counterlock import adopted, agreed_price, decide, is_open
from bridge.protocol.effects import SendLock
from bridge.protocol.legs import admits
from bridge.protocol.recheck import loss_ppb
from bridge.protocol.refusals import ProtocolError, Refusal, RefusalCode
from bridge.protocol.rules import may_counterlock, second_lock_is_out
from bridge.protocol.timelocks import check_deadlines, counterlock_slack, user_time
from bridge.protocol.transition import new_swap, transition
from bridge.protocol.types import (
    Abandonment,
    Address,
    Amount,
    CounterlockRange,
    LegState,
    LockId,
    LockTerms,
    PriceSeen,
    PriceTerms,
    Swap,
    SwapId,
    SwapState,
    TxId,
    UnixSeconds,
)
from tests import instances
from tests.unit.protocol.factory import (
    DESTINATION,
    DESTINATION_TERMS,
    PLAN,
    POLICY,
    SOURCE_TERMS,
    START,
    ZION_TIMING,
    Player,
    block,
)

PRICE = PriceTerms(4_000, 1, 10_000_000)
SLACK = counterlock_slack(ZION_TIMING)
QUOTED = DESTINATION_TERMS.amount
LEFT_OPEN = CounterlockRange(
    QUOTED, Amount(QUOTED * 98 // 100), Amount(QUOTED * 102 // 100), PLAN.destination, SLACK
)
SEEN = PriceSeen("2000", "0.5", START, 0, ("one",))


def sold(left_open: CounterlockRange | None = LEFT_OPEN, price: PriceTerms | None = PRICE) -> Player:
    policy = replace(POLICY, price=price, counterlock=left_open)
    return Player(new_swap(SwapId("s"), source=SOURCE_TERMS, destination=DESTINATION_TERMS, policy=policy))


def ready(left_open: CounterlockRange = LEFT_OPEN) -> Player:
    return sold(left_open).counterlocking()


def decided(swap: Swap, rate: Fraction | int = 4_000) -> LockTerms:
    terms = decide(swap, Fraction(rate))
    assert isinstance(terms, LockTerms), terms
    return terms


def fixing(terms: LockTerms) -> ev.PriceChecked:
    return ev.PriceChecked(SEEN, go=True, amount=terms.amount, deadline=terms.deadline)


def locked(player: Player, terms: LockTerms, lock_id: str = "d") -> Player:
    return player.feed(ev.LockSeen(DESTINATION, LockId(lock_id), terms, TxId("tx"), block(20)))


def test_the_deadline_leaves_the_user_the_window_and_not_the_time_of_the_slowest() -> None:
    terms = decided(ready().swap)
    assert terms.deadline == START + user_time(ZION_TIMING, POLICY.user_window) + SLACK
    assert terms.deadline < PLAN.destination
    later = ready().destination_time(START + 600).swap
    assert decided(later).deadline == min(PLAN.destination, terms.deadline + 600)


def test_a_newer_clock_than_the_swap_has_heard_counts() -> None:
    swap = ready().swap
    terms = decide(swap, Fraction(4_000), {instances.ZION: UnixSeconds(START + 100)})
    assert isinstance(terms, LockTerms)
    assert terms.deadline == decided(swap).deadline + 100


@given(now=st.integers(START, PLAN.destination + 100), slack=st.integers(0, 2_000))
def test_no_deadline_is_later_than_quoted_and_the_bridge_keeps_its_distance(now: int, slack: int) -> None:
    swap = ready(replace(LEFT_OPEN, slack=slack)).destination_time(now).swap
    if swap.abandoned is not None:
        return
    terms = decided(swap)
    assert terms.deadline <= PLAN.destination
    refusal = check_deadlines(
        POLICY, source_deadline=SOURCE_TERMS.deadline, destination_deadline=terms.deadline
    )
    assert refusal is None
    fixed = transition(swap, fixing(terms)).swap
    assert (fixed.terms_fixed, fixed.destination.terms) == (True, terms)
    assert may_counterlock(fixed) is None


@given(rate=st.fractions(min_value=3_000, max_value=5_000))
def test_the_amount_follows_the_price_within_the_range_and_is_called_off_beyond(rate: Fraction) -> None:
    terms = decide(ready().swap, rate)
    exact = QUOTED * rate / 4_000
    if isinstance(terms, Refusal):
        assert terms.code is RefusalCode.PRICE_MOVED
        assert terms.permanent
        assert exact < LEFT_OPEN.minimum or exact >= LEFT_OPEN.maximum + 1
    else:
        assert terms.amount == int(exact)
        assert LEFT_OPEN.minimum <= terms.amount <= LEFT_OPEN.maximum


def test_a_fixed_amount_is_held_to_the_price_within_the_tolerance() -> None:
    swap = ready(replace(LEFT_OPEN, minimum=QUOTED, maximum=QUOTED)).swap
    assert decided(swap, 3_970).amount == QUOTED
    assert decided(swap, 9_000).amount == QUOTED
    refused = decide(swap, Fraction(3_900))
    assert isinstance(refused, Refusal)
    assert refused.code is RefusalCode.PRICE_MOVED


def test_what_was_decided_stays() -> None:
    player = ready()
    first = decided(player.swap, 3_950)
    player.feed(fixing(first))
    assert not is_open(player.swap)
    assert player.swap.price_seen == SEEN
    player.feed(fixing(replace(first, amount=QUOTED)))
    assert player.swap.destination.terms == first
    assert SendLock() in player.required


@pytest.mark.parametrize(
    "change",
    [
        {"amount": Amount(LEFT_OPEN.minimum - 1)},
        {"amount": Amount(LEFT_OPEN.maximum + 1)},
        {"deadline": UnixSeconds(PLAN.destination + 1)},
    ],
)
def test_nothing_beyond_the_range_is_decided(change: dict[str, int]) -> None:
    player = ready()
    player.feed(fixing(replace(DESTINATION_TERMS, **change)))
    assert is_open(player.swap)
    assert player.swap.destination.terms == DESTINATION_TERMS


def test_nothing_is_decided_before_the_source_is_final() -> None:
    player = sold().accepted().source_locked()
    player.feed(fixing(DESTINATION_TERMS))
    assert is_open(player.swap)


def test_a_lock_that_is_sent_too_late_is_called_off_and_not_sent_with_less_time() -> None:
    player = ready()
    player.feed(fixing(decided(player.swap)))
    player.destination_time(START + SLACK)
    assert may_counterlock(player.swap) is None
    player.destination_time(START + SLACK + 1)
    assert player.swap.abandoned is Abandonment.TIMELOCK


def test_the_price_is_held_to_what_was_decided() -> None:
    player = ready()
    assert agreed_price(player.swap) == PRICE
    player.feed(fixing(decided(player.swap, 3_960)))
    held = agreed_price(player.swap)
    assert held is not None
    assert abs(loss_ppb(held, Fraction(3_960))) <= 1
    assert loss_ppb(PRICE, Fraction(3_960)) > 10_000_000


def test_a_lock_of_a_lost_decision_is_taken_for_ours() -> None:
    lost = decided(ready().swap, 3_950)
    player = locked(ready(), lost)
    assert player.swap.terms_fixed
    assert (player.swap.destination.state, player.swap.destination.terms) == (LegState.SEEN, lost)
    assert player.swap.destination.strays == ()


def test_a_lock_beyond_the_range_is_not() -> None:
    player = locked(ready(), replace(DESTINATION_TERMS, amount=Amount(LEFT_OPEN.minimum - 1)))
    assert not player.swap.terms_fixed
    assert player.swap.destination.state is LegState.INTENT
    assert len(player.swap.destination.strays) == 1


def test_a_second_lock_with_other_terms_keeps_the_swap_open() -> None:
    player = ready()
    first, other = decided(player.swap, 3_950), decided(player.swap, 4_010)
    player.feed(fixing(first))
    locked(locked(player, first), other, "e")
    assert second_lock_is_out(player.swap)
    assert adopted(player.swap, other).destination.terms != other
    done = player.destination_final().claimed(DESTINATION).claim_final(DESTINATION)
    assert done.swap.state is not SwapState.COMPLETED


def test_everything_else_must_be_as_expected() -> None:
    for change in ({"recipient": Address("zion1mallory")}, {"hashlock": bytes(32)}, {"lane": 3}):
        assert not admits(LEFT_OPEN, DESTINATION_TERMS, replace(DESTINATION_TERMS, **change))


@pytest.mark.parametrize(
    ("left_open", "price"),
    [
        (replace(LEFT_OPEN, quoted=Amount(QUOTED - 1)), PRICE),
        (replace(LEFT_OPEN, latest=UnixSeconds(PLAN.destination + 1)), PRICE),
        (replace(LEFT_OPEN, minimum=Amount(QUOTED + 1)), PRICE),
        (replace(LEFT_OPEN, minimum=Amount(0)), PRICE),
        (replace(LEFT_OPEN, slack=-1), PRICE),
        (LEFT_OPEN, None),
    ],
)
def test_a_range_that_does_not_fit_the_terms_is_not_sold(
    left_open: CounterlockRange, price: PriceTerms | None
) -> None:
    with pytest.raises(ProtocolError):
        sold(left_open, price)
