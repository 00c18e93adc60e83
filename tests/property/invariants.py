"""What must hold of any swap by itself, whatever led to it, and of any step from one swap to the next."""

from __future__ import annotations

import msgspec

from bridge.protocol.effects import (
    CancelLock,
    Effect,
    ReleaseInventory,
    SendClaim,
    SendCooperativeRefund,
    SendLock,
    SendRefund,
)
from bridge.protocol.rules import required_effects
from bridge.protocol.status import is_terminal
from bridge.protocol.types import LegRole, LegState, Swap

SOURCE, DESTINATION = LegRole.SOURCE, LegRole.DESTINATION
OPEN = {LegState.SEEN, LegState.FINAL}
CLAIMED = {LegState.CLAIM_SEEN, LegState.CLAIM_FINAL}
UNPROVEN = LegState.SPENT_UNKNOWN
ENDED = {LegState.NONE, LegState.CLAIM_FINAL, LegState.REFUND_FINAL}

CONTRADICTIONS: tuple[tuple[Effect, Effect], ...] = (
    (SendLock(), CancelLock()),
    (SendLock(), SendCooperativeRefund()),
    (SendLock(), SendRefund(SOURCE)),
    (SendClaim(SOURCE), CancelLock()),
    (SendClaim(SOURCE), SendCooperativeRefund()),
    (SendClaim(SOURCE), SendRefund(SOURCE)),
    (SendClaim(SOURCE), SendRefund(DESTINATION)),
    (SendClaim(DESTINATION), SendRefund(DESTINATION)),
)


def check_swap(swap: Swap) -> None:
    """The invariants that a single swap shows, by their numbers in docs/swap-protocol.md."""
    required = required_effects(swap)
    source, destination = swap.source.state, swap.destination.state
    gives_back = SendCooperativeRefund() in required or SendRefund(SOURCE) in required

    for first, second in CONTRADICTIONS:
        assert not (first in required and second in required), (first, second)
    keys = [(type(effect), getattr(effect, "leg", None)) for effect in required]
    assert not any(isinstance(e, SendRefund) and e.leg is LegRole.PAYBACK for e in required), "9: taken back"
    assert len(keys) == len(set(keys)), "2: two effects of one kind for one leg"

    if SendLock(LegRole.PAYBACK) in required:
        assert source is LegState.CLAIM_FINAL, "9: paid back before the source is ours"
        assert destination in {LegState.NONE, LegState.REFUND_FINAL}, "9: paid back beside the destination"
        assert SendLock() not in required, "9: paid twice"
        assert swap.payback is not None, "9: paid back and not remembered"
    if SendLock() in required:
        assert swap.source.lock_final, "1: counter-lock before finality"
        assert source is LegState.FINAL or source in CLAIMED, "1: counter-lock without a source"
        assert destination is LegState.INTENT, "1: a counter-lock is asked for but not remembered"
        assert swap.abandoned is None, "1: counter-lock of an abandoned swap"
        _check_times_of_counterlock(swap)
        assert not swap.cooperative_refund, "1: counter-lock though the source is being given back"
    if swap.secret_known and source in OPEN:
        if destination in CLAIMED or destination is UNPROVEN:
            assert SendClaim(SOURCE) in required, "3: the destination was taken, the source is not claimed"
        if swap.secret_public and destination in OPEN and not swap.refund_begun:
            assert SendClaim(SOURCE) in required, "3: a public secret is not used"
        policy, now = swap.policy, swap.times[swap.source.terms.chain]
        src = policy.source
        claim = policy.outage_budget + src.inclusion_p99 + src.block_interval * src.finality_depth
        runs_short = (
            now >= swap.source.terms.deadline - claim - src.clock_skew - policy.destination.clock_skew
        )
        if runs_short and destination not in {LegState.NONE, LegState.REFUND_FINAL}:
            assert SendClaim(SOURCE) in required, "3: time runs short and the secret is not used"
    if SendClaim(SOURCE) in required:
        assert swap.secret_known, "3: a claim without the secret"
        assert destination not in {LegState.NONE, LegState.REFUND_FINAL}, "the bridge takes both legs"
    if gives_back:
        assert destination in {LegState.NONE, LegState.REFUND_FINAL}, "4: given back too early"
        assert swap.abandoned is not None, "4: given back and not remembered"
    if SendRefund(DESTINATION) in required and swap.secret_shared:
        assert source not in OPEN | CLAIMED, "a user who trusted us with the secret loses the destination"
    if SendClaim(DESTINATION) in required:
        assert swap.source.lock_final, "the destination is given away before the source is final"
        assert source is LegState.FINAL or source in CLAIMED, "the destination is given away unpaid"
    if UNPROVEN in (source, destination):
        assert SendLock() not in required, "8: locked on the strength of what nobody can prove"
        assert not gives_back, "8: given back on the strength of what nobody can prove"
        assert not is_terminal(swap), "8: an end that nobody can prove"
        assert swap.attention, "8: a spend that nobody can prove, and nobody is told"
    if source is UNPROVEN:
        assert SendClaim(DESTINATION) not in required, "8: given away for an unproven claim"
    if is_terminal(swap):
        assert {source, destination} <= ENDED, "5: terminal with money on chain"
        for_swap = {effect for effect in required if not getattr(effect, "lock_id", "")}
        assert for_swap == {ReleaseInventory()}, "5: terminal with work to do"
    if destination in OPEN or destination is LegState.INTENT:
        assert ReleaseInventory() not in required, "6: inventory released while it is at stake"


