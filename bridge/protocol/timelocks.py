"""The timelock inequalities: every deadline of a swap is computed from the timing of its two chains.

All results and arguments are seconds or Unix seconds. A deadline is compared with its own chain's clock, so
`now_source` and `now_destination` are chain times, never a wall clock. With the terms of `SwapPolicy`:

    user's time     T_dest   ≥ now_dest + include_dest + final_dest + user_window + skew_dest            (1)
    bridge's time   T_source ≥ T_dest + detect_dest + claim_budget + halt_budget                         (2)
    claim_budget    = outage_budget + include_source + final_source + skew_source + skew_dest
    detect_dest     = include_dest + final_dest

`detect_dest` is the time after T_dest until the fate of the destination is certain: a claim sent at the last
moment is included, or our refund is final. `halt_budget` is for a chain that stands still: when it goes on,
the user may still claim the destination, and the source must still be ours to claim. See
docs/decisions/0041-timelocks.md.

A quote plans T_dest for the slowest user. Where it leaves T_dest open (`SwapPolicy.counterlock`), the bridge
chooses an earlier one as it locks: (1) is checked for that one, and (2) holds all the more.
"""

from __future__ import annotations

import msgspec

from bridge.protocol.refusals import ProtocolError, Refusal, RefusalCode
from bridge.protocol.types import Amount, ChainTiming, SwapPolicy, UnixSeconds


class Deadlines(msgspec.Struct, frozen=True):
    """The three dates of a swap, Unix seconds: `lock_by` and `source` on the source chain's clock,
    `destination` on the destination chain's."""

    lock_by: UnixSeconds
    destination: UnixSeconds
    source: UnixSeconds


