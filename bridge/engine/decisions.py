"""May this intent be signed or broadcast at this moment? Asked of the store at every step, never remembered.

Whether a swap may be locked, claimed or given back is decided by `bridge.protocol` alone. The engine adds
only "not now": a chain that cannot be relied on at the moment, a secret that this database does not have.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

import msgspec
import structlog

from bridge.chains.actions import Action, ClaimAction, LockAction, action_of
from bridge.engine.actions import decode_action
from bridge.engine.apply import clocks, intent_of
from bridge.engine.price_check import judge_price
from bridge.engine.source_lock_check import (
    estimated_times,
    halted_chain,
    not_covered,
    shallow_together,
    source_lock_evidence,
    statuses_of,
    timing_of,
    unread_chain,
    unreliable_chain,
)
from bridge.engine.tx_reasons import SPOILED
from bridge.protocol.events import Event
from bridge.protocol.legs import UNLOCKED
from bridge.protocol.payback import may_pay_back
from bridge.protocol.refusals import Refusal
from bridge.protocol.rules import (
    check_source_lock,
    may_counterlock,
    required_effects,
    withdraws_counterlock,
)
from bridge.protocol.transition import transition
from bridge.protocol.types import Amount, LegRole, LegState, Purpose, Swap
from bridge.store import Transaction, UnreadableRowError
from bridge.store.records import Intent

log = structlog.get_logger("outbox")

URGENT_INCLUSIONS = 4
"""A claim is urgent when its deadline is nearer than this many p99 inclusion delays."""

BATCHED_PREIMAGE_BYTES = 32
"""Batches take preimages of the usual length only: the batch of the EVM contract holds no other."""


class Go(msgspec.Struct, frozen=True, tag=True):
    """Sign and broadcast. `depth`: the confirmations that settle it; `urgent_from`: the chain time (Unix
    seconds) from which it is urgent, None if never."""

    action: Action
    depth: int
    urgent_from: int | None = None
    note: Event | None = None
    """What the swap is told in the transaction that stores the signed bytes."""

    def is_urgent(self, now: int) -> bool:
        """Tell whether the chain's time `now` (Unix seconds) is near the deadline."""
        return self.urgent_from is not None and now >= self.urgent_from


class Hold(msgspec.Struct, frozen=True, tag=True):
    """Neither sign nor broadcast, but waiting may help."""

    reason: str
    depth: int


class Withdraw(msgspec.Struct, frozen=True, tag=True):
    """It must no longer land. `event`: what the swap is told before anything is done about it."""

    reason: str
    depth: int
    event: Event | None = None


class Decide(msgspec.Struct, frozen=True, tag=True):
    """Everything speaks for locking, and the terms of the lock are still open: `event` fixes them. It is
    stored first; then the question is asked again."""

    reason: str
    depth: int
    event: Event


Decision = Go | Hold | Withdraw | Decide


class DecisionRules(msgspec.Struct, frozen=True):
    """What a decision depends on besides the store. `default_depth`: the confirmations that settle what
    belongs to no swap; `batches`: the chain makes several claims in one transaction; `kept`: by asset key,
    what is never offered."""

    default_depth: int
    batches: bool
    kept: Mapping[str, Amount] = {}


def current_decision(tx: Transaction, intent: Intent, rules: DecisionRules) -> Decision:
    """Return what may be done about an intent now, with the other claims of the batch that it leads.

    This is asked when a step is planned, in the transaction that stores signed bytes, and before each
    broadcast.
    """
    fresh = tx.intents.get(intent.id) or intent
    decision = decision_alone(tx, fresh, rules)
    if fresh.purpose is not Purpose.CLAIM or not rules.batches:
        return decision
    members = tx.intents.batch_members(fresh.id)
    return _with_batch(decision, [decision_alone(tx, member, rules) for member in members])


def decision_alone(tx: Transaction, intent: Intent, rules: DecisionRules) -> Decision:
    """Return what may be done about an intent now, whatever batch it belongs to.

    What cannot be read makes this intent wait, never another one.
    """
    try:
        return _decide(tx, intent, rules)
    except UnreadableRowError as error:
        log.error("intent_unreadable", intent=intent.id, reason=str(error), hint=error.hint)
        return Hold(str(error), rules.default_depth)


