"""Stores what has become of transactions and intents: pending, landed, not landed, expired, ended."""

from __future__ import annotations

import structlog

from bridge.engine.apply import apply_events
from bridge.engine.claim_batcher import ClaimBatcher
from bridge.engine.decisions import DecisionRules, Withdraw, current_decision
from bridge.engine.intent_snapshot import IntentSnapshot
from bridge.engine.leased_store import LeasedStore
from bridge.engine.metrics import Metrics
from bridge.engine.outbox_settings import OutboxSettings
from bridge.engine.step_plan import Expired, Landed, NotLanded, Pending, Settle, Withdrawn
from bridge.engine.tx_reasons import ALIVE, EXPIRED, REJECTED, SPOILED
from bridge.protocol.events import TxFailed
from bridge.protocol.types import ChainId, Purpose
from bridge.store import Transaction
from bridge.store.records import Intent, IntentState, StoredTx, StoredTxState
from bridge.store.repositories.intents import LONGEST_WAIT_MS

log = structlog.get_logger("outbox")


class Settler:
    """Settles the intents of one chain."""

    def __init__(
        self,
        store: LeasedStore,
        chain: ChainId,
        batcher: ClaimBatcher,
        rules: DecisionRules,
        settings: OutboxSettings,
        metrics: Metrics,
    ) -> None:
        self._store = store
        self._chain = chain
        self._batcher = batcher
        self._rules = rules
        self._settings = settings
        self._metrics = metrics

    async def settle(self, snapshot: IntentSnapshot, step: Settle) -> bool:
        """Store what a step has found out; returns whether the intent or a transaction of it has ended."""
        match step:
            case Pending():
                await self.note_pending(snapshot.intent, step.tx)
                return False
            case Landed():
                return await self._landed(snapshot, step)
            case NotLanded():
                return await self._not_landed(snapshot, step)
            case Expired():
                await self._store.write(
                    lambda tx: tx.transactions.move(step.tx.id, StoredTxState.DEAD, reason=EXPIRED)
                )
                return True
            case Withdrawn():
                return await self._withdrawn(snapshot.intent, step.reason)

    async def note_pending(self, intent: Intent, stored: StoredTx) -> None:
        """Store that a node holds a transaction, unless that is stored already."""
        is_noted = stored.state is StoredTxState.BROADCAST and not stored.reason
        if is_noted and intent.state is IntentState.BROADCAST:
            return

        def job(tx: Transaction) -> None:
            tx.transactions.move(stored.id, StoredTxState.BROADCAST)
            tx.intents.move(intent.id, IntentState.BROADCAST)

        self._store.note(job)
        if stored.sent_ms is None and not stored.cancels:
            waited = (self._store.now_ms() - intent.created_ms) / 1000
            self._metrics.plan_to_broadcast.labels(self._chain, intent.purpose.value).observe(waited)

    async def note_rejected(self, intent: Intent, stored: StoredTx, reason: str) -> bool:
        """Store that a node refused a transaction. The members of a batch go on by themselves, and so does
        its leader where nothing but the expiry would end the batch: on chains of outputs a stranger's claim
        of one lock makes the whole batch void, and the leader could be kept waiting past its deadline.

        Returns whether all can go on at once.
        """

        def job(tx: Transaction) -> bool:
            if tx.intents.disband_batch(intent.id) and stored.sequence is None:
                tx.transactions.move(stored.id, StoredTxState.DEAD, reason=SPOILED)
                return True
            tx.transactions.move(stored.id, stored.state, reason=f"{REJECTED}{reason}")
            return False

        return await self._store.write(job)

    async def disband_batch(self, leader: Intent) -> None:
        """Let the members of a batch go on by themselves."""
        await self._store.write(lambda tx: tx.intents.disband_batch(leader.id))

    async def finish(self, intent: Intent, reason: str) -> None:
        """End an intent as done, though not by a transaction of ours."""
        await self._store.write(lambda tx: self._close(tx, intent, IntentState.FINAL, reason))

    async def drop_filler(self, snapshot: IntentSnapshot) -> bool:
        """End an intent that was to use up a sequence which is not a gap any more. It counts as not done: the
        sequence may become a gap again."""
        intent, reason = snapshot.intent, "its sequence is used, or nothing waits behind it"
        if snapshot.alive:  # a reorg may still undo what used the sequence
            await self.postpone(intent, reason)
            return False
        await self._store.write(lambda tx: self._close(tx, intent, IntentState.CANCELLED, reason))
        return True

    async def give_up(self, intent: Intent, reason: str) -> None:
        """Send nothing more for an intent that pays somebody else until an operator asks for it."""

        def job(tx: Transaction) -> None:
            tx.intents.move(intent.id, IntentState.GIVEN_UP, reason=reason)
            apply_events(tx, intent.swap_id, [TxFailed(intent.role, intent.purpose, reason)])

        await self._store.write(job)
        self._metrics.finished.labels(self._chain, intent.purpose.value, IntentState.GIVEN_UP.value).inc()
        log.critical("given_up", swap=intent.swap_id, chain=self._chain, purpose=intent.purpose,
                     pays=intent.pays, reason=reason, hint="look at it, then `retry` the swap")  # fmt: skip

    async def wait_until(self, intent: Intent, at_ms: int, reason: str) -> None:
        """Look at an intent again only at a time (Unix milliseconds), or at the longest possible wait."""

        def job(tx: Transaction) -> None:
            until = min(at_ms, tx.now_ms + LONGEST_WAIT_MS)
            tx.intents.postpone(intent.id, until, reason, intent.attempt)

        self._store.note(job)

    async def postpone(self, intent: Intent, reason: str) -> None:
        """Look at an intent again only after a while, longer with each time in a row."""

        def job(tx: Transaction) -> None:
            fresh = tx.intents.get(intent.id) or intent
            most = self._settings.max_retry_ms
            if intent.purpose is Purpose.CLOSE:
                most = self._settings.max_close_retry_ms
            elif intent.pays:
                most = self._settings.max_courtesy_retry_ms
            wait = min(most, self._settings.retry_ms << min(fresh.attempt, 10))
            tx.intents.postpone(intent.id, tx.now_ms + wait, reason, fresh.attempt + 1)

        self._store.note(job)

    # -- what the chain settled --------------------------------------------------------------

    async def _landed(self, snapshot: IntentSnapshot, step: Landed) -> bool:
        intent, landed = snapshot.intent, step.tx
        left_out = set() if landed.cancels else await self._batcher.left_out(intent)

        def job(tx: Transaction) -> None:
            state = StoredTxState.FINAL if step.final else StoredTxState.INCLUDED
            tx.transactions.move(landed.id, state, block_height=step.block_height, block_id=step.block_id)
            made = [member for member in tx.intents.batch_members(intent.id) if member.id not in left_out]
            tx.intents.leave_batch(sorted(left_out - {intent.id}))
            if not step.final:
                tx.intents.move(intent.id, IntentState.INCLUDED)
                return
            self._kill_rivals(tx, snapshot, landed)
            if landed.cancels:
                self._close(tx, intent, IntentState.CANCELLED, intent.reason)
                return
            for member in made:
                self._close(tx, member, IntentState.FINAL, "")
            if intent.id in left_out:
                tx.intents.move(intent.id, IntentState.PLANNED, reason="its batch landed without it")
                return
            self._close(tx, intent, IntentState.FINAL, "")

        self._store.note(job)
        return step.final

    async def _not_landed(self, snapshot: IntentSnapshot, step: NotLanded) -> bool:
        intent, gone = snapshot.intent, step.tx

        def job(tx: Transaction) -> None:
            state = gone.state
            if step.final:
                state = StoredTxState.FAILED if step.reverted else StoredTxState.DEAD
            tx.transactions.move(gone.id, state, block_height=step.since, reason=step.reason)
            if step.final and step.reverted:
                self._kill_rivals(tx, snapshot, gone)
                if intent.purpose is Purpose.LOCK:
                    self._close(tx, intent, IntentState.FAILED, step.reason)

        await self._store.write(job)
        log.warning("not_landed", intent=intent.id, tx=gone.tx_id, reason=step.reason, final=step.final)
        return step.final

    def _kill_rivals(self, tx: Transaction, snapshot: IntentSnapshot, winner: StoredTx) -> None:
        if winner.sequence is None:
            return
        for other in snapshot.alive:
            if other.id != winner.id and other.sequence == winner.sequence:
                tx.transactions.move(other.id, StoredTxState.DEAD, replaced_by=winner.tx_id)

    # -- the end of intents ------------------------------------------------------------------

    async def _withdrawn(self, intent: Intent, reason: str) -> bool:
        def job(tx: Transaction) -> bool:
            if any(stored.state in ALIVE for stored in tx.transactions.of_intent(intent.id)):
                return False
            if not isinstance(current_decision(tx, intent, self._rules), Withdraw):
                return False
            self._close(tx, intent, IntentState.CANCELLED, reason)
            return True

        return await self._store.write(job)

    def _close(self, tx: Transaction, intent: Intent, state: IntentState, reason: str) -> None:
        """End an intent. Its swap is told of a lock that did not happen: that is the promise of
        `TxFailed`."""
        tx.intents.move(intent.id, state, reason=reason)
        self._metrics.finished.labels(self._chain, intent.purpose.value, state.value).inc()
        if not intent.swap_id or state is IntentState.FINAL:
            return
        if intent.purpose is Purpose.LOCK:
            apply_events(tx, intent.swap_id, [TxFailed(intent.role, intent.purpose, reason)])
        else:
            apply_events(tx, intent.swap_id)  # if it is still required, it is planned again
