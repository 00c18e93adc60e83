"""The tasks behind the API: none of them dies in silence.

A task that raises is named in the log, started again after a pause that grows, and shown by /readyz until it
has run well for a while: an API that pushes no events any more, or sells at old prices, is not ready.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
import traceback
from collections.abc import Awaitable, Callable, Mapping

import structlog

FIRST_PAUSE = 1.0
LONGEST_PAUSE = 60.0
HEALTHY_SECONDS = 30.0
"""A task that has run this long since it was last started again is well."""

log = structlog.get_logger("rainbow.api")

Task = Callable[[], Awaitable[None]]


class Background:
    """Runs tasks until it is closed."""

    def __init__(
        self,
        tasks: Mapping[str, Task],
        clock: Callable[[], float] = time.monotonic,
        first_pause: float = FIRST_PAUSE,
    ) -> None:
        """`tasks`: name for people → what runs without end. `first_pause`: seconds before a restart."""
        self._tasks = dict(tasks)
        self._clock = clock
        self._first_pause = first_pause
        self._failures: dict[str, tuple[str, float]] = {}
        self._running: list[asyncio.Task[None]] = []

    def start(self) -> None:
        """Start all tasks in the running event loop."""
        self._running = [
            asyncio.create_task(self._supervise(name, task), name=name) for name, task in self._tasks.items()
        ]

    async def stop(self) -> None:
        """End all tasks and wait for them."""
        for running in self._running:
            running.cancel()
        for running in self._running:
            with contextlib.suppress(asyncio.CancelledError):
                await running
        self._running = []

    def troubles(self) -> dict[str, str]:
        """Return the tasks that are not well: name → what happened last, in a word."""
        now = self._clock()
        return {name: reason for name, (reason, at) in self._failures.items() if now - at < HEALTHY_SECONDS}

    async def _supervise(self, name: str, task: Task) -> None:
        pause = self._first_pause
        while True:
            began = self._clock()
            try:
                await task()
                reason = "it ended"
            except Exception as error:
                # Frames only: the message of a foreign exception may quote what a client sent.
                reason = type(error).__name__
                frames = "".join(traceback.format_tb(error.__traceback__))
                log.error("a background task failed", task=name, error=reason, frames=frames)
            if self._clock() - began > HEALTHY_SECONDS:
                pause = self._first_pause
            self._failures[name] = (reason, self._clock() + pause)
            await asyncio.sleep(pause)
            pause = min(LONGEST_PAUSE, 2 * pause)