def _decide(tx: Transaction, intent: Intent, rules: DecisionRules) -> Decision:
    if not intent.swap_id:
        if intent.cancel:
            return Withdraw(intent.reason, rules.default_depth)
        return Go(decode_action(intent.action), rules.default_depth)
    stored = tx.swaps.get(intent.swap_id)
    if stored is None:
        return Hold("the swap is not in this database", rules.default_depth)
    swap = stored.swap
    for tick in clocks(tx, swap):
        swap = transition(swap, tick).swap
    depth = timing_of(swap, intent.role).finality_depth
    own = _own_tx_ids(tx, intent)
    if intent.purpose is not Purpose.LOCK:
        return _decide_spend(tx, swap, intent, own, depth)
    leg = swap.leg(intent.role)
    if leg.state not in UNLOCKED and leg.lock_tx in own:
        return Hold("the lock is on its chain", depth)
    if intent.cancel:
        return Withdraw(intent.reason, depth)
    if intent.role is LegRole.PAYBACK:
        return _decide_payback(tx, swap, depth)
    return _decide_counterlock(tx, swap, rules, depth, signed=bool(own))


def _own_tx_ids(tx: Transaction, intent: Intent) -> set[str]:
    """Return what was signed for an intent, by itself or by the leader of its batch. A batch that was given
    up is no longer followed: if it lands after all, what was wanted has been done."""
    signed = tx.transactions.of_intent(intent.id)
    if intent.batch_leader is not None:
        signed += tx.transactions.of_intent(intent.batch_leader)
    return {stored.tx_id for stored in signed if stored.reason != SPOILED}


def _decide_counterlock(
    tx: Transaction, swap: Swap, rules: DecisionRules, depth: int, *, signed: bool
) -> Decision:
    """`signed`: a lock of the destination is signed already."""
    refusal = may_counterlock(swap)
    if refusal is not None:
        return _refused(refusal, depth)
    statuses = statuses_of(tx, swap)
    unreliable = unreliable_chain(statuses, tx.now_ms)
    if unreliable is not None:
        return Hold(f"{unreliable} cannot be relied on now", depth)
    halted = halted_chain(statuses, swap, tx.now_ms)
    if halted is not None:
        return Hold(f"{halted} makes no blocks now", depth)
    evidence = source_lock_evidence(tx, swap, statuses)
    refusal = check_source_lock(swap, evidence)
    if refusal is not None:
        return _refused(refusal, depth)
    shallow = shallow_together(tx, swap, evidence)
    if shallow:
        return Hold(shallow, depth)
    now = estimated_times(statuses, tx.now_ms)
    refusal = may_counterlock(swap, now)
    if refusal is not None:
        # Only the chains' own clocks can abandon a swap; an estimate of them can make it wait.
        return Hold(refusal.message, depth)
    short = not_covered(tx, swap, statuses, rules.kept)
    if short:
        return Hold(short, depth)
    verdict = judge_price(tx, swap, now, signed=signed)
    if verdict.hold:
        return Hold(verdict.hold, depth)
    if verdict.refusal:
        return Withdraw(verdict.refusal, depth, verdict.event)
    if verdict.decides and verdict.event is not None:
        chain = swap.destination.terms.chain
        if signed or unread_chain(statuses, chain, tx.now_ms) is not None:
            # Its terms would not be those of a second lock: the chain would not refuse it.
            return Hold(f"{chain} was not read up to its tip: it may hold a lock of ours", depth)
        return Decide("the terms of the lock are decided first", depth, verdict.event)
    return Go(LockAction(swap.destination.terms), depth, note=verdict.event)


