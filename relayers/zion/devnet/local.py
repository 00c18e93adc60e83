"""A local ZION: a real node of the dev network as a child process, under test control."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from bridge.chains.errors import PortUnavailableError
from bridge.chains.local import processes
from bridge.protocol.types import Asset, ChainId
from chain.rules.errors import NodeUnreachableError
from chain.rules.params import Network
from chain.service.client import ZionClient
from relayers.zion.settings import ZION, ZionSettings

_START_PATIENCE = 180.0
"""Seconds: a first start may compile the kernels."""

_NEVER = 10**6


class ZionDevnet:
    """A node of the dev network; implements `bridge.chains.local.devnet.Devnet`.

    With a `block_time` (seconds) it mines by itself, without it only on `mine`. The chain lives in the
    directory and survives any kind of end.
    """

    def __init__(
        self,
        directory: Path,
        *,
        block_time: float | None = None,
        port: int = 0,
        chain: ChainId = ZION.chain,
    ) -> None:
        self.directory = directory
        self.chain = chain
        self.block_time = block_time
        self.port = port or processes.free_port()
        self._child: subprocess.Popen[bytes] | None = None
        self._client = ZionClient(self.rpc_url, timeout=30)

    @property
    def rpc_url(self) -> str:
        """Where JSON-RPC is served (and subscriptions, under /ws)."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def settings(self) -> ZionSettings:
        """What `open_port` needs for this devnet."""
        return ZionSettings(
            rpc_urls=(self.rpc_url,), network=Network.DEV, poll_interval=0.5, chain=self.chain
        )

    async def start(self) -> ZionDevnet:
        """Start the node and, if it is fresh, make its first blocks, so that its clock is the real one."""
        self.directory.mkdir(parents=True, exist_ok=True)
        self._spawn()
        await self._wait_until_up()
        if (await self._client.get_info()).height == 0:
            await self._client.dev_advance_time(0, settle=True)
        return self

    def kill(self) -> None:
        """End the node at once, as `kill -9` does."""
        if self._child is not None:
            processes.kill(self._child)

    async def restart(self) -> None:
        """Start a killed or stopped node again, on the same port and chain."""
        self._spawn()
        await self._wait_until_up()

    async def mine(self, blocks: int) -> None:
        """Make blocks now."""
        await self._client.dev_mine(blocks)

    async def advance_time(self, seconds: int) -> None:
        """Move the median time past forward by `seconds` (or a little more, as real time goes on meanwhile):
        the clock is set ahead and blocks are made until the median has followed."""
        info = await self._client.get_info()
        ahead = max(0, info.median_time + seconds - info.chain_time)
        await self._client.dev_advance_time(ahead, settle=True)

    async def reorg(self, depth: int, drop: Sequence[str] = ()) -> None:
        """Replace the last `depth` blocks by a heavier branch without the transactions `drop`."""
        await self._client.dev_reorg(depth, drop)

    async def fund(self, address: str, asset: Asset, amount: int) -> None:
        """Give an address ZION from the dev treasury, in smallest units, and mine that."""
        if asset.contract:
            raise ValueError(f"ZION has no {asset.symbol}")
        await self._client.dev_fund(address, amount)
        await self.mine(1)

    def describe(self) -> Mapping[str, str]:
        """Return URLs and paths worth printing."""
        return {
            f"{self.chain} rpc": self.rpc_url,
            f"{self.chain} data": str(self.directory),
            f"{self.chain} log": str(self._log),
        }

    async def stop(self) -> None:
        """End the node in order."""
        await self._client.close()
        if self._child is not None:
            await asyncio.to_thread(processes.terminate, self._child)

    @property
    def _log(self) -> Path:
        return self.directory / "node.log"

    def _spawn(self) -> None:
        interval = _NEVER if self.block_time is None else self.block_time
        command = [
            *(sys.executable, "-m", "chain.cli", "node", "--network", "dev"),
            *("--data-dir", str(self.directory / "chain"), "--rpc-port", str(self.port)),
            *("--block-interval", str(interval)),
        ]
        if self.block_time is not None:
            command.append("--mine")
        self._child = processes.spawn(command, self._log)

    async def _wait_until_up(self) -> None:
        child = self._child
        if child is None:
            return
        async with asyncio.timeout(_START_PATIENCE):
            while True:
                if child.poll() is not None:
                    raise PortUnavailableError(
                        f"the ZION node ended with code {child.returncode}", f"see {self._log}"
                    )
                try:
                    await self._client.get_info()
                    return
                except NodeUnreachableError:
                    await asyncio.sleep(0.05)
