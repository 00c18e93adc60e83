"""Tasks that go on: a node's background work is started again when it fails, and says so meanwhile."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable

import structlog

log = structlog.get_logger("zion.tasks")

FIRST_PAUSE = 1.0
LONGEST_PAUSE = 60.0
"""Seconds between a failure and the next try: doubled each time, up to the longest."""


class Tasks:
    """The background tasks of one node."""

    def __init__(self, first_pause: float = FIRST_PAUSE, clock: Callable[[], float] = time.monotonic) -> None:
        self._first_pause = first_pause
        self._clock = clock
        self._tasks: list[asyncio.Task[None]] = []
        self._failing: dict[str, tuple[str, float]] = {}

    def start(self, name: str, work: Callable[[], Awaitable[None]]) -> None:
        """Run `work` until `stop`, and again whenever it raises. It calls `succeeded` when it got on."""
        self._tasks.append(asyncio.create_task(self._keep_running(name, work), name=name))

    def succeeded(self, name: str) -> None:
        """Take a failure back: the task got on."""
        if self._failing.pop(name, None) is not None:
            log.info("task goes on", task=name)

    def failed(self, name: str, error: BaseException) -> None:
        """Report a failure that the task itself survives."""
        _, since = self._failing.get(name, ("", self._clock()))
        self._failing[name] = (f"{type(error).__name__}: {error}", since)

    @property
    def problems(self) -> tuple[str, ...]:
        """What does not work now, one sentence each."""
        now = self._clock()
        return tuple(
            f"{name} has failed for {now - since:.0f} s: {what}"
            for name, (what, since) in self._failing.items()
        )

    async def _keep_running(self, name: str, work: Callable[[], Awaitable[None]]) -> None:
        pause = self._first_pause
        while True:
            try:
                await work()
                return
            except Exception as error:
                if name not in self._failing:
                    pause = self._first_pause
                self.failed(name, error)
                log.exception("task failed; it is tried again", task=name, seconds=pause)
            await asyncio.sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE)

    async def stop(self) -> None:
        """End all tasks."""
        for task in self._tasks:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
        self._tasks.clear()
