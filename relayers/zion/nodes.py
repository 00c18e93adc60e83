"""The ZION nodes we talk to, one after the other, with failures in the port's own words."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import TypeVar

from bridge.chains.endpoints.in_turn import InTurn
from bridge.chains.errors import PortError, PortUnavailableError
from chain.rules.errors import NodeUnreachableError, RpcError
from chain.service.client import ZionClient

T = TypeVar("T")

_PASSING = {"internal_error", "parse_error"}
"""Reasons that say something of the node and nothing of what it was asked."""


class Nodes:
    """Stays with one node until that one is unavailable, then goes round the others before it gives up."""

    def __init__(self, urls: Sequence[str], timeout: float) -> None:
        if not urls:
            raise PortError("no ZION RPC URL is configured", "set rpc_urls of the chain")
        self._clients = InTurn([ZionClient(url, timeout=timeout) for url in urls])

    async def ask(self, request: Callable[[ZionClient], Awaitable[T]]) -> T:
        """Return what `request` returns. `RpcError` passes through: the node has answered, and refused.

        Raises `PortUnavailableError` without the URL, which may contain credentials.
        """

        async def classified(client: ZionClient) -> T:
            try:
                return await request(client)
            except NodeUnreachableError:
                # Without the error as its cause: its own words contain the URL.
                raise PortUnavailableError(
                    "the ZION node cannot be reached", "is it up and the URL right?"
                ) from None
            except RpcError as error:
                if error.reason not in _PASSING:
                    raise
                raise PortUnavailableError(
                    f"the ZION node failed: {error.message}", "see the node's log"
                ) from error

        return await self._clients.ask(classified)

    async def heads(self) -> AsyncIterator[None]:
        """Yield on each pushed new block of the current node; ends when the line drops."""
        try:
            async for _ in self._clients.current.subscribe("newBlock"):
                yield
        except RpcError:
            return

    async def close(self) -> None:
        """Close the connections."""
        for client in self._clients.all:
            await client.close()
