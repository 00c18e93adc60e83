"""The ZION nodes we talk to, one after the other, with failures in the port's own words."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import TypeVar

from bridge.chains.port import PortError, PortUnavailable
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
        self._clients = [ZionClient(url, timeout=timeout) for url in urls]
        self._current = 0

    async def ask(self, request: Callable[[ZionClient], Awaitable[T]]) -> T:
        """Return what `request` returns. `RpcError` passes through: the node has answered, and refused.

        Raises `PortUnavailable` without the URL, which may contain credentials.
        """
        for remaining in range(len(self._clients) - 1, -1, -1):
            try:
                return await request(self._clients[self._current])
            except NodeUnreachableError as error:
                failure = PortUnavailable("the ZION node cannot be reached", "is it up and the URL right?")
                cause: RpcError = error
            except RpcError as error:
                if error.reason not in _PASSING:
                    raise
                failure = PortUnavailable(f"the ZION node failed: {error.message}", "see the node's log")
                cause = error
            if remaining == 0:
                raise failure from cause
            self._current = (self._current + 1) % len(self._clients)
        raise AssertionError("unreachable")

    async def heads(self) -> AsyncIterator[None]:
        """Yield on each pushed new block of the current node; ends when the line drops."""
        try:
            async for _ in self._clients[self._current].subscribe("newBlock"):
                yield
        except RpcError:
            return

    async def close(self) -> None:
        """Close the connections."""
        for client in self._clients:
            await client.close()
