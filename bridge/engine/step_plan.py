"""What the outbox does next for one intent. Pure: no chain, no store, no clock.

`plan_step` looks at an intent's transactions as the chain sees them and at the decision of this moment, and
names one step. The outbox carries it out, stores what came of it, and plans again in its next pass.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from bridge.chains.actions import Action, CancelAction
from bridge.chains.port import FeeLevel, Tip, TxState, TxStatus
from bridge.engine.decisions import Decide, Decision, Go, Hold, Withdraw
from bridge.engine.intent_snapshot import IntentSnapshot
from bridge.engine.outbox_settings import OutboxSettings
from bridge.engine.tx_reasons import EXPIRED, REJECTED, REVERTED
from bridge.protocol.types import Purpose
from bridge.store.records import IntentState, StoredTx, StoredTxState

# -- the steps -------------------------------------------------------------------------------


class Sign(msgspec.Struct, frozen=True, tag=True):
    """Sign a transaction with a sequence of its own: nothing that may still land does this action."""

    action: Action
    urgent: bool = False


class Replace(msgspec.Struct, frozen=True, tag=True):
    """Sign a transaction that takes the place of `old` with a higher bid. `cancels`: it only uses up the
    sequence, so that `old` can never land."""

    old: StoredTx
    action: Action
    cancels: bool = False


class Resend(msgspec.Struct, frozen=True, tag=True):
    """Broadcast stored bytes again: no node has them."""

    tx: StoredTx


class Wait(msgspec.Struct, frozen=True, tag=True):
    """Do nothing now. `postpone`: do not even look at the intent for a while, and store the reason."""

    reason: str = ""
    postpone: bool = False


class Pending(msgspec.Struct, frozen=True, tag=True):
    """Store that a node holds the transaction."""

    tx: StoredTx


class Landed(msgspec.Struct, frozen=True, tag=True):
    """Store that the transaction is in a block (`block_id` "" if the node does not say in which).

    `final`: it is deep enough to end the intent.
    """

    tx: StoredTx
    block_height: int | None
    block_id: str
    final: bool


class NotLanded(msgspec.Struct, frozen=True, tag=True):
    """Store that the transaction reverted, or that another one used its sequence.

    `since`: the height from which this is counted. `final`: no reorg that is reckoned with undoes it; until
    then the other transactions of the intent still need a step.
    """

    tx: StoredTx
    reason: str
    since: int
    reverted: bool
    final: bool


class Expired(msgspec.Struct, frozen=True, tag=True):
    """Store that the transaction can no longer land."""

    tx: StoredTx


class Withdrawn(msgspec.Struct, frozen=True, tag=True):
    """End the intent without a transaction: it must no longer happen, and no transaction is under way."""

    reason: str


Settle = Pending | Landed | NotLanded | Expired | Withdrawn
"""Something the chain or the decision has settled: only the store changes."""

Step = Sign | Replace | Resend | Settle | Wait


# -- the plan --------------------------------------------------------------------------------


def plan_step(
    snapshot: IntentSnapshot,
    tip: Tip,
    decision: Decision,
    settings: OutboxSettings,
    *,
    numbered: bool,
) -> Step:
    """Return the next step of an intent whose transactions that may still land all have a status.

    `tip`: the chain's newest block and its clock. `numbered`: the chain numbers the transactions of an
    account. Raises `KeyError` if a status is missing.
    """
    statuses = [(tx, snapshot.statuses[tx.id]) for tx in snapshot.alive]
    for tx, status in statuses:
        if status.state is TxState.INCLUDED:
            return _landed(snapshot, tx, status, decision)
    waiting: list[StoredTx] = []
    for tx, status in statuses:
        if status.state in {TxState.FAILED, TxState.REPLACED}:
            noted = _not_landed(tx, status, tip, decision)
            if noted is not None:
                return noted
        elif status.state is TxState.UNKNOWN and _is_expired(snapshot, tx, tip, decision):
            return Expired(tx)
        else:
            waiting.append(tx)
    if waiting:
        return _plan_waiting(snapshot, _foremost(snapshot, waiting), tip, decision, settings, numbered)
    return _plan_first(snapshot, tip, decision)


def _foremost(snapshot: IntentSnapshot, waiting: Sequence[StoredTx]) -> StoredTx:
    """Return the transaction that needs a step: the newest, unless a lower sequence of the intent waits that
    no node has. What reverted was signed again with another sequence; when a reorg takes it back, the later
    one cannot land before it."""
    newest = {tx.sequence: tx for tx in waiting if tx.sequence is not None}
    lost = [sequence for sequence, tx in newest.items() if _is_lost(snapshot, tx)]
    return newest[min(lost)] if lost else waiting[-1]


def _is_lost(snapshot: IntentSnapshot, tx: StoredTx) -> bool:
    # UNSURE too: sending it again is safe. That it never landed is only concluded from UNKNOWN.
    return snapshot.statuses[tx.id].state in {TxState.UNKNOWN, TxState.UNSURE}


def _plan_first(snapshot: IntentSnapshot, tip: Tip, decision: Decision) -> Step:
    """Nothing of the intent waits for a block."""
    # What reverted or lost its sequence may come back with a reorg: a lock is never signed twice, and other
    # actions are signed again at once only if they are still wanted.
    if snapshot.alive and (snapshot.intent.purpose is Purpose.LOCK or not isinstance(decision, Go)):
        return Wait("its last transaction did not land, but this is not deep enough to be sure")
    match decision:
        case Go():
            return Sign(decision.action, decision.is_urgent(tip.time))
        case Hold() | Decide():
            return Wait(decision.reason, postpone=True)
        case Withdraw():
            return Withdrawn(decision.reason)


def _plan_waiting(
    snapshot: IntentSnapshot,
    newest: StoredTx,
    tip: Tip,
    decision: Decision,
    settings: OutboxSettings,
    numbered: bool,
) -> Step:
    """A transaction is in no block: broadcast it again, outbid it, or keep it from landing."""
    is_lost = _is_lost(snapshot, newest)
    match decision:
        case Hold() | Decide():
            return Wait(decision.reason)
        case Withdraw():
            return _plan_withdrawal(newest, is_lost, tip, settings, numbered)
        case Go():
            if is_stuck(newest, tip, settings, numbered=numbered, urgent=decision.is_urgent(tip.time)):
                return Replace(newest, decision.action)
            if is_lost:
                if newest.signed.is_over(tip):
                    return Wait("no node accepts it any longer, and it has not expired yet")
                return Resend(newest)
            if _is_noted(snapshot, newest):
                return Wait("it waits for a block")
            return Pending(newest)


def _plan_withdrawal(
    newest: StoredTx, is_lost: bool, tip: Tip, settings: OutboxSettings, numbered: bool
) -> Step:
    """Use up the sequence with a transaction that does nothing. Where there are no sequences, wait until what
    was signed has expired."""
    if newest.sequence is None:
        return Wait("it must not land; it can only expire")
    if not newest.cancels:
        return Replace(newest, CancelAction(), cancels=True)
    if is_lost:
        return Resend(newest)
    if is_stuck(newest, tip, settings, numbered=numbered, urgent=False):
        return Replace(newest, CancelAction(), cancels=True)
    return Wait("the transaction that uses up its sequence waits for a block")


def _landed(snapshot: IntentSnapshot, tx: StoredTx, status: TxStatus, decision: Decision) -> Step:
    height, block_id = (status.block.height, status.block.id) if status.block else (None, "")
    final = status.confirmations >= decision.depth
    is_noted = tx.state is StoredTxState.INCLUDED and snapshot.intent.state is IntentState.INCLUDED
    if not final and is_noted and tx.block_id == block_id:
        return Wait("it waits for more confirmations")
    return Landed(tx, height, block_id, final)


def _not_landed(tx: StoredTx, status: TxStatus, tip: Tip, decision: Decision) -> NotLanded | None:
    """Return what is to be stored of a transaction that did not land, None if it is stored already."""
    reverted = status.state is TxState.FAILED
    reason = f"{REVERTED}{status.reason}" if reverted else "another transaction used its sequence"
    was_noted = tx.reason == reason and tx.block_height is not None
    if reverted:
        since = status.block.height if status.block else tip.block.height
    elif was_noted and tx.block_height is not None:
        since = min(tx.block_height, tip.block.height)
    else:
        since = tip.block.height
    final = tip.block.height - since + 1 >= decision.depth
    if not final and was_noted and tx.block_height == since:
        return None
    return NotLanded(tx, reason, since, reverted, final)


def _is_expired(snapshot: IntentSnapshot, tx: StoredTx, tip: Tip, decision: Decision) -> bool:
    """Tell whether a transaction can no longer land; a lock not even after a reorg."""
    is_lock = snapshot.intent.purpose is Purpose.LOCK
    height, time = tx.signed.valid_until_height, tx.signed.valid_until_time
    if time is not None and tip.time > time and (not is_lock or tip.block.height > tx.signed_height + 1):
        return True
    margin = decision.depth if is_lock else 0
    return height is not None and tip.block.height - margin > height


def _is_noted(snapshot: IntentSnapshot, tx: StoredTx) -> bool:
    is_sent = tx.state is StoredTxState.BROADCAST and not tx.reason
    return is_sent and snapshot.intent.state is IntentState.BROADCAST


# -- questions that the steps ask too --------------------------------------------------------


def is_stuck(tx: StoredTx, tip: Tip, settings: OutboxSettings, *, numbered: bool, urgent: bool) -> bool:
    """Tell whether a transaction has waited long enough for a block to be replaced with a higher bid."""
    if tx.sent_ms is None and not tx.reason.startswith(REJECTED):
        return False  # no node has it yet: a better bid would not help
    patience = settings.urgent_bump_blocks if urgent else settings.bump_blocks
    return can_outbid(tx, settings, numbered=numbered) and tip.block.height - tx.signed_height >= patience


def can_outbid(tx: StoredTx, settings: OutboxSettings, *, numbered: bool) -> bool:
    """Tell whether a better bid takes the place of a transaction instead of being added to it: it has a
    sequence of ours, or another account's on a chain that has them."""
    return (tx.sequence is not None or numbered) and tx.attempt < settings.max_bumps


def is_worth_a_look(
    snapshot: IntentSnapshot, tip: Tip, now_ms: int, settings: OutboxSettings, last: tuple[str, int]
) -> bool:
    """Tell whether the chain should be asked about an intent in this pass. Without news a waiting transaction
    is not looked up: that keeps a hundred open swaps cheap.

    `last`: the newest block's id and the time (Unix milliseconds) of the last look, ("", 0) before the first.
    """
    alive = snapshot.alive
    if snapshot.in_batch and not alive:
        return False
    if not alive or snapshot.intent.state in {IntentState.PLANNED, IntentState.SIGNED}:
        return True
    if snapshot.intent.cancel and not any(tx.cancels for tx in alive):
        return True
    block_id, looked_ms = last
    return block_id != tip.block.id or abs(now_ms - looked_ms) >= settings.look_ms


def first_bid(txs: Sequence[StoredTx]) -> FeeLevel:
    """Return what to bid for a transaction with a new sequence. What expired before it landed bid too little
    for these times."""
    expired = [tx for tx in txs if tx.state is StoredTxState.DEAD and tx.reason == EXPIRED]
    return FeeLevel(len(expired), expired[-1].signed.fee) if expired else FeeLevel()
