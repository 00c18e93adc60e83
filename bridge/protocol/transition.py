"""The transition of a swap: total, deterministic and pure.

`transition(swap, event)` folds one event into the swap, draws the conclusions that must be remembered, and
returns what has to be done now. It never raises for anything a chain, a user or an operator can say: what is
not news changes nothing. One database transaction stores the new swap, the intents of its effects, and the
preimage of the event if `secret_known` became true with it.
"""

from __future__ import annotations

import msgspec
from msgspec.structs import replace

from bridge.protocol import timelocks
from bridge.protocol.counterlock import adopted, with_terms
from bridge.protocol.effects import (
    AppendReceipt,
    Effect,
    Notify,
    SendCooperativeRefund,
    SendLock,
    SendRefund,
)
from bridge.protocol.events import (
    Accepted,
    ClaimFinal,
    ClaimOrphaned,
    ClaimSeen,
    Event,
    LockFinal,
    LockOrphaned,
    LockSeen,
    OperatorCommand,
    OperatorVerb,
    PriceChecked,
    RefundFinal,
    RefundOrphaned,
    RefundSeen,
    SecretRevealed,
    SecretShared,
    SpendOrphaned,
    SpendSeen,
    Tick,
    TxFailed,
)
from bridge.protocol.legs import SPENT, UNLOCKED, apply_fact, lock_seen
from bridge.protocol.refusals import ProtocolError
from bridge.protocol.rules import (
    is_committed,
    is_done,
    may_have_consented,
    may_share_secret,
    must_abandon,
    required_effects,
)
from bridge.protocol.status import attention, public_state
from bridge.protocol.types import (
    HASHLOCK_BYTES,
    Abandonment,
    Leg,
    LegRole,
    LegState,
    LockTerms,
    Preimage,
    Purpose,
    Swap,
    SwapId,
    SwapPolicy,
    SwapState,
)

MAX_REASON = 200
"""Characters kept of a failure's reason: it may come from a node's error message."""

_WITH_RECEIPT = frozenset({SwapState.COMPLETED, SwapState.REFUNDED})


class TransitionResult(msgspec.Struct, frozen=True):
    """The swap after an event, and all that must be done now: `required_effects(swap)`, then what is due
    only once because the public status changed (`Notify`, `AppendReceipt`)."""

    swap: Swap
    effects: tuple[Effect, ...]


def new_swap(
    swap_id: SwapId, *, source: LockTerms, destination: LockTerms, policy: SwapPolicy, accepted: bool = False
) -> Swap:
    """Return a swap in QUOTED, or AWAIT_LOCK if it is `accepted` already.

    `source` are the terms that the user is to lock, `destination` those that the bridge will lock. The caller
    makes sure that no other swap of this bridge, old ones included, has the same hashlock: two swaps with one
    secret would open each other's locks.

    Raises:
        ProtocolError: if the terms do not fit together or the deadlines break a timelock inequality.
    """
    if source.chain == destination.chain:
        raise ProtocolError("both legs are on the same chain", hint="choose assets of two chains")
    for terms in (source, destination):
        if len(terms.hashlock) != HASHLOCK_BYTES:
            raise ProtocolError(f"a hashlock has {HASHLOCK_BYTES} bytes, not {len(terms.hashlock)}")
        if terms.amount <= 0:
            raise ProtocolError(f"the amount on {terms.chain} must be positive")
        if terms.asset.chain != terms.chain:
            raise ProtocolError(f"{terms.asset.key} is not an asset of {terms.chain}")
        if not terms.sender or not terms.recipient:
            raise ProtocolError(f"sender or recipient is missing on {terms.chain}")
    if source.hashlock != destination.hashlock:
        raise ProtocolError("the two legs have different hashlocks")
    refusal = timelocks.check_deadlines(
        policy, source_deadline=source.deadline, destination_deadline=destination.deadline
    )
    if refusal is not None:
        raise ProtocolError(refusal.message, hint="use the deadlines that plan_deadlines computes")
    left_open = policy.counterlock
    if left_open is not None:
        if (left_open.quoted, left_open.latest) != (destination.amount, destination.deadline):
            raise ProtocolError("the destination's terms are not those that the range is about")
        if not 0 < left_open.minimum <= left_open.quoted <= left_open.maximum or left_open.slack < 0:
            raise ProtocolError("the range of the destination's amount does not hold the quoted amount")
        if policy.price is None:
            raise ProtocolError("an amount that follows the price needs the price it was quoted at")
    swap = Swap(
        id=swap_id,
        hashlock=source.hashlock,
        source=Leg(role=LegRole.SOURCE, terms=source),
        destination=Leg(role=LegRole.DESTINATION, terms=destination),
        policy=policy,
    )
    return transition(swap, Accepted()).swap if accepted else swap


