"""The daemon of one chain: watch → ingest → sweep → outbox, for ever.

One task does all the work, one pass after the other, so nothing runs against itself. Hints of the chain,
commits of other processes and the scheduler's periodic jobs only wake it; what has to be done is read from
the chain and the store each time.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import time
import uuid
from collections.abc import Awaitable, Callable, Sequence
from enum import StrEnum
from pathlib import Path

import msgspec
import structlog
from apscheduler.schedulers.asyncio import AsyncIOScheduler
from apscheduler.triggers.interval import IntervalTrigger

from bridge.chains.port import (
    Action,
    ChainPort,
    DeepReorg,
    HtlcEvent,
    LockStatus,
    PortError,
    PortUnavailable,
    Scan,
    Tip,
)
from bridge.engine.actions import encode_action
from bridge.engine.ingest import FinalityCandidate, Ingest
from bridge.engine.metrics import Metrics
from bridge.engine.outbox import Outbox, OutboxSettings
from bridge.engine.reconcile import Reconcile, Suspect
from bridge.protocol.types import Asset, BlockRef
from bridge.store import LeaseLost, Store, StoreError
from bridge.store.records import ChainStatus, FeeRecord, PlannedIntent

log = structlog.get_logger("worker")

AnchorHook = Callable[[Store, ChainPort], Awaitable[Action | None]]
"""Called every `anchor_seconds`; returns an ANCHOR action to send, or None."""
InventoryHook = Callable[[Store], None]
"""Called every `inventory_seconds` in a thread: gives back what expired quotes reserve."""

START_DEPTH = 64
"""How many blocks below the head a relayer without a ring starts."""
MAX_OUTBOX_ROUNDS = 4
"""How often a pass lets the outbox go on at once while it makes progress."""


class WorkerSettings(msgspec.Struct, frozen=True):
    """How often a worker does what (seconds), and how it works (counts)."""

    poll_seconds: float = 1.0
    sweep_seconds: float = 5.0
    status_seconds: float = 10.0
    verify_seconds: float = 30.0
    bump_seconds: float = 5.0
    anchor_seconds: float = 600.0
    inventory_seconds: float = 5.0
    heartbeat_seconds: float = 5.0
    """The chain's status is written at least this often, and whenever the tip moves."""
    max_blocks: int = 200
    first_backoff: float = 0.5
    max_backoff: float = 30.0
    outbox: OutboxSettings = OutboxSettings()


class Job(StrEnum):
    """What can be due."""

    POLL = "poll"
    SWEEP = "sweep"
    STATUS = "status"
    VERIFY = "verify"
    BUMP = "bump"
    ANCHOR = "anchor"
    INVENTORY = "inventory"


def expire_offers(store: Store) -> None:
    """Give back what expired quotes reserve: the default inventory hook."""
    with store.reading() as tx:
        due = tx.quotes.has_expired() or tx.reservations.has_expired()
    if due:
        with store.transaction() as tx:
            tx.quotes.expire()
            tx.reservations.release_expired()


