"""The local Solana as a child process under test control; implements `relayers.port.Devnet`."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import httpx

from bridge.protocol.types import Asset
from relayers import childproc
from relayers.port import PortError, PortUnavailable
from relayers.solana.node import DEMO_TOKEN, PROGRAM, describe, free_ports, settings_at
from relayers.solana.settings import SolanaSettings

__all__ = ["DEMO_TOKEN", "PROGRAM", "SolanaDevnet"]

_START_PATIENCE = 30.0
"""Seconds: the virtual machine's library takes one or two to load."""


class SolanaDevnet:
    """A `relayers.solana.node.SolanaNode` in a process of its own, with the program and a demo token.

    With a `block_time` (seconds) it makes blocks by itself on the real clock; without it, only on `mine`, and
    its clock stands still in between. Its journal under `directory` survives a kill: a node started again
    goes on from its last block and pending transactions. It listens at `port` and the one after it.
    """

    def __init__(
        self,
        directory: Path,
        *,
        block_time: float | None = None,
        port: int = 0,
        confirmed_after: int = 0,
        finalized_after: int = 32,
    ) -> None:
        self.directory = directory
        self.block_time = block_time
        self.port = port or free_ports()
        self.token = DEMO_TOKEN
        self.program = PROGRAM
        self._levels = (confirmed_after, finalized_after)
        self._child: subprocess.Popen[bytes] | None = None
        self._client = httpx.AsyncClient(base_url=self.rpc_url, timeout=30)

    @property
    def rpc_url(self) -> str:
        """Where JSON-RPC is served."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def ws_url(self) -> str:
        """Where subscriptions are served."""
        return f"ws://127.0.0.1:{self.port + 1}"

    @property
    def settings(self) -> SolanaSettings:
        """What `open_port` needs for this devnet."""
        return settings_at(self.port)

    async def start(self) -> SolanaDevnet:
        """Start the node. Returns itself."""
        self.directory.mkdir(parents=True, exist_ok=True)
        await self.restart()
        return self

    def kill(self) -> None:
        """End the node at once, as `kill -9` does."""
        if self._child is not None:
            childproc.kill(self._child)

    async def restart(self) -> None:
        """Start a killed or stopped node again, on the same port and from its journal."""
        confirmed, finalized = self._levels
        command = [sys.executable, "-m", "relayers.solana.node", "--port", str(self.port)]
        command += ["--journal", str(self.directory / "journal.jsonl")]
        command += ["--interval", str(self.block_time or 0)]
        command += ["--confirmed-after", str(confirmed), "--finalized-after", str(finalized)]
        self._child = childproc.spawn(command, self._log)
        async with asyncio.timeout(_START_PATIENCE):
            while True:
                if self._child.poll() is not None:
                    raise PortUnavailable(
                        f"the Solana devnet ended with code {self._child.returncode}", f"see {self._log}"
                    )
                try:
                    await self._client.post("/", json={"jsonrpc": "2.0", "id": 1, "method": "getHealth"})
                    return
                except httpx.TransportError:
                    await asyncio.sleep(0.02)

    async def mine(self, blocks: int) -> None:
        """Make blocks now."""
        await self._command("mine", blocks=blocks)

    async def skip(self, slots: int) -> None:
        """Let slots pass without a block, as when their leaders are down."""
        await self._command("skip", slots=slots)

    async def congest(self, toll: int, *, shown: bool = True) -> None:
        """Let nothing in that bids less than `toll` micro-lamports per unit; 0 ends it."""
        await self._command("congest", toll=toll, shown=shown)

    async def advance_time(self, seconds: int) -> None:
        """Make one block whose time is the head's plus `seconds`."""
        await self._command("advance_time", seconds=seconds)

    async def reorg(self, depth: int, drop: Sequence[str] = ()) -> None:
        """Replace the last `depth` blocks by one more on another fork, in later slots."""
        await self._command("reorg", depth=depth, drop=list(drop))

    async def fund(self, address: str, asset: Asset, amount: int) -> None:
        """Give an address lamports of the treasury, or new demo tokens and the account to hold them, in a
        block of their own."""
        await self._command("give", address=address, mint=asset.contract, amount=amount)

    def describe(self) -> Mapping[str, str]:
        """Return URLs, addresses and paths worth printing."""
        return {**describe(self.port), "solana log": str(self._log)}

    async def stop(self) -> None:
        """End the node in order."""
        await self._client.aclose()
        if self._child is not None:
            await asyncio.to_thread(childproc.terminate, self._child)

    @property
    def _log(self) -> Path:
        return self.directory / "solana.log"

    async def _command(self, command: str, **wish: Any) -> None:
        answer = await self._client.post(f"/devnet/{command}", json=wish)
        if answer.is_error:
            raise PortError(f"the Solana devnet could not {command}: {answer.text}", f"see {self._log}")
