"""The place of the demonstration: two local chains, the API and two relayers, each its own process."""

from __future__ import annotations

import asyncio
import os
import secrets
import sys
from pathlib import Path

import httpx

from bridge import config, ports
from bridge.config import Settings
from bridge.protocol.types import Asset, Chain
from bridge.supervisor import Child, ProcessSpec, Supervisor
from relayers import childproc, keystore
from relayers.ethereum import demo_token
from relayers.ethereum.devnet import CHAIN_ID, AnvilDevnet
from relayers.ethereum.settings import ETH
from relayers.keystore import KeyLabel, SecretKey
from relayers.port import ChainPort
from relayers.zion.devnet import ZionDevnet
from relayers.zion.settings import ZION

BLOCK_SECONDS = 1
DEMO = demo_token.asset()
ASSETS = (ETH, DEMO, ZION)

BRIDGE_ETHER = 1_000 * 10**18
BRIDGE_ZION = 100_000 * 10**8
BRIDGE_TOKENS = 1_000_000 * 10**6

CONFIG = """\
# Written by `rainbow demo`: local chains, published keys, no real money.
network = "dev"
data_dir = "data"

[api]
port = {api_port}
requests_per_minute = 60000
quotes_per_minute = 600
swaps_per_minute = 600

[keys]
password_file = "password"

[chains.zion]
rpc_urls = ["{zion_rpc}"]
poll_interval = 0.5

[chains.zion.timing]
block_interval = 1
finality_base = 3
finality_cap = 6
inclusion_p99 = 5
clock_skew = 15

[chains.zion.timing.value_per_block]
"zion:ZION" = "5000"

[chains.ethereum]
chain_id = {chain_id}
rpc_urls = ["{ethereum_rpc}"]
ws_url = "{ethereum_ws}"
contract = "{contract}"
poll_interval = 0.5

[chains.ethereum.timing]
block_interval = 1
finality_base = 3
finality_cap = 3
inclusion_p99 = 5
clock_skew = 15

[[assets]]
chain = "ethereum"
symbol = "ETH"
decimals = 18
keep = "1"

[[assets]]
chain = "ethereum"
symbol = "DEMO"
decimals = 6
contract = "{token}"

[[assets]]
chain = "zion"
symbol = "ZION"
decimals = 8
keep = "10"

[[pairs]]
from = "ethereum:ETH"
to = "zion:ZION"
min = "0.01"
max = "10"

[[pairs]]
from = "zion:ZION"
to = "ethereum:ETH"
min = "1"
max = "10000"

[[pairs]]
from = "ethereum:DEMO"
to = "zion:ZION"
min = "1"
max = "10000"

[[pairs]]
from = "zion:ZION"
to = "ethereum:DEMO"
min = "1"
max = "10000"

[prices.static]
"ethereum:ETH" = "3000"
"ethereum:DEMO" = "1"
"zion:ZION" = "2.5"

[swaps]
user_window = 120
lock_window = 60
outage_budget = 60
unfunded_swaps_per_client = 20
open_quotes_per_client = 20
open_swaps_per_client = 20
"""


