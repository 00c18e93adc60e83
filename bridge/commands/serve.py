"""`rainbow api`: the REST API in this process."""

from __future__ import annotations

from typing import Annotated

import typer
import uvicorn

from bridge.api.app import create_app
from bridge.api.connections import HEAD_BYTES, ConnectionLimits, OpenConnections, guarded_protocol
from bridge.api.services import build
from bridge.commands.output import ConfigFile, Json, Output, speaking
from bridge.commands.runtime import KeyRing, load_settings, open_store, price_source
from bridge.config import ApiConfig
from bridge.engine.journal import Journal
from bridge.keys.quote_signature import QuoteSigner
from bridge.wiring.continuity import keyless_identities, refuse_conflicts
from bridge.wiring.ports import keyless_ports, wallet_builder

STOP_SECONDS = 5


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
            refuse_conflicts(store, settings, keyless_identities(settings, ports))
            services = build(
                settings,
                store,
                prices=price_source(settings, store),
                signer=signer,
                ports=ports,
                builders=builders,
                journal=Journal(settings.journal_path()),
            )
            services.acceptances.compare()
            server = _AnnouncingServer(
                uvicorn.Config(
                    create_app(services),
                    host=host or settings.api.host,
                    port=settings.api.port if port is None else port,
                    log_config=None,
                    access_log=False,
                    server_header=False,
                    http=guarded_protocol(OpenConnections(_limits(settings.api))),
                    h11_max_incomplete_event_size=HEAD_BYTES,
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


def _limits(api: ApiConfig) -> ConnectionLimits:
    return ConnectionLimits(api.connection_limit, api.connections_per_client, tuple(api.trusted_proxies))


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
