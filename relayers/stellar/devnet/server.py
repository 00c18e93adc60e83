"""Runs a devnet node behind its server: Stellar RPC at /rpc, and the controls of a test network."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from pathlib import Path

import uvicorn
from starlette.applications import Starlette
from starlette.routing import Route

from relayers.stellar.devnet.control import Control
from relayers.stellar.devnet.frames import SOROBAN_SETTINGS
from relayers.stellar.devnet.node import StellarNode
from relayers.stellar.devnet.soroban.rpc import RpcServer
from relayers.stellar.devnet.soroban.settings import Settings


def _application(node: StellarNode) -> Starlette:
    rpc = Route("/rpc", RpcServer(node).handle, methods=["POST"])
    return Starlette(routes=[rpc, *Control(node).routes()])


class DevnetServer:
    """A node and its server on the loopback interface, in this event loop.

    With an `interval` (seconds) ledgers close by themselves, without it only on command. `port` 0 takes a
    free one.
    """

    def __init__(
        self,
        journal: Path | None = None,
        interval: float | None = None,
        port: int = 0,
        settings: Settings = SOROBAN_SETTINGS,
    ) -> None:
        self.node = StellarNode(journal, interval is not None, settings)
        self._interval = interval
        # With the protocol named, asyncio switches Nagle's algorithm off: else each answer waits 40 ms.
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._socket.bind(("127.0.0.1", port))
        config = uvicorn.Config(
            _application(self.node),
            log_level="warning",
            lifespan="off",
            timeout_graceful_shutdown=1,
            ws="none",
        )
        self._server = uvicorn.Server(config)
        self._tasks: list[asyncio.Task[None]] = []

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self._socket.getsockname()[1]}"

    async def start(self) -> None:
        """Start serving."""
        self._server.install_signal_handlers = lambda: None  # type: ignore[attr-defined]
        self._tasks.append(asyncio.create_task(self._server.serve(sockets=[self._socket])))
        if self._interval is not None:
            self._tasks.append(asyncio.create_task(self._close_regularly(self._interval)))
        while not self._server.started:
            if self._tasks[0].done():
                self._tasks[0].result()
                raise RuntimeError("the devnet's server ended before it started")
            await asyncio.sleep(0.005)

    async def run(self) -> None:
        """Serve until cancelled."""
        await self.start()
        await asyncio.gather(*self._tasks)

    async def stop(self) -> None:
        """Stop serving."""
        self._server.should_exit = True
        self._server.force_exit = True
        for task in self._tasks[1:]:
            task.cancel()
        for task in self._tasks:
            with contextlib.suppress(asyncio.CancelledError):
                await task
        self._socket.close()

    async def _close_regularly(self, interval: float) -> None:
        while True:
            await asyncio.sleep(interval)
            await self.node.close()
