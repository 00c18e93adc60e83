"""The daemon of one chain: watch → ingest → sweep → outbox, again and again until it is stopped.

One task does all the work, one pass after the other, so nothing runs against itself. What wakes it is in
`schedule`; what has to be done is read from the chain and the store each time.
"""

from __future__ import annotations

import asyncio
import os
import random
import uuid
from collections.abc import Awaitable, Callable, Iterator, Sequence
from importlib.metadata import version
from pathlib import Path

import structlog

from bridge.chains.errors import DeepReorgError, PortError, PortUnavailableError
from bridge.chains.port import ChainPort
from bridge.engine.ingest import Ingest
from bridge.engine.metrics import Metrics
from bridge.engine.outbox import Outbox
from bridge.engine.reconcile import Reconcile
from bridge.protocol.types import Asset
from bridge.store import LeaseLostError, Store, StoreError
from relayers.daemon.account_actions import AccountActions, AnchorHook
from relayers.daemon.health_file import HealthFile
from relayers.daemon.restoring import Restorer
from relayers.daemon.schedule import Job, Schedule
from relayers.daemon.settings import WorkerSettings
from relayers.daemon.status import StatusKeeper
from relayers.daemon.verifier import LockVerifier
from relayers.daemon.watcher import ChainWatcher

__all__ = ["AnchorHook", "InventoryHook", "Job", "Worker", "WorkerSettings", "run_worker"]

log = structlog.get_logger("worker")

InventoryHook = Callable[[Store], None]
"""Called every `inventory_seconds` in a thread: gives back what expired quotes reserve."""
Stage = Callable[[], Awaitable[None]]

MAX_OUTBOX_ROUNDS = 4
"""How often a pass lets the outbox go on at once while it makes progress."""