def _check_times_of_counterlock(swap: Swap) -> None:
    """The inequalities once more, written out, so that a slip in the code is not repeated here."""
    policy, source, destination = swap.policy, swap.source, swap.destination
    src, dst = policy.source, policy.destination
    final_source = src.block_interval * src.finality_depth
    final_destination = dst.block_interval * dst.finality_depth
    assert source.lock_block is not None, "1: counter-lock without a source"
    assert source.lock_block.time <= policy.lock_by, "1: counter-lock for a late lock"
    left = destination.terms.deadline - swap.times[destination.terms.chain]
    assert left >= dst.inclusion_p99 + final_destination + policy.user_window + dst.clock_skew, (
        "1: user's time"
    )
    claim = policy.outage_budget + src.inclusion_p99 + final_source
    skews = src.clock_skew + dst.clock_skew
    fate = dst.inclusion_p99 + final_destination
    gap = source.terms.deadline - destination.terms.deadline
    assert gap >= fate + claim + skews, "1: bridge's time"
    left_source = source.terms.deadline - swap.times[source.terms.chain]
    assert left_source >= left + fate + claim, "1: bridge's time by the clocks of now"


def _check_terms_of_destination(before: Swap, after: Swap) -> None:
    """They change once at most, within what the quote left open, and not under a lock that was seen."""
    old, new, left_open = before.destination.terms, after.destination.terms, before.policy.counterlock
    assert after.terms_fixed >= before.terms_fixed, "what was decided was undone"
    if before.terms_fixed or not after.terms_fixed:
        assert old == new, "an agreed term changed"
        return
    assert left_open is not None, "decided what the quote had fixed"
    assert before.destination.state in {LegState.NONE, LegState.INTENT}, "decided after the lock"
    assert left_open.minimum <= new.amount <= left_open.maximum, "an amount that was not agreed on"
    assert new.deadline <= old.deadline == left_open.latest, "a later deadline than agreed on"
    same = msgspec.structs.replace(new, amount=old.amount, deadline=old.deadline)
    assert same == old, "an agreed term changed"


def check_step(before: Swap, after: Swap) -> None:
    """What one event can never do."""
    assert before.abandoned is None or after.abandoned is before.abandoned, "an abandonment was undone"
    assert after.secret_known >= before.secret_known, "a secret was forgotten"
    assert after.secret_shared >= before.secret_shared
    assert after.secret_public >= before.secret_public
    assert after.accepted >= before.accepted
    assert after.refund_begun >= before.refund_begun
    assert after.cooperative_refund >= before.cooperative_refund
    for chain, time in before.times.items():
        assert after.times[chain] >= time, "a clock went backwards"
    assert (before.id, before.hashlock, before.policy) == (after.id, after.hashlock, after.policy)
    assert before.source.terms == after.source.terms, "an agreed term changed"
    _check_terms_of_destination(before, after)
    if after.destination.state is LegState.NONE:
        assert before.destination.state in {LegState.NONE, LegState.INTENT}, "4: an orphaned lock may return"
    if before.destination.state is LegState.NONE and after.destination.state is LegState.INTENT:
        assert SendLock() in required_effects(after)
