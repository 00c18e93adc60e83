"""The outbox of one chain: intents become signed, stored, sent, included and final transactions.

One rule above all: bytes are stored before they are sent, and whether they may be sent is decided from the
store each time. Every step is one short transaction under the sender's fenced lease, so a crash between
any two lines, or a second worker, repeats a step but never adds one.

The outbox is the actor. What to do next is decided by the pure `step_plan`; its parts carry it out: the
leased store, the sequence allocator, the claim batcher, the settler and the sender of transactions.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Mapping, Sequence
from functools import partial

import msgspec
import structlog

from bridge.chains.errors import PortError, PortUnavailableError
from bridge.chains.port import ChainPort, Tip
from bridge.engine.apply import apply_events
from bridge.engine.claim_batcher import ClaimBatcher
from bridge.engine.decisions import Decide, Decision, DecisionRules, Withdraw, current_decision
from bridge.engine.intent_snapshot import IntentSnapshot
from bridge.engine.leased_store import LeasedStore
from bridge.engine.metrics import Metrics
from bridge.engine.outbox_settings import OutboxSettings
from bridge.engine.sequences import SequenceAllocator
from bridge.engine.settler import Settler
from bridge.engine.step_plan import (
    NotLanded,
    Replace,
    Resend,
    Sign,
    Step,
    Wait,
    is_worth_a_look,
    plan_step,
)
from bridge.engine.tx_reasons import ALIVE
from bridge.engine.tx_sender import TxSender
from bridge.protocol.events import Event
from bridge.protocol.types import Purpose, SwapId
from bridge.store import LeaseLostError, Store, StoreError, StoreUnavailableError, Transaction
from bridge.store.records import Intent, IntentState, StoredTx

__all__ = ["Outbox", "OutboxSettings"]

log = structlog.get_logger("outbox")

GROUP_PARALLEL = 4
"""How many times as many intents as may be asked about at once are worked on together."""
UNANSWERED_IN_A_ROW = 3
"""The pass ends after so many intents in a row about which the chain did not answer."""

_NO_DEADLINE = 1 << 62
_PRIORITY = {Purpose.CLAIM: 0, Purpose.CANCEL: 1, Purpose.REFUND: 2, Purpose.COOPERATIVE_REFUND: 2}


class Outbox:
    """Works on the intents of one chain, for the one account of its port."""

    def __init__(
        self,
        store: Store,
        port: ChainPort,
        owner: str,
        settings: OutboxSettings | None = None,
        metrics: Metrics | None = None,
    ) -> None:
        self._port = port
        self._settings = settings or OutboxSettings()
        self._metrics = metrics or Metrics()
        self._rules = DecisionRules(
            self._settings.default_depth, batches=port.max_claims > 1, kept=self._settings.kept
        )
        lease = f"sender:{port.chain}:{port.account}"
        self._store = LeasedStore(store, lease, owner, self._settings.lease_ms)
        self._sequences = SequenceAllocator(self._store, port)
        self._batcher = ClaimBatcher(self._store, port, self._rules)
        self._settler = Settler(
            self._store, port.chain, self._batcher, self._rules, self._settings, self._metrics
        )
        self._sender = TxSender(
            self._store,
            port,
            self._sequences,
            self._batcher,
            self._settler,
            self._rules,
            self._settings,
            self._metrics,
        )
        self._last_looks: dict[int, tuple[str, int]] = {}
        """The newest block's id and the time (Unix milliseconds) of the last look at an intent."""
        self._unanswered: dict[int, int] = {}
        """The intents about which the chain gave no answer when they were last looked at, by their turn."""
        self._turns = itertools.count(1)
        self._deadlines: Mapping[tuple[SwapId, str], int] = {}
        """Of the claims that nothing was sent for, by swap and leg."""

    @property
    def holds_lease(self) -> bool:
        """Whether the sender's lease was ours when it was last used."""
        return self._store.is_held

    async def release(self) -> None:
        """Give the lease back, so that another worker need not wait until it runs out."""
        await self._store.release()

    # -- one pass ----------------------------------------------------------------------------

    async def work(self, *, only_claims: bool = False) -> bool:
        """Take every due intent one step further; returns whether something was sent or settled.

        Claims that nothing was sent for come first, those with the nearest deadline first: before the chain
        is asked about anything else, so that they get on however short the process lives. `only_claims`:
        leave the rest, which has to wait until the chain was read. Raises `PortUnavailableError` when the
        chain does not answer and `StoreError` when the database does not.
        """
        snapshots = await self._store.read(partial(self._due, only_claims=only_claims))
        if not snapshots or not await self._store.acquire():
            return False
        snapshots = await self._batcher.leave_ended_batches(snapshots)
        if any(snapshot.alive for snapshot in snapshots):
            await self._sequences.learn()
        tip = await self._port.tip()
        now_ms = self._store.now_ms()
        busy = [
            snapshot
            for snapshot in snapshots
            if is_worth_a_look(snapshot, tip, now_ms, self._settings, self._last_look(snapshot))
        ]
        self._batcher.begin_pass(busy)
        self._sender.begin_pass(snapshots)
        progress, trouble = False, None
        try:
            for group in self._groups(busy):
                more, other, silent = await self._step_all(await self._ask(group), tip, now_ms)
                progress, trouble = progress or more, trouble or other
                if silent:
                    break
        except Exception:
            await self._store.write_notes()
            raise
        await self._store.write_notes()
        if not only_claims:  # else the intents that are to take a free sequence have not had their turn
            await self._sequences.fill_gaps(busy)
        if trouble is not None:
            raise trouble
        return progress

    def _due(self, tx: Transaction, *, only_claims: bool) -> list[IntentSnapshot]:
        intents = tx.intents.due(self._port.chain)
        if only_claims:
            intents = [intent for intent in intents if intent.purpose is Purpose.CLAIM]
        leaders = {intent.batch_leader for intent in intents if intent.batch_leader is not None}
        txs = tx.transactions.of_intents({intent.id for intent in intents} | leaders)
        if not only_claims:
            self._last_looks = {key: look for key, look in self._last_looks.items() if key in txs}
            self._unanswered = {key: turn for key, turn in self._unanswered.items() if key in txs}
        claims = {intent.id: intent.swap_id for intent in intents if intent.purpose is Purpose.CLAIM}
        fresh = {key for key in claims if not any(stored.state in ALIVE for stored in txs.get(key, ()))}
        self._deadlines = tx.intents.claim_deadlines({claims[key] for key in fresh} - {""})
        under_way = {key for key, found in txs.items() if any(_may_act(stored) for stored in found)}
        return [
            IntentSnapshot(intent, tuple(txs[intent.id]), in_batch=intent.batch_leader in under_way)
            for intent in intents
            if intent.id in txs  # else a transaction of it cannot be read
        ]

    def _groups(self, snapshots: Sequence[IntentSnapshot]) -> list[list[IntentSnapshot]]:
        """Put what is most urgent first, in groups of which one is asked about and worked on before the next:
        the one with the lowest sequence, before which no other of the account lands, claims that nothing was
        sent for, claims that were signed and not sent, what waits for a block, what
        waits for confirmations, and what the chain gave no answer about the last time."""
        ordered: list[list[IntentSnapshot]] = [[], [], [], [], []]
        head = _head_of_line(snapshots)
        for snapshot in snapshots:
            if snapshot is head:
                continue
            intent = snapshot.intent
            is_claim = intent.purpose is Purpose.CLAIM
            if intent.id in self._unanswered:
                place = 4
            elif snapshot.may_join_batch:
                place = 0
            elif is_claim and intent.state in {IntentState.PLANNED, IntentState.SIGNED}:
                place = 1
            else:
                place = 3 if intent.state is IntentState.INCLUDED else 2
            ordered[place].append(snapshot)
        size = GROUP_PARALLEL * self._settings.parallel
        groups = [] if head is None else [[head]]
        for each in ordered:
            each.sort(key=self._precedence)
            groups += [each[start : start + size] for start in range(0, len(each), size)]
        return groups

    def _last_look(self, snapshot: IntentSnapshot) -> tuple[str, int]:
        return self._last_looks.get(snapshot.intent.id, ("", 0))

    async def _ask(self, snapshots: Sequence[IntentSnapshot]) -> list[IntentSnapshot]:
        """Return the snapshots with what the chain says of their transactions."""
        gate = asyncio.Semaphore(self._settings.parallel)

        async def ask(snapshot: IntentSnapshot) -> IntentSnapshot:
            if not snapshot.alive:
                return snapshot
            # That a lock never landed gives the source back: two endpoints have to agree.
            agreed = snapshot.intent.purpose is Purpose.LOCK
            async with gate:
                try:
                    return snapshot.with_statuses(
                        {tx.id: await self._port.tx_status(tx.signed, agreed=agreed) for tx in snapshot.alive}
                    )
                except Exception as error:  # of this intent alone: `_guarded` tells what it means
                    return snapshot.without_answer(error)

        return await asyncio.gather(*(ask(snapshot) for snapshot in snapshots))

    async def _step_all(
        self, snapshots: Sequence[IntentSnapshot], tip: Tip, now_ms: int
    ) -> tuple[bool, PortUnavailableError | None, bool]:
        """Take each intent a step further; returns whether something was done, the first trouble, and whether
        the chain answers nothing.

        An intent about which the chain does not answer does not delay the others, and comes last the next
        time. Several in a row mean that the chain answers about none.
        """
        progress = False
        trouble: PortUnavailableError | None = None
        in_a_row = 0
        for snapshot in sorted(snapshots, key=self._precedence):
            key = snapshot.intent.id
            try:
                progress |= await self._guarded(snapshot, tip)
            except PortUnavailableError as error:
                self._unanswered[key] = next(self._turns)
                trouble, in_a_row = trouble or error, in_a_row + 1
                if in_a_row >= UNANSWERED_IN_A_ROW:
                    return progress, trouble, True
                continue
            in_a_row = 0
            self._unanswered.pop(key, None)
            self._last_looks[key] = (tip.block.id, now_ms)
        return progress, trouble, False

    def _precedence(self, snapshot: IntentSnapshot) -> tuple[int, int, int, int]:
        """Intents without an answer come last, the one whose turn is longest ago first: otherwise a few that
        never get an answer would keep the rest of them from ever having a turn. Of the claims that nothing
        was sent for, the nearest deadline comes first."""
        intent = snapshot.intent
        deadline = self._deadlines.get((intent.swap_id, intent.leg), _NO_DEADLINE)
        return self._unanswered.get(intent.id, 0), _PRIORITY.get(intent.purpose, 3), deadline, intent.id

    # -- one intent --------------------------------------------------------------------------

    async def _guarded(self, snapshot: IntentSnapshot, tip: Tip) -> bool:
        """Take one step; what goes wrong with one intent does not delay the others."""
        intent = snapshot.intent
        try:
            if snapshot.unanswered is not None:
                raise snapshot.unanswered
            return await self._step(snapshot, tip)
        except (PortUnavailableError, LeaseLostError, StoreUnavailableError):
            raise
        except (PortError, StoreError) as error:
            reason = f"{type(error).__name__}: {error}"
            if isinstance(error, StoreError):
                self._metrics.errors.labels(self._port.chain, "store").inc()
        except Exception as error:
            # A mistake in an adapter. Its message might quote what it was given, so only its kind is kept.
            reason = f"internal error ({type(error).__name__})"
            self._metrics.errors.labels(self._port.chain, "outbox").inc()
        log.warning("intent_postponed", intent=intent.id, purpose=intent.purpose, reason=reason)
        await self._settler.postpone(intent, reason)
        return False

    async def _step(self, snapshot: IntentSnapshot, tip: Tip) -> bool:
        """Plan and take steps until one of them is more than a note."""
        if self._batcher.has_joined(snapshot):
            return False
        while True:
            intent = snapshot.intent
            decision = await self._store.read(lambda tx, i=intent: current_decision(tx, i, self._rules))  # type: ignore[misc]
            if isinstance(decision, Decide):
                decision = await self._store.write(partial(_decided, intent=intent, rules=self._rules))
            if isinstance(decision, Withdraw) and decision.event is not None:
                # The swap is called off first: after a crash here nothing signs a lock for it any more.
                await self._store.write(partial(_tell, swap_id=intent.swap_id, event=decision.event))
            step = plan_step(snapshot, tip, decision, self._settings, numbered=self._sequences.numbered)
            done = await self._carry_out(snapshot, step, tip)
            if not isinstance(step, NotLanded) or step.final:
                return done
            # That one transaction did not land is noted. The others of the intent still need their step.
            noted = msgspec.structs.replace(step.tx, block_height=step.since, reason=step.reason)
            snapshot = snapshot.with_tx(noted)

    async def _carry_out(self, snapshot: IntentSnapshot, step: Step, tip: Tip) -> bool:
        match step:
            case Sign():
                return await self._sender.sign(snapshot, step, tip)
            case Replace():
                return await self._sender.replace(snapshot.intent, step, tip)
            case Resend():
                return await self._sender.send(snapshot.intent, step.tx, tip)
            case Wait():
                if step.postpone:
                    await self._settler.postpone(snapshot.intent, step.reason)
                return False
            case _:
                return await self._settler.settle(snapshot, step)


def _head_of_line(snapshots: Sequence[IntentSnapshot]) -> IntentSnapshot | None:
    """Return the one whose transaction all others of the account have to wait for, None where none has a
    sequence and waits for a block."""
    lines = {
        min(tx.sequence for tx in snapshot.alive if tx.sequence is not None): snapshot
        for snapshot in snapshots
        if snapshot.intent.state is not IntentState.INCLUDED
        and any(tx.sequence is not None for tx in snapshot.alive)
    }
    return lines[min(lines)] if lines else None


def _decided(tx: Transaction, intent: Intent, rules: DecisionRules) -> Decision:
    """Store what is decided at this moment about an intent's terms, and ask again."""
    decision = current_decision(tx, intent, rules)
    if not isinstance(decision, Decide):
        return decision
    apply_events(tx, intent.swap_id, (decision.event,))
    return current_decision(tx, intent, rules)


def _tell(tx: Transaction, swap_id: SwapId, event: Event) -> None:
    apply_events(tx, swap_id, (event,))


def _may_act(stored: StoredTx) -> bool:
    """Tell whether a transaction may still land and do what it was signed for."""
    return stored.state in ALIVE and not stored.cancels