class Worker:
    """One chain's daemon. `run()` for production; `run_pass()` takes one step at a time."""

    def __init__(
        self,
        port: ChainPort,
        store: Store,
        settings: WorkerSettings | None = None,
        *,
        assets: Sequence[Asset] = (),
        owner: str = "",
        metrics: Metrics | None = None,
        anchor: AnchorHook | None = None,
        inventory: InventoryHook = expire_offers,
        health_file: Path | None = None,
    ) -> None:
        self.port = port
        self.store = store
        self.settings = settings or WorkerSettings()
        self.assets = tuple(asset for asset in assets if asset.chain == port.chain)
        self.metrics = metrics or Metrics()
        self._anchor = anchor
        self._inventory = inventory
        self._health_file = health_file
        self._ingest = Ingest(store, port.chain)
        self._reconcile = Reconcile(store, port.chain)
        owner = owner or f"{os.getpid()}-{uuid.uuid4().hex[:8]}"
        self.outbox = Outbox(store, port, owner, self.settings.outbox, self.metrics)
        self._status = ChainStatus(
            port.chain,
            account=port.account,
            contract=port.contract,
            leaves_deposit=port.traits.leaves_deposit,
        )
        self._written_ms = 0
        self._due: set[Job] = set(Job)
        self._wake = asyncio.Event()
        self._stopping = asyncio.Event()
        self._failures = 0
        self._was_set_up = False
        self._last_alive = 0.0

    # -- running -----------------------------------------------------------------------------

    def stop(self) -> None:
        """Ask the worker to end after the pass at hand."""
        self._stopping.set()
        self._wake.set()

    async def run(self) -> None:
        """Work until `stop()`; nothing that a chain, a node or the database does ends it."""
        scheduler = self._scheduler()
        helpers = [asyncio.create_task(self._listen_to_chain()), asyncio.create_task(self._listen_to_store())]
        scheduler.start()
        log.info("worker_started", chain=self.port.chain, account=self.port.account)
        try:
            while not self._stopping.is_set():
                healthy = await self.run_pass()
                if not healthy:
                    await self._back_off()
                    self._due.add(Job.POLL)
                    continue
                await self._wake.wait()
                self._wake.clear()
        finally:
            scheduler.shutdown(wait=False)
            for helper in helpers:
                helper.cancel()
            await asyncio.gather(*helpers, return_exceptions=True)
            await self._let_go()
            log.info("worker_stopped", chain=self.port.chain)

    async def run_pass(self, jobs: Sequence[Job] = ()) -> bool:
        """Do what is due and whatever the store asks for; returns False if something was unavailable."""
        due = self._due | set(jobs)
        self._due = set()
        stages: list[tuple[str, Callable[[], Awaitable[None]]]] = []
        if Job.POLL in due:
            stages.append(("watch", self.watch))
        if Job.STATUS in due:
            stages.append(("status", self._refresh_status))
        if not self._was_set_up:
            stages.append(("set_up", self._set_up))
        if Job.VERIFY in due:
            stages.append(("verify", self._verify))
        if Job.SWEEP in due:
            stages.append(("sweep", self._sweep))
        if Job.ANCHOR in due:
            stages.append(("anchor", self._plan_anchor))
        if Job.INVENTORY in due:
            stages.append(("inventory", self._tidy_inventory))
        stages.append(("outbox", self._work_outbox))
        healthy = True
        for name, stage in stages:
            healthy &= await self._guard(name, stage)
        self._failures = 0 if healthy else self._failures + 1
        self._tell_alive(healthy)
        return healthy

    async def _guard(self, name: str, stage: Callable[[], Awaitable[None]]) -> bool:
        """Run a stage; a failure of one does not keep the others (a claim, above all) from running."""
        chain = self.port.chain
        try:
            await stage()
        except LeaseLost:
            log.info("lease_lost", chain=chain, stage=name)
            return True
        except (PortUnavailable, DeepReorg) as error:
            self.metrics.errors.labels(chain, type(error).__name__).inc()
            log.warning("chain_unavailable", chain=chain, stage=name, reason=str(error), hint=error.hint)
            await self._note_unhealthy(str(error))
            return False
        except (PortError, StoreError) as error:
            self.metrics.errors.labels(chain, type(error).__name__).inc()
            log.error("stage_failed", chain=chain, stage=name, reason=str(error), hint=error.hint)
            return False
        except Exception as error:
            # Of a mistake only its kind and place are logged: a message might quote a secret.
            self.metrics.errors.labels(chain, "internal").inc()
            log.error("stage_broke", chain=chain, stage=name, kind=type(error).__name__, at=_place(error))
            return False
        return True

    async def _back_off(self) -> None:
        exponent = min(self._failures - 1, 10)
        longest = min(self.settings.max_backoff, self.settings.first_backoff * 2**exponent)
        delay = longest * (0.5 + random.random() / 2)
        try:
            await asyncio.wait_for(self._stopping.wait(), delay)
        except TimeoutError:
            return

    # -- what wakes it -----------------------------------------------------------------------

    def wake(self, job: Job | None = None) -> None:
        """Make the worker look, and do that job."""
        if job is not None:
            self._due.add(job)
        self._wake.set()

    def _scheduler(self) -> AsyncIOScheduler:
        every = {
            Job.POLL: self.settings.poll_seconds,
            Job.SWEEP: self.settings.sweep_seconds,
            Job.STATUS: self.settings.status_seconds,
            Job.VERIFY: self.settings.verify_seconds,
            Job.BUMP: self.settings.bump_seconds,
            Job.INVENTORY: self.settings.inventory_seconds,
        }
        if self._anchor is not None:
            every[Job.ANCHOR] = self.settings.anchor_seconds
        scheduler = AsyncIOScheduler(timezone="UTC")

        async def fire(job: Job) -> None:
            self.wake(job)

        for job, seconds in every.items():
            scheduler.add_job(
                fire,
                IntervalTrigger(seconds=seconds),
                args=[job],
                id=job.value,
                max_instances=1,
                coalesce=True,
                misfire_grace_time=None,
            )
        return scheduler

    async def _listen_to_chain(self) -> None:
        while not self._stopping.is_set():
            try:
                async for _ in self.port.hints():
                    self.wake(Job.POLL)
            except asyncio.CancelledError:
                raise
            except Exception as error:
                log.debug("hints_lost", chain=self.port.chain, kind=type(error).__name__)
            await asyncio.sleep(self.settings.poll_seconds)

    async def _listen_to_store(self) -> None:
        while not self._stopping.is_set():
            wakeups = None
            try:
                wakeups = self.store.wakeups()
                while not self._stopping.is_set():
                    if await wakeups.wait(5.0):
                        self.wake()
            except asyncio.CancelledError:
                raise
            except Exception as error:
                log.debug("wakeups_lost", chain=self.port.chain, kind=type(error).__name__)
                await asyncio.sleep(self.settings.poll_seconds)
            finally:
                if wakeups is not None:
                    await wakeups.close()

    # -- watching ----------------------------------------------------------------------------

    async def watch(self) -> None:
        """Scan until the ring has caught up with the tip, then see what has become final."""
        moved = False
        if self._written_ms == 0:
            self._status = await asyncio.to_thread(self._last_status)
        while True:
            known = await asyncio.to_thread(self._ingest.ring)
            scan = await self._scan(known)
            status = self._seen(scan.tip)
            news = bool(scan.blocks or scan.orphaned)
            if not news and not self._status_is_due(status):
                self._status = status
                break
            taken = await asyncio.to_thread(self._ingest.take, scan, known, status)
            if taken.stale:
                continue
            moved |= news
            self._status = msgspec.structs.replace(status, healthy=True, detail="")
            self._written_ms = self.store.now_ms()
            self._count(taken.blocks, taken.orphaned)
            if taken.caught_up or not scan.blocks:
                break
        await self._confirm_locks()
        if moved:
            await self._sweep()

    async def _scan(self, known: Sequence[BlockRef]) -> Scan:
        """Scan from the ring; without one, from some blocks below the head, so that a first reorg finds
        common ground. When a reorg leaves nothing of the ring, start anew below it: a relayer that stopped
        looking could not claim. An operator is told and the chain is paused for new swaps."""
        if not known:
            head = (await self.port.tip()).block
            try:
                scan = await self.port.scan([_anchor(head.height)], self.settings.max_blocks)
            except DeepReorg:
                scan = None
            if scan is not None and scan.blocks:
                return msgspec.structs.replace(scan, orphaned=())
            return await self.port.scan([], self.settings.max_blocks)
        try:
            return await self.port.scan(known, self.settings.max_blocks)
        except DeepReorg as error:
            scan = await self.port.scan([_anchor(known[0].height)], self.settings.max_blocks)
            log.critical("deep_reorg", chain=self.port.chain, known=len(known), hint=error.hint)
            self.metrics.errors.labels(self.port.chain, "DeepReorg").inc()
            await asyncio.to_thread(self._pause, "no known block is left on the chain")
            return msgspec.structs.replace(scan, orphaned=tuple(reversed(known)))

    def _pause(self, reason: str) -> None:
        with self.store.transaction() as tx:
            tx.controls.set(f"pause:{self.port.chain}", reason, "relayer")

    def _last_status(self) -> ChainStatus:
        """What the worker before us knew: above all, since when the tip has not moved."""
        with self.store.reading() as tx:
            stored = tx.chains.get(self.port.chain) or self._status
        return msgspec.structs.replace(
            stored,
            account=self.port.account,
            contract=self.port.contract,
            leaves_deposit=self.port.traits.leaves_deposit,
        )

    def _seen(self, tip: Tip) -> ChainStatus:
        now_ms = self.store.now_ms()
        old = self._status
        same = old.tip is not None and old.tip.id == tip.block.id
        return msgspec.structs.replace(
            old,
            tip=tip.block,
            time=tip.time,
            finalized=tip.finalized,
            seen_ms=now_ms,
            tip_ms=old.tip_ms if same else now_ms,
        )

    def _status_is_due(self, status: ChainStatus) -> bool:
        overdue = self.store.now_ms() - self._written_ms >= self.settings.heartbeat_seconds * 1000
        return overdue or not self._status.healthy or status.tip != self._status.tip

    def _count(self, blocks: int, orphaned: int) -> None:
        chain = self.port.chain
        self.metrics.blocks.labels(chain).inc(blocks)
        if orphaned:
            self.metrics.orphaned.labels(chain).inc(orphaned)
            log.warning("reorg", chain=chain, orphaned=orphaned)
        self.metrics.healthy.labels(chain).set(1)
        tip = self._status.tip
        last = self._ingest.height()
        self.metrics.scanned.labels(chain).set(last)
        self.metrics.tip_lag.labels(chain).set(max(0, (tip.height if tip else 0) - last))

    async def _confirm_locks(self) -> None:
        candidates = await asyncio.to_thread(self._ingest.finality_candidates)
        standing: list[FinalityCandidate] = []
        for candidate in candidates:
            lock = candidate.observation
            if await self.port.read_lock(lock.lock_id, candidate.terms) is LockStatus.ABSENT:
                log.error("lock_disagreement", chain=self.port.chain, swap=lock.swap_id, lock=lock.lock_id)
            else:
                standing.append(candidate)
        if standing:
            await asyncio.to_thread(self._ingest.confirm, standing)

    async def _sweep(self) -> None:
        await asyncio.to_thread(self._reconcile.sweep)

    async def _verify(self) -> None:
        """Ask the chain about each lock itself: a node may have kept an event from us."""
        for suspect in await asyncio.to_thread(self._reconcile.suspects):
            lock_id = suspect.lock_id or self.port.lock_id(suspect.terms)
            status = await self.port.read_lock(lock_id, suspect.terms)
            fine = LockStatus.OPEN if suspect.expected_open else LockStatus.ABSENT
            if status is fine:
                continue
            if status is LockStatus.ABSENT:
                log.error("lock_disagreement", chain=self.port.chain, swap=suspect.swap_id, lock=lock_id)
                continue
            news = await self._scan_again(suspect)
            if news:
                log.warning("hidden_events_found", chain=self.port.chain, swap=suspect.swap_id, news=news)

    async def _scan_again(self, suspect: Suspect) -> int:
        ring = await asyncio.to_thread(self._ingest.ring)
        if not ring:
            return 0
        start = suspect.since if suspect.since is not None else ring[0]
        known: list[BlockRef] = [start]
        events: list[HtlcEvent] = []
        while known[-1].height < ring[-1].height:
            scan = await self.port.scan(known, self.settings.max_blocks)
            if scan.orphaned or not scan.blocks:
                break
            events += scan.events
            known = [scan.blocks[-1]]
        return await asyncio.to_thread(self._ingest.take_again, events)

    # -- the other jobs ----------------------------------------------------------------------

    async def _work_outbox(self) -> None:
        for _ in range(MAX_OUTBOX_ROUNDS):
            if not await self.outbox.work():
                break

    async def _refresh_status(self) -> None:
        balances: dict[str, int] = {}
        fees: dict[str, FeeRecord] = {}
        for asset in self.assets:
            balances[asset.key] = await self.port.balance(self.port.account, asset)
            estimate = await self.port.fees(asset)
            fees[asset.key] = FeeRecord(**msgspec.structs.asdict(estimate))
            self.metrics.balance.labels(self.port.chain, asset.symbol).set(balances[asset.key])
        if balances != self._status.balances or fees != self._status.fees:
            self._status = msgspec.structs.replace(self._status, balances=balances, fees=fees)
            await self._write_status(self._status)

    async def _write_status(self, status: ChainStatus) -> None:
        """Write what this worker knows, keeping the scanned height that ingest alone sets."""

        def write() -> None:
            with self.store.transaction() as tx:
                stored = tx.chains.get(status.chain)
                scanned = stored.scanned if stored else 0
                tx.chains.put(msgspec.structs.replace(status, scanned=scanned))

        await asyncio.to_thread(write)
        self._written_ms = self.store.now_ms()

    async def _note_unhealthy(self, detail: str) -> None:
        self.metrics.healthy.labels(self.port.chain).set(0)
        changed = self._status.healthy or self._status.detail != detail
        self._status = msgspec.structs.replace(self._status, healthy=False, detail=detail)
        if not changed:
            return
        try:
            await self._write_status(self._status)
        except StoreError as error:
            log.error("stage_failed", chain=self.port.chain, stage="status", reason=str(error))

    async def _set_up(self) -> None:
        """Plan what the account must do once, such as token approvals."""
        for action in await self.port.setup_actions(self.assets):
            await self._plan(f"{action.purpose.value}:{self.port.account}:{action.payload.hex()}", action)
        self._was_set_up = True

    async def _plan_anchor(self) -> None:
        if self._anchor is None:
            return
        action = await self._anchor(self.store, self.port)
        if action is not None:
            await self._plan(f"anchor:{action.payload.hex()}:{action.amount}", action)

    async def _plan(self, subject: str, action: Action) -> None:
        planned = PlannedIntent(subject, action.purpose, self.port.chain, action=encode_action(action))

        def write() -> None:
            with self.store.transaction() as tx:
                tx.intents.plan(planned)

        await asyncio.to_thread(write)

    async def _tidy_inventory(self) -> None:
        await asyncio.to_thread(self._inventory, self.store)

    async def _let_go(self) -> None:
        try:
            await self.outbox.release()
        except StoreError as error:
            log.warning("lease_not_released", chain=self.port.chain, reason=str(error))

    def _tell_alive(self, healthy: bool) -> None:
        now = time.time()
        if self._health_file is None or now - self._last_alive < 1:
            return
        self._last_alive = now
        body = {
            "chain": self.port.chain,
            "healthy": healthy,
            "detail": self._status.detail,
            "time": now,
        }
        scratch = self._health_file.with_suffix(".tmp")
        try:
            scratch.write_text(json.dumps(body))
            scratch.replace(self._health_file)
        except OSError as error:
            log.warning("health_file", reason=str(error))


def _anchor(height: int) -> BlockRef:
    """The block `START_DEPTH` below a height, whichever it is (see `ChainPort.scan`)."""
    return BlockRef(max(0, height - START_DEPTH), "", "", 0)


def _place(error: BaseException) -> str:
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return "" if trace is None else f"{Path(trace.tb_frame.f_code.co_filename).name}:{trace.tb_lineno}"


async def run_worker(
    port: ChainPort,
    store: Store,
    settings: WorkerSettings | None = None,
    *,
    assets: Sequence[Asset] = (),
    stop: asyncio.Event | None = None,
    metrics: Metrics | None = None,
    anchor: AnchorHook | None = None,
    inventory: InventoryHook = expire_offers,
    health_file: Path | None = None,
) -> None:
    """Run one chain's daemon until `stop` is set or the task is cancelled; the caller closes the port."""
    worker = Worker(
        port,
        store,
        settings,
        assets=assets,
        metrics=metrics,
        anchor=anchor,
        inventory=inventory,
        health_file=health_file,
    )
    if stop is None:
        await worker.run()
        return
    watcher = asyncio.create_task(stop.wait())
    watcher.add_done_callback(lambda _: worker.stop())
    try:
        await worker.run()
    finally:
        watcher.cancel()
