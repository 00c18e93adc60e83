"""Starts, watches, kills and restarts the bridge's processes as one tree.

`rainbow up` and `rainbow demo` run every daemon as its own process under one supervisor. A child cannot
outlive it (see `bridge.chains.local.processes`).
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import subprocess
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from bridge.chains.local import processes
from kernels.errors import RainbowError

READY_POLL_SECONDS = 0.05
LOG_TAIL_LINES = 20


class ProcessFailedError(RainbowError):
    """A child did not come up or died; the message holds the end of its log."""


@dataclass(frozen=True)
class ProcessSpec:
    """One child: its name, its command (absolute path first), extra environment, and how to tell that it is
    ready (`ready` may raise OSError while it is not). `ready_timeout` in seconds."""

    name: str
    argv: Sequence[str]
    ready: Callable[[], Awaitable[bool]]
    env: Mapping[str, str] = field(default_factory=dict)
    ready_timeout: float = 60.0


class Child:
    """A process of the tree, running or not."""

    def __init__(self, spec: ProcessSpec, log_path: Path) -> None:
        self.spec = spec
        self.log_path = log_path
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def started(self) -> bool:
        """Whether it was ever started."""
        return self._process is not None

    @property
    def running(self) -> bool:
        """Whether the process is alive."""
        return self._process is not None and self._process.poll() is None

    @property
    def exit_code(self) -> int | None:
        """How the last run ended; None while it runs or before it ever ran."""
        return None if self._process is None else self._process.poll()

    def log_tail(self) -> str:
        """The end of the log, for error messages."""
        if not self.log_path.exists():
            return "(no log)"
        return "\n".join(self.log_path.read_text(errors="replace").splitlines()[-LOG_TAIL_LINES:])

    async def start(self) -> None:
        """Spawn the process, for the first time or after it ended, and wait until it is ready.

        Raises `ProcessFailedError`."""
        if self.running:
            return
        # In the main thread on purpose: the child dies with the thread that spawned it.
        self._process = processes.spawn(self.spec.argv, self.log_path, {**os.environ, **self.spec.env})
        deadline = time.monotonic() + self.spec.ready_timeout
        while time.monotonic() < deadline:
            if self._process.poll() is not None:
                raise ProcessFailedError(
                    self._failure(f"ended with code {self.exit_code} before it was ready")
                )
            with contextlib.suppress(OSError):
                if await self.spec.ready():
                    return
            await asyncio.sleep(READY_POLL_SECONDS)
        raise ProcessFailedError(self._failure(f"was not ready within {self.spec.ready_timeout:.0f} s"))

    def kill(self) -> None:
        """End it at once, as `kill -9` does."""
        if self._process is not None:
            processes.kill(self._process)

    async def stop(self) -> None:
        """Ask politely (SIGTERM), then insist."""
        if self._process is not None:
            await asyncio.to_thread(processes.terminate, self._process)

    def _failure(self, what: str) -> str:
        return f"{self.spec.name} {what}; its log ({self.log_path}) ends:\n{self.log_tail()}"


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

    async def start(self, *names: str) -> None:
        """Start the named children (all if none is named) at the same time. Raises `ProcessFailedError`."""
        chosen = [self.children[name] for name in names] if names else list(self.children.values())
        await asyncio.gather(*(child.start() for child in chosen))

    async def stop(self) -> None:
        """Stop everything, last registered first."""
        for child in reversed(self.children.values()):
            await child.stop()
