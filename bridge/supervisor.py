"""Starts, watches, kills and restarts the bridge's processes as one tree.

`rainbow up` and `rainbow demo` run every daemon as its own process under one
supervisor. A child cannot outlive it: on Linux the kernel sends it SIGKILL when
the supervisor dies (prctl(2), PR_SET_PDEATHSIG), elsewhere it is ended on exit.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import os
import signal
import sys
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

PR_SET_PDEATHSIG = 1
"""prctl(2): the signal a process gets when its parent dies."""

STOP_GRACE_SECONDS = 5.0
READY_POLL_SECONDS = 0.05
LOG_TAIL_LINES = 20


class ProcessFailed(Exception):
    """A child did not come up or died; the message holds the end of its log."""


def _die_with_parent() -> None:
    """Ask the kernel to kill this child when the supervisor dies (Linux only)."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)


@dataclass(frozen=True)
class ProcessSpec:
    """One child: its name, command, extra environment, and how to tell that it is ready."""

    name: str
    argv: Sequence[str]
    ready: Callable[[], Awaitable[bool]]
    env: Mapping[str, str] = field(default_factory=dict)
    ready_timeout: float = 60.0


class Child:
    """A running (or stopped) process of the tree."""

    def __init__(self, spec: ProcessSpec, log_path: Path) -> None:
        self.spec = spec
        self.log_path = log_path
        self.restarts = 0
        self.started_at = 0.0
        self._process: asyncio.subprocess.Process | None = None

    @property
    def pid(self) -> int | None:
        """The process id, None when it does not run."""
        return self._process.pid if self.running and self._process else None

    @property
    def running(self) -> bool:
        """Whether the process is alive."""
        return self._process is not None and self._process.returncode is None

    @property
    def exit_code(self) -> int | None:
        """How the last run ended; None while it runs or before it ever ran."""
        return None if self._process is None else self._process.returncode

    def log_tail(self) -> str:
        """The end of the log, for error messages."""
        if not self.log_path.exists():
            return "(no log)"
        lines = self.log_path.read_text(errors="replace").splitlines()
        return "\n".join(lines[-LOG_TAIL_LINES:])

    async def start(self) -> None:
        """Spawn the process and wait until it is ready. Raises `ProcessFailed`."""
        if self.running:
            return
        with self.log_path.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                *self.spec.argv,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={**os.environ, **self.spec.env},
                preexec_fn=_die_with_parent,
                start_new_session=True,
            )
        self.started_at = time.monotonic()
        await self._wait_ready()

    async def _wait_ready(self) -> None:
        deadline = time.monotonic() + self.spec.ready_timeout
        while time.monotonic() < deadline:
            if not self.running:
                raise ProcessFailed(
                    f"{self.spec.name} ended with code {self.exit_code} before it was ready; "
                    f"its log ({self.log_path}) ends:\n{self.log_tail()}"
                )
            with contextlib.suppress(OSError, asyncio.TimeoutError):
                if await self.spec.ready():
                    return
            await asyncio.sleep(READY_POLL_SECONDS)
        raise ProcessFailed(
            f"{self.spec.name} was not ready within {self.spec.ready_timeout:.0f} s; "
            f"its log ({self.log_path}) ends:\n{self.log_tail()}"
        )

    async def kill(self) -> None:
        """Kill with SIGKILL: what a power cut does."""
        if self._process is not None and self.running:
            self._process.kill()
            await self._process.wait()

    async def stop(self) -> None:
        """Ask politely (SIGTERM), then insist."""
        if self._process is None or not self.running:
            return
        self._process.terminate()
        try:
            await asyncio.wait_for(self._process.wait(), STOP_GRACE_SECONDS)
        except TimeoutError:
            await self.kill()

    async def restart(self) -> None:
        """Start again after a kill or a crash."""
        self.restarts += 1
        await self.start()


class Supervisor:
    """All the children of one run, in start order."""

    def __init__(self, log_dir: Path) -> None:
        log_dir.mkdir(parents=True, exist_ok=True)
        self.log_dir = log_dir
        self.children: dict[str, Child] = {}

    def add(self, spec: ProcessSpec) -> Child:
        """Register a child without starting it."""
        child = Child(spec, self.log_dir / f"{spec.name}.log")
        self.children[spec.name] = child
        return child

    async def start_all(self, *names: str) -> None:
        """Start the named children (all if none is named) at the same time."""
        chosen = [self.children[name] for name in names] if names else list(self.children.values())
        await asyncio.gather(*(child.start() for child in chosen))

    async def watch(self, restart: bool, on_death: Callable[[Child], None] | None = None) -> None:
        """Restart children that die (with a growing pause), for ever; raise instead when `restart` is off."""
        while True:
            for child in self.children.values():
                if child.running or child.exit_code is None:
                    continue
                if on_death is not None:
                    on_death(child)
                if not restart:
                    raise ProcessFailed(
                        f"{child.spec.name} ended with code {child.exit_code}:\n{child.log_tail()}"
                    )
                await asyncio.sleep(min(0.2 * 2**child.restarts, 10.0))
                await child.restart()
            await asyncio.sleep(0.2)

    async def stop_all(self) -> None:
        """Stop everything, last started first."""
        for child in reversed(self.children.values()):
            await child.stop()
