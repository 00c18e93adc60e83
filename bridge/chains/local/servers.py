"""A local chain served over HTTP by a child process of ours: started, commanded, killed, ended."""

from __future__ import annotations

import asyncio
import subprocess
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

import httpx

from bridge.chains.errors import PortError, PortUnavailableError
from bridge.chains.local import processes

START_PATIENCE = 30.0
"""Seconds: a chain's libraries take one or two to load, more while several start at once."""


class ChildServer:
    """What the local chains have in common whose nodes are servers of ours.

    `name` is the chain's, for people; `control` the path below which the server takes commands.
    """

    def __init__(self, name: str, port: int, log: Path, control: str) -> None:
        self.port = port
        self._name = name
        self._log = log
        self._control = control
        self._child: subprocess.Popen[bytes] | None = None
        self._client = httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=30)

    async def _spawn(self, command: Sequence[str], is_up: Callable[[], Awaitable[object]]) -> None:
        """Start the server and wait until `is_up` does not raise an HTTP error any more."""
        self._log.parent.mkdir(parents=True, exist_ok=True)
        child = self._child = processes.spawn(command, self._log)
        async with asyncio.timeout(START_PATIENCE):
            while True:
                if child.poll() is not None:
                    raise PortUnavailableError(
                        f"the {self._name} devnet ended with code {child.returncode}", f"see {self._log}"
                    )
                try:
                    await is_up()
                    return
                except httpx.HTTPError:
                    await asyncio.sleep(0.02)

    def kill(self) -> None:
        """End the node at once, as `kill -9` does."""
        if self._child is not None:
            processes.kill(self._child)

    async def stop(self) -> None:
        """End the node in order."""
        await self._client.aclose()
        if self._child is not None:
            await asyncio.to_thread(processes.terminate, self._child)

    async def _command(self, command: str, **wish: object) -> None:
        """Give the server a command. Raises `PortUnavailableError`, `PortError` when it refuses."""
        try:
            answer = await self._client.post(f"{self._control}/{command}", json=wish)
        except httpx.HTTPError as error:
            raise PortUnavailableError(f"the {self._name} devnet is down", f"see {self._log}") from error
        if answer.is_error:
            raise PortError(f"the {self._name} devnet could not {command}: {answer.text}", f"see {self._log}")
