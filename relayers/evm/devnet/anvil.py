"""A local EVM network: anvil as a child process, with the HTLC and a demo ERC-20, under test control."""

from __future__ import annotations

import asyncio
import os
import platform
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
from eth_account import Account

from bridge.chains.errors import PortError, PortUnavailableError
from bridge.chains.local import processes
from bridge.keys.devkeys import devnet_key
from bridge.protocol.types import Asset, ChainId
from relayers.evm import artifacts
from relayers.evm.devnet import demo_token
from relayers.evm.rpc import RpcError, open_rpc, quantity, record
from relayers.evm.settings import DECIMALS, ETHEREUM, EvmSettings

CHAIN_ID = 31337
"""anvil's own default; instances that run side by side need one each, or signatures would be good on both."""
TREASURY_KEY = devnet_key("ethereum/treasury")

_START_PATIENCE = 60.0
_GAS_PRICE = 100 * 10**9
_PLATFORM_PACKAGES = {
    ("Linux", "x86_64"): "anvil-linux-amd64",
    ("Linux", "aarch64"): "anvil-linux-arm64",
    ("Darwin", "arm64"): "anvil-darwin-arm64",
    ("Darwin", "x86_64"): "anvil-darwin-amd64",
}


class AnvilMissingError(PortError):
    """There is no anvil on this machine. `hint` says how to get one."""

    def __init__(self) -> None:
        super().__init__(
            "anvil, the local EVM node, was not found",
            "run `make setup`, put anvil on PATH, or set RAINBOW_ANVIL to the binary",
        )


def find_anvil() -> Path:
    """Return the raw anvil binary: RAINBOW_ANVIL, PATH, or the npm package under .toolchain.

    npm's `anvil` wrapper script is passed over: it orphans its child. Raises `AnvilMissingError`.
    """
    named = os.environ.get("RAINBOW_ANVIL")
    if named:
        if os.access(named, os.X_OK):
            return Path(named).absolute()
        raise AnvilMissingError
    on_path = shutil.which("anvil")
    if on_path and not Path(on_path).resolve().suffix:
        return Path(on_path)
    package = _PLATFORM_PACKAGES.get((platform.system(), platform.machine()), "")
    for root in (Path.cwd(), *Path.cwd().parents, Path(__file__).parents[3]):
        binary = root / ".toolchain/node_modules/@foundry-rs" / package / "bin/anvil"
        if package and os.access(binary, os.X_OK):
            return binary
    raise AnvilMissingError


