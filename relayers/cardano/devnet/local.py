"""A local Cardano: the Blockfrost-compatible server and its ledger as child processes, under test control."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import httpx
import msgspec

from bridge.protocol.types import Asset
from relayers import childproc
from relayers.cardano.devnet.treasury import DEMO_TOKEN, REFERENCE_SCRIPT
from relayers.cardano.settings import ADA, CardanoSettings, Network
from relayers.port import PortUnavailable

_START_PATIENCE = 30.0


class CardanoDevnet:
    """A ledger with the HTLC's validator and a token; implements `relayers.port.Devnet`.

    With a `block_time` (seconds) blocks come by themselves, without it only on `mine`. The chain lives in the
    directory, mempool included, and survives any kind of end. A fresh one's first slot begins at `zero_time`
    (Unix seconds), 0: when it is started.
    """

    def __init__(
        self, directory: Path, *, block_time: float | None = None, port: int = 0, zero_time: int = 0
    ) -> None:
        self.directory = directory
        self.block_time = block_time
        self.port = port or childproc.free_port()
        self.token = DEMO_TOKEN
        self.zero_time = zero_time
        self._child: subprocess.Popen[bytes] | None = None
        self._client = httpx.AsyncClient(base_url=f"http://127.0.0.1:{self.port}", timeout=30)

    @property
    def blockfrost_url(self) -> str:
        """Where the Blockfrost API is served (for `BlockFrostApi` leave out the version: it adds its own)."""
        return f"http://127.0.0.1:{self.port}/api/v0"

    @property
    def ogmios_url(self) -> str:
        """Where Ogmios is served."""
        return f"ws://127.0.0.1:{self.port}/ogmios"

    @property
    def kupo_url(self) -> str:
        """Where Kupo is served."""
        return f"http://127.0.0.1:{self.port}/kupo"

    @property
    def settings(self) -> CardanoSettings:
        """What `open_port` needs for this devnet, once it is started."""
        return CardanoSettings(
            blockfrost_url=self.blockfrost_url,
            network=Network.DEV,
            reference_script=REFERENCE_SCRIPT,
            assets=(ADA, DEMO_TOKEN),
            zero_time=self.zero_time,
            poll_interval=0.2,
            time_to_live=300,
            rollback_margin=30,
        )

    async def start(self) -> CardanoDevnet:
        """Start the server; a fresh one makes its first block. Returns itself."""
        self.directory.mkdir(parents=True, exist_ok=True)
        await self.restart()
        if (await self._get("/blocks/latest"))["height"] == 0:
            await self.mine(1)
        return self

    def kill(self) -> None:
        """End the server at once, as `kill -9` does; its ledger ends with it."""
        if self._child is not None:
            childproc.kill(self._child)

    async def restart(self) -> None:
        """Start a killed or stopped server again, on the same port and chain."""
        command = [sys.executable, "-m", "relayers.cardano.devnet.server"]
        command += ["--directory", str(self.directory), "--port", str(self.port)]
        command += ["--zero-time", str(self.zero_time)]
        if self.block_time is not None:
            command += ["--block-time", str(self.block_time)]
        self._child = childproc.spawn(command, self._log)
        await self._wait_until_up(self._child)
        self.zero_time = int((await self._get("/genesis"))["system_start"])

    @property
    def own_node_settings(self) -> CardanoSettings:
        """The same through Ogmios and Kupo."""
        return msgspec.structs.replace(
            self.settings, blockfrost_url="", ogmios_url=self.ogmios_url, kupo_url=self.kupo_url
        )

    async def mine(self, blocks: int) -> None:
        """Make blocks now, the first with all that waits."""
        await self._control("mine", blocks=blocks)

    async def advance_time(self, seconds: int) -> None:
        """Make one block exactly `seconds` after the head; the clock goes on from there."""
        await self._control("advance", seconds=seconds)

    async def reorg(self, depth: int, drop: Sequence[str] = ()) -> None:
        """Replace the last `depth` blocks by a longer branch without the transactions `drop`."""
        await self._control("reorg", depth=depth, drop=list(drop))

    async def fund(self, address: str, asset: Asset, amount: int) -> None:
        """Give an address lovelace or tokens of the treasury, in smallest units, and mine that."""
        await self._control("fund", address=address, unit=asset.contract, amount=amount)

    def describe(self) -> Mapping[str, str]:
        """Return URLs and paths worth printing."""
        return {
            "cardano blockfrost": self.blockfrost_url,
            "cardano ogmios": self.ogmios_url,
            "cardano kupo": self.kupo_url,
            "cardano token": self.token.contract,
            "cardano reference script": REFERENCE_SCRIPT,
            "cardano data": str(self.directory),
            "cardano log": str(self._log),
        }

    async def stop(self) -> None:
        """End the server and its ledger."""
        await self._client.aclose()
        if self._child is not None:
            await asyncio.to_thread(childproc.terminate, self._child)

    @property
    def _log(self) -> Path:
        return self.directory / "server.log"

    async def _get(self, path: str) -> dict[str, Any]:
        answer = await self._client.get("/api/v0" + path)
        found: dict[str, Any] = answer.raise_for_status().json()
        return found

    async def _control(self, command: str, **body: object) -> None:
        try:
            answer = await self._client.post(f"/dev/{command}", json=body)
        except httpx.HTTPError as error:
            raise PortUnavailable("the Cardano devnet is down", f"see {self._log}") from error
        if answer.status_code != 200:
            raise PortUnavailable(f"the Cardano devnet refused {command}: {answer.text}", f"see {self._log}")

    async def _wait_until_up(self, child: subprocess.Popen[bytes]) -> None:
        async with asyncio.timeout(_START_PATIENCE):
            while True:
                if child.poll() is not None:
                    raise PortUnavailable(
                        f"the Cardano devnet ended with code {child.returncode}", f"see {self._log}"
                    )
                try:
                    await self._get("/genesis")
                    return
                except httpx.HTTPError:
                    await asyncio.sleep(0.05)
