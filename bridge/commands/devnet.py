"""`rainbow devnet`: local chains with the contract deployed and accounts funded, until told to stop."""

from __future__ import annotations

import asyncio
import signal
from pathlib import Path
from typing import Annotated

import typer

from bridge import config as configuration
from bridge.commands.output import ConfigFile, Json, Output, speaking
from bridge.commands.runtime import KeyRing
from bridge.config import ConfigError, Network, Settings
from bridge.ports import open_port
from bridge.protocol.types import Asset, Chain
from relayers.ethereum.devnet import AnvilDevnet, AnvilMissing
from relayers.keystore import SecretKey, devnet_key
from relayers.port import PortUnavailable
from relayers.zion.devnet import ZionDevnet

BRIDGE_COINS = 10_000
USER_COINS = 100
"""Whole coins of each asset that the accounts get; of ZION a hundred times as many."""


def devnet(
    config: ConfigFile = None,
    directory: Annotated[Path, typer.Option("--dir", help="Where the chains are kept.")] = Path("devnet"),
    block_time: Annotated[int, typer.Option(help="Seconds between blocks.", min=1)] = 1,
    as_json: Json = False,
) -> None:
    """Run a ZION node and anvil at the configured ports, and fund the bridge and a user, until Ctrl-C.

    For the network "dev" alone. The user has the published devnet keys `ethereum/user` and `zion/user`.
    """
    with speaking(as_json) as output:
        settings = configuration.load(config)
        if settings.network is not Network.DEV:
            raise ConfigError([f"the network is {settings.network.value}"], "devnets are for network dev")
        try:
            asyncio.run(_run(settings, directory, block_time, output))
        except AnvilMissing as error:
            raise PortUnavailable(str(error), error.hint) from None


async def _run(settings: Settings, directory: Path, block_time: int, output: Output) -> None:
    ring = KeyRing(settings)
    zion = ZionDevnet(directory / "zion", block_time=block_time, port=_port(settings, Chain.ZION))
    anvil = AnvilDevnet(
        directory / "anvil", block_time=block_time, persist=True, port=_port(settings, Chain.ETHEREUM)
    )
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    try:
        await asyncio.gather(zion.start(), anvil.start())
        accounts: dict[str, str] = {}
        for entry in settings.assets:
            node: ZionDevnet | AnvilDevnet = zion if entry.chain is Chain.ZION else anvil
            scale = 100 if entry.chain is Chain.ZION else 1
            for role, coins, key in (
                ("bridge", BRIDGE_COINS, ring.chain(entry.chain)),
                ("user", USER_COINS, devnet_key(f"{entry.chain.value}/user")),
            ):
                units = coins * scale * 10**entry.decimals
                accounts[f"{entry.chain.value}_{role}"] = await _fund(settings, node, key, entry.asset, units)
        urls = {"zion": zion.rpc_url, "ethereum": anvil.rpc_url}
        lines = [f"{name}: {value}" for name, value in {**urls, **accounts}.items()]
        output.result({**urls, **accounts}, *lines, "running; Ctrl-C ends it")
        await stop.wait()
    finally:
        await asyncio.gather(zion.stop(), anvil.stop())


async def _fund(
    settings: Settings, node: ZionDevnet | AnvilDevnet, key: SecretKey, asset: Asset, units: int
) -> str:
    """Fill an account up to `units`; returns its address."""
    port = open_port(settings, asset.chain, key)
    try:
        missing = units - await port.balance(port.account, asset)
        if missing > 0:
            await node.fund(port.account, asset, missing)
        return port.account
    finally:
        await port.close()


def _port(settings: Settings, chain: Chain) -> int:
    """Return the port of the chain's first configured URL."""
    urls = settings.chains.get(chain).rpc_urls
    text = urls[0].rpartition(":")[2].strip("/") if urls else ""
    if not text.isdecimal():
        raise ConfigError([f"chains.{chain.value}.rpc_urls names no port"], "e.g. http://127.0.0.1:8545")
    return int(text)