def _decide_payback(tx: Transaction, swap: Swap, depth: int) -> Decision:
    refusal = may_pay_back(swap)
    if refusal is not None:
        return Withdraw(refusal.message, depth) if refusal.permanent else Hold(refusal.message, depth)
    # Both chains were read up to their tips: neither shows a lock that pays the user already.
    statuses = statuses_of(tx, swap)
    for chain in statuses:
        if unread_chain(statuses, chain, tx.now_ms) is not None:
            return Hold(f"{chain} was not read up to its tip: the user may be paid there already", depth)
    if not source_lock_evidence(tx, swap, statuses).claimed:
        return Hold("the claim of the source is not on its chain", depth)
    return Go(LockAction(swap.leg(LegRole.PAYBACK).terms), depth)


def _refused(refusal: Refusal, depth: int) -> Decision:
    decided = Withdraw if withdraws_counterlock(refusal) else Hold
    return decided(refusal.message, depth)


def _decide_spend(tx: Transaction, swap: Swap, intent: Intent, own: Collection[str], depth: int) -> Decision:
    leg = swap.leg(intent.role)
    required = {
        (planned.leg, planned.purpose, planned.lock_id)
        for effect in required_effects(swap)
        if (planned := intent_of(swap, effect)) is not None
    }
    if (intent.leg, intent.purpose, intent.lock_id) not in required:
        spends = {leg.spend_tx, *(stray.spend_tx for stray in leg.strays)} - {""}
        if spends & set(own):
            return Hold("it is on its chain", depth)
        return Withdraw("it is no longer needed", depth)
    terms = leg.lock_terms(intent.lock_id)
    if _gives_back_unseen(intent, swap):
        unread = unread_chain(statuses_of(tx, swap), swap.destination.terms.chain, tx.now_ms)
        if unread is not None:
            return Hold(f"{unread} was not read up to its tip: it may hold a lock of ours", depth)
    if intent.purpose is not Purpose.CLAIM:
        return Go(action_of(intent.purpose, terms), depth)
    try:
        preimage = tx.secrets.get(swap.hashlock)
    except UnreadableRowError as error:
        log.error("secret_unreadable", swap=swap.id, chain=intent.chain, reason=str(error), hint=error.hint)
        return Hold(str(error), depth)
    if preimage is None:
        return Hold("the secret is not in this database", depth)
    urgent_from = terms.deadline - URGENT_INCLUSIONS * timing_of(swap, LegRole(intent.leg)).inclusion_p99
    authorization = b""
    if intent.role is LegRole.DESTINATION:
        authorization = tx.authorizations.get(swap.id)
    action = ClaimAction(terms, preimage, authorization=authorization)
    return Go(action, depth, urgent_from)


def _gives_back_unseen(intent: Intent, swap: Swap) -> bool:
    """Tell whether an intent gives the source back because the destination is not locked, as far as is known
    here. A database that is older than the chain knows too little."""
    gives_back = intent.role is LegRole.SOURCE and intent.purpose is not Purpose.CLAIM
    return gives_back and not intent.lock_id and swap.destination.state is LegState.NONE


# -- batches ---------------------------------------------------------------------------------


def _with_batch(leader: Decision, members: Sequence[Decision]) -> Decision:
    """Return the decision on an intent whose transactions make other claims too: it goes on as long as one of
    them needs it, is as urgent as the most urgent, and is final when it is for the one that needs most."""
    if not members:
        return leader
    decisions = (leader, *members)
    depth = max(decision.depth for decision in decisions)
    going = [decision for decision in decisions if isinstance(decision, Go)]
    claims = [decision.action for decision in going if isinstance(decision.action, ClaimAction)]
    if not claims:
        return msgspec.structs.replace(leader, depth=depth)
    first, *others = claims
    return Go(
        msgspec.structs.replace(first, others=tuple(others)),
        depth,
        min((decision.urgent_from for decision in going if decision.urgent_from is not None), default=None),
    )


def may_share_transaction(first: ClaimAction, second: ClaimAction) -> bool:
    """Tell whether two claims may share a transaction: both pay one recipient in one asset, and neither needs
    anything but its preimage."""
    return (first.terms.recipient, first.terms.asset) == (second.terms.recipient, second.terms.asset) and all(
        len(claim.preimage.reveal()) == BATCHED_PREIMAGE_BYTES and not claim.authorization
        for claim in (first, second)
    )