def transition(swap: Swap, event: Event) -> TransitionResult:
    """Fold one event into a swap and return the new swap with the effects that it requires."""
    after = _conclude(_fold(swap, event))
    effects = required_effects(after)
    if after.state is not swap.state or after.attention != swap.attention:
        effects = (*effects, Notify(after.state, after.attention))
    if after.state is not swap.state and after.state in _WITH_RECEIPT:
        effects = (*effects, AppendReceipt(after.state))
    return TransitionResult(after, effects)


def _fold(swap: Swap, event: Event) -> Swap:
    match event:
        case Accepted():
            return swap if swap.accepted else replace(swap, accepted=True)
        case LockSeen():
            if event.leg is LegRole.DESTINATION:
                swap = adopted(swap, event.terms)
            leg = swap.leg(event.leg)
            return _with_leg(swap, leg, lock_seen(leg, event, over=is_done(swap)))
        case ClaimSeen():
            return _fold_claim(swap, event)
        case (
            LockFinal()
            | LockOrphaned()
            | ClaimFinal()
            | ClaimOrphaned()
            | RefundSeen()
            | RefundFinal()
            | RefundOrphaned()
            | SpendSeen()
            | SpendOrphaned()
        ):
            leg = swap.leg(event.leg)
            return _with_leg(swap, leg, apply_fact(leg, event, consented=may_have_consented(swap)))
        case Tick():
            return _fold_tick(swap, event)
        case SecretShared():
            if swap.secret_shared or may_share_secret(swap, event.preimage) is not None:
                return swap
            return replace(swap, secret_known=True, secret_shared=True)
        case SecretRevealed():
            return _learn(swap, event.preimage)
        case TxFailed():
            return _fold_failure(swap, event)
        case PriceChecked():
            return _fold_price(swap, event)
        case OperatorCommand():
            return _fold_command(swap, event)


def _with_leg(swap: Swap, before: Leg, after: Leg) -> Swap:
    if after is before:
        return swap
    match after.role:
        case LegRole.SOURCE:
            return replace(swap, source=after)
        case LegRole.DESTINATION:
            return replace(swap, destination=after)
        case LegRole.PAYBACK:
            return replace(swap, payback=after)


def _learn(swap: Swap, preimage: Preimage) -> Swap:
    if swap.secret_public or not preimage.opens(swap.hashlock):
        return swap
    return replace(swap, secret_known=True, secret_public=True)


def _fold_claim(swap: Swap, event: ClaimSeen) -> Swap:
    """A claim of any lock with this hashlock gives the secret away, also if somebody else made the lock. A
    claim whose preimage does not open the hashlock cannot have happened: the report is wrong, not the
    mathematics."""
    if not event.preimage.opens(swap.hashlock):
        return swap
    leg = swap.leg(event.leg)
    return _learn(_with_leg(swap, leg, apply_fact(leg, event)), event.preimage)


def _fold_tick(swap: Swap, event: Tick) -> Swap:
    """Chain time only moves forward: an older tick, or one after a reorg, is not news."""
    if event.chain not in {swap.source.terms.chain, swap.destination.terms.chain}:
        return swap
    time = max(event.time, swap.times.get(event.chain, event.time))
    height = max(event.height, swap.heights.get(event.chain, event.height))
    if time == swap.times.get(event.chain) and height == swap.heights.get(event.chain):
        return swap
    since = swap.destination_since
    if event.chain == swap.destination.terms.chain and event.chain not in swap.heights:
        since = height
    return replace(
        swap,
        destination_since=since,
        times={**swap.times, event.chain: time},
        heights={**swap.heights, event.chain: height},
    )


