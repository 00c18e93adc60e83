"""`rainbow api`, `rainbow relayer` and `rainbow up`: the processes of the service."""

from __future__ import annotations

import asyncio
import signal
import sys
import time
from pathlib import Path
from typing import Annotated

import prometheus_client
import structlog
import typer
import uvicorn

from bridge.api.app import create_app
from bridge.api.services import build
from bridge.commands.output import ConfigFile, Json, Output, speaking
from bridge.commands.runtime import KeyRing, load_settings, open_store
from bridge.config import ConfigError, Settings
from bridge.engine.prices import HttpPrices, PriceSource, StaticPrices
from bridge.engine.quotes import QuoteSigner
from bridge.ports import keyless_ports, open_port, wallet_builder
from bridge.proofs.anchoring import anchor_log
from bridge.protocol.types import Chain
from relayers import childproc
from relayers.worker import WorkerSettings, run_worker

STOP_SECONDS = 5
FIRST_RESTART_SECONDS = 1.0
LONGEST_RESTART_SECONDS = 30.0
STEADY_SECONDS = 60.0
"""A process that lived this long starts again at once when it dies."""

log = structlog.get_logger("rainbow")


def price_source(settings: Settings) -> PriceSource:
    """Return the configured source of prices."""

    def clock() -> int:
        return int(time.time())

    prices = settings.prices
    if prices.source == "http":
        return HttpPrices(prices.url, prices.max_age, clock)
    return StaticPrices(prices.static, clock)


def api(
    config: ConfigFile = None,
    host: Annotated[str | None, typer.Option(help="Address to listen on instead of api.host.")] = None,
    port: Annotated[int | None, typer.Option(help="Port instead of api.port; 0 takes a free one.")] = None,
    as_json: Json = False,
) -> None:
    """Serve the REST API until told to stop (SIGTERM, Ctrl-C). Prints its URL when it answers."""
    with speaking(as_json) as output:
        settings = load_settings(config)
        ring = KeyRing(settings)
        signer = QuoteSigner(ring.quotes())
        ports = keyless_ports(settings)
        builders = {chain: wallet_builder(settings, chain) for chain in ports}
        store = open_store(settings, ring)
        try:
            services = build(
                settings,
                store,
                prices=price_source(settings),
                signer=signer,
                ports=ports,
                builders=builders,
            )
            server = _AnnouncingServer(
                uvicorn.Config(
                    create_app(services),
                    host=host or settings.api.host,
                    port=settings.api.port if port is None else port,
                    log_config=None,
                    access_log=False,
                    server_header=False,
                    proxy_headers=False,
                    ws_max_size=4_096,
                    timeout_keep_alive=30,
                    timeout_graceful_shutdown=STOP_SECONDS,
                ),
                output,
            )
            server.run()
        finally:
            store.close()


class _AnnouncingServer(uvicorn.Server):
    """Says where it listens once it does: with port 0 nobody knows before."""

    def __init__(self, config: uvicorn.Config, output: Output) -> None:
        super().__init__(config)
        self._output = output

    async def startup(self, sockets: list[object] | None = None) -> None:  # type: ignore[override]
        """Start, then announce."""
        await super().startup(sockets)  # type: ignore[arg-type]
        if self.started:
            host, port = self.servers[0].sockets[0].getsockname()[:2]
            url = f"http://{f'[{host}]' if ':' in host else host}:{port}"
            self._output.result({"url": url}, f"Rainbow Bridge API: {url}")


def relayer(
    chain: Annotated[Chain, typer.Argument(help="Which chain to serve.")],
    config: ConfigFile = None,
    metrics_port: Annotated[int, typer.Option(help="Serve Prometheus here on loopback; 0: not.", min=0)] = 0,
    health_file: Annotated[Path | None, typer.Option(help="A file touched while all is well.")] = None,
    as_json: Json = False,
) -> None:
    """Run one chain's relayer until told to stop (SIGTERM, Ctrl-C). Several may run: one sends at a time."""
    with speaking(as_json) as output:
        settings = load_settings(config)
        try:
            section = settings.chains.get(chain)
        except ValueError as error:
            raise ConfigError([str(error)], "the chains are: zion, ethereum, stellar") from None
        if not section.enabled:
            raise ConfigError([f"chains.{chain.value}.enabled is false"], "switch the chain on")
        ring = KeyRing(settings)
        port = open_port(settings, chain, ring.chain(chain))
        store = open_store(settings, ring)
        if metrics_port:
            prometheus_client.start_http_server(metrics_port, "127.0.0.1")
        output.result(
            {"chain": chain.value, "account": port.account}, f"{chain.value} relayer: {port.account}"
        )

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
                    ),
                    anchor=anchor_log if chain is Chain.ZION else None,
                    assets=[entry.asset for entry in settings.assets if entry.chain is chain],
                    stop=stop,
                    health_file=health_file,
                )
            finally:
                await port.close()

        try:
            asyncio.run(work())
        finally:
            store.close()


def up(config: ConfigFile = None, as_json: Json = False) -> None:
    """Run the API and all enabled relayers as child processes; what dies is started again."""
    with speaking(as_json) as output:
        settings = load_settings(config)
        KeyRing(settings).storage()  # a missing password is told once, here
        logs = settings.data_dir / "logs"
        logs.mkdir(parents=True, exist_ok=True)
        base = [sys.executable, "-m", "bridge.cli"]
        tail = ["--config", str(config)] if config else []
        commands = {"api": [*base, "api", *tail]}
        for chain in settings.enabled_chains():
            commands[f"relayer-{chain.value}"] = [*base, "relayer", chain.value, *tail]
        url = f"http://{settings.api.host}:{settings.api.port}"
        output.result({"url": url, "logs": str(logs)}, f"Rainbow Bridge API: {url}", f"logs: {logs}")
        _supervise(commands, logs)


def _supervise(commands: dict[str, list[str]], logs: Path) -> None:
    """Keep the commands running until SIGTERM or Ctrl-C; all end when this process ends."""
    stopping = False

    def stop(_number: int, _frame: object) -> None:
        nonlocal stopping
        stopping = True

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    running = {name: childproc.spawn(command, logs / f"{name}.log") for name, command in commands.items()}
    born = dict.fromkeys(commands, time.monotonic())
    delay = dict.fromkeys(commands, FIRST_RESTART_SECONDS)
    due: dict[str, float] = {}
    try:
        while not stopping:
            time.sleep(0.2)
            now = time.monotonic()
            for name, child in list(running.items()):
                code = child.poll()
                if code is None:
                    continue
                childproc.kill(child)
                del running[name]
                if now - born[name] > STEADY_SECONDS:
                    delay[name] = FIRST_RESTART_SECONDS
                log.error("process ended", process=name, code=code, again_in=delay[name])
                due[name] = now + delay[name]
                delay[name] = min(delay[name] * 2, LONGEST_RESTART_SECONDS)
            for name in [name for name, at in due.items() if at <= now]:
                del due[name]
                running[name] = childproc.spawn(commands[name], logs / f"{name}.log")
                born[name] = now
    finally:
        for child in running.values():
            childproc.terminate(child, STOP_SECONDS)
