"""`rainbow relayer`: the daemon of one chain in this process."""

from __future__ import annotations

import asyncio
import signal
from pathlib import Path
from typing import Annotated

import typer

from bridge.commands.older_locks import HINT, described, without_contract
from bridge.commands.output import ConfigFile, Json, speaking
from bridge.commands.runtime import KeyRing, chain_named, load_settings, open_store
from bridge.config import ConfigError


def relayer(
    name: Annotated[str, typer.Argument(metavar="CHAIN", help="Which chain of the configuration to serve.")],
    config: ConfigFile = None,
    metrics_port: Annotated[int, typer.Option(help="Serve Prometheus here on loopback; 0: not.", min=0)] = 0,
    health_file: Annotated[Path | None, typer.Option(help="A file touched while all is well.")] = None,
    as_json: Json = False,
) -> None:
    """Run one chain's relayer until told to stop (SIGTERM, Ctrl-C). Several may run: one sends at a time."""
    import prometheus_client

    from bridge.engine.outbox_settings import OutboxSettings
    from bridge.proofs.anchoring import anchor_log
    from bridge.wiring.continuity import identity_of, take_up
    from bridge.wiring.ports import open_port
    from relayers.daemon.loop import WorkerSettings, run_worker

    with speaking(as_json) as output:
        settings = load_settings(config)
        chain = chain_named(settings, name)
        section = settings.chains.get(chain)
        if not section.enabled:
            raise ConfigError([f"chains.{chain}.enabled is false"], "switch the chain on")
        ring = KeyRing(settings)
        port = open_port(settings, chain, ring.chain(chain))
        store = open_store(settings, ring)
        try:
            if swaps := without_contract(store, chain, section):
                raise ConfigError([described(swaps, chain)], HINT)
            take_up(store, settings, identity_of(settings, chain, port.contract, port.account))
        except BaseException:
            store.close()
            raise
        if metrics_port:
            prometheus_client.start_http_server(metrics_port, "127.0.0.1")
        output.result({"chain": chain, "account": port.account}, f"{chain} relayer: {port.account}")

        async def work() -> None:
            stop = asyncio.Event()
            loop = asyncio.get_running_loop()
            for number in (signal.SIGTERM, signal.SIGINT):
                loop.add_signal_handler(number, stop.set)
            try:
                await run_worker(
                    port,
                    store,
                    WorkerSettings(
                        poll_seconds=section.poll_interval,
                        max_blocks=section.max_blocks_per_scan,
                        anchor_seconds=settings.anchor_interval,
                        outbox=OutboxSettings(
                            kept={
                                entry.asset.key: settings.kept(entry.asset.key)
                                for entry in settings.assets
                                if entry.chain == chain
                            }
                        ),
                    ),
                    anchor=anchor_log if settings.traits(chain).carries_anchors else None,
                    assets=[entry.asset for entry in settings.assets if entry.chain == chain],
                    stop=stop,
                    health_file=health_file,
                )
            finally:
                await port.close()

        try:
            asyncio.run(work())
        finally:
            store.close()