_SLOW_JOBS = frozenset({Job.STATUS, Job.VERIFY})
"""They ask the chain about every asset or every lock."""


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
        """`assets` of other chains are left out; `owner` names this worker in leases, "" makes a name up."""
        settings = settings or WorkerSettings()
        metrics = metrics or Metrics()
        assets = tuple(asset for asset in assets if asset.chain == port.chain)
        owner = owner or f"{os.getpid()}-{uuid.uuid4().hex[:8]}"
        self.port = port
        self._store = store
        self._settings = settings
        self._metrics = metrics
        self._inventory = inventory
        ingest = Ingest(store, port.chain, version("rainbow-bridge"))
        self._reconcile = Reconcile(store, port.chain)
        self._status = StatusKeeper(port, store, metrics, assets, settings.heartbeat_seconds)
        self._watcher = ChainWatcher(port, store, ingest, self._status, metrics, settings.max_blocks)
        self._verifier = LockVerifier(port, store, ingest, self._reconcile, metrics, settings.max_blocks)
        self._restorer = Restorer(port, store, metrics, settings.max_blocks)
        self._account = AccountActions(port, store, assets, anchor, metrics)
        self.outbox = Outbox(store, port, owner, settings.outbox, metrics)
        self._schedule = Schedule(port, store, settings, anchors=anchor is not None)
        self._health = HealthFile(health_file, port.chain)
        self._stopping = asyncio.Event()
        self._failures = 0
        self._has_begun = False

    # -- running -----------------------------------------------------------------------------

    def stop(self) -> None:
        """Ask the worker to end after the current pass."""
        self._stopping.set()
        self._schedule.wake()

    async def run(self) -> None:
        """Work until `stop()`; nothing that a chain, a node or the database does ends it."""
        self._schedule.start()
        log.info("worker_started", chain=self.port.chain, account=self.port.account)
        try:
            while not self._stopping.is_set():
                if await self.run_pass():
                    await self._schedule.wait()
                else:
                    await self._back_off()
                    self._schedule.add(Job.POLL)
        finally:
            await self._schedule.stop()
            await self._release_lease()
            log.info("worker_stopped", chain=self.port.chain)

    async def run_pass(self, jobs: Sequence[Job] = ()) -> bool:
        """Do what is due and what the store asks for; returns False if something was unavailable."""
        due = self._schedule.take_due(jobs)
        healthy = True
        for name, stage in self._stages(due):
            healthy &= await self._guard(name, stage)
        self._failures = 0 if healthy else self._failures + 1
        self._health.write(healthy, self._status.current.detail)
        return healthy

    def _stages(self, due: set[Job]) -> Iterator[tuple[str, Stage]]:
        """What a pass does, in this order. The outbox always has its turn, and the last; where much is due
        before that, one more as soon as the chain was read.

        A new worker begins with the claims that it finds: it may have been away for long, have much to read,
        and not live for long.
        """
        if not self._has_begun:
            self._has_begun = True
            yield "claims", self._work_claims
        if Job.POLL in due:
            yield "watch", self._watch
            if self._watcher.take_doubts():
                due.add(Job.VERIFY)
        if due & _SLOW_JOBS:
            yield "outbox", self._work_outbox
        if Job.STATUS in due:
            yield "status", self._status.refresh
        if not self._account.is_set_up:
            yield "set_up", self._account.set_up
        if Job.POLL in due:
            yield "restore", self._restorer.work
        if Job.VERIFY in due:
            yield "verify", self._verifier.verify
        if Job.SWEEP in due:
            yield "sweep", self._sweep
        if Job.ANCHOR in due:
            yield "anchor", self._account.plan_anchor
        if Job.INVENTORY in due:
            yield "inventory", self._tidy_inventory
        yield "outbox", self._work_outbox

    async def _guard(self, name: str, stage: Stage) -> bool:
        """Run a stage; a failure of one does not keep the others (a claim, above all) from running."""
        chain = self.port.chain
        try:
            await stage()
        except LeaseLostError:
            log.info("lease_lost", chain=chain, stage=name)
            return True
        except (PortUnavailableError, DeepReorgError) as error:
            self._metrics.errors.labels(chain, type(error).__name__).inc()
            log.warning("chain_unavailable", chain=chain, stage=name, reason=str(error), hint=error.hint)
            await self._status.note_unhealthy(str(error))
            return False
        except (PortError, StoreError) as error:
            self._metrics.errors.labels(chain, type(error).__name__).inc()
            log.error("stage_failed", chain=chain, stage=name, reason=str(error), hint=error.hint)
            return False
        except Exception as error:
            # Of a mistake only its kind and place are logged: a message might quote a secret.
            self._metrics.errors.labels(chain, "internal").inc()
            log.error("stage_broke", chain=chain, stage=name, kind=type(error).__name__, at=_place(error))
            return False
        return True

    async def _back_off(self) -> None:
        exponent = min(self._failures - 1, 10)
        longest = min(self._settings.max_backoff, self._settings.first_backoff * 2**exponent)
        delay = longest * (0.5 + random.random() / 2)
        try:
            await asyncio.wait_for(self._stopping.wait(), delay)
        except TimeoutError:
            return

    # -- stages ------------------------------------------------------------------------------

    async def _watch(self) -> None:
        if await self._watcher.watch(self._claims_between):
            await self._sweep()

    async def _claims_between(self) -> None:
        """Work on claims between two scans of a backlog; what goes wrong there does not stop the reading."""
        await self._guard("claims", self._work_claims)

    async def _sweep(self) -> None:
        await asyncio.to_thread(self._reconcile.sweep)

    async def _tidy_inventory(self) -> None:
        await asyncio.to_thread(self._inventory, self._store)

    async def _work_claims(self) -> None:
        await self.outbox.work(only_claims=True)

    async def _work_outbox(self) -> None:
        for _ in range(MAX_OUTBOX_ROUNDS):
            if not await self.outbox.work():
                break

    async def _release_lease(self) -> None:
        try:
            await self.outbox.release()
        except StoreError as error:
            log.warning("lease_not_released", chain=self.port.chain, reason=str(error))


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
