"""What is due, and what wakes the worker: the clock, hints of the chain, and commits of other processes.

All of them are wake-ups only. What has to be done is read from the chain and the store each time.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from enum import StrEnum

import structlog
from apscheduler.schedulers.asyncio import AsyncIOScheduler
from apscheduler.triggers.interval import IntervalTrigger

from bridge.chains.port import ChainPort
from bridge.store import Store
from relayers.daemon.settings import WorkerSettings

log = structlog.get_logger("worker")

STORE_WAIT_SECONDS = 5.0
"""How long one wait for a commit lasts before the connection is looked at again."""


class Job(StrEnum):
    """What can be due."""

    POLL = "poll"
    SWEEP = "sweep"
    STATUS = "status"
    VERIFY = "verify"
    BUMP = "bump"
    ANCHOR = "anchor"
    INVENTORY = "inventory"


class Schedule:
    """The jobs that are due. At the start all of them are."""

    def __init__(self, port: ChainPort, store: Store, settings: WorkerSettings, *, anchors: bool) -> None:
        """`anchors`: the log's root is anchored on this chain, every `anchor_seconds`."""
        self._port = port
        self._store = store
        self._settings = settings
        self._anchors = anchors
        self._due: set[Job] = set(Job)
        self._wake = asyncio.Event()
        self._scheduler: AsyncIOScheduler | None = None
        self._listeners: list[asyncio.Task[None]] = []

    def start(self) -> None:
        """Begin to listen and to count the time; call it in the event loop."""
        self._listeners = [
            asyncio.create_task(self._listen_to_chain()),
            asyncio.create_task(self._listen_to_store()),
        ]
        self._scheduler = self._periodic()
        self._scheduler.start()

    async def stop(self) -> None:
        """End what `start` began."""
        if self._scheduler is not None:
            self._scheduler.shutdown(wait=False)
        for listener in self._listeners:
            listener.cancel()
        await asyncio.gather(*self._listeners, return_exceptions=True)

    def wake(self, job: Job | None = None) -> None:
        """Make the worker look, and do that job."""
        if job is not None:
            self._due.add(job)
        self._wake.set()

    async def wait(self) -> None:
        """Return once something has woken the worker since the last time."""
        await self._wake.wait()
        self._wake.clear()

    def take_due(self, more: Iterable[Job] = ()) -> set[Job]:
        """Return what is due, together with `more`; from then on nothing is."""
        due, self._due = self._due | set(more), set()
        return due

    def add(self, job: Job) -> None:
        """Make a job due without waking the worker."""
        self._due.add(job)

    # -- what wakes it -----------------------------------------------------------------------

    def _periodic(self) -> AsyncIOScheduler:
        every = {
            Job.POLL: self._settings.poll_seconds,
            Job.SWEEP: self._settings.sweep_seconds,
            Job.STATUS: self._settings.status_seconds,
            Job.VERIFY: self._settings.verify_seconds,
            Job.BUMP: self._settings.bump_seconds,
            Job.INVENTORY: self._settings.inventory_seconds,
        }
        if self._anchors:
            every[Job.ANCHOR] = self._settings.anchor_seconds
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
        while True:
            try:
                async for _ in self._port.hints():
                    self.wake(Job.POLL)
            except Exception as error:
                log.debug("hints_lost", chain=self._port.chain, kind=type(error).__name__)
            await asyncio.sleep(self._settings.poll_seconds)

    async def _listen_to_store(self) -> None:
        while True:
            wakeups = None
            try:
                wakeups = self._store.wakeups()
                while True:
                    if await wakeups.wait(STORE_WAIT_SECONDS):
                        self.wake()
            except Exception as error:
                log.debug("wakeups_lost", chain=self._port.chain, kind=type(error).__name__)
                await asyncio.sleep(self._settings.poll_seconds)
            finally:
                if wakeups is not None:
                    await wakeups.close()