class Site:
    """Starts and stops everything, and can hurt it: `kill` ends any process as `kill -9` does."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        directory.mkdir(parents=True, exist_ok=True)
        self.ethereum = AnvilDevnet(directory / "ethereum", block_time=BLOCK_SECONDS, persist=True)
        self.zion = ZionDevnet(directory / "zion", block_time=BLOCK_SECONDS)
        self.supervisor = Supervisor(directory / "logs")
        self.api_port = childproc.free_port()
        self.settings: Settings | None = None
        self.down: set[str] = set()

    @property
    def api_url(self) -> str:
        """Where the REST API is served."""
        return f"http://127.0.0.1:{self.api_port}"

    @property
    def config_file(self) -> Path:
        """The configuration of this run."""
        return self.directory / "rainbow.toml"

    def describe(self) -> dict[str, str]:
        """URLs and paths worth printing."""
        return {
            "api": self.api_url,
            "openapi": f"{self.api_url}/openapi.json",
            **self.ethereum.describe(),
            **self.zion.describe(),
            "configuration": str(self.config_file),
            "logs": str(self.supervisor.log_dir),
        }

    # -- starting ------------------------------------------------------------------------------------

    async def start_chains(self) -> None:
        """Start both chains."""
        await asyncio.gather(self.ethereum.start(), self.zion.start())

    def configuration(self) -> str:
        """The text of the configuration file."""
        return CONFIG.format(
            api_port=self.api_port,
            zion_rpc=self.zion.rpc_url,
            ethereum_rpc=self.ethereum.rpc_url,
            ethereum_ws=self.ethereum.ws_url,
            chain_id=CHAIN_ID,
            contract=self.ethereum.contract,
            token=DEMO.contract,
        )

    async def configure(self) -> Settings:
        """Write configuration and keystores, and give the bridge's accounts their money."""
        self.config_file.write_text(self.configuration())
        password = secrets.token_urlsafe(24)
        file = self.directory / "password"
        file.touch(0o600)
        file.write_text(password)
        self.settings = settings = config.load(self.config_file)
        keys = {
            "ethereum/bridge": settings.chains.ethereum.keystore,
            "zion/bridge": settings.chains.zion.keystore,
            "quotes/signer": settings.keys.quotes,
            "secrets/storage": settings.keys.storage,
        }
        for name, path in keys.items():
            label = KeyLabel(use=name, network="dev", devnet=True)
            keystore.write(path, keystore.devnet_key(name), password, label, light=True)
        await self._fund_bridge()
        return settings

    async def _fund_bridge(self) -> None:
        ethereum = self.port(Chain.ETHEREUM, keystore.devnet_key("ethereum/bridge"))
        zion = self.port(Chain.ZION, keystore.devnet_key("zion/bridge"))
        try:
            await self.ethereum.fund(ethereum.account, ETH, BRIDGE_ETHER)
            await self.ethereum.fund(ethereum.account, DEMO, BRIDGE_TOKENS)
            await self.zion.fund(zion.account, ZION, BRIDGE_ZION)
        finally:
            await ethereum.close()
            await zion.close()

    async def start_bridge(self) -> None:
        """Start the API and a relayer for each chain, and wait until the bridge has something on offer."""
        migrate = ProcessSpec("migrate", (*_rainbow(), "db", "upgrade"), _now, self._env())
        child = Child(migrate, self.supervisor.log_dir / "migrate.log")
        await child.start()
        while child.running:
            await asyncio.sleep(0.02)
        if child.exit_code != 0:
            raise RuntimeError(f"the database could not be set up:\n{child.log_tail()}")
        for chain in (Chain.ZION, Chain.ETHEREUM):
            name = f"relayer-{chain.value}"
            argv = (*_rainbow(), "relayer", chain.value)
            self.supervisor.add(ProcessSpec(name, argv, _now, self._env()))
        self.supervisor.add(ProcessSpec("api", (*_rainbow(), "api"), self._api_answers, self._env()))
        await self.supervisor.start()
        await self._everything_on_offer()

    def _env(self) -> dict[str, str]:
        package_root = str(Path(__file__).parents[2])
        path = os.pathsep.join(part for part in (package_root, os.environ.get("PYTHONPATH", "")) if part)
        return {"RAINBOW_CONFIG": str(self.config_file), "PYTHONPATH": path}

    async def _api_answers(self) -> bool:
        async with httpx.AsyncClient(timeout=2) as client:
            try:
                return (await client.get(f"{self.api_url}/healthz")).is_success
            except httpx.HTTPError:
                return False

    async def _everything_on_offer(self, patience: float = 60.0) -> None:
        async with asyncio.timeout(patience), httpx.AsyncClient(base_url=self.api_url, timeout=5) as client:
            while True:
                try:
                    pairs = (await client.get("/v1/pairs")).json()["pairs"]
                except (httpx.HTTPError, KeyError, ValueError):
                    pairs = []
                if pairs and all(pair["available"] for pair in pairs):
                    return
                await asyncio.sleep(0.1)

    # -- using ---------------------------------------------------------------------------------------

    def port(self, chain: Chain, key: SecretKey) -> ChainPort:
        """Open a user's own view of a chain, with the user's own key."""
        if self.settings is None:
            raise RuntimeError("configure() comes first")
        return ports.open_port(self.settings, chain, key)

    def devnet(self, chain: Chain) -> AnvilDevnet | ZionDevnet:
        """The local chain."""
        return self.ethereum if chain is Chain.ETHEREUM else self.zion

    async def fund(self, address: str, asset: Asset, amount: int) -> None:
        """Give an account money from the devnet's treasury."""
        await self.devnet(asset.chain).fund(address, asset, amount)

    # -- hurting -------------------------------------------------------------------------------------

    @property
    def victims(self) -> tuple[str, ...]:
        """The processes that may be killed."""
        return (*self.supervisor.children, "node-zion", "node-ethereum")

    def kill(self, victim: str) -> None:
        """End a process as `kill -9` does."""
        self.down.add(victim)
        if victim == "node-zion":
            self.zion.kill()
        elif victim == "node-ethereum":
            self.ethereum.kill()
        else:
            self.supervisor.children[victim].kill()

    async def revive(self, victim: str) -> None:
        """Start a killed process again."""
        if victim == "node-zion":
            await self.zion.restart()
        elif victim == "node-ethereum":
            await self.ethereum.restart()
        else:
            await self.supervisor.children[victim].restart()
        self.down.discard(victim)

    def dead(self) -> list[str]:
        """The processes that ended although nobody killed them, each with the end of its log."""
        return [
            f"{name} ended with code {child.exit_code}:\n{child.log_tail()}"
            for name, child in self.supervisor.children.items()
            if child.started and not child.running and name not in self.down
        ]

    async def stop(self) -> None:
        """Stop everything, the bridge before the chains."""
        await self.supervisor.stop()
        await asyncio.gather(self.ethereum.stop(), self.zion.stop())


async def _now() -> bool:
    return True


def _rainbow() -> tuple[str, ...]:
    return (sys.executable, "-m", "bridge.cli")
