"""The place of the demonstration: three local chains, the API and three relayers, each its own process."""

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
from relayers.stellar.devnet.local import TOKEN, StellarDevnet
from relayers.stellar.settings import XLM
from relayers.zion.devnet import ZionDevnet
from relayers.zion.settings import ZION

BLOCK_SECONDS = 1
DEMO = demo_token.asset()
RUSD = TOKEN
ASSETS = (ETH, DEMO, ZION, XLM, RUSD)
CHAINS = (Chain.ETHEREUM, Chain.ZION, Chain.STELLAR)

BRIDGE_MONEY = {
    ETH: 1_000 * 10**18,
    DEMO: 1_000_000 * 10**6,
    ZION: 100_000 * 10**8,
    XLM: 100_000 * 10**7,
}
"""What the bridge begins with, in smallest units."""

LocalChain = AnvilDevnet | ZionDevnet | StellarDevnet

_NODES = {f"node-{chain.value}": chain for chain in CHAINS}

CONFIG = """\
# Written by `rainbow demo`: local chains, published keys, no real money.
network = "dev"
data_dir = "data"
anchor_interval = 2

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

[chains.stellar]
horizon_url = "{horizon_url}"
poll_interval = 0.5

[chains.stellar.timing]
block_interval = 1
finality_base = 1
finality_cap = 1
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

[[assets]]
chain = "stellar"
symbol = "XLM"
decimals = 7
keep = "20"

[[assets]]
chain = "stellar"
symbol = "RUSD"
decimals = 7
contract = "{stellar_token}"

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

[[pairs]]
from = "stellar:XLM"
to = "zion:ZION"
min = "10"
max = "10000"

[[pairs]]
from = "zion:ZION"
to = "stellar:XLM"
min = "1"
max = "10000"
gasless = false

[[pairs]]
from = "stellar:XLM"
to = "ethereum:ETH"
min = "10"
max = "10000"

[[pairs]]
from = "stellar:RUSD"
to = "ethereum:DEMO"
min = "1"
max = "10000"

[prices.static]
"ethereum:ETH" = "3000"
"ethereum:DEMO" = "1"
"zion:ZION" = "2.5"
"stellar:XLM" = "0.25"
"stellar:RUSD" = "1"

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
        self.stellar = StellarDevnet(directory / "stellar", block_time=BLOCK_SECONDS)
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
            **self.stellar.describe(),
            "configuration": str(self.config_file),
            "logs": str(self.supervisor.log_dir),
        }

    # -- starting ------------------------------------------------------------------------------------

    async def start_chains(self) -> None:
        """Start all chains."""
        await asyncio.gather(self.ethereum.start(), self.zion.start(), self.stellar.start())

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
            horizon_url=self.stellar.url,
            stellar_token=RUSD.contract,
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
            **{f"{chain.value}/bridge": section.keystore for chain, section in settings.chains.items()},
            "quotes/signer": settings.keys.quotes,
            "secrets/storage": settings.keys.storage,
        }
        for name, path in keys.items():
            label = KeyLabel(use=name, network="dev", devnet=True)
            keystore.write(path, keystore.devnet_key(name), password, label, light=True)
        await self._fund_bridge()
        return settings

    async def _fund_bridge(self) -> None:
        for chain in CHAINS:
            port = self.bridge_port(chain)
            try:
                for asset, amount in BRIDGE_MONEY.items():
                    if asset.chain is chain:
                        await self.fund(port.account, asset, amount)
            finally:
                await port.close()

    async def start_bridge(self) -> None:
        """Start the API and a relayer for each chain, and wait until the bridge is ready to trade."""
        migrate = ProcessSpec("migrate", (*_rainbow(), "db", "upgrade"), _now, self._env())
        child = Child(migrate, self.supervisor.log_dir / "migrate.log")
        await child.start()
        while child.running:
            await asyncio.sleep(0.02)
        if child.exit_code != 0:
            raise RuntimeError(f"the database could not be set up:\n{child.log_tail()}")
        for chain in CHAINS:
            name = f"relayer-{chain.value}"
            argv = (*_rainbow(), "relayer", chain.value)
            self.supervisor.add(ProcessSpec(name, argv, _now, self._env()))
        self.supervisor.add(ProcessSpec("api", (*_rainbow(), "api"), self._api_answers, self._env()))
        await self.supervisor.start()
        await self._everything_on_offer()
        await self._everything_set_up()

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

    async def _everything_set_up(self, patience: float = 60.0) -> None:
        """Wait for token approvals and trustlines: nobody can pay the bridge in a token before."""
        async with asyncio.timeout(patience):
            for chain in CHAINS:
                port = self.bridge_port(chain)
                try:
                    while await port.setup_actions([asset for asset in ASSETS if asset.chain is chain]):
                        await asyncio.sleep(0.2)
                finally:
                    await port.close()

    # -- using ---------------------------------------------------------------------------------------

    def port(self, chain: Chain, key: SecretKey) -> ChainPort:
        """Open a user's own view of a chain, with the user's own key."""
        if self.settings is None:
            raise RuntimeError("configure() comes first")
        return ports.open_port(self.settings, chain, key)

    def bridge_port(self, chain: Chain) -> ChainPort:
        """Open the bridge's own view of a chain, with its published key."""
        return self.port(chain, keystore.devnet_key(f"{chain.value}/bridge"))

    def devnet(self, chain: Chain) -> LocalChain:
        """The local chain."""
        chains: dict[Chain, LocalChain] = {
            Chain.ETHEREUM: self.ethereum,
            Chain.ZION: self.zion,
            Chain.STELLAR: self.stellar,
        }
        return chains[chain]

    async def fund(self, address: str, asset: Asset, amount: int) -> None:
        """Give an account money from the devnet's treasury."""
        await self.devnet(asset.chain).fund(address, asset, amount)

    # -- hurting -------------------------------------------------------------------------------------

    @property
    def victims(self) -> tuple[str, ...]:
        """The processes that may be killed."""
        return (*self.supervisor.children, *_NODES)

    def kill(self, victim: str) -> None:
        """End a process as `kill -9` does."""
        self.down.add(victim)
        if victim in _NODES:
            self.devnet(_NODES[victim]).kill()
        else:
            self.supervisor.children[victim].kill()

    async def revive(self, victim: str) -> None:
        """Start a killed process again."""
        if victim in _NODES:
            await self.devnet(_NODES[victim]).restart()
        else:
            await self.supervisor.children[victim].start()
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
        await asyncio.gather(self.ethereum.stop(), self.zion.stop(), self.stellar.stop())


async def _now() -> bool:
    return True


def _rainbow() -> tuple[str, ...]:
    return (sys.executable, "-m", "bridge.cli")