class AnvilDevnet:
    """anvil with one HTLC contract and one demo token; implements `bridge.chains.local.devnet.Devnet`.

    With a `block_time` (seconds) it makes blocks by itself, without it only on `mine`. With `persist` its
    state is written to the directory every second and when it ends, so that a killed node started again
    goes on from at most a second before: what was younger is gone, as after a reorg.

    Several run side by side, each with its own `chain` (the instance's name), `chain_id` and `coin` (the
    native coin's symbol). anvil calls the block `2 * epoch` below the head finalized.
    """

    def __init__(
        self,
        directory: Path,
        *,
        block_time: int | None = None,
        persist: bool = False,
        port: int = 0,
        chain: ChainId = ETHEREUM,
        chain_id: int = CHAIN_ID,
        coin: str = "ETH",
        epoch: int = 1,
    ) -> None:
        self.chain = chain
        self.chain_id = chain_id
        self.directory = directory
        self.block_time = block_time
        self.persist = persist
        self.port = port or processes.free_port()
        self.contract = artifacts.deployed_address()
        self.epoch = epoch
        self.native = Asset(chain, coin, DECIMALS)
        self.token = demo_token.asset(chain)
        self._binary = find_anvil()
        self._child: subprocess.Popen[bytes] | None = None
        self._keeper: asyncio.Task[None] | None = None
        self._rpc = open_rpc([self.rpc_url], timeout=30)
        self._treasury = Account.from_key(TREASURY_KEY)

    @property
    def rpc_url(self) -> str:
        """Where JSON-RPC is served."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def ws_url(self) -> str:
        """Where subscriptions are served."""
        return f"ws://127.0.0.1:{self.port}"

    @property
    def settings(self) -> EvmSettings:
        """What `open_port` needs for this devnet."""
        return EvmSettings(
            rpc_urls=(self.rpc_url,),
            ws_url=self.ws_url,
            chain=self.chain,
            chain_id=self.chain_id,
            contract=self.contract,
            native=self.native,
            reads_finalized=True,
            assets=(self.token,),
            poll_interval=0.5,
        )

    async def start(self) -> AnvilDevnet:
        """Start anvil, and on a fresh chain deploy the HTLC and the token. Returns itself."""
        self.directory.mkdir(parents=True, exist_ok=True)
        self._spawn()
        await self._wait_until_up()
        for address, calldata in (
            (self.contract, "0x" + artifacts.deployment_calldata().hex()),
            (self.token.contract, demo_token.deployment_calldata()),
        ):
            if await self._call("eth_getCode", address, "latest") == "0x":
                await self._call("anvil_setBalance", self._treasury.address, hex(10**9 * 10**18))
                await self._send(artifacts.DEPLOYER, calldata)
        await self._resume()
        if self.persist:
            self._keeper = asyncio.create_task(self._keep_good_states())
        return self

    def kill(self) -> None:
        """End the node at once, as `kill -9` does."""
        if self._child is not None:
            processes.kill(self._child)

    async def restart(self) -> None:
        """Start a killed or stopped node again, on the same port and from its persisted state."""
        self._spawn()
        await self._wait_until_up()
        await self._resume()

    async def mine(self, blocks: int) -> None:
        """Make blocks now."""
        await self._call("anvil_mine", hex(blocks))

    async def advance_time(self, seconds: int) -> None:
        """Move the clock `seconds` beyond the head's timestamp and make one block with exactly that time."""
        head = await self._head()
        await self._call("evm_setNextBlockTimestamp", quantity(head["timestamp"]) + seconds)
        await self.mine(1)

    async def reorg(self, depth: int, drop: Sequence[str] = ()) -> None:
        """Replace the last `depth` blocks by empty ones, and put one block on top with all their transactions
        but `drop`. One that needs a dropped one (a later nonce) stays in the pool, as it would anywhere."""
        await self._call("evm_setIntervalMining", 0)
        try:
            head = await self._head()
            height = quantity(head["number"])
            for tx_id in drop:
                await self._call("anvil_dropTransaction", tx_id)
            kept = [
                await self._call("eth_getRawTransactionByHash", tx_id)
                for number in range(height - depth + 1, height + 1)
                for tx_id in record(await self._call("eth_getBlockByNumber", hex(number), False))[
                    "transactions"
                ]
                if tx_id not in drop
            ]
            await self._call("anvil_reorg", depth, [])
            for raw in kept:
                try:
                    await self._rpc.call("eth_sendRawTransaction", raw)
                except RpcError:
                    continue  # it was valid only after a dropped one
            # anvil forgets how far its clock was moved; the new branch must not be older than the old one.
            await self._call("evm_setNextBlockTimestamp", quantity(head["timestamp"]) + 1)
            await self.mine(1)
        finally:
            await self._resume()

    async def fund(self, address: str, asset: Asset, amount: int) -> None:
        """Give an address ether of the treasury or new demo tokens, in smallest units, and mine that.

        By transactions, not by anvil's own commands: a reorg would silently undo those.
        """
        if asset.contract:
            await self._send(asset.contract, demo_token.mint(address, amount))
        else:
            await self._send(address, "0x", amount)

    def describe(self) -> Mapping[str, str]:
        """Return URLs, addresses and paths worth printing."""
        return {
            f"{self.chain} rpc": self.rpc_url,
            f"{self.chain} htlc": self.contract,
            f"{self.chain} token": self.token.contract,
            f"{self.chain} log": str(self._log),
        }

    async def stop(self) -> None:
        """End the node in order."""
        if self._keeper is not None:
            self._keeper.cancel()
        await self._rpc.close()
        if self._child is not None:
            await asyncio.to_thread(processes.terminate, self._child)

    @property
    def _log(self) -> Path:
        return self.directory / "anvil.log"

    def _spawn(self) -> None:
        command = [
            str(self._binary),
            *("--host", "127.0.0.1", "--port", str(self.port), "--chain-id", str(self.chain_id)),
            # Blocks begin when the clock is right (see `_resume`). The well-known account stays unfunded.
            *("--no-mining", "--accounts", "1", "--balance", "0", "--order", "fees", "--quiet"),
            *("--slots-in-an-epoch", str(self.epoch), "--cache-path", str(self.directory / "anvil-cache")),
        ]
        if self.persist:
            self._mend_state()
            command += ["--state", str(self._state), "--state-interval", "1"]
        self._child = processes.spawn(command, self._log)

    @property
    def _state(self) -> Path:
        return self.directory / "anvil-state.json"

    @property
    def _good_state(self) -> Path:
        return self.directory / "anvil-state.good.json"

    async def _keep_good_states(self) -> None:
        """Keep a copy of the newest complete state: anvil overwrites its file in place, so a kill at the
        wrong moment leaves half of one."""
        seen = 0
        while True:
            await asyncio.sleep(0.5)
            if self._state.exists() and (changed := self._state.stat().st_mtime_ns) != seen:
                state = self._state.read_bytes()
                if _is_complete(state):
                    draft = self._good_state.with_suffix(".new")
                    draft.write_bytes(state)
                    draft.replace(self._good_state)
                    seen = changed

    def _mend_state(self) -> None:
        if self._good_state.exists() and not _is_complete(self._state.read_bytes()):
            shutil.copyfile(self._good_state, self._state)

    async def _wait_until_up(self) -> None:
        child = self._child
        if child is None:
            return
        async with asyncio.timeout(_START_PATIENCE):
            while True:
                if child.poll() is not None:
                    raise PortUnavailableError(
                        f"anvil ended with code {child.returncode}", f"see {self._log}"
                    )
                try:
                    await self._rpc.call("eth_chainId")
                    return
                except PortUnavailableError:
                    await asyncio.sleep(0.02)

    async def _resume(self) -> None:
        """Put the clock where it was (a restart and a reorg forget how far it was moved) and mine again."""
        head_time = quantity((await self._head())["timestamp"])
        now = quantity((await self._call("eth_getBlockByNumber", "pending", False))["timestamp"])
        if head_time > now:
            await self._call("evm_increaseTime", head_time - now)
        if self.block_time is not None:
            await self._call("evm_setIntervalMining", self.block_time)

    async def _head(self) -> dict[str, Any]:
        return record(await self._call("eth_getBlockByNumber", "latest", False))

    async def _send(self, to: str, data: str, value: int = 0) -> None:
        """Send from the treasury and mine at once."""
        nonce = quantity(await self._call("eth_getTransactionCount", self._treasury.address, "pending"))
        fields: dict[str, Any] = {
            "chainId": self.chain_id,
            "nonce": nonce,
            "to": to,
            "data": data,
            "value": value,
            "gas": 5_000_000,
            "maxFeePerGas": _GAS_PRICE,
            "maxPriorityFeePerGas": 10**9,
        }
        signed = self._treasury.sign_transaction(fields)
        tx_id = await self._call("eth_sendRawTransaction", "0x" + signed.raw_transaction.hex())
        await self.mine(1)
        receipt = await self._call("eth_getTransactionReceipt", tx_id)
        if receipt is None or quantity(receipt["status"]) != 1:
            raise PortUnavailableError("a devnet set-up transaction failed", f"see {self._log}")

    async def _call(self, method: str, *params: Any) -> Any:
        try:
            return await self._rpc.call(method, *params)
        except RpcError as error:
            raise PortUnavailableError(
                f"anvil refused {method}: {error.message}", f"see {self._log}"
            ) from error


def _is_complete(state: bytes) -> bool:
    try:
        msgspec.json.decode(state)
    except msgspec.DecodeError:
        return False
    return True
