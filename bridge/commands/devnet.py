"""`rainbow devnet`: local chains with the contract deployed and accounts funded, until told to stop."""

from __future__ import annotations

import asyncio
import signal
from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

import typer

from bridge import config as configuration
from bridge.chains.port import PortUnavailable
from bridge.commands.output import ConfigFile, Json, Output, speaking
from bridge.commands.runtime import KeyRing
from bridge.config import ConfigError, Network, Settings
from bridge.keys.keystore import SecretKey, devnet_key
from bridge.protocol import instances
from bridge.protocol.types import NEEDS_CONSENT, Asset, ChainId
from bridge.wiring.local_chains import Local, make
from bridge.wiring.ports import open_port

BRIDGE_COINS = 10_000
USER_COINS = 100
"""Whole coins of each asset that the accounts get; a hundred times as many of those not on Ethereum."""
PILES = {instances.CARDANO: 10}
"""In how many parts: on Cardano each transaction that waits holds an output of its own."""


def devnet(
    config: ConfigFile = None,
    directory: Annotated[Path, typer.Option("--dir", help="Where the chains are kept.")] = Path("devnet"),
    block_time: Annotated[int, typer.Option(help="Seconds between blocks.", min=1)] = 1,
    as_json: Json = False,
) -> None:
    """Run local chains at the configured ports, and fund the bridge and a user, until Ctrl-C.

    For the network "dev" alone; a chain for each one that the configuration has switched on. The user has the
    published devnet keys `ethereum/user`, `zion/user` and so on.
    """
    with speaking(as_json) as output:
        settings = configuration.load(config)
        if settings.network is not Network.DEV:
            raise ConfigError([f"the network is {settings.network.value}"], "devnets are for network dev")
        from relayers.evm.devnet.anvil import AnvilMissing

        try:
            asyncio.run(_run(settings, directory, block_time, output))
        except AnvilMissing as error:
            raise PortUnavailable(str(error), error.hint) from None


async def _run(settings: Settings, directory: Path, block_time: int, output: Output) -> None:
    ring = KeyRing(settings)
    chains = {
        chain: make(chain, directory / chain, block_time=block_time, port=_port(settings, chain))
        for chain in settings.enabled_chains()
    }
    urls: dict[str, str] = {chain: local.url for chain, local in chains.items()}
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    try:
        await asyncio.gather(*(local.node.start() for local in chains.values()))
        accounts: dict[str, str] = {}
        for entry in settings.assets:
            chain = entry.chain
            if chain not in chains or (entry.contract and chain in NEEDS_CONSENT):
                continue  # the second need trustlines first, which the accounts' own keys must sign
            scale = 1 if chain == instances.ETHEREUM else 100
            for role, coins, key in (
                ("bridge", BRIDGE_COINS, ring.chain(chain)),
                ("user", USER_COINS, devnet_key(f"{chain}/user")),
            ):
                units = coins * scale * 10**entry.decimals
                accounts[f"{chain}_{role}"] = await _fund(settings, chains[chain], key, entry.asset, units)
        lines = [f"{name}: {value}" for name, value in {**urls, **accounts}.items()]
        output.result({**urls, **accounts}, *lines, "running; Ctrl-C ends it")
        await stop.wait()
    finally:
        await asyncio.gather(*(local.node.stop() for local in chains.values()))


async def _fund(settings: Settings, local: Local, key: SecretKey, asset: Asset, units: int) -> str:
    """Fill an account up to `units`; returns its address."""
    port = open_port(settings, asset.chain, key)
    try:
        missing = units - await port.balance(port.account, asset)
        parts = PILES.get(asset.chain, 1)
        for _ in range(parts if missing >= parts else 0):
            await local.node.fund(port.account, asset, missing // parts)
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
