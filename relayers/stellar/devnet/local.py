"""The local Stellar network as a child process under test control; implements `relayers.port.Devnet`."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import httpx
from stellar_sdk import Account, Keypair, Network, TransactionBuilder
from stellar_sdk.operation import Operation, Payment

from bridge.protocol.types import Asset, Chain, ChainTiming
from relayers import childproc
from relayers.devkeys import devnet_key
from relayers.port import PortError, PortUnavailable
from relayers.stellar.assets import decimal, to_stellar
from relayers.stellar.settings import DECIMALS, XLM, StellarSettings
from relayers.stellar.timing import DEVNET

ISSUER = Keypair.from_raw_ed25519_seed(devnet_key("stellar/issuer"))
TOKEN = Asset(Chain.STELLAR, "RUSD", DECIMALS, f"RUSD:{ISSUER.public_key}")
"""The devnet's issued asset."""
_ISSUER_XLM = 1_000_000_000
_START_PATIENCE = 20.0


class StellarDevnet:
    """The emulator behind its Horizon-compatible server, with one issued asset.

    With a `block_time` (seconds) ledgers close by themselves, without it only on `mine`, and its clock then
    stands still in between. Its journal under `directory` survives a kill: a node started again goes on from
    its last ledger and pending transactions.
    """

    def __init__(
        self,
        directory: Path,
        *,
        block_time: float | None = None,
        port: int = 0,
        channels: int = 0,
        timing: ChainTiming = DEVNET,
    ) -> None:
        self.directory = directory
        self.block_time = block_time
        self.port = port or childproc.free_port()
        self.token = TOKEN
        self._channels = channels
        self._timing = timing
        self._child: subprocess.Popen[bytes] | None = None
        self._client = httpx.AsyncClient(base_url=self.url, timeout=30)

    @property
    def url(self) -> str:
        """Where Horizon is served."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def settings(self) -> StellarSettings:
        """What `open_port` needs for this devnet."""
        return StellarSettings(
            horizon_url=self.url,
            passphrase=Network.STANDALONE_NETWORK_PASSPHRASE,
            assets=(XLM, TOKEN),
            channels=self._channels,
            timing=self._timing,
        )

    async def start(self) -> StellarDevnet:
        """Start the node; on a fresh chain make the issuer's account. Returns itself."""
        self.directory.mkdir(parents=True, exist_ok=True)
        await self.restart()
        if (await self._client.get(f"/accounts/{ISSUER.public_key}")).status_code == httpx.codes.NOT_FOUND:
            await self.fund(ISSUER.public_key, XLM, _ISSUER_XLM)
        return self

    def kill(self) -> None:
        """End the node at once, as `kill -9` does."""
        if self._child is not None:
            childproc.kill(self._child)

    async def restart(self) -> None:
        """Start a killed or stopped node again, on the same port and from its journal."""
        command = [sys.executable, "-m", "relayers.stellar.devnet", "serve", "--port", str(self.port)]
        command += ["--journal", str(self.directory / "journal.jsonl")]
        command += ["--interval", str(self.block_time or 0)]
        self._child = childproc.spawn(command, self._log)
        async with asyncio.timeout(_START_PATIENCE):
            while True:
                if self._child.poll() is not None:
                    raise PortUnavailable(
                        f"the Stellar devnet ended with code {self._child.returncode}", f"see {self._log}"
                    )
                try:
                    await self._client.get("/")
                    return
                except httpx.TransportError:
                    await asyncio.sleep(0.02)

    async def mine(self, blocks: int) -> None:
        """Close ledgers now."""
        await self._command("close", count=blocks)

    async def advance_time(self, seconds: int) -> None:
        """Close one ledger exactly `seconds` after the newest one."""
        await self._command("advance", seconds=seconds)

    async def reorg(self, depth: int, drop: Sequence[str] = ()) -> None:
        """Replace the last `depth` ledgers. Real Stellar never does this; see `Node.reorg`."""
        await self._command("reorg", depth=depth, drop=list(drop))

    async def fund(self, address: str, asset: Asset, amount: int) -> None:
        """Give an address XLM (which creates it) or the issued asset (for which it needs a trustline)."""
        if not asset.contract:
            await self._command("fund", address=address, stroops=amount)
            return
        await self.send(ISSUER, [Payment(address, to_stellar(asset), decimal(amount))])

    async def send(self, key: Keypair, operations: Sequence[Operation]) -> None:
        """Send anybody's transaction and put it into a ledger of its own. Raises `PortError` if it fails."""
        account = (await self._client.get(f"/accounts/{key.public_key}")).json()
        builder = TransactionBuilder(
            Account(key.public_key, int(account["sequence"])), self.settings.passphrase, base_fee=1000
        )
        for operation in operations:
            builder.append_operation(operation)
        envelope = builder.add_time_bounds(0, 0).build()
        envelope.sign(key)
        answer = await self._client.post("/transactions_async", data={"tx": envelope.to_xdr()})
        await self.mine(1)
        record = await self._client.get(f"/transactions/{envelope.hash_hex()}")
        if record.status_code != httpx.codes.OK or not record.json()["successful"]:
            raise PortError(f"a devnet transaction failed: {answer.text} {record.text}", f"see {self._log}")

    def describe(self) -> Mapping[str, str]:
        """Return URLs, addresses and paths worth printing."""
        return {
            "stellar horizon": self.url,
            "stellar token": TOKEN.contract,
            "stellar log": str(self._log),
        }

    async def stop(self) -> None:
        """End the node in order."""
        await self._client.aclose()
        if self._child is not None:
            await asyncio.to_thread(childproc.terminate, self._child)

    @property
    def _log(self) -> Path:
        return self.directory / "stellar.log"

    async def _command(self, command: str, **wish: Any) -> None:
        answer = await self._client.post(f"/devnet/{command}", json=wish)
        if answer.is_error:
            raise PortError(f"the Stellar devnet could not {command}: {answer.text}", f"see {self._log}")
