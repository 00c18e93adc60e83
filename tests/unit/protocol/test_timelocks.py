"""The dates of a swap keep their order and their distances, whatever the chains' timing."""

from __future__ import annotations

import hypothesis.strategies as st
import msgspec
import pytest
from hypothesis import given

from bridge.protocol import timelocks
from bridge.protocol.refusals import ProtocolError, RefusalCode
from bridge.protocol.types import Amount, ChainTiming, SwapPolicy, UnixSeconds

TIMING = st.builds(
    ChainTiming,
    block_interval=st.integers(1, 1200),
    finality_depth=st.integers(1, 200),
    inclusion_p99=st.integers(0, 7200),
    clock_skew=st.integers(0, 7200),
)
CLOCK = st.integers(1_600_000_000, 2_000_000_000)


@st.composite
def plans(draw: st.DrawFn) -> tuple[int, int, SwapPolicy, timelocks.Deadlines]:
    source, destination = draw(TIMING), draw(TIMING)
    user_window = destination.inclusion_p99 + draw(st.integers(1, 86400))
    outage = draw(st.integers(0, 86400))
    halt = draw(st.integers(0, 86400))
    now_source = draw(CLOCK)
    skews = source.clock_skew + destination.clock_skew
    now_destination = now_source + draw(st.integers(-skews, skews))
    plan = timelocks.plan_deadlines(
        UnixSeconds(now_source),
        UnixSeconds(now_destination),
        source=source,
        destination=destination,
        user_window=user_window,
        outage_budget=outage,
        lock_window=draw(st.integers(1, 7200)),
        halt_budget=halt,
    )
    policy = SwapPolicy(source, destination, user_window, outage, plan.lock_by, halt)
    return now_source, now_destination, policy, plan


def check(policy: SwapPolicy, plan: timelocks.Deadlines, now_source: int, now_destination: int):  # type: ignore[no-untyped-def]
    return timelocks.check_counterlock(
        policy,
        source_deadline=plan.source,
        destination_deadline=plan.destination,
        now_source=UnixSeconds(now_source),
        now_destination=UnixSeconds(now_destination),
    )


@given(plans())
def test_the_dates_of_a_plan_follow_one_another(drawn) -> None:  # type: ignore[no-untyped-def]
    now_source, now_destination, policy, plan = drawn
    assert now_source < plan.lock_by < timelocks.expiry_time(policy)
    assert now_destination <= timelocks.latest_counterlock(policy, plan.destination)
    assert timelocks.latest_counterlock(policy, plan.destination) < timelocks.reveal_deadline(
        policy.destination, plan.destination
    )
    assert timelocks.reveal_deadline(policy.destination, plan.destination) <= plan.destination
    assert plan.destination < timelocks.latest_claim_start(policy, plan.source) <= plan.source


@given(plans())
def test_both_inequalities_of_the_protocol_hold_when_planned(drawn) -> None:  # type: ignore[no-untyped-def]
    _, now, policy, plan = drawn
    src, dst = policy.source, policy.destination
    assert plan.destination >= (
        now
        + dst.inclusion_p99
        + dst.block_interval * dst.finality_depth
        + policy.user_window
        + dst.clock_skew
    )
    assert plan.source >= (
        plan.destination
        + timelocks.detect_time(dst)
        + policy.outage_budget
        + src.inclusion_p99
        + src.block_interval * src.finality_depth
        + src.clock_skew
        + dst.clock_skew
        + policy.halt_budget
    )


@given(plans())
def test_a_lock_in_the_last_second_that_becomes_final_in_twice_the_usual_time_is_answered(drawn) -> None:  # type: ignore[no-untyped-def]
    now_source, now_destination, policy, plan = drawn
    passed = (plan.lock_by - now_source) + 2 * policy.source.finality
    assert check(policy, plan, now_source + passed, now_destination + passed) is None


@given(plans(), st.integers(0, 10**6), st.integers(0, 10**6))
def test_time_never_turns_a_permanent_refusal_into_a_permission(drawn, later: int, much_later: int) -> None:  # type: ignore[no-untyped-def]
    now_source, now_destination, policy, plan = drawn
    first = check(policy, plan, now_source + later, now_destination + later)
    if first is not None and first.permanent:
        for more_source, more_destination in ((much_later, much_later), (much_later, 0), (0, much_later)):
            second = check(
                policy, plan, now_source + later + more_source, now_destination + later + more_destination
            )
            assert second is not None
            assert second.permanent


@given(plans(), st.integers(1, 10**6), st.integers(1, 10**6))
def test_a_permitted_counterlock_leaves_the_user_and_the_bridge_their_time(drawn, a: int, b: int) -> None:  # type: ignore[no-untyped-def]
    now_source, now_destination, policy, plan = drawn
    now_source, now_destination = now_source + a, now_destination + b
    if check(policy, plan, now_source, now_destination) is None:
        last_reveal = timelocks.reveal_deadline(policy.destination, plan.destination)
        lock_final = now_destination + policy.destination.inclusion_p99 + policy.destination.finality
        assert last_reveal - lock_final >= policy.user_window - policy.destination.inclusion_p99 > 0
        # Even if the destination is claimed at its very deadline, the whole claim budget is left after the
        # fate of the destination is certain, up to the clocks' skew.
        fate = (plan.destination - now_destination) + timelocks.detect_time(policy.destination)
        skews = policy.source.clock_skew + policy.destination.clock_skew
        assert plan.source - (now_source + fate) >= timelocks.claim_budget(policy) - skews


