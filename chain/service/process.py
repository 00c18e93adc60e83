"""Running a node as a process: the RPC server, signals and logs."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import socket
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import structlog
import uvicorn
from uvicorn.protocols.http.auto import AutoHTTPProtocol

from chain.rules.errors import StoreError
from chain.service.ports import ServedNode
from chain.service.server import MAX_REQUEST_BYTES, make_app

log = structlog.get_logger("zion.service")

GRACE_SECONDS = 3

HEADER_SECONDS = 15.0
"""A connection without a request, or with the beginning of one, is closed after this to twice this."""

MAX_CONNECTIONS = 1_000
"""Connections and requests at once; more are answered with 503."""

_AnyProtocol: Any = AutoHTTPProtocol

RECURSION_LIMIT = 1_000
"""Python's default. Some libraries raise it process-wide (py_ecc to 100,000): then a request of nested
brackets overflows the C stack of the JSON parser and kills the process."""


class _Server(uvicorn.Server):
    """uvicorn without its own signal handlers: the node must close its store before the process ends."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


class _Protocol(_AnyProtocol):  # type: ignore[misc]
    """HTTP that closes a connection on which no request gets finished: uvicorn waits for one without end."""

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self._look_again = self.loop.call_later(HEADER_SECONDS, self._look, None)

    def connection_lost(self, error: Exception | None) -> None:
        self._look_again.cancel()
        super().connection_lost(error)

    def _look(self, seen: Any) -> None:
        if self.transport.is_closing() or self.transport.get_protocol() is not self:
            return  # closed, or a WebSocket now, which has pings of its own
        cycle = self.cycle
        if cycle is seen and (cycle is None or cycle.response_complete):
            self.transport.close()
            return
        self._look_again = self.loop.call_later(HEADER_SECONDS, self._look, cycle)


def configure_logs() -> None:
    """Write one JSON object per line to standard error."""
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer(),
        ],
        logger_factory=structlog.WriteLoggerFactory(file=sys.stderr),
    )


def run_service(
    open_node: Callable[[], ServedNode],
    host: str,
    port: int,
    data_dir: Path,
    ready: Callable[[str], None],
) -> None:
    """Serve a node until SIGTERM or SIGINT. `ready` is called with the RPC URL once it answers.

    Raises `ZionError` when it cannot start.
    """
    configure_logs()
    serving = serve(open_node, host, port, data_dir, ready)
    with contextlib.suppress(ImportError):
        import uvloop

        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(serving)
        return
    asyncio.run(serving)


async def serve(
    open_node: Callable[[], ServedNode],
    host: str,
    port: int,
    data_dir: Path,
    ready: Callable[[str], None],
) -> None:
    """Serve a node on this event loop until a signal."""
    listener = _listen(host, port)
    bound_host, bound_port = listener.getsockname()[:2]
    url = f"http://{f'[{bound_host}]' if ':' in bound_host else bound_host}:{bound_port}"
    node = open_node()
    sys.setrecursionlimit(RECURSION_LIMIT)
    server = _Server(
        uvicorn.Config(
            make_app(node),
            log_config=None,
            access_log=False,
            lifespan="off",
            http=_Protocol,
            limit_concurrency=MAX_CONNECTIONS,
            ws="websockets-sansio",
            ws_max_size=MAX_REQUEST_BYTES,
            timeout_graceful_shutdown=GRACE_SECONDS,
            server_header=False,
        )
    )

    def stop() -> None:
        server.should_exit = True

    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop)
    serving = asyncio.create_task(server.serve(sockets=[listener]))
    try:
        while not server.started and not serving.done():
            await asyncio.sleep(0.005)
        await node.start()
        log.info(
            "node started",
            network=node.params.network.value,
            rpc=url,
            height=node.chain.tip.height,
            best=node.chain.tip.id.hex(),
        )
        (data_dir / "rpc_url").write_text(url)
        ready(url)
        await serving
    finally:
        stop()
        await serving
        await node.stop()


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
    except OSError as error:
        listener.close()
        raise StoreError(
            f"cannot listen on {host}:{port}: {error.strerror}",
            hint="choose another --rpc-port (0: any free)",
        ) from None
    return listener
