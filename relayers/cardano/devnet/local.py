"""A local Cardano: the Blockfrost-compatible server and its ledger as child processes, under test control."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from bridge.chains.local import processes
from bridge.chains.local.servers import ChildServer
from bridge.protocol.types import Asset, ChainId
from relayers.cardano.devnet.treasury import DEMO_TOKEN, REFERENCE_SCRIPT
from relayers.cardano.settings import ADA, CardanoSettings, Network


class CardanoDevnet(ChildServer):
    """A ledger with the HTLC's validator and a token; implements `bridge.chains.local.devnet.Devnet`.

    With a `block_time` (seconds) blocks come by themselves, without it only on `mine`. The chain lives in the
    directory, mempool included, and survives any kind of end. A fresh one's first slot begins at `zero_time`
    (Unix seconds), 0: when it is started.
    """

    def __init__(
        self,
        directory: Path,
        *,
        block_time: float | None = None,
        port: int = 0,
        zero_time: int = 0,
        chain: ChainId = ADA.chain,
    ) -> None:
        super().__init__("Cardano", port or processes.free_port(), directory / "server.log", "/dev")
        self.directory = directory
        self.block_time = block_time
        self.chain = chain
        self.native = msgspec.structs.replace(ADA, chain=chain)
        self.token = msgspec.structs.replace(DEMO_TOKEN, chain=chain)
        self.zero_time = zero_time

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
            assets=(self.native, self.token),
            zero_time=self.zero_time,
            poll_interval=0.2,
            time_to_live=300,
            rollback_margin=30,
            chain=self.chain,
        )

    async def start(self) -> CardanoDevnet:
        """Start the server; a fresh one makes its first block. Returns itself."""
        await self.restart()
        if (await self._get("/blocks/latest"))["height"] == 0:
            await self.mine(1)
        return self

    async def restart(self) -> None:
        """Start a killed or stopped server again, on the same port and chain."""
        command = [sys.executable, "-m", "relayers.cardano.devnet.server"]
        command += ["--directory", str(self.directory), "--port", str(self.port)]
        command += ["--zero-time", str(self.zero_time)]
        if self.block_time is not None:
            command += ["--block-time", str(self.block_time)]
        await self._spawn(command, lambda: self._get("/genesis"))
        self.zero_time = int((await self._get("/genesis"))["system_start"])

    @property
    def own_node_settings(self) -> CardanoSettings:
        """The same through Ogmios and Kupo."""
        return msgspec.structs.replace(
            self.settings, blockfrost_url="", ogmios_url=self.ogmios_url, kupo_url=self.kupo_url
        )

    async def mine(self, blocks: int) -> None:
        """Make blocks now, the first with all that waits."""
        await self._command("mine", blocks=blocks)

    async def advance_time(self, seconds: int) -> None:
        """Make one block exactly `seconds` after the head; the clock goes on from there."""
        await self._command("advance", seconds=seconds)

    async def reorg(self, depth: int, drop: Sequence[str] = ()) -> None:
        """Replace the last `depth` blocks by a longer branch without the transactions `drop`."""
        await self._command("reorg", depth=depth, drop=list(drop))

    async def fund(self, address: str, asset: Asset, amount: int) -> None:
        """Give an address lovelace or tokens of the treasury, in smallest units, and mine that."""
        await self._command("fund", address=address, unit=asset.contract, amount=amount)

    def describe(self) -> Mapping[str, str]:
        """Return URLs and paths worth printing."""
        return {
            f"{self.chain} blockfrost": self.blockfrost_url,
            f"{self.chain} ogmios": self.ogmios_url,
            f"{self.chain} kupo": self.kupo_url,
            f"{self.chain} token": self.token.contract,
            f"{self.chain} reference script": REFERENCE_SCRIPT,
            f"{self.chain} data": str(self.directory),
            f"{self.chain} log": str(self._log),
        }

    async def _get(self, path: str) -> dict[str, Any]:
        answer = await self._client.get("/api/v0" + path)
        found: dict[str, Any] = answer.raise_for_status().json()
        return found