@given(plans(), st.integers(1, 10**6))
def test_a_source_clock_that_runs_ahead_is_noticed(drawn, ahead: int) -> None:  # type: ignore[no-untyped-def]
    now_source, now_destination, policy, plan = drawn
    until = timelocks.clocks_agree_until(
        policy,
        source_deadline=plan.source,
        destination_deadline=plan.destination,
        now_destination=now_destination,
    )
    assert now_source <= until
    refusal = check(policy, plan, until + ahead, now_destination)
    assert refusal is not None
    assert refusal.code in {RefusalCode.CLOCKS_APART, RefusalCode.TIMELOCK_TOO_SHORT}


@given(TIMING, CLOCK)
def test_the_client_refuses_to_reveal_a_second_too_late(timing: ChainTiming, deadline: int) -> None:
    last = timelocks.reveal_deadline(timing, UnixSeconds(deadline))
    assert last == deadline - timing.inclusion_p99 - timing.clock_skew
    assert timelocks.may_reveal(timing, UnixSeconds(deadline), last) is None
    refusal = timelocks.may_reveal(timing, UnixSeconds(deadline), UnixSeconds(last + 1))
    assert refusal is not None
    assert refusal.permanent


@given(
    st.integers(0, 10**12),
    st.integers(0, 10**12),
    st.integers(1, 100),
    st.integers(1, 10**9),
    st.integers(0, 500),
)
def test_finality_never_gets_shallower_with_the_amount(
    one: int, other: int, base: int, value: int, extra: int
) -> None:
    params = {"base_depth": base, "value_per_block": value, "max_depth": base + extra}
    small, large = sorted((one, other))
    shallow = timelocks.finality_depth(Amount(small), **params)
    deep = timelocks.finality_depth(Amount(large), **params)
    assert base <= shallow <= deep <= base + extra


@given(st.integers(1, 100), st.integers(1, 10**9), st.integers(0, 500))
def test_the_largest_secured_amount_is_the_last_that_the_cap_does_not_cut(
    base: int, value: int, extra: int
) -> None:
    params = {"base_depth": base, "value_per_block": value, "max_depth": base + extra}
    most = timelocks.max_secured_amount(**params)
    assert base + most // value == timelocks.finality_depth(most, **params)
    assert base + (most + 1) // value > base + extra


def test_nonsense_is_refused_with_a_hint() -> None:
    with pytest.raises(ProtocolError, match="value_per_block"):
        timelocks.finality_depth(Amount(1), base_depth=1, value_per_block=0, max_depth=1)
    with pytest.raises(ProtocolError, match="negative"):
        timelocks.finality_depth(Amount(-1), base_depth=1, value_per_block=1, max_depth=1)
    timing = ChainTiming(1, 1, 0, 0)
    with pytest.raises(ProtocolError, match="lock_window"):
        timelocks.plan_deadlines(
            UnixSeconds(0),
            UnixSeconds(0),
            source=timing,
            destination=timing,
            user_window=1,
            outage_budget=0,
            lock_window=0,
        )
    with pytest.raises(ProtocolError, match="no time"):
        timelocks.plan_deadlines(
            UnixSeconds(0),
            UnixSeconds(0),
            source=timing,
            destination=ChainTiming(1, 1, 30, 0),
            user_window=30,
            outage_budget=0,
            lock_window=1,
        )
    with pytest.raises(ProtocolError, match="block_interval"):
        timelocks.plan_deadlines(
            UnixSeconds(0),
            UnixSeconds(0),
            source=ChainTiming(0, 1, 0, 0),
            destination=timing,
            user_window=1,
            outage_budget=0,
            lock_window=1,
        )
    with pytest.raises(ProtocolError, match="skew"):
        timelocks.plan_deadlines(
            UnixSeconds(0),
            UnixSeconds(0),
            source=timing,
            destination=ChainTiming(1, 1, 0, -1),
            user_window=1,
            outage_budget=0,
            lock_window=1,
        )


def test_swaps_at_stake_together_need_the_depth_of_their_sum() -> None:
    """Swaps of 999 coins each wait for 10 blocks alone; a hundred fall together in one reorganisation."""
    alone = ChainTiming(
        60, 10, 600, 600, value_per_block=1_000, depth_steps=((0, 10), (1_000, 30), (100_000, 90))
    )
    assert timelocks.joint_depth(alone, Amount(999), Amount(0)) == 10
    assert timelocks.joint_depth(alone, Amount(999), Amount(1)) == 30
    assert timelocks.joint_depth(alone, Amount(999), Amount(99 * 999)) == 108
    steps = msgspec.structs.replace(alone, value_per_block=0)
    assert timelocks.joint_depth(steps, Amount(999), Amount(99 * 999)) == 30
    assert timelocks.joint_depth(steps, Amount(999), Amount(999 * 999)) == 90
    plain = ChainTiming(12, 64, 120, 30)
    assert timelocks.joint_depth(plain, Amount(10**30), Amount(10**30)) == 64