def finality_depth(amount: Amount, *, base_depth: int, value_per_block: int, max_depth: int) -> int:
    """Return the confirmations (blocks) that an amount needs on a proof-of-work chain.

    Each `value_per_block` smallest units of the asset add one block to `base_depth`, up to `max_depth`:
    undoing the lock must cost an attacker more than it brings. Amounts beyond what `max_depth` pays for have
    to be refused by the limits of the quote (`max_secured_amount`). On chains with an explicit finality pass
    `max_depth=base_depth`.

    Raises:
        ProtocolError: for a negative amount or nonsensical parameters.
    """
    if amount < 0:
        raise ProtocolError("an amount cannot be negative")
    if base_depth < 1 or value_per_block < 1 or max_depth < base_depth:
        raise ProtocolError(
            "finality depth needs base_depth ≥ 1, value_per_block ≥ 1 and max_depth ≥ base_depth",
            hint="check the finality section of this chain in the configuration",
        )
    return min(max_depth, base_depth + amount // value_per_block)


def joint_depth(timing: ChainTiming, own: Amount, others: Amount) -> int:
    """Return the confirmations that a source lock of `own` needs while locks of `others` (smallest units,
    together) are in the same blocks or in later ones: one reorganisation undoes them all, so its reward is
    the sum."""
    depth = timing.finality_depth
    if timing.value_per_block:
        depth += others // timing.value_per_block
    total = own + others
    return max([depth, *(blocks for amount, blocks in timing.depth_steps if total >= amount)])


def max_secured_amount(*, base_depth: int, value_per_block: int, max_depth: int) -> Amount:
    """Return the largest amount whose depth `finality_depth` does not have to cut off at `max_depth`."""
    return Amount((max_depth - base_depth + 1) * value_per_block - 1)


def patience(block_interval: int, inclusion_p99: int) -> int:
    """Return after how many seconds without a new block a chain is taken to stand still: ten blocks, and no
    less than what 99 of 100 transactions need."""
    return max(10 * block_interval, inclusion_p99)


def user_time(destination: ChainTiming, user_window: int) -> int:
    """Return the least time from broadcasting the counter-lock to T_dest: inequality (1)."""
    return destination.inclusion_p99 + destination.finality + user_window + destination.clock_skew


RESTART_SECONDS = 30
"""What a relayer that died may take until it works again. What was decided cannot be decided again: without
this a restart just after the decision would call the swap off."""


def counterlock_slack(destination: ChainTiming) -> int:
    """Return for how many seconds after its deadline was chosen the destination's lock may still be sent: in
    that time 99 of 100 are in a block, though the relayer was started again in between."""
    return destination.inclusion_p99 + 2 * destination.block_interval + RESTART_SECONDS


def time_to_decide(destination: ChainTiming, user_window: int, slack: int) -> int:
    """Return the distance of T_dest from the moment at which it is chosen, just before the lock is signed:
    inequality (1) holds for `slack` seconds more."""
    return user_time(destination, user_window) + slack


def detect_time(destination: ChainTiming) -> int:
    """Return the time after T_dest until the destination's fate is certain: `detect_dest`."""
    return destination.inclusion_p99 + destination.finality


def claim_budget(policy: SwapPolicy) -> int:
    """Return how long before T_source the bridge starts to claim the source at the latest."""
    return (
        policy.outage_budget
        + policy.source.inclusion_p99
        + policy.source.finality
        + policy.source.clock_skew
        + policy.destination.clock_skew
    )


def deadline_gap(policy: SwapPolicy) -> int:
    """Return the least distance between T_dest and T_source: inequality (2)."""
    return detect_time(policy.destination) + claim_budget(policy) + policy.halt_budget


def latest_claim_start(policy: SwapPolicy, source_deadline: UnixSeconds) -> UnixSeconds:
    """Return the source chain time from which a known secret is used, whatever the destination does."""
    return UnixSeconds(source_deadline - claim_budget(policy))


def reveal_deadline(destination: ChainTiming, destination_deadline: UnixSeconds) -> UnixSeconds:
    """Return the last destination chain time at which a user may reveal the secret: a claim broadcast then
    is still included before T_dest, from when on the bridge may refund."""
    return UnixSeconds(destination_deadline - destination.inclusion_p99 - destination.clock_skew)


def may_reveal(
    destination: ChainTiming, destination_deadline: UnixSeconds, now_destination: UnixSeconds
) -> Refusal | None:
    """Tell the client whether it may still reveal its secret; the refusal is permanent."""
    last = reveal_deadline(destination, destination_deadline)
    if now_destination <= last:
        return None
    return Refusal(
        RefusalCode.TOO_LATE_TO_REVEAL,
        f"the destination chain's time is {now_destination}, the secret had to be revealed by {last}",
        hint="keep the secret to yourself; the source is given back, or refund it after its deadline",
        permanent=True,
    )


def expiry_time(policy: SwapPolicy) -> UnixSeconds:
    """Return the source chain time after which no lock within the window can appear any more."""
    return UnixSeconds(policy.lock_by + policy.source.finality + policy.source.clock_skew)


def latest_counterlock(policy: SwapPolicy, destination_deadline: UnixSeconds) -> UnixSeconds:
    """Return the last destination chain time at which inequality (1) holds."""
    return UnixSeconds(destination_deadline - user_time(policy.destination, policy.user_window))


def latest_counterlock_by_source(policy: SwapPolicy, source_deadline: UnixSeconds) -> UnixSeconds:
    """Return the last source chain time at which both inequalities can still hold for some destination time.

    The clocks may be apart by both skews, so that the skews of (2) are not counted a second time."""
    skews = policy.source.clock_skew + policy.destination.clock_skew
    needed = user_time(policy.destination, policy.user_window) + deadline_gap(policy) - skews
    return UnixSeconds(source_deadline - needed)


def clocks_agree_until(
    policy: SwapPolicy,
    *,
    source_deadline: UnixSeconds,
    destination_deadline: UnixSeconds,
    now_destination: UnixSeconds,
) -> UnixSeconds:
    """Return the last source chain time at which the source's clock is not too far ahead of the other one:
    what is left of both deadlines still keeps the distance of (2), with the skews used up by the clocks."""
    skews = policy.source.clock_skew + policy.destination.clock_skew
    left = destination_deadline - now_destination
    return UnixSeconds(source_deadline - left - deadline_gap(policy) + skews)


def plan_deadlines(
    now_source: UnixSeconds,
    now_destination: UnixSeconds,
    *,
    source: ChainTiming,
    destination: ChainTiming,
    user_window: int,
    outage_budget: int,
    lock_window: int,
    halt_budget: int = 0,
) -> Deadlines:
    """Return the earliest deadlines under which a lock made within `lock_window` can be answered and claimed.

    The source's finality is allowed to take twice its expected time plus one inclusion and the skew, for
    blocks of a proof-of-work chain come at random. Arguments are chain times and seconds.

    Raises:
        ProtocolError: if a duration is negative, a window is empty, or `user_window` is not longer than the
            destination's inclusion, which the user's own claim needs of it.
    """
    for timing in (source, destination):
        if timing.block_interval < 1 or timing.finality_depth < 1:
            raise ProtocolError("block_interval and finality_depth must be at least 1")
        if timing.inclusion_p99 < 0 or timing.clock_skew < 0:
            raise ProtocolError("inclusion_p99 and clock_skew cannot be negative")
    if lock_window < 1 or user_window < 1 or outage_budget < 0 or halt_budget < 0:
        raise ProtocolError(
            "lock_window and user_window must be at least 1 s, outage_budget and halt_budget at least 0"
        )

    if user_window <= destination.inclusion_p99:
        raise ProtocolError(
            f"a user_window of {user_window} s leaves the user no time: the claim alone may take "
            f"{destination.inclusion_p99} s",
            hint="set user_window well above inclusion_p99 of every destination chain",
        )

    lock_by = UnixSeconds(now_source + lock_window)
    policy = SwapPolicy(
        source=source,
        destination=destination,
        user_window=user_window,
        outage_budget=outage_budget,
        lock_by=lock_by,
        halt_budget=halt_budget,
    )
    reaction = 2 * source.finality + source.inclusion_p99 + source.clock_skew
    t_destination = now_destination + lock_window + reaction + user_time(destination, user_window)
    # Chain clocks may differ; what the two chains owe each other are durations, so a source clock that is
    # ahead has to wait longer.
    t_source = t_destination + deadline_gap(policy) + max(0, now_source - now_destination)
    return Deadlines(lock_by=lock_by, destination=UnixSeconds(t_destination), source=UnixSeconds(t_source))


def check_deadlines(
    policy: SwapPolicy, *, source_deadline: UnixSeconds, destination_deadline: UnixSeconds
) -> Refusal | None:
    """Check inequality (2), which holds or fails for good."""
    least = destination_deadline + deadline_gap(policy)
    if source_deadline >= least:
        return None
    return Refusal(
        RefusalCode.TIMELOCK_TOO_SHORT,
        f"the source deadline {source_deadline} has to be {least} or later for that destination deadline",
        permanent=True,
    )


def check_counterlock(
    policy: SwapPolicy,
    *,
    source_deadline: UnixSeconds,
    destination_deadline: UnixSeconds,
    now_source: UnixSeconds,
    now_destination: UnixSeconds,
) -> Refusal | None:
    """Check that the destination may be locked now: both inequalities at the newest chain times.

    Time only makes it worse, so a refusal is permanent, except one: the two clocks are further apart than
    their skews allow, which is a chain that halted or a source of data that lags, and may pass.
    """
    refusal = check_deadlines(
        policy, source_deadline=source_deadline, destination_deadline=destination_deadline
    )
    if refusal is not None:
        return refusal
    late = max(
        now_destination - latest_counterlock(policy, destination_deadline),
        now_source - latest_counterlock_by_source(policy, source_deadline),
    )
    if late > 0:
        return Refusal(
            RefusalCode.TIMELOCK_TOO_SHORT,
            f"too little time is left before the deadlines (by {late} s)",
            permanent=True,
        )
    agree_until = clocks_agree_until(
        policy,
        source_deadline=source_deadline,
        destination_deadline=destination_deadline,
        now_destination=now_destination,
    )
    if now_source > agree_until:
        return Refusal(
            RefusalCode.CLOCKS_APART,
            f"the chains' clocks differ by {now_source - now_destination} s, more than their skews allow",
            hint="wait for the destination chain's next block, or look whether its data source lags",
        )
    return None
