"""What every step of the outbox stands on: the store under a fenced lease, decisions, and the settling of
transactions that landed, reverted, expired or were replaced."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable
from typing import TypeVar

import msgspec
import structlog

from bridge.chains.port import (
    HEIGHTS_END,
    Action,
    ChainPort,
    LockStatus,
    PortUnavailable,
    Tip,
    TxState,
    TxStatus,
)
from bridge.engine.apply import apply_events, retrying
from bridge.engine.decisions import Decision, Verdict, decide, joined
from bridge.engine.metrics import Metrics
from bridge.protocol.events import TxFailed
from bridge.protocol.types import Purpose
from bridge.store import LeaseLost, Store, Transaction
from bridge.store.records import Intent, IntentState, Lease, StoredTx, StoredTxState

T = TypeVar("T")
log = structlog.get_logger("outbox")

ALIVE = frozenset({StoredTxState.SIGNED, StoredTxState.BROADCAST, StoredTxState.INCLUDED})
"""A transaction in one of these states may still land, or may still be undone by a reorg."""


EXPIRED = "expired"
"""Why a transaction is dead that did not land in its time."""

REJECTED = "the node rejected it: "
"""Why a transaction may have to be made anew with its sequence: nobody took it, and later ones wait."""

SPOILED = "the node refused the batch"
"""Why a batch is given up before its time: nobody waits for it, though after a reorg it may land all the
same. Its claims are then made, which is all that each of them wants."""


class OutboxSettings(msgspec.Struct, frozen=True):
    """How the outbox waits and bids. Times in milliseconds, the rest in blocks and counts."""

    lease_ms: int = 15_000
    default_depth: int = 3
    """Confirmations that settle what belongs to no swap."""
    bump_blocks: int = 3
    urgent_bump_blocks: int = 1
    max_bumps: int = 60
    retry_ms: int = 1_000
    max_retry_ms: int = 15_000
    max_close_retry_ms: int = 600_000
    """Deposits come in when their time has come, which may be hours away and is never urgent."""
    look_ms: int = 10_000
    """A transaction is looked at with every new block, and at least this often."""
    parallel: int = 8


class Look(msgspec.Struct):
    """An intent with its transactions that may still matter, and what the chain says of them.

    `is_carried`: a transaction of another intent that may still land does it along.
    """

    intent: Intent
    txs: list[StoredTx]
    alive: list[StoredTx]
    is_carried: bool = False
    statuses: dict[int, TxStatus] = {}
    unanswered: PortUnavailable | None = None
    """The chain did not say what became of the transactions."""


class Sender:
    """The sender of one account on one chain: reads, writes under its lease, and settles."""

    def __init__(
        self,
        store: Store,
        port: ChainPort,
        owner: str,
        settings: OutboxSettings | None = None,
        metrics: Metrics | None = None,
    ) -> None:
        self._store = store
        self._port = port
        self._owner = owner
        self._settings = settings or OutboxSettings()
        self._metrics = metrics or Metrics()
        self._chain = port.chain
        self._lease: Lease | None = None
        self._looked: dict[int, tuple[str, int]] = {}
        self._is_numbered: bool | None = None
        """Whether the chain numbers transactions; None before it was asked."""
        self._unanswered: dict[int, int] = {}
        """The intents to which the chain did not answer when they were last looked at, by their turn."""
        self._turns = itertools.count(1)
        self._free: dict[int, Look] = {}
        """The claims of this pass that may still ride along with others, by intent."""

    # -- settling ----------------------------------------------------------------------------

    async def _track(self, look: Look, landed: StoredTx, status: TxStatus) -> bool:
        depth = (await self._read(lambda tx: self._decide(tx, look.intent))).depth
        height, block_id = (status.block.height, status.block.id) if status.block else (None, "")
        final = status.confirmations >= depth
        noted = landed.state is StoredTxState.INCLUDED and look.intent.state is IntentState.INCLUDED
        if not final and noted and landed.block_id == block_id:
            return False
        left_out = set() if landed.cancels else await self._left_out(look.intent)

        def job(tx: Transaction) -> None:
            state = StoredTxState.FINAL if final else StoredTxState.INCLUDED
            tx.transactions.move(landed.id, state, block_height=height, block_id=block_id)
            riders = [rider for rider in tx.intents.riders(look.intent.id) if rider.id not in left_out]
            tx.intents.ride(sorted(left_out - {look.intent.id}), None)
            if not final:
                tx.intents.move(look.intent.id, IntentState.INCLUDED)
                return
            self._kill_rivals(tx, look, landed)
            if landed.cancels:
                self._close(tx, look.intent, IntentState.CANCELLED, look.intent.reason)
                return
            for rider in riders:
                self._close(tx, rider, IntentState.FINAL, "")
            if look.intent.id in left_out:
                tx.intents.move(look.intent.id, IntentState.PLANNED, reason="its batch landed without it")
                return
            self._close(tx, look.intent, IntentState.FINAL, "")

        await self._write(job)
        return final

    async def _left_out(self, intent: Intent) -> set[int]:
        """Return which of a claim and its riders a transaction that landed has not made: a batch leaves out
        what cannot be claimed when it is signed or included, and a reorg may make that claimable again.
        The chain is asked only for those that are still required by what was seen of it."""
        if intent.purpose is not Purpose.CLAIM or not intent.swap_id:
            return set()

        def required(tx: Transaction) -> list[tuple[int, Action]]:
            decided = [(one, self._decide_alone(tx, one)) for one in (intent, *tx.intents.riders(intent.id))]
            return [(one.id, it.action) for one, it in decided if it.verdict is Verdict.GO and it.action]

        left: set[int] = set()
        for key, action in await self._read(required):
            if action.terms is not None:
                lock_id = action.lock_id or self._port.lock_id(action.terms)
                if await self._port.read_lock(lock_id, action.terms) is LockStatus.OPEN:
                    left.add(key)
        return left

    async def _bury(self, look: Look, dead: StoredTx, status: TxStatus, tip: Tip) -> bool:
        """A transaction that reverted, or whose sequence another one used: final once it is deep enough."""
        depth = (await self._read(lambda tx: self._decide(tx, look.intent))).depth
        reverted = status.state is TxState.FAILED
        reason = f"reverted: {status.reason}" if reverted else "another transaction used its sequence"
        if reverted:
            since = status.block.height if status.block else tip.block.height
        elif dead.reason == reason and dead.block_height is not None:
            since = min(dead.block_height, tip.block.height)
        else:
            since = tip.block.height
        deep = tip.block.height - since + 1 >= depth
        if not deep and dead.reason == reason and dead.block_height == since:
            return False

        def job(tx: Transaction) -> None:
            state = dead.state
            if deep:
                state = StoredTxState.FAILED if reverted else StoredTxState.DEAD
            tx.transactions.move(dead.id, state, block_height=since, reason=reason)
            if deep and reverted:
                self._kill_rivals(tx, look, dead)
                if look.intent.purpose is Purpose.LOCK:
                    self._close(tx, look.intent, IntentState.FAILED, reason)

        await self._write(job)
        log.warning("not_landed", intent=look.intent.id, tx=dead.tx_id, reason=reason, final=deep)
        return deep

    async def _is_expired(self, look: Look, tx: StoredTx, tip: Tip) -> bool:
        """Whether it can never land any more; for a lock, whatever reorg may still come."""
        if tx.valid_until is None:
            return False
        if tx.valid_until >= HEIGHTS_END:
            return tip.time > tx.valid_until and (
                look.intent.purpose is not Purpose.LOCK or tip.block.height > tx.signed_height + 1
            )
        margin = 0
        if look.intent.purpose is Purpose.LOCK:
            margin = (await self._read(lambda db: self._decide(db, look.intent))).depth
        return tip.block.height - margin > tx.valid_until

    def _kill_rivals(self, tx: Transaction, look: Look, winner: StoredTx) -> None:
        for other in look.alive:
            if other.id != winner.id and other.sequence == winner.sequence and winner.sequence is not None:
                tx.transactions.move(other.id, StoredTxState.DEAD, replaced_by=winner.tx_id)

    async def _finish(self, intent: Intent, state: IntentState, reason: str) -> bool:
        def job(tx: Transaction) -> bool:
            alive = [one for one in tx.transactions.of_intent(intent.id) if one.state in ALIVE]
            if alive or self._decide(tx, intent).verdict is not Verdict.WITHDRAW:
                return False
            self._close(tx, intent, state, reason)
            return True

        return await self._write(job)

    def _close(self, tx: Transaction, intent: Intent, state: IntentState, reason: str) -> None:
        """End an intent. A lock that did not happen is told to its swap: the promise of `TxFailed`."""
        tx.intents.move(intent.id, state, reason=reason)
        self._metrics.finished.labels(self._chain, intent.purpose.value, state.value).inc()
        if not intent.swap_id or state is IntentState.FINAL:
            return
        if intent.purpose is Purpose.LOCK:
            apply_events(tx, intent.swap_id, [TxFailed(intent.role, intent.purpose, reason)])
        else:
            apply_events(tx, intent.swap_id)  # is it still required? then it is planned anew

    # -- plumbing ----------------------------------------------------------------------------

    def _decide(self, tx: Transaction, intent: Intent) -> Decision:
        fresh = tx.intents.get(intent.id) or intent
        decision = self._decide_alone(tx, fresh)
        if fresh.purpose is not Purpose.CLAIM or self._port.max_claims == 1:
            return decision
        return joined(decision, [self._decide_alone(tx, rider) for rider in tx.intents.riders(fresh.id)])

    def _decide_alone(self, tx: Transaction, intent: Intent) -> Decision:
        signed = tx.transactions.of_intent(intent.id)
        if intent.carrier is not None:
            signed += tx.transactions.of_intent(intent.carrier)
        # What was given up is followed no more: if it lands after all, somebody did what we wanted.
        own = [one.tx_id for one in signed if one.reason != SPOILED]
        return decide(tx, intent, own, self._settings.default_depth)

    async def _hold_lease(self) -> bool:
        """Take or renew the sender's lease for this account; False while another worker has it."""
        now_ms = self._store.now_ms()
        lease = self._lease
        if lease is not None and lease.until_ms - now_ms > self._settings.lease_ms // 2:
            return True
        name = f"sender:{self._chain}:{self._port.account}"

        def job(tx: Transaction) -> Lease | None:
            return tx.leases.acquire(name, self._owner, self._settings.lease_ms)

        self._lease = await asyncio.to_thread(retrying, self._store, job)
        return self._lease is not None

    async def release(self) -> None:
        """Let go of the lease, so that another worker need not wait for it to run out."""
        lease, self._lease = self._lease, None
        if lease is not None:
            await asyncio.to_thread(retrying, self._store, lambda tx: tx.leases.release(lease))

    async def _postpone(self, intent: Intent, reason: str) -> None:
        def job(tx: Transaction) -> None:
            fresh = tx.intents.get(intent.id) or intent
            most = self._settings.max_retry_ms
            if intent.purpose is Purpose.CLOSE:
                most = self._settings.max_close_retry_ms
            wait = min(most, self._settings.retry_ms << min(fresh.attempt, 10))
            tx.intents.postpone(intent.id, tx.now_ms + wait, reason, fresh.attempt + 1)

        await self._write(job)

    async def _read(self, job: Callable[[Transaction], T]) -> T:
        def read() -> T:
            with self._store.reading() as tx:
                return job(tx)

        return await asyncio.to_thread(read)

    async def _write(self, job: Callable[[Transaction], T]) -> T:
        """Write under the lease. Raises `LeaseLost` and forgets the lease when another worker has it."""
        lease = self._lease

        def write(tx: Transaction) -> T:
            if lease is None:
                raise LeaseLost("the sender's lease is not held", "acquire it first")
            tx.leases.require(lease)
            return job(tx)

        try:
            return await asyncio.to_thread(retrying, self._store, write)
        except LeaseLost:
            self._lease = None
            raise
