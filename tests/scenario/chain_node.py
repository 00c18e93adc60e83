"""A real ZION node as a child process, on a free port of the loopback."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

from chain.service.client import ZionClient
from chain.service.messages import TransactionPlace, TransactionStatus


class NodeProcess:
    """Start with `start`, end with `terminate` (clean) or `kill` (at any byte)."""

    def __init__(self, data_dir: Path, *options: str) -> None:
        self.data_dir = data_dir
        self.options = options
        self.process: subprocess.Popen[str] | None = None
        self.url = ""

    def start(self) -> NodeProcess:
        command = [sys.executable, "-m", "chain.cli", "node", "--data-dir", str(self.data_dir)]
        log = (self.data_dir.parent / f"{self.data_dir.name}.log").open("a")
        with log:
            self.process = subprocess.Popen(
                [*command, "--rpc-port", "0", "--json", *self.options],
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                env={**os.environ, "PYTHONUNBUFFERED": "1"},
            )
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line, self.log()
        self.url = json.loads(line)["rpc_url"]
        return self

    def log(self) -> str:
        return (self.data_dir.parent / f"{self.data_dir.name}.log").read_text()

    def terminate(self) -> int:
        """SIGTERM; return the exit code."""
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        return self._reap()

    def kill(self) -> None:
        """SIGKILL."""
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self._reap()

    def _reap(self) -> int:
        assert self.process is not None
        code = self.process.wait(timeout=30)
        if self.process.stdout is not None:
            self.process.stdout.close()
        return code


async def until(check: Callable[[], Awaitable[bool]], seconds: float = 20) -> None:
    """Wait for a condition."""
    async with asyncio.timeout(seconds):
        while not await check():
            await asyncio.sleep(0.02)


async def included(client: ZionClient, txid: bytes) -> TransactionStatus:
    """Wait until a transaction is in a block."""

    async def there() -> bool:
        return (await client.get_transaction(txid)).status is TransactionPlace.INCLUDED

    await until(there)
    return await client.get_transaction(txid)
