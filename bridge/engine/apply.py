"""Applying events to swaps: the only code that changes a swap.

One call = one swap, within the caller's transaction: the event log, the swap row (compare and swap), its
intents, notifications, inventory, receipt and secret are stored together or not at all.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TypeVar

import msgspec

from bridge.engine.courtesy import paid_account
from bridge.protocol.effects import (
    AppendReceipt,
    CancelLock,
    Effect,
    Notify,
    ReleaseInventory,
    SendClaim,
    SendCooperativeRefund,
    SendLock,
    SendRefund,
)
from bridge.protocol.events import ClaimSeen, Event, LockSeen, SecretRevealed, SecretShared, Tick
from bridge.protocol.rules import required_effects
from bridge.protocol.status import is_terminal
from bridge.protocol.transition import transition
from bridge.protocol.types import LegRole, LegState, LockId, Purpose, Swap, SwapId
from bridge.store import ConflictError, NotFoundError, Store, Transaction
from bridge.store.records import IntentState, PlannedIntent, StoredTxState

T = TypeVar("T")


MAX_TRIES = 8
"""How often a transaction is tried that conflicts with another process."""


class Applied(msgspec.Struct, frozen=True):
    """The swap after its events, and whether they changed it."""

    swap: Swap
    changed: bool


def retrying(store: Store, job: Callable[[Transaction], T]) -> T:
    """Run a job in a transaction, again if another process changed the same rows. Raises the last
    `ConflictError`."""
    for _ in range(MAX_TRIES - 1):
        try:
            with store.transaction() as tx:
                return job(tx)
        except ConflictError:
            continue
    with store.transaction() as tx:
        return job(tx)


def hold_swaps(tx: Transaction, swap_ids: Iterable[SwapId], hashlocks: Iterable[bytes] = ()) -> None:
    """Read at once, and keep others from changing, all that `apply_events` needs for these swaps: then it
    needs no query of its own. `hashlocks`: those of which a secret may come."""
    ids = set(swap_ids)
    tx.swaps.hold(ids)
    tx.intents.remember(ids)
    tx.secrets.remember(hashlocks)


def clocks(tx: Transaction, swap: Swap) -> tuple[Tick, ...]:
    """Return the newest known time of both chains of a swap as events, where the swap has not heard it."""
    ticks: list[Tick] = []
    for chain in (swap.source.terms.chain, swap.destination.terms.chain):
        status = tx.chains.get(chain)
        if status is None or status.tip is None:
            continue
        height = status.tip.block.height
        if (swap.times.get(chain), swap.heights.get(chain)) != (status.time, height):
            ticks.append(Tick(chain, status.time, height))
    return tuple(ticks)


def differs(before: Swap, after: Swap) -> bool:
    """Tell whether two snapshots differ in more than the time they were taken at."""
    if before is after:
        return False
    same_time = msgspec.structs.replace(
        after,
        times=before.times,
        heights=before.heights,
        destination_since=before.destination_since,  # it comes with the first height that is stored
    )
    return same_time != before


def apply_events(tx: Transaction, swap_id: SwapId, events: Sequence[Event] = ()) -> Applied:
    """Apply events to a swap, after the newest time of both chains; without events only the time.

    Idempotent: events that change nothing store nothing. Raises `NotFoundError`, `ConflictError` (repeat the
    transaction), `SecretsLockedError` (a preimage came, but the store has no key).
    """
    stored = tx.swaps.get(swap_id, for_update=True)
    if stored is None:
        raise NotFoundError(f"there is no swap {swap_id}", "look up its id")
    swap, changed = stored.swap, False
    for event in (*clocks(tx, swap), *events):
        result = transition(swap, event)
        if differs(swap, result.swap):
            changed = True
            tx.events.append(result.swap, event)
        # Also when the event is not news: what is stored of the secret may be unreadable by now.
        _keep_secret(tx, result.swap, event)
        for effect in result.effects:
            if isinstance(effect, Notify):
                tx.notifications.add(swap_id, effect.state, effect.detail)
                if is_terminal(result.swap):
                    left = result.swap.destination.state is LegState.REFUND_FINAL
                    tx.credits.settle(swap_id, kept=left)
            elif isinstance(effect, AppendReceipt):
                tx.receipts.append_outcome(result.swap)
        if isinstance(event, LockSeen) and event.leg is LegRole.SOURCE and result.swap.source.lock_id:
            tx.reservations.make_firm(swap_id)  # a lock that is seen holds its inventory
        swap = result.swap
    if changed:
        tx.swaps.save(swap, stored.version)
    carry_out(tx, swap)
    return Applied(swap, changed)


def _keep_secret(tx: Transaction, swap: Swap, event: Event) -> None:
    if not isinstance(event, ClaimSeen | SecretShared | SecretRevealed):
        return
    if swap.secret_known and event.preimage.opens(swap.hashlock):
        tx.secrets.put(event.preimage)


def carry_out(tx: Transaction, swap: Swap) -> None:
    """Store what a swap requires now as intents; doing it again changes nothing."""
    for effect in required_effects(swap):
        match effect:
            case CancelLock():
                _cancel_lock(tx, swap)
            case ReleaseInventory():
                tx.reservations.release_of_swap(swap.id)
            case _:
                planned = intent_of(swap, effect)
                if planned is not None:
                    plan(tx, planned)


def plan(tx: Transaction, planned: PlannedIntent) -> None:
    """Store an intent. One that is FINAL but required again (after a reorg deeper than finality, or because
    the outbox knows more than the scan) goes back to the outbox, which looks at its transactions first."""
    if tx.intents.plan(planned) or not tx.intents.is_final(planned):
        return
    standing = tx.intents.standing(planned.subject, planned.leg, planned.purpose, planned.lock_id)
    if standing is not None and standing.state is IntentState.FINAL:
        tx.intents.move(standing.id, IntentState.INCLUDED, reason="required again")
        for done in tx.transactions.of_intent(standing.id):
            if done.state is StoredTxState.FINAL:
                tx.transactions.move(done.id, StoredTxState.INCLUDED)


def _cancel_lock(tx: Transaction, swap: Swap) -> None:
    role = LegRole.DESTINATION
    standing = tx.intents.standing(swap.id, role.value, Purpose.LOCK)
    if standing is None:
        # Only the outbox may promise TxFailed. For this intent, which has no transaction, it does so at once.
        tx.intents.plan(_planned(swap, role, Purpose.LOCK))
        standing = tx.intents.standing(swap.id, role.value, Purpose.LOCK)
    if standing is not None:
        tx.intents.cancel(standing.id, "the destination must no longer be locked")


def _planned(swap: Swap, role: LegRole, purpose: Purpose, lock_id: LockId = LockId("")) -> PlannedIntent:
    terms = swap.leg(role).lock_terms(lock_id)
    pays = paid_account(purpose, role, terms)
    return PlannedIntent(swap.id, purpose, terms.chain, role.value, swap.id, lock_id=lock_id, pays=pays)


def intent_of(swap: Swap, effect: Effect) -> PlannedIntent | None:
    """Return the intent that an effect asks for, None for effects that send nothing."""
    match effect:
        case SendLock():
            return _planned(swap, effect.leg, Purpose.LOCK)
        case SendClaim():
            return _planned(swap, effect.leg, Purpose.CLAIM)
        case SendRefund():
            return _planned(swap, effect.leg, Purpose.REFUND, effect.lock_id)
        case SendCooperativeRefund():
            return _planned(swap, effect.leg, Purpose.COOPERATIVE_REFUND, effect.lock_id)
        case _:
            return None
