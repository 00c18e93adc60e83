"""The local Stellar network as a child process under test control; a `bridge.chains.local.devnet.Devnet`."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec
from stellar_sdk import Account, Keypair, Network, TransactionBuilder
from stellar_sdk.operation import Operation, Payment

from bridge.chains.errors import PortError
from bridge.chains.local import processes
from bridge.chains.local.servers import ChildServer
from bridge.keys.devkeys import devnet_key
from bridge.protocol.types import Asset, ChainId, ChainTiming
from relayers.stellar.accounts import read_holder
from relayers.stellar.assets import decimal, to_stellar
from relayers.stellar.deploying import contract_address, deploy
from relayers.stellar.rpc import ask, open_rpc
from relayers.stellar.settings import DECIMALS, XLM, StellarSettings
from relayers.stellar.timing import DEVNET

ISSUER = Keypair.from_raw_ed25519_seed(devnet_key("stellar/issuer"))
TOKEN = Asset(XLM.chain, "RUSD", DECIMALS, f"RUSD:{ISSUER.public_key}")
"""The devnet's issued asset, of the instance named after the family."""
CONTRACT = contract_address(ISSUER.public_key, Network.STANDALONE_NETWORK_PASSPHRASE)
"""Where the HTLC contract is on every devnet: its address follows from who deploys it."""
_ISSUER_XLM = 10_000_000_000
_PATIENCE = 30.0
"""Seconds for one request."""


class StellarDevnet(ChildServer):
    """The emulator behind its Stellar RPC server, with our contract and one issued asset.

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
        chain: ChainId = XLM.chain,
    ) -> None:
        super().__init__("Stellar", port or processes.free_port(), directory / "stellar.log", "/devnet")
        self.directory = directory
        self.block_time = block_time
        self.chain = chain
        self.native = msgspec.structs.replace(XLM, chain=chain)
        self.token = msgspec.structs.replace(TOKEN, chain=chain)
        self._channels = channels
        self._timing = timing

    @property
    def url(self) -> str:
        """Where Stellar RPC is served."""
        return f"http://127.0.0.1:{self.port}/rpc"

    @property
    def settings(self) -> StellarSettings:
        """What `open_port` needs for this devnet."""
        return StellarSettings(
            rpc_urls=(self.url,),
            contract=CONTRACT,
            passphrase=Network.STANDALONE_NETWORK_PASSPHRASE,
            assets=(self.native, self.token),
            channels=self._channels,
            timing=self._timing,
            chain=self.chain,
        )

    async def start(self) -> StellarDevnet:
        """Start the node; on a fresh chain make the issuer's account and the contract. Returns itself."""
        await self.restart()
        rpc = open_rpc((self.url,), _PATIENCE, self.chain)
        try:
            if (await read_holder(rpc, ISSUER.public_key)).account is None:
                await self.fund(ISSUER.public_key, self.native, _ISSUER_XLM)
            passphrase = Network.STANDALONE_NETWORK_PASSPHRASE
            await rpc.pinned(
                lambda one: deploy(
                    one, ISSUER, passphrase, (self.native, self.token), closed=lambda: self.mine(1)
                )
            )
        finally:
            await rpc.close()
        return self

    async def restart(self) -> None:
        """Start a killed or stopped node again, on the same port and from its journal."""
        command = [sys.executable, "-m", "relayers.stellar.devnet", "serve", "--port", str(self.port)]
        command += ["--journal", str(self.directory / "journal.jsonl")]
        command += ["--interval", str(self.block_time or 0)]
        await self._spawn(command, lambda: self._client.get("/"))

    async def mine(self, blocks: int) -> None:
        """Close ledgers now."""
        await self._command("close", count=blocks)

    async def advance_time(self, seconds: int) -> None:
        """Close one ledger exactly `seconds` after the newest one."""
        await self._command("advance", seconds=seconds)

    async def reorg(self, depth: int, drop: Sequence[str] = ()) -> None:
        """Replace the last `depth` ledgers. Real Stellar never does this; see `StellarNode.reorg`."""
        await self._command("reorg", depth=depth, drop=list(drop))

    async def fund(self, address: str, asset: Asset, amount: int) -> None:
        """Give an address XLM (which creates it) or the issued asset (for which it needs a trustline)."""
        if not asset.contract:
            await self._command("fund", address=address, stroops=amount)
            return
        await self.send(ISSUER, [Payment(address, to_stellar(asset), decimal(amount))])

    async def send(self, key: Keypair, operations: Sequence[Operation]) -> None:
        """Send anybody's transaction and put it into a ledger of its own. Raises `PortError` if it fails."""
        rpc = open_rpc((self.url,), _PATIENCE, self.chain)
        try:
            sequence = (await read_holder(rpc, key.public_key)).sequence
            builder = TransactionBuilder(
                Account(key.public_key, sequence or 0), self.settings.passphrase, base_fee=1000
            )
            for operation in operations:
                builder.append_operation(operation)
            envelope = builder.add_time_bounds(0, 0).build()
            envelope.sign(key)
            answer = await ask(rpc, "sendTransaction", transaction=envelope.to_xdr())
            await self.mine(1)
            found = await ask(rpc, "getTransaction", hash=envelope.hash_hex())
        finally:
            await rpc.close()
        if found["status"] != "SUCCESS":
            raise PortError(f"a devnet transaction failed: {answer} {found['status']}", f"see {self._log}")

    def describe(self) -> Mapping[str, str]:
        """Return URLs, addresses and paths worth printing."""
        return {
            f"{self.chain} rpc": self.url,
            f"{self.chain} contract": CONTRACT,
            f"{self.chain} token": self.token.contract,
            f"{self.chain} log": str(self._log),
        }