def _fold_failure(swap: Swap, event: TxFailed) -> Swap:
    """A failed counter-lock ends the attempt to lock, for good: a second try would make a repeated report of
    the first failure look like the second's. Any other failure is noted, and what must be done stays due."""
    leg = swap.leg(event.leg)
    note = f"{event.leg.value} {event.purpose.value} failed: {event.reason[:MAX_REASON]}"
    if event.leg is LegRole.DESTINATION and event.purpose is Purpose.LOCK:
        if leg.state is not LegState.INTENT:
            return swap
        if swap.abandoned is not None:
            return replace(swap, destination=replace(leg, state=LegState.NONE))
        failed = replace(leg, state=LegState.NONE, trouble=note)
        return replace(swap, destination=failed, abandoned=Abandonment.FAILED)
    if event.leg is LegRole.PAYBACK and event.purpose is Purpose.LOCK:
        if leg.state is not LegState.INTENT:
            return swap
        return _with_leg(swap, leg, replace(leg, state=LegState.NONE, trouble=note))
    if leg.trouble == note or leg.state in SPENT:
        return swap
    return _with_leg(swap, leg, replace(leg, trouble=note))


def _fold_price(swap: Swap, event: PriceChecked) -> Swap:
    """A no only ever keeps a destination from being locked that is not locked yet and not owed."""
    if swap.destination.state not in UNLOCKED or swap.abandoned is not None:
        return swap
    if event.go:
        if event.amount:
            fixed = with_terms(swap, event.amount, event.deadline)
            return swap if fixed is swap else replace(fixed, price_seen=event.seen)
        return swap if swap.price_seen == event.seen else replace(swap, price_seen=event.seen)
    if is_committed(swap):
        return swap
    return replace(swap, price_seen=event.seen, abandoned=Abandonment.PRICE)


def _fold_command(swap: Swap, event: OperatorCommand) -> Swap:
    """Commands only ever add safe wishes: none can stop a claim or give the source back too early."""
    if event.verb is OperatorVerb.RETRY:
        calm = swap
        for leg in swap.legs:
            if leg.trouble:
                calm = _with_leg(calm, leg, replace(leg, trouble=""))
        return calm
    if event.verb is OperatorVerb.COOPERATIVE_REFUND:
        swap = _agree_to_strays(swap)
    if swap.abandoned is None and swap.destination.state in UNLOCKED and not is_committed(swap):
        return replace(swap, abandoned=Abandonment.OPERATOR)
    return swap


def _agree_to_strays(swap: Swap) -> Swap:
    for leg in (swap.source, swap.destination):
        if not all(stray.give_back for stray in leg.strays):
            strays = tuple(replace(stray, give_back=True) for stray in leg.strays)
            swap = _with_leg(swap, leg, replace(leg, strays=strays))
    return swap


def _conclude(swap: Swap) -> Swap:
    """Draw the conclusions that must be remembered, so that the rules never contradict what was begun."""
    reason = must_abandon(swap)
    if reason is not None:
        swap = replace(swap, abandoned=reason)
    effects = required_effects(swap)
    if SendLock() in effects and swap.destination.state is LegState.NONE:
        swap = replace(swap, destination=replace(swap.destination, state=LegState.INTENT))
    payback = swap.leg(LegRole.PAYBACK)
    if SendLock(LegRole.PAYBACK) in effects and payback.state is LegState.NONE:
        swap = replace(swap, payback=replace(payback, state=LegState.INTENT))
    if SendRefund(LegRole.DESTINATION) in effects and not swap.refund_begun:
        swap = replace(swap, refund_begun=True)
    gives_back = SendCooperativeRefund() in effects or SendRefund(LegRole.SOURCE) in effects
    if gives_back and not swap.cooperative_refund:
        # A refund of ours may be under way from now on: no reorg may bring back the wish to lock.
        swap = replace(swap, cooperative_refund=True, abandoned=swap.abandoned or Abandonment.SPENT)
    state, note = public_state(swap), attention(swap)
    if state is not swap.state or note != swap.attention:
        swap = replace(swap, state=state, attention=note)
    return swap
