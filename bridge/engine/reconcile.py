"""The level-triggered sweep: even if an event was missed, the next step follows from the state alone.

`sweep` applies the newest time to every open swap and stores what it requires. `suspects` lists the locks
whose chain should be asked directly, in case a node did not report all events.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum

import msgspec
import structlog

from bridge.engine.apply import apply_events, clocks, differs, intent_of, retrying
from bridge.protocol.effects import CancelLock, ReleaseInventory
from bridge.protocol.legs import OPEN, UNPROVEN
from bridge.protocol.rules import required_effects
from bridge.protocol.transition import transition
from bridge.protocol.types import (
    BlockRef,
    ChainId,
    Leg,
    LegState,
    LockId,
    LockTerms,
    Purpose,
    StrayLock,
    Swap,
    SwapId,
    UnixSeconds,
)
from bridge.store import Store, StoreError, StoreUnavailableError, Transaction
from bridge.store.records import Intent, IntentState, ObservedKind

log = structlog.get_logger("worker")


IN_TURN = 64
"""How many open swaps a sweep looks at in turn, whatever their alarms say."""


class Expected(StrEnum):
    """What the events said of a lock."""

    ABSENT = "absent"
    """It was not made yet."""
    OPEN = "open"
    PROOF = "proof"
    """It was spent, and it is not proved how."""


class Suspect(msgspec.Struct, frozen=True):
    """A lock to read back.

    `since`: the block to scan again from if the chain disagrees, None for the oldest one known.
    """

    swap_id: SwapId
    lock_id: LockId
    terms: LockTerms
    expected: Expected
    since: BlockRef | None


class Reconcile:
    """Sweeps the open swaps of one chain."""

    def __init__(self, store: Store, chain: ChainId) -> None:
        self._store = store
        self.chain = chain
        self._turn = SwapId("")

    def sweep(self) -> int:
        """Bring every open swap of this chain up to date; returns how many changed.

        Those in which the chain's time can change something are found by their alarms. In case something was
        missed, some of all open swaps are looked at in turn besides. Reads first and writes only for swaps
        that need it, each in a transaction of its own.
        """
        with self._store.reading() as tx:
            due, quiet = self._due(tx)
        if quiet:
            retrying(self._store, lambda tx: _set_alarms(tx, quiet))
        changed = 0
        for swap_id in due:
            try:
                changed += retrying(self._store, lambda tx, i=swap_id: apply_events(tx, i)).changed  # type: ignore[misc]
            except StoreUnavailableError:
                raise
            except Exception as error:
                self._pass_over(swap_id, error)
        return changed

    def _pass_over(self, swap_id: str, error: Exception) -> None:
        """Name a swap that cannot be worked on, as an alarm; the others go on. Of a mistake only its kind is
        kept: a message might quote a secret."""
        reason = str(error) if isinstance(error, StoreError) else f"internal error ({type(error).__name__})"
        log.error("swap_passed_over", chain=self.chain, swap=swap_id, reason=reason)

    def _due(self, tx: Transaction) -> tuple[list[SwapId], list[tuple[Swap, int]]]:
        """Return the swaps that need work, and those that only need a later alarm, with their versions."""
        status = tx.chains.get(self.chain)
        alarmed = tx.swaps.with_alarm(self.chain, status.time if status else UnixSeconds(0))
        in_turn, self._turn = tx.swaps.open_after(self._turn, IN_TURN)
        stored = list({each.id: each for each in (*alarmed, *in_turn) if self._is_here(each.swap)}.values())
        standing: dict[str, list[Intent]] = {}
        for intent in tx.intents.standing_of([open_swap.id for open_swap in stored]):
            standing.setdefault(intent.swap_id, []).append(intent)
        due = [
            open_swap.id
            for open_swap in stored
            if self._asks_for_work(tx, open_swap.swap, standing.get(open_swap.id, []))
        ]
        working = set(due)
        quiet: list[tuple[Swap, int]] = []
        for each in alarmed:
            if each.id in working:
                continue
            try:
                quiet.append((_told_the_time(tx, each.swap), each.version))
            except StoreUnavailableError:
                raise
            except Exception as error:
                self._pass_over(each.id, error)
        return due, quiet

    def _is_here(self, swap: Swap) -> bool:
        return self.chain in {swap.source.terms.chain, swap.destination.terms.chain}

    def _asks_for_work(self, tx: Transaction, swap: Swap, intents: list[Intent]) -> bool:
        try:
            return self._needs_work(tx, swap, intents)
        except StoreUnavailableError:
            raise
        except Exception as error:
            self._pass_over(swap.id, error)
            return False

    def _needs_work(self, tx: Transaction, swap: Swap, intents: list[Intent]) -> bool:
        now = _told_the_time(tx, swap)
        if differs(swap, now):
            return True
        stands = {(intent.leg, intent.purpose, intent.lock_id): intent for intent in intents}
        for effect in required_effects(now):
            if isinstance(effect, CancelLock):
                lock = stands.get((effect.leg.value, Purpose.LOCK, LockId("")))
                if lock is None or not lock.cancel:
                    return True
            elif isinstance(effect, ReleaseInventory):
                if any(held.live for held in tx.reservations.of_swap(swap.id)):
                    return True
            else:
                planned = intent_of(now, effect)
                if planned is None:
                    continue
                found = stands.get((planned.leg, planned.purpose, planned.lock_id))
                if found is None or found.state is IntentState.FINAL:
                    return True
        return False

    def _on_chain(
        self, tx: Transaction, swap_id: SwapId, lock: Leg | StrayLock, terms: LockTerms
    ) -> list[Suspect]:
        if lock.lock_block is None or lock.state not in OPEN | UNPROVEN:
            return []
        seen = tx.observations.of_lock(self.chain, lock.lock_id, ObservedKind.LOCKED)
        since = seen.block if seen else lock.lock_block
        expected = Expected.OPEN if lock.state in OPEN else Expected.PROOF
        return [Suspect(swap_id, lock.lock_id, terms, expected, since)]

    def suspects(self) -> list[Suspect]:
        """Return the locks of open swaps, to ask their chain whether events are missing here."""
        found: list[Suspect] = []
        with self._store.reading() as tx:
            for stored in tx.swaps.open(self.chain):
                for leg in stored.swap.legs:
                    if leg.terms.chain != self.chain:
                        continue
                    if leg.state in {LegState.NONE, LegState.INTENT}:
                        if stored.swap.accepted:
                            found.append(Suspect(stored.id, leg.lock_id, leg.terms, Expected.ABSENT, None))
                        continue
                    found += self._on_chain(tx, stored.id, leg, leg.terms)
                    for stray in leg.strays:
                        found += self._on_chain(tx, stored.id, stray, stray.terms)
        return found


def _set_alarms(tx: Transaction, quiet: Sequence[tuple[Swap, int]]) -> None:
    """Store later alarms, in the order in which everybody takes the rows of several swaps."""
    for swap, version in sorted(quiet, key=lambda each: each[0].id):
        tx.swaps.set_alarms(swap, version)


def _told_the_time(tx: Transaction, swap: Swap) -> Swap:
    for tick in clocks(tx, swap):
        swap = transition(swap, tick).swap
    return swap
