"""The ZION nodes we talk to, one after the other, with failures in the port's own words."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import TypeVar

from bridge.chains.endpoints.answers import EndpointError, shortened
from bridge.chains.endpoints.names import endpoint_names
from bridge.chains.endpoints.pool import Identify, Pool
from bridge.chains.endpoints.selection import Head, Rules
from bridge.chains.errors import PortError
from chain.rules.errors import NodeUnreachableError, RpcError
from chain.service.client import ZionClient

T = TypeVar("T")

_PASSING = {"internal_error", "parse_error"}
"""Reasons that say something of the node and nothing of what it was asked."""


class Nodes:
    """Stays with one node until that one is unavailable, then goes round the others before it gives up."""

    def __init__(
        self,
        urls: Sequence[str],
        timeout: float,
        *,
        rules: Rules = Rules(),
        identify: Identify[ZionClient] | None = None,
    ) -> None:
        if not urls:
            raise PortError("no ZION RPC URL is configured", "set rpc_urls of the chain")
        clients = [ZionClient(url, timeout=timeout) for url in urls]
        names = endpoint_names(urls, "the ZION node")
        self._names = dict(zip(clients, names, strict=True))
        self.pool = Pool(clients, names, "the ZION node", rules=rules, identify=identify, head=self._head)

    async def ask(self, request: Callable[[ZionClient], Awaitable[T]]) -> T:
        """Return what `request` returns. `RpcError` passes through: the node has answered, and refused.

        Raises `PortUnavailableError` without the URL, which may contain credentials.
        """

        return await self.pool.ask(lambda client: self.classified(client, request))

    async def classified(self, client: ZionClient, request: Callable[[ZionClient], Awaitable[T]]) -> T:
        """Return what `request` returns of one node; its failures are `EndpointError`s."""
        name = self._names[client]
        try:
            return await request(client)
        except NodeUnreachableError:
            # Without the error as its cause: its own words contain the URL.
            raise EndpointError(f"{name} cannot be reached", "is it up and the URL right?") from None
        except RpcError as error:
            if error.reason not in _PASSING:
                raise
            raise EndpointError(f"{name} failed: {shortened(error.message)}", "see the node's log") from error

    async def _head(self, client: ZionClient) -> Head:
        info = await self.classified(client, lambda node: node.get_info())
        return Head(info.height, info.median_time)

    async def heads(self) -> AsyncIterator[None]:
        """Yield on each pushed new block of the current node; ends when the line drops."""
        try:
            async for _ in self.pool.current.subscribe("newBlock"):
                yield
        except RpcError:
            return

    async def close(self) -> None:
        """Close the connections."""
        await self.pool.close()
