"""The place of the demonstration: local chains, the API and a relayer for each, each its own process."""

from __future__ import annotations

import asyncio
import os
import secrets
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

import httpx

from bridge import config
from bridge.chains.family import LocalChain, LocalInstance
from bridge.chains.local import processes
from bridge.chains.port import ChainPort
from bridge.config import Settings
from bridge.demo import plans, toml
from bridge.demo.plans import BRIDGE_MONEY, FAMILIES, PRICES
from bridge.demo.supervisor import Child, ProcessSpec, Supervisor
from bridge.keys import keystore
from bridge.keys.keystore import KeyLabel, SecretKey
from bridge.protocol.types import Address, Amount, Asset, ChainId
from bridge.wiring import ports
from bridge.wiring.local_chains import make

BLOCK_SECONDS = 1
POLL_SECONDS = 0.5
"""Seconds between two polls of a relayer; new heads wake it up as well."""

START_PATIENCE_SECONDS = 120.0
"""For the bridge's processes: a busy machine is slow to load all chains' libraries."""
HEADING = "# Written by `rainbow demo`: local chains, published keys, no real money.\n"


class Site:
    """Starts and stops everything, and can break it: `kill` ends any process as `kill -9` does."""

    def __init__(self, directory: Path, chains: Sequence[ChainId] = tuple(FAMILIES)) -> None:
        self.directory = directory
        directory.mkdir(parents=True, exist_ok=True)
        families = {chain: FAMILIES[chain] for chain in FAMILIES if chain in chains}
        self.chains: dict[ChainId, LocalInstance] = make(families, directory, block_time=BLOCK_SECONDS)
        self.assets = plans.assets_of(chains)
        self._nodes = {f"node-{chain}": chain for chain in chains}
        self._funding = {chain: asyncio.Lock() for chain in chains}
        self.supervisor = Supervisor(directory / "logs")
        self.api_port = processes.free_port()
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
            **{key: value for local in self.chains.values() for key, value in local.node.describe().items()},
            "configuration": str(self.config_file),
            "logs": str(self.supervisor.log_dir),
        }

    # -- starting ------------------------------------------------------------------------------------

    async def start_chains(self) -> None:
        """Start all chains, and make the database meanwhile; `configure` comes first."""
        await asyncio.gather(*(local.node.start() for local in self.chains.values()), self._migrate())

    def configuration(self) -> str:
        """The text of the configuration file."""
        tables: dict[str, object] = {
            "network": "dev",
            "data_dir": "data",
            "anchor_interval": 2,
            "api": {
                "port": self.api_port,
                "requests_per_minute": 60_000,
                "quotes_per_minute": 600,
                "swaps_per_minute": 600,
            },
            "keys": {"password_file": "password"},
            "chains": {
                chain: {"poll_interval": POLL_SECONDS, **local.section()}
                for chain, local in self.chains.items()
            },
            "assets": plans.offered_assets(self.assets),
            "pairs": plans.offered_pairs(self.assets),
            "prices": {"static": {asset.key: PRICES[asset] for asset in self.assets}},
            "desk": {"known_after_swaps": 0},
            "swaps": {
                "user_window": 120,
                "lock_window": 60,
                "outage_budget": 60,
                "halt_budget": 0,
                "calm_after_halt": 0,
                "unfunded_swaps_per_client": 50,
                "open_quotes_per_client": 50,
                "open_swaps_per_client": 50,
            },
        }
        return "# Written by `rainbow demo`: local chains, published keys, no real money.\n" + toml.dumps(
            tables
        )

    def configure(self) -> Settings:
        """Write configuration and keystores. No chain needs to run for that."""
        self.config_file.write_text(self.configuration())
        password = secrets.token_urlsafe(24)
        file = self.directory / "password"
        file.touch(0o600)
        file.write_text(password)
        self.settings = settings = config.load(self.config_file)
        keys = {
            **{f"{chain}/bridge": section.keystore for chain, section in settings.chains.items()},
            "quotes/signer": settings.keys.quotes,
            "secrets/storage": settings.keys.storage,
        }
        for name, path in keys.items():
            label = KeyLabel(use=name, network="dev", devnet=True)
            keystore.write(path, keystore.devnet_key(name), password, label, light=True)
        return settings

    async def _fund_bridge(self, assets: Iterable[Asset]) -> None:
        async def fund(asset: Asset) -> None:
            port = self.bridge_port(asset.chain)
            try:
                parts = port.traits.split_funding
                for _ in range(parts):
                    await self.fund(port.account, asset, Amount(BRIDGE_MONEY[asset] // parts))
            finally:
                await port.close()

        await asyncio.gather(*(fund(asset) for asset in assets))

    async def _migrate(self) -> None:
        migrate = ProcessSpec("migrate", (*_rainbow(), "db", "upgrade"), _now, self._env())
        child = Child(migrate, self.supervisor.log_dir / "migrate.log")
        await child.start()
        while child.running:
            await asyncio.sleep(0.02)
        if child.exit_code != 0:
            raise RuntimeError(f"the database could not be set up:\n{child.log_tail()}")

    async def start_bridge(self) -> None:
        """Give the bridge its money, start the API and a relayer for each chain, and wait until the bridge is
        ready to trade."""
        # Where consent is needed, an asset can be paid only after the relayer has agreed to it.
        later = [asset for asset in self.assets if asset.contract and self.needs_consent(asset.chain)]
        await self._fund_bridge(asset for asset in self.assets if asset not in later)
        for chain in self.chains:
            name = f"relayer-{chain}"
            argv = (*_rainbow(), "relayer", chain)
            self.supervisor.add(ProcessSpec(name, argv, _now, self._env()))
        self.supervisor.add(
            ProcessSpec("api", (*_rainbow(), "api"), self._api_answers, self._env(), START_PATIENCE_SECONDS)
        )
        await self.supervisor.start()
        await self._everything_on_offer()
        await self._everything_set_up()
        await self._fund_bridge(later)

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

    async def _everything_on_offer(self, patience: float = START_PATIENCE_SECONDS) -> None:
        async with asyncio.timeout(patience), httpx.AsyncClient(base_url=self.api_url, timeout=5) as client:
            while True:
                try:
                    pairs = (await client.get("/v1/pairs")).json()["pairs"]
                except (httpx.HTTPError, KeyError, ValueError):
                    pairs = []
                if pairs and all(pair["available"] for pair in pairs):
                    return
                await asyncio.sleep(0.1)

    async def _everything_set_up(self, patience: float = START_PATIENCE_SECONDS) -> None:
        """Wait for token approvals and trustlines: before that, nobody can pay the bridge in a token."""

        async def done(chain: ChainId) -> None:
            port = self.bridge_port(chain)
            try:
                while await port.setup_actions(plans.assets_of([chain])):
                    await asyncio.sleep(0.2)
            finally:
                await port.close()

        async with asyncio.timeout(patience):
            await asyncio.gather(*(done(chain) for chain in self.chains))

    # -- using ---------------------------------------------------------------------------------------

    def port(self, chain: ChainId, key: SecretKey) -> ChainPort:
        """Open a user's own view of a chain, with the user's own key."""
        if self.settings is None:
            raise RuntimeError("configure() comes first")
        return ports.open_port(self.settings, chain, key)

    def anchor_port(self, key: SecretKey) -> ChainPort:
        """Open a user's own view of the chain that carries the anchors."""
        if self.settings is None:
            raise RuntimeError("configure() comes first")
        settings = self.settings
        return self.port(next(chain for chain in self.chains if settings.traits(chain).carries_anchors), key)

    def bridge_port(self, chain: ChainId) -> ChainPort:
        """Open the bridge's own view of a chain, with its published key."""
        return self.port(chain, keystore.devnet_key(f"{chain}/bridge"))

    def needs_consent(self, chain: ChainId) -> bool:
        """Tell whether an account must agree to an issued asset before it can be paid in it."""
        if self.settings is None:
            raise RuntimeError("configure() comes first")
        return self.settings.traits(chain).needs_consent

    def devnet(self, chain: ChainId) -> LocalChain:
        """The local chain."""
        return self.chains[chain].node

    async def fund(self, address: Address, asset: Asset, amount: Amount) -> None:
        """Give an account money from the devnet's treasury."""
        async with self._funding[asset.chain]:  # the treasury's transactions have an order
            await self.devnet(asset.chain).fund(address, asset, amount)

    # -- hurting -------------------------------------------------------------------------------------

    @property
    def victims(self) -> tuple[str, ...]:
        """The processes that may be killed."""
        return (*self.supervisor.children, *self._nodes)

    def kill(self, victim: str) -> None:
        """End a process as `kill -9` does."""
        self.down.add(victim)
        if victim in self._nodes:
            self.devnet(self._nodes[victim]).kill()
        else:
            self.supervisor.children[victim].kill()

    async def revive(self, victim: str) -> None:
        """Start a killed process again."""
        if victim in self._nodes:
            await self.devnet(self._nodes[victim]).restart()
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
        await asyncio.gather(*(local.node.stop() for local in self.chains.values()))


async def _now() -> bool:
    return True


def _rainbow() -> tuple[str, ...]:
    return (sys.executable, "-m", "bridge.cli")
