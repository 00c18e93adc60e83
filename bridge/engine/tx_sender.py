"""Signs, stores and broadcasts. Bytes are stored before they are sent, and whether they may be stored and
sent is decided again from the store each time."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import msgspec
import structlog

from bridge.chains.actions import (
    Action,
    CancelAction,
    ClaimAction,
    CooperativeRefundAction,
    LockAction,
    RefundAction,
)
from bridge.chains.errors import (
    ActionRefusedError,
    InsufficientFundsError,
    NothingToDoError,
    PortError,
    PortUnavailableError,
    TooDearError,
)
from bridge.chains.port import BroadcastOutcome, ChainPort, FeeLevel, LockStatus, SignedTx, Tip
from bridge.engine import courtesy
from bridge.engine.apply import apply_events
from bridge.engine.claim_batcher import ClaimBatcher
from bridge.engine.decisions import Decision, DecisionRules, Go, current_decision
from bridge.engine.intent_snapshot import IntentSnapshot
from bridge.engine.leased_store import LeasedStore
from bridge.engine.metrics import Metrics
from bridge.engine.outbox_settings import OutboxSettings
from bridge.engine.sequences import SequenceAllocator
from bridge.engine.settler import Settler
from bridge.engine.source_lock_check import lock_not_before
from bridge.engine.step_plan import Replace, Sign, can_outbid, first_bid
from bridge.protocol.types import Amount, Purpose, TxId
from bridge.store import Transaction
from bridge.store.records import Intent, IntentState, StoredTx, StoredTxState

log = structlog.get_logger("outbox")


class TxSender:
    """Sends the transactions of one account. Its methods return whether something was sent or settled, and
    raise `PortUnavailableError`, `ActionRefusedError` and `InsufficientFundsError` of the port."""

    def __init__(
        self,
        store: LeasedStore,
        port: ChainPort,
        sequences: SequenceAllocator,
        batcher: ClaimBatcher,
        settler: Settler,
        rules: DecisionRules,
        settings: OutboxSettings,
        metrics: Metrics,
    ) -> None:
        self._store = store
        self._port = port
        self._chain = port.chain
        self._sequences = sequences
        self._batcher = batcher
        self._settler = settler
        self._rules = rules
        self._settings = settings
        self._metrics = metrics
        self._unsent: set[TxId] = set()
        """Signed transactions with sequences that no node has taken: what is signed now waits behind them."""

    def begin_pass(self, snapshots: Sequence[IntentSnapshot]) -> None:
        """Look at what was signed and not sent before."""
        self._unsent = {
            tx.tx_id
            for snapshot in snapshots
            for tx in snapshot.alive
            if tx.sequence is not None and tx.state is StoredTxState.SIGNED
        }

    # -- the three steps that send -----------------------------------------------------------

    async def sign(self, snapshot: IntentSnapshot, step: Sign, tip: Tip) -> bool:
        """Sign, store and send the first transaction of an intent, or one after those that never landed."""
        intent, action = snapshot.intent, step.action
        if self._unsent and not isinstance(action, ClaimAction | CancelAction):
            return False  # otherwise a claim that comes up would be last in a long line
        if isinstance(action, LockAction):
            since = await self._store.read(lambda tx: lock_not_before(tx, intent.swap_id, intent.role))
            status = await self._port.read_lock(
                self._port.lock_id(action.terms), action.terms, since=since, agreed=True
            )
            if status is not LockStatus.ABSENT:
                await self._settler.postpone(
                    intent, f"it is not proved that this lock is new ({status.value})"
                )
                return False
        if not await self._is_allowed(snapshot, action):
            return False
        members = await self._batcher.members_for(snapshot, action, tip.time, urgent=step.urgent)
        if isinstance(action, CancelAction):
            sequence = await self._sequences.gap_of(intent)
            if sequence is None:
                return await self._settler.drop_filler(snapshot)
        else:
            sequence = await self._sequences.next()
        # A batch bids for the one of it that has bid too little most often.
        histories = [snapshot.txs, *self._batcher.histories(members)]
        bid = max((first_bid(txs) for txs in histories), key=lambda level: level.attempt)
        try:
            signed = await self._prepare(action, members, sequence, bid)
        except NothingToDoError as error:
            await self._settler.finish(intent, str(error))
            return True
        except (ActionRefusedError, InsufficientFundsError):
            if (
                isinstance(action, ClaimAction) and action.others
            ):  # the members of a batch that reverted go on alone
                await self._settler.disband_batch(intent)
            raise
        if not await self._is_allowed(snapshot, action, signed.max_cost):
            return False
        stored = await self._store_signed(intent, signed, tip, attempt=bid.attempt, members=members)
        return stored is not None and await self.send(intent, stored, tip)

    async def replace(self, intent: Intent, step: Replace, tip: Tip) -> bool:
        """Sign, store and send a transaction that takes the place of another one."""
        old = step.old
        try:
            signed = await self._port.prepare(
                step.action, old.sequence, FeeLevel(old.attempt + 1, old.signed.fee)
            )
        except (ActionRefusedError, InsufficientFundsError, TooDearError) as error:
            log.warning("not_replaced", intent=intent.id, tx=old.tx_id, reason=str(error))
            return await self.send(intent, old, tip) if old.sent_ms is None and not step.cancels else False
        stored = await self._store_signed(intent, signed, tip, attempt=old.attempt + 1, cancels=step.cancels)
        self._metrics.replacements.labels(self._chain).inc()
        return stored is not None and await self.send(intent, stored, tip)

    async def send(self, intent: Intent, stored: StoredTx, tip: Tip) -> bool:
        """Send stored bytes, if they may be sent at this moment."""
        if not stored.cancels:
            decision = await self._decide(intent)
            if not isinstance(decision, Go):
                log.info("not_sent", intent=intent.id, tx=stored.tx_id, reason=decision.reason)
                return False
        result = await self._port.broadcast(stored.signed)
        purpose = Purpose.CANCEL if stored.cancels else intent.purpose
        self._metrics.broadcasts.labels(self._chain, purpose.value, result.outcome.value).inc()
        tell = log.debug if result.outcome is BroadcastOutcome.LATER else log.info
        tell("broadcast", intent=intent.id, swap=intent.swap_id, purpose=purpose, tx=stored.tx_id,
             outcome=result.outcome, reason=result.reason)  # fmt: skip
        match result.outcome:
            case BroadcastOutcome.ACCEPTED | BroadcastOutcome.ALREADY_KNOWN:
                self._unsent.discard(stored.tx_id)
                await self._settler.note_pending(intent, stored)
                return True
            case BroadcastOutcome.SEQUENCE_USED | BroadcastOutcome.LATER:
                return False  # the next look at its status says by what, or sends it again
            case BroadcastOutcome.UNDERPRICED:
                return await self._outbid(intent, stored, tip)
            case BroadcastOutcome.REJECTED:
                if await self._settler.note_rejected(intent, stored, result.reason):
                    return True
                await self._settler.postpone(intent, f"the node rejected it: {result.reason}")
                return False

    # -- their parts -------------------------------------------------------------------------

    async def _prepare(
        self, action: Action, members: dict[int, ClaimAction], sequence: int | None, bid: FeeLevel
    ) -> SignedTx:
        """Sign an action together with the new members of its batch; if that cannot be done, without them
        (`members` is then empty). `action` may make other claims already: those of a batch of this intent
        that reverted."""
        if members and isinstance(action, ClaimAction):
            together = msgspec.structs.replace(action, others=(*action.others, *members.values()))
            try:
                return await self._port.prepare(together, sequence, bid)
            except PortUnavailableError:
                raise
            except PortError as error:
                claims = 1 + len(together.others)
                log.warning("no_batch", chain=self._chain, claims=claims, reason=str(error))
                members.clear()
        return await self._port.prepare(action, sequence, bid)

    async def _is_allowed(self, snapshot: IntentSnapshot, action: Action, cost: Amount | None = None) -> bool:
        """Tell whether an action may be signed although it pays somebody else; if not, see to it that it
        waits or ends. `cost`: the most that it can cost in native units, as soon as that is known."""
        intent = snapshot.intent
        if not intent.pays or not isinstance(action, ClaimAction | RefundAction | CooperativeRefundAction):
            return True
        limits, terms = self._settings.courtesy, action.terms
        match await self._store.read(lambda tx: courtesy.verdict(tx, intent, limits, terms, cost)):
            case courtesy.Allowed():
                return True
            case courtesy.Later(reason=reason, at_ms=at_ms):
                await self._settler.wait_until(intent, at_ms, reason)
            case courtesy.Never(reason=reason):
                if snapshot.alive:  # a reorg may still undo what reverted
                    await self._settler.postpone(intent, reason)
                else:
                    await self._settler.give_up(intent, reason)
        return False

    async def _store_signed(
        self,
        intent: Intent,
        signed: SignedTx,
        tip: Tip,
        *,
        attempt: int,
        cancels: bool = False,
        members: Collection[int] = (),
    ) -> StoredTx | None:
        """Store signed bytes, if the intent and the new members of its batch may still be signed in this very
        transaction; None if not."""

        def job(tx: Transaction) -> StoredTx | None:
            fresh = tx.intents.get(intent.id)
            if fresh is None or fresh.state is not intent.state or fresh.cancel != intent.cancel:
                return None
            decision = current_decision(tx, fresh, self._rules)
            if not cancels and not isinstance(decision, Go):
                return None
            if not self._batcher.may_all_join(tx, members):
                return None
            if not cancels and isinstance(decision, Go) and decision.note is not None:
                apply_events(tx, intent.swap_id, (decision.note,))
            tx.intents.join_batch(list(members), intent.id)
            tx.transactions.add(
                intent.id,
                self._chain,
                signed,
                attempt=attempt,
                cancels=cancels,
                signed_height=tip.block.height,
            )
            tx.intents.move(intent.id, IntentState.SIGNED, attempt=0)
            return tx.transactions.by_tx_id(self._chain, signed.tx_id)

        stored = await self._store.write(job)
        if stored is not None:
            if stored.sequence is not None:
                self._unsent.add(stored.tx_id)
            purpose = Purpose.CANCEL if cancels else intent.purpose
            self._metrics.signed.labels(self._chain, purpose.value).inc(1 + len(members))
            log.info("signed", intent=intent.id, swap=intent.swap_id, purpose=purpose, tx=signed.tx_id,
                     batch_members=len(members))  # fmt: skip
            self._batcher.joined(members)
        return stored

    async def _outbid(self, intent: Intent, stored: StoredTx, tip: Tip) -> bool:
        if not can_outbid(stored, self._settings, numbered=self._sequences.numbered):
            await self._settler.postpone(intent, "the node wants a higher fee")
            return False
        if stored.cancels:
            return await self.replace(intent, Replace(stored, CancelAction(), cancels=True), tip)
        decision = await self._decide(intent)
        if not isinstance(decision, Go):
            return False
        fresh = await self._store.read(lambda tx: tx.intents.get(intent.id))
        return await self.replace(fresh or intent, Replace(stored, decision.action), tip)

    async def _decide(self, intent: Intent) -> Decision:
        return await self._store.read(lambda tx: current_decision(tx, intent, self._rules))
