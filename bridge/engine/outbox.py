"""The outbox of one chain: intents become signed, stored, sent, included and final transactions.

One rule above all: bytes are stored before they are sent, and whether they may be sent is decided anew from
the store each time. Every step is one short transaction under the sender's fenced lease, so a crash between
any two lines, or a second worker, repeats a step but never adds one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Sequence

import msgspec
import structlog

from bridge.chains.port import (
    Action,
    ActionRefused,
    BroadcastOutcome,
    FeeLevel,
    InsufficientFunds,
    LockStatus,
    NothingToDo,
    PortError,
    PortUnavailable,
    SignedTx,
    Tip,
    TxState,
)
from bridge.engine.actions import encode_action
from bridge.engine.decisions import Decision, Verdict, rides_with
from bridge.engine.sequences import allocate, gaps
from bridge.engine.settlement import ALIVE, EXPIRED, REJECTED, SPOILED, Look, OutboxSettings, Sender
from bridge.protocol.types import Purpose
from bridge.store import LeaseLost, Transaction
from bridge.store.records import (
    LIVE_INTENT_STATES,
    Intent,
    IntentState,
    PlannedIntent,
    StoredTx,
    StoredTxState,
)

__all__ = ["Outbox", "OutboxSettings"]

log = structlog.get_logger("outbox")

UNANSWERED_IN_A_ROW = 3
"""After so many intents to which the chain did not answer the pass ends."""

_PRIORITY = {Purpose.CLAIM: 0, Purpose.CANCEL: 1, Purpose.REFUND: 2, Purpose.COOPERATIVE_REFUND: 2}


class Outbox(Sender):
    """Works on the intents of one chain, for the one account of its port."""

    # -- one pass ----------------------------------------------------------------------------

    async def work(self) -> bool:
        """Take every due intent one step further; returns whether something was sent or settled.

        Raises `PortUnavailable` when the chain does not answer and `StoreError` when the database does not.
        """
        looks = await self._read(self._due)
        if not looks:
            return False
        if not await self._hold_lease():
            return False
        await self._let_off(looks)
        if self._is_numbered is None and any(look.alive for look in looks):
            self._is_numbered = await self._port.next_sequence() is not None
        tip = await self._port.tip()
        now_ms = self._store.now_ms()
        busy = [look for look in looks if self._is_worth_a_look(look, tip, now_ms)]
        await self._ask(busy)
        self._free = {look.intent.id: look for look in busy if _may_ride(look)}
        progress, trouble = await self._step_all(busy, tip, now_ms)
        await self._fill_gaps(busy)
        if trouble is not None:
            raise trouble
        return progress

    async def _step_all(
        self, looks: Sequence[Look], tip: Tip, now_ms: int
    ) -> tuple[bool, PortUnavailable | None]:
        """Take each intent a step further; returns whether something was done, and the first trouble. One to
        which the chain does not answer keeps no other waiting, and comes last the next time; several in a row
        mean that it answers to none."""
        progress = False
        trouble: PortUnavailable | None = None
        in_a_row = 0
        for look in sorted(looks, key=self._precedence):
            key = look.intent.id
            try:
                progress |= await self._guarded(look, tip)
            except PortUnavailable as error:
                self._unanswered[key] = next(self._turns)
                trouble, in_a_row = trouble or error, in_a_row + 1
                if in_a_row >= UNANSWERED_IN_A_ROW:
                    break
                continue
            in_a_row = 0
            self._unanswered.pop(key, None)
            self._looked[key] = (tip.block.id, now_ms)
        return progress, trouble

    def _precedence(self, look: Look) -> tuple[int, int, int]:
        """Those that got no answer come last, and among them first whose turn is longest ago: else a few for
        which there never is one would keep the others of them waiting for ever."""
        intent = look.intent
        return self._unanswered.get(intent.id, 0), _PRIORITY.get(intent.purpose, 3), intent.id

    def _due(self, tx: Transaction) -> list[Look]:
        intents = tx.intents.due(self._chain)
        carriers = {intent.carrier for intent in intents if intent.carrier is not None}
        txs = tx.transactions.of_intents({intent.id for intent in intents} | carriers)
        alive = {key: [one for one in found if one.state in ALIVE] for key, found in txs.items()}
        self._looked = {key: seen for key, seen in self._looked.items() if key in txs}
        self._unanswered = {key: turn for key, turn in self._unanswered.items() if key in txs}
        return [
            Look(
                intent,
                txs[intent.id],
                alive[intent.id],
                intent.carrier is not None and any(not one.cancels for one in alive[intent.carrier]),
            )
            for intent in intents
        ]

    async def _let_off(self, looks: Sequence[Look]) -> None:
        """Whoever rides with an intent that has nothing under way any more goes on alone."""
        stranded = [look for look in looks if look.intent.carrier is not None and not look.is_carried]
        if not stranded:
            return
        ids = [look.intent.id for look in stranded]
        await self._write(lambda tx: tx.intents.ride(ids, None))
        for look in stranded:
            look.intent = msgspec.structs.replace(look.intent, carrier=None)

    def _is_worth_a_look(self, look: Look, tip: Tip, now_ms: int) -> bool:
        """Without news a waiting transaction is not asked about: that keeps 100 open swaps cheap."""
        if look.is_carried and not look.alive:
            return False
        if not look.alive or look.intent.state in {IntentState.PLANNED, IntentState.SIGNED}:
            return True
        if look.intent.cancel and not any(tx.cancels for tx in look.alive):
            return True
        block_id, seen_ms = self._looked.get(look.intent.id, ("", 0))
        return block_id != tip.block.id or now_ms - seen_ms >= self._settings.look_ms

    async def _ask(self, looks: Sequence[Look]) -> None:
        gate = asyncio.Semaphore(self._settings.parallel)

        async def ask(look: Look) -> None:
            async with gate:
                try:
                    look.statuses = {tx.id: await self._port.tx_status(_signed(tx)) for tx in look.alive}
                except PortUnavailable as error:
                    look.unanswered = error

        await asyncio.gather(*(ask(look) for look in looks if look.alive))

    async def _guarded(self, look: Look, tip: Tip) -> bool:
        """Take one step; what goes wrong with one intent does not keep the others waiting."""
        if look.unanswered is not None:
            raise look.unanswered
        try:
            return await self._step(look, tip)
        except (PortUnavailable, LeaseLost):
            raise
        except (ActionRefused, InsufficientFunds, PortError) as error:
            reason = f"{type(error).__name__}: {error}"
        except (ValueError, TypeError, KeyError, ArithmeticError, AttributeError, RuntimeError) as error:
            # A mistake in an adapter. Its message might quote what it was given, so only its kind is kept.
            reason = f"internal error ({type(error).__name__})"
            self._metrics.errors.labels(self._chain, "outbox").inc()
        log.warning("intent_postponed", intent=look.intent.id, purpose=look.intent.purpose, reason=reason)
        await self._postpone(look.intent, reason)
        return False

    # -- one intent --------------------------------------------------------------------------

    async def _step(self, look: Look, tip: Tip) -> bool:
        landed = next((tx for tx in look.alive if look.statuses[tx.id].state is TxState.INCLUDED), None)
        if landed is not None:
            return await self._track(look, landed, look.statuses[landed.id])
        waiting: list[StoredTx] = []
        for tx in look.alive:
            state = look.statuses[tx.id].state
            if state in {TxState.FAILED, TxState.REPLACED}:
                if await self._bury(look, tx, look.statuses[tx.id], tip):
                    return True
            elif state is TxState.UNKNOWN and await self._is_expired(look, tx, tip):
                await self._write(
                    lambda db, i=tx.id: db.transactions.move(i, StoredTxState.DEAD, reason=EXPIRED)  # type: ignore[misc]
                )
                return True
            else:
                waiting.append(tx)
        if waiting:
            return await self._nudge(look, waiting[-1], tip)
        stuck = bool(look.alive)
        decision = await self._read(lambda tx: self._decide(tx, look.intent))
        if stuck and (look.intent.purpose is Purpose.LOCK or decision.verdict is not Verdict.GO):
            return False  # reverted or replaced, but not deep enough to be sure
        match decision.verdict:
            case Verdict.WITHDRAW:
                return await self._finish(look.intent, IntentState.CANCELLED, decision.reason)
            case Verdict.HOLD:
                await self._postpone(look.intent, decision.reason)
                return False
            case Verdict.GO:
                return await self._begin(look, decision, tip)

    async def _begin(self, look: Look, decision: Decision, tip: Tip) -> bool:
        intent, action = look.intent, _action(decision)
        if action.purpose is Purpose.LOCK and action.terms is not None:
            status = await self._port.read_lock(self._port.lock_id(action.terms), action.terms)
            if status is not LockStatus.ABSENT:
                await self._postpone(intent, f"the chain has this lock already ({status.value})")
                return False
        if intent.id not in self._free and _may_ride(look):
            return False  # it has got a place in another's transaction in this very pass
        self._free.pop(intent.id, None)
        free = self._free
        riders: dict[int, Action] = {}
        spoiled = any(one.reason == SPOILED for one in look.txs)
        batches = action.purpose is Purpose.CLAIM and self._port.max_claims > 1
        if batches and not (spoiled or decision.is_urgent(tip.time)):  # then a claim depends on no other
            riders = await self._read(lambda tx: self._find_riders(tx, action, tip.time))
        sequence = await self._allocate()
        # A batch bids for the one of it that has bid too little most often.
        histories = [look.txs, *(free[rider].txs for rider in riders)]
        level = max((_level(txs) for txs in histories), key=lambda one: one.attempt)
        try:
            signed = await self._prepare(action, riders, sequence, level)
        except NothingToDo as error:
            reason = str(error)
            await self._write(lambda tx: self._close(tx, intent, IntentState.FINAL, reason))
            return True
        except (ActionRefused, InsufficientFunds):
            if action.others:  # who rode in what reverted goes on alone
                await self._write(lambda tx: tx.intents.set_down(intent.id))
            raise
        stored = await self._store_signed(intent, signed, tip, attempt=level.attempt, riders=riders)
        return stored is not None and await self._send(intent, stored, tip)

    async def _prepare(
        self, action: Action, riders: dict[int, Action], sequence: int | None, level: FeeLevel
    ) -> SignedTx:
        """Sign an action together with its new riders; if that will not do, without (`riders` is then empty).
        `action` may have others already: those that rode in a batch of this intent's that reverted."""
        if riders:
            together = msgspec.structs.replace(action, others=(*action.others, *riders.values()))
            try:
                return await self._port.prepare(together, sequence, level)
            except PortUnavailable:
                raise
            except PortError as error:
                log.warning("no_batch", chain=self._chain, claims=1 + len(together.others), reason=str(error))
                riders.clear()
        return await self._port.prepare(action, sequence, level)

    def _find_riders(self, tx: Transaction, action: Action, now: int) -> dict[int, Action]:
        """Return the claims that may be made together with this one, by intent. One that is near its deadline
        goes alone: where a batch is all or none, a stranger's claim of any of its locks spoils it."""
        found: dict[int, Action] = {}
        for other in self._free.values():
            if 1 + len(action.others) + len(found) >= self._port.max_claims:
                break
            decision = self._decide_alone(tx, tx.intents.get(other.intent.id) or other.intent)
            if decision.verdict is not Verdict.GO or decision.is_urgent(now):
                continue
            if rides_with(action, _action(decision)):
                found[other.intent.id] = _action(decision)
        return found

    async def _nudge(self, look: Look, newest: StoredTx, tip: Tip) -> bool:
        """A transaction that is in no block: send it again, outbid it, or see that it never lands."""
        decision = await self._read(lambda tx: self._decide(tx, look.intent))
        if decision.verdict is Verdict.HOLD:
            return False
        if decision.verdict is Verdict.WITHDRAW:
            return await self._withdraw(look, newest, tip)
        if self._is_stuck(newest, tip, decision.is_urgent(tip.time)):
            return await self._replace(look.intent, newest, _action(decision), tip)
        if look.statuses[newest.id].state is TxState.UNKNOWN:
            if _signed(newest).is_over(tip):
                return False  # no node takes it any more; it soon counts as expired
            return await self._send(look.intent, newest, tip)
        await self._note_pending(look.intent, newest)
        return False

    async def _withdraw(self, look: Look, newest: StoredTx, tip: Tip) -> bool:
        """Use up the sequence with a transaction that does nothing. Where there are no sequences, wait
        until what was signed has expired."""
        if newest.sequence is None:
            return False
        if not newest.cancels:
            return await self._replace(look.intent, newest, Action(Purpose.CANCEL), tip, cancels=True)
        if look.statuses[newest.id].state is TxState.UNKNOWN:
            return await self._send(look.intent, newest, tip)
        if self._is_stuck(newest, tip, urgent=False):
            return await self._replace(look.intent, newest, Action(Purpose.CANCEL), tip, cancels=True)
        return False

    def _is_stuck(self, tx: StoredTx, tip: Tip, urgent: bool) -> bool:
        if tx.sent_ms is None and not tx.reason.startswith(REJECTED):
            return False  # a node that has not taken it does not wait for a better bid
        patience = self._settings.urgent_bump_blocks if urgent else self._settings.bump_blocks
        waited = tip.block.height - tx.signed_height
        return self._can_outbid(tx) and waited >= patience

    def _can_outbid(self, tx: StoredTx) -> bool:
        """Whether a better bid takes its place instead of standing beside it: it has a sequence of ours, or
        another's on a chain that has them (a gate's on Stellar: the same inner transaction comes again)."""
        return (
            tx.sequence is not None or self._is_numbered is True
        ) and tx.attempt < self._settings.max_bumps

    async def _replace(
        self, intent: Intent, old: StoredTx, action: Action, tip: Tip, *, cancels: bool = False
    ) -> bool:
        fee = FeeLevel(old.attempt + 1, old.fee)
        try:
            signed = await self._port.prepare(action, old.sequence, fee)
        except (ActionRefused, InsufficientFunds) as error:
            log.warning("not_replaced", intent=intent.id, tx=old.tx_id, reason=str(error))
            return await self._send(intent, old, tip) if old.sent_ms is None and not cancels else False
        stored = await self._store_signed(intent, signed, tip, attempt=old.attempt + 1, cancels=cancels)
        self._metrics.replacements.labels(self._chain).inc()
        return stored is not None and await self._send(intent, stored, tip)

    # -- signing and sending -----------------------------------------------------------------

    async def _store_signed(
        self,
        intent: Intent,
        signed: SignedTx,
        tip: Tip,
        *,
        attempt: int,
        cancels: bool = False,
        riders: Collection[int] = (),
    ) -> StoredTx | None:
        """Store signed bytes, if the intent and its new riders may still be signed in this very
        transaction."""

        def job(tx: Transaction) -> StoredTx | None:
            fresh = tx.intents.get(intent.id)
            if fresh is None or fresh.state is not intent.state or fresh.cancel != intent.cancel:
                return None
            if not cancels and self._decide(tx, fresh).verdict is not Verdict.GO:
                return None
            for rider in riders:
                other = tx.intents.get(rider)
                if other is None or other.carrier is not None or other.state not in LIVE_INTENT_STATES:
                    return None
                if self._decide(tx, other).verdict is not Verdict.GO:
                    return None
            tx.intents.ride(list(riders), intent.id)
            tx.transactions.add(
                intent.id,
                self._chain,
                tx_id=signed.tx_id,
                raw=signed.raw,
                account=signed.account,
                sequence=signed.sequence,
                fee=signed.fee,
                max_cost=signed.max_cost,
                valid_until=signed.valid_until,
                attempt=attempt,
                cancels=cancels,
                signed_height=tip.block.height,
            )
            tx.intents.move(intent.id, IntentState.SIGNED, attempt=0)
            return tx.transactions.by_tx_id(self._chain, signed.tx_id)

        stored = await self._write(job)
        if stored is not None:
            purpose = Purpose.CANCEL if cancels else intent.purpose
            self._metrics.signed.labels(self._chain, purpose.value).inc()
            log.info("signed", intent=intent.id, swap=intent.swap_id, purpose=purpose, tx=signed.tx_id,
                     riders=len(riders))  # fmt: skip
            for rider in riders:
                self._free.pop(rider, None)
                self._metrics.signed.labels(self._chain, purpose.value).inc()
        return stored

    async def _send(self, intent: Intent, stored: StoredTx, tip: Tip) -> bool:
        """Send stored bytes, if they may be sent at this moment."""
        if not stored.cancels:
            decision = await self._read(lambda tx: self._decide(tx, intent))
            if decision.verdict is not Verdict.GO:
                log.info("not_sent", intent=intent.id, tx=stored.tx_id, reason=decision.reason)
                return False
        result = await self._port.broadcast(_signed(stored))
        purpose = Purpose.CANCEL if stored.cancels else intent.purpose
        self._metrics.broadcasts.labels(self._chain, purpose.value, result.outcome.value).inc()
        tell = log.debug if result.outcome is BroadcastOutcome.LATER else log.info
        tell("broadcast", intent=intent.id, swap=intent.swap_id, purpose=purpose, tx=stored.tx_id,
                 outcome=result.outcome, reason=result.reason)  # fmt: skip
        match result.outcome:
            case BroadcastOutcome.ACCEPTED | BroadcastOutcome.ALREADY_KNOWN:
                await self._note_pending(intent, stored)
                return True
            case BroadcastOutcome.SEQUENCE_USED | BroadcastOutcome.LATER:
                return False  # the next look at its status says by what, or sends it again
            case BroadcastOutcome.UNDERPRICED:
                return await self._outbid(intent, stored, tip)
            case BroadcastOutcome.REJECTED:
                if await self._write(lambda tx: self._refused(tx, intent, stored, result.reason)):
                    return True
                await self._postpone(intent, f"the node rejected it: {result.reason}")
                return False

    def _refused(self, tx: Transaction, intent: Intent, stored: StoredTx, reason: str) -> bool:
        """Note that a node refused a transaction. Riders of a batch go on by themselves, and who led it too
        where nothing but its expiry would end it: on chains of outputs a stranger's claim of one lock makes
        the whole batch void, and whoever leads could be kept waiting past the deadline. Returns whether all
        can go on at once."""
        if tx.intents.set_down(intent.id) and stored.sequence is None:
            tx.transactions.move(stored.id, StoredTxState.DEAD, reason=SPOILED)
            return True
        tx.transactions.move(stored.id, stored.state, reason=f"{REJECTED}{reason}")
        return False

    async def _outbid(self, intent: Intent, stored: StoredTx, tip: Tip) -> bool:
        if not self._can_outbid(stored):
            await self._postpone(intent, "the node wants a higher fee")
            return False
        if stored.cancels:
            return await self._replace(intent, stored, Action(Purpose.CANCEL), tip, cancels=True)
        decision = await self._read(lambda tx: self._decide(tx, intent))
        if decision.verdict is not Verdict.GO:
            return False
        fresh = await self._read(lambda tx: tx.intents.get(intent.id))
        return await self._replace(fresh or intent, stored, _action(decision), tip)

    async def _note_pending(self, intent: Intent, stored: StoredTx) -> None:
        noted = stored.state is StoredTxState.BROADCAST and not stored.reason
        if noted and intent.state is IntentState.BROADCAST:
            return

        def job(tx: Transaction) -> None:
            tx.transactions.move(stored.id, StoredTxState.BROADCAST)
            tx.intents.move(intent.id, IntentState.BROADCAST)

        await self._write(job)
        if stored.sent_ms is None and not stored.cancels:
            waited = (self._store.now_ms() - intent.created_ms) / 1000
            self._metrics.plan_to_broadcast.labels(self._chain, intent.purpose.value).observe(waited)

    # -- sequences ---------------------------------------------------------------------------

    async def _allocate(self) -> int | None:
        confirmed = await self._port.next_sequence()
        self._is_numbered = confirmed is not None
        if confirmed is None:
            return None
        held, floor = await self._read(self._held)
        return allocate(confirmed, held, floor)

    def _held(self, tx: Transaction) -> tuple[set[int], int]:
        account = self._port.account
        held = set(tx.transactions.pending_sequences(self._chain, account))
        return held, tx.transactions.settled_floor(self._chain, account)

    async def _fill_gaps(self, looks: Sequence[Look]) -> None:
        """A sequence that nobody uses blocks all later ones: use it up with nothing."""
        if not any(tx.sequence is not None for look in looks for tx in look.alive):
            return
        confirmed = await self._port.next_sequence()
        if confirmed is None:
            return
        held, _ = await self._read(self._held)
        for sequence in gaps(confirmed, held):
            subject = f"gap:{self._port.account}:{sequence}"
            action = encode_action(Action(Purpose.CANCEL))
            planned = PlannedIntent(subject, Purpose.CANCEL, self._chain, action=action)
            if await self._write(lambda tx, p=planned: tx.intents.plan(p)):  # type: ignore[misc]
                log.warning("sequence_gap", chain=self._chain, sequence=sequence)


def _may_ride(look: Look) -> bool:
    """A claim for which nothing is under way may go along in another's transaction."""
    intent = look.intent
    return intent.purpose is Purpose.CLAIM and bool(intent.swap_id) and not (look.alive or intent.cancel)


def _level(txs: Sequence[StoredTx]) -> FeeLevel:
    """What to bid: what expired before landing bid too little for these times."""
    expired = [one for one in txs if one.state is StoredTxState.DEAD and one.reason == EXPIRED]
    return FeeLevel(len(expired), expired[-1].fee) if expired else FeeLevel()


def _signed(tx: StoredTx) -> SignedTx:
    return SignedTx(tx.tx_id, tx.raw, tx.account, tx.sequence, tx.fee, tx.max_cost, tx.valid_until)


def _action(decision: Decision) -> Action:
    if decision.action is None:
        raise RuntimeError("a decision to go names its action")
    return decision.action
