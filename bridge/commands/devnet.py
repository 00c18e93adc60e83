"""`rainbow devnet`: local chains with the contract deployed and accounts funded, until told to stop."""

from __future__ import annotations

import asyncio
import signal
from fractions import Fraction
from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

import typer

from bridge import config as configuration
from bridge.chains.family import LocalInstance
from bridge.commands.output import ConfigFile, Json, Output, speaking
from bridge.commands.runtime import KeyRing
from bridge.config import ConfigError, Network, Settings
from bridge.keys.keystore import SecretKey, devnet_key
from bridge.protocol.types import Amount, Asset, ChainId
from bridge.wiring.local_chains import make
from bridge.wiring.ports import open_port

BRIDGE_WORTH = 20_000_000
USER_WORTH = 200_000
"""What the accounts get of each asset, in the unit of the configured prices…"""
MOST_COINS = 1_000_000
"""… but never more whole coins than this."""


def devnet(
    config: ConfigFile = None,
    directory: Annotated[Path, typer.Option("--dir", help="Where the chains are kept.")] = Path("devnet"),
    block_time: Annotated[int, typer.Option(help="Seconds between blocks.", min=1)] = 1,
    as_json: Json = False,
) -> None:
    """Run local chains at the configured ports, and fund the bridge and a user, until Ctrl-C.

    For the network "dev" alone; a chain for each one that the configuration has switched on. The user has the
    published devnet keys `<chain>/user`.
    """
    with speaking(as_json) as output:
        settings = configuration.load(config)
        if settings.network is not Network.DEV:
            raise ConfigError([f"the network is {settings.network.value}"], "devnets are for network dev")
        asyncio.run(_run(settings, directory, block_time, output))


async def _run(settings: Settings, directory: Path, block_time: int, output: Output) -> None:
    ring = KeyRing(settings)
    enabled = settings.enabled_chains()
    chains = make(
        {chain: section.family or chain for chain, section in enabled.items()},
        directory,
        block_time=block_time,
        ports={chain: _port(settings, chain) for chain in enabled},
    )
    urls: dict[str, str] = {chain: local.url for chain, local in chains.items()}
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    try:
        await asyncio.gather(*(local.node.start() for local in chains.values()))
        accounts: dict[str, str] = {}
        for entry in settings.assets:
            chain = ChainId(entry.chain)
            if chain not in chains or (entry.contract and settings.traits(chain).needs_consent):
                continue  # the second need trustlines first, which the accounts' own keys must sign
            for role, worth, key in (
                ("bridge", BRIDGE_WORTH, ring.chain(chain)),
                ("user", USER_WORTH, devnet_key(f"{chain}/user")),
            ):
                units = _coins(settings, entry.asset, worth) * 10**entry.decimals
                accounts[f"{chain}_{role}"] = await _fund(settings, chains[chain], key, entry.asset, units)
        lines = [f"{name}: {value}" for name, value in {**urls, **accounts}.items()]
        output.result({**urls, **accounts}, *lines, "running; Ctrl-C ends it")
        await stop.wait()
    finally:
        await asyncio.gather(*(local.node.stop() for local in chains.values()))


def _coins(settings: Settings, asset: Asset, worth: int) -> int:
    """Return how many whole coins are worth `worth`, at the configured price or else at 1."""
    price = Fraction(settings.prices.static.get(asset.key, "1"))
    return min(MOST_COINS, int(worth / price))


async def _fund(settings: Settings, local: LocalInstance, key: SecretKey, asset: Asset, units: int) -> str:
    """Fill an account up to `units`; returns its address."""
    port = open_port(settings, asset.chain, key)
    try:
        missing = units - await port.balance(port.account, asset)
        parts = settings.traits(asset.chain).split_funding
        for _ in range(parts if missing >= parts else 0):
            await local.node.fund(port.account, asset, Amount(missing // parts))
        return port.account
    finally:
        await port.close()


def _port(settings: Settings, chain: ChainId) -> int:
    """Return the port of the chain's first configured URL."""
    section = settings.chains.get(chain)
    port = urlsplit(section.urls[0]).port if section.urls else None
    if port is None:
        name = f"chains.{chain}.{section.nodes_key}"
        raise ConfigError([f"{name} names no port"], "e.g. http://127.0.0.1:8545")
    return port
