"""May this intent be signed or sent at this moment? Asked of the store at every step, never remembered."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from enum import StrEnum

import msgspec

from bridge.chains.port import Action
from bridge.engine.actions import decode_action
from bridge.engine.apply import clocks, intent_of
from bridge.engine.source_lock_check import may_lock, timing_of
from bridge.protocol.legs import UNLOCKED
from bridge.protocol.rules import required_effects
from bridge.protocol.transition import transition
from bridge.protocol.types import LegRole, Purpose, Swap
from bridge.store import Transaction
from bridge.store.records import Intent

URGENT_INCLUSIONS = 4
"""A claim is urgent when its deadline is nearer than this many p99 inclusion delays."""


BATCHED_PREIMAGE_BYTES = 32
"""Batches take preimages of the usual length alone: Ethereum's could hold no other."""


class Verdict(StrEnum):
    """GO: sign and send. HOLD: neither, but waiting may help. WITHDRAW: it must not land any more."""

    GO = "go"
    HOLD = "hold"
    WITHDRAW = "withdraw"


class Decision(msgspec.Struct, frozen=True):
    """The verdict with what to do, why not, how deep is final, and from which chain time on it is urgent."""

    verdict: Verdict
    depth: int
    reason: str = ""
    action: Action | None = None
    urgent_from: int | None = None

    def is_urgent(self, now: int) -> bool:
        """Tell whether the chain's time `now` (Unix seconds) is near the deadline."""
        return self.urgent_from is not None and now >= self.urgent_from


def joined(leader: Decision, riders: Sequence[Decision]) -> Decision:
    """Return the decision on an intent whose transactions carry other claims along: it goes on as long as one
    of them needs it, is as urgent as the most urgent, and is final when it is for the one that needs most."""
    if not riders:
        return leader
    depth = max(one.depth for one in (leader, *riders))
    going = [one for one in (leader, *riders) if one.verdict is Verdict.GO and one.action is not None]
    if not going:
        return msgspec.structs.replace(leader, depth=depth)
    actions = [one.action for one in going if one.action is not None]
    return Decision(
        Verdict.GO,
        depth,
        action=msgspec.structs.replace(actions[0], others=tuple(actions[1:])),
        urgent_from=min((one.urgent_from for one in going if one.urgent_from is not None), default=None),
    )


def rides_with(one: Action, other: Action) -> bool:
    """Tell whether two claims may share a transaction: both pay one recipient in one asset, and neither needs
    anything but its preimage."""
    return (
        one.purpose is other.purpose is Purpose.CLAIM
        and one.terms is not None
        and other.terms is not None
        and (one.terms.recipient, one.terms.asset) == (other.terms.recipient, other.terms.asset)
        and all(
            each.preimage is not None
            and len(each.preimage.reveal()) == BATCHED_PREIMAGE_BYTES
            and not each.authorization
            for each in (one, other)
        )
    )


def decide(tx: Transaction, intent: Intent, own_tx_ids: Collection[str], default_depth: int) -> Decision:
    """Decide on an intent from the store as it is now. `own_tx_ids`: what was signed for it so far."""
    if not intent.swap_id:
        verdict = Verdict.WITHDRAW if intent.cancel else Verdict.GO
        return Decision(verdict, default_depth, intent.reason, decode_action(intent.action))
    stored = tx.swaps.get(intent.swap_id)
    if stored is None:
        return Decision(Verdict.WITHDRAW, default_depth, "the swap is not in this database")
    swap = stored.swap
    for tick in clocks(tx, swap):
        swap = transition(swap, tick).swap
    depth = timing_of(swap, intent.role).finality_depth
    if intent.purpose is Purpose.LOCK:
        return _decide_lock(tx, swap, intent, own_tx_ids, depth)
    return _decide_spend(tx, swap, intent, own_tx_ids, depth)


def _decide_lock(
    tx: Transaction, swap: Swap, intent: Intent, own_tx_ids: Collection[str], depth: int
) -> Decision:
    leg = swap.leg(intent.role)
    if leg.state not in UNLOCKED and leg.lock_tx in own_tx_ids:
        return Decision(Verdict.HOLD, depth, "the lock is on its chain")
    if intent.cancel:
        return Decision(Verdict.WITHDRAW, depth, intent.reason)
    verdict = may_lock(tx, swap)
    if verdict.refusal is not None:
        kind = Verdict.HOLD if verdict.hold else Verdict.WITHDRAW
        return Decision(kind, depth, verdict.refusal.message)
    return Decision(Verdict.GO, depth, action=Action(Purpose.LOCK, leg.terms))


def _decide_spend(
    tx: Transaction, swap: Swap, intent: Intent, own_tx_ids: Collection[str], depth: int
) -> Decision:
    leg = swap.leg(intent.role)
    wanted = {
        (planned.leg, planned.purpose, planned.lock_id)
        for effect in required_effects(swap)
        if (planned := intent_of(swap, effect)) is not None
    }
    if (intent.leg, intent.purpose, intent.lock_id) not in wanted:
        spends = {leg.spend_tx, *(stray.spend_tx for stray in leg.strays)} - {""}
        if spends & set(own_tx_ids):
            return Decision(Verdict.HOLD, depth, "it is on its chain")
        return Decision(Verdict.WITHDRAW, depth, "it is not needed any more")
    terms = leg.lock_terms(intent.lock_id)
    lock_id = intent.lock_id or leg.lock_id
    if intent.purpose is not Purpose.CLAIM:
        return Decision(Verdict.GO, depth, action=Action(intent.purpose, terms, lock_id))
    preimage = tx.secrets.get(swap.hashlock)
    if preimage is None:
        return Decision(Verdict.HOLD, depth, "the secret is not in this database")
    urgent_from = terms.deadline - URGENT_INCLUSIONS * timing_of(swap, LegRole(intent.leg)).inclusion_p99
    authorization = b""
    if intent.role is LegRole.DESTINATION:
        authorization = tx.authorizations.get(swap.id)
    action = Action(Purpose.CLAIM, terms, lock_id, preimage, authorization=authorization)
    return Decision(Verdict.GO, depth, action=action, urgent_from=urgent_from)
