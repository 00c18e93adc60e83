"""The ZION nodes we talk to (see `bridge.chains.endpoints.pool`), with failures in the port's own words."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Protocol, TypeVar

from bridge.chains.endpoints.agreed_status import agreed_status
from bridge.chains.endpoints.agreement import Agreement
from bridge.chains.endpoints.ancestry import by_height
from bridge.chains.endpoints.answers import Answer, EndpointError, shortened
from bridge.chains.endpoints.names import endpoint_names
from bridge.chains.endpoints.pool import Pool
from bridge.chains.endpoints.reports import Report
from bridge.chains.endpoints.selection import Head, Rules
from bridge.chains.errors import PortError
from bridge.chains.port import BroadcastResult, TxStatus
from bridge.protocol.types import BlockHeight, BlockRef, UnixSeconds
from chain.rules.errors import NodeUnreachableError, RpcError
from chain.service.client import ZionClient

T = TypeVar("T")

_PASSING = {"internal_error", "parse_error"}
"""Reasons that say something of the node and nothing of what it was asked."""


class NodeRefusedError(EndpointError):
    """The node has answered, and refused; `reason` is a value of `chain.rules.errors.Reason`."""

    def __init__(self, message: str, hint: str, reason: str) -> None:
        super().__init__(message, hint, kind=Answer.REFUSED)
        self.reason = reason


class Asks(Protocol):
    """One node, or whichever of them is in use."""

    async def ask(self, request: Callable[[ZionClient], Awaitable[T]]) -> T:
        """Return what `request` returns. Raises `NodeRefusedError`, `EndpointError`."""
        ...


class Node:
    """One node: what must fit together is asked here."""

    def __init__(self, url: str, timeout: float, name: str) -> None:
        self.client = ZionClient(url, timeout=timeout)
        self._name = name

    async def ask(self, request: Callable[[ZionClient], Awaitable[T]]) -> T:
        """See `Asks.ask`. Errors never contain the URL, which may contain credentials."""
        try:
            return await request(self.client)
        except NodeUnreachableError:
            # Without the error as its cause: its own words contain the URL.
            raise EndpointError(f"{self._name} cannot be reached", "is it up and the URL right?") from None
        except RpcError as error:
            words = shortened(error.message)
            if error.reason in _PASSING:
                raise EndpointError(f"{self._name} failed: {words}", "see the node's log") from error
            raise NodeRefusedError(words, error.hint or "use another node", error.reason) from error

    async def close(self) -> None:
        """Close the connections."""
        await self.client.close()


async def read_head(node: Node) -> Head:
    """Return a node's height, and the median of its last blocks' times."""
    info = await node.ask(lambda client: client.get_info())
    return Head(info.height, info.median_time)


async def _block_at(node: Node, height: int) -> BlockRef | None:
    for view in await node.ask(lambda client: client.get_headers(height, 1)):
        return BlockRef(BlockHeight(view.height), view.id, "", UnixSeconds(view.time))
    return None


class Nodes:
    """The nodes of one network; `identify` raises a `PortError` for one of another network."""

    def __init__(
        self,
        urls: Sequence[str],
        timeout: float,
        *,
        rules: Rules = Rules(),
        identify: Callable[[Node], Awaitable[None]] | None = None,
    ) -> None:
        if not urls:
            raise PortError("no ZION RPC URL is configured", "set rpc_urls of the chain")
        what = "the ZION node"
        names = endpoint_names(urls, what)
        nodes = [Node(url, timeout, name) for url, name in zip(urls, names, strict=True)]
        self._pool = Pool(
            nodes,
            names,
            what,
            rules=rules,
            identify=identify,
            head=read_head,
            ancestry=by_height(read_head, _block_at),
        )

    async def ask(self, request: Callable[[ZionClient], Awaitable[T]]) -> T:
        """See `Asks.ask`: the next node is asked when one does not serve it."""
        return await self._pool.ask(lambda node: node.ask(request))

    async def pinned(self, work: Callable[[Node], Awaitable[T]]) -> T:
        """Do `work` with one node, again with the next one when that fails."""
        return await self._pool.ask(work)

    async def reread(self, work: Callable[[Node], Awaitable[T]], moved: type[Exception]) -> T:
        """Do `work` with one node, and again while it raises `moved`: the chain has changed meanwhile."""
        return await self._pool.reread(work, moved)

    async def agree(self, question: Callable[[Node], Awaitable[T]]) -> Agreement[T]:
        """Let two nodes answer where two are configured. See `Pool.agree`."""
        return await self._pool.agree(question)

    async def agreed_status(
        self, look: Callable[[Node], Awaitable[TxStatus]], moved: type[Exception]
    ) -> TxStatus:
        """Return where two nodes say that a transaction is. See `agreed_status`."""
        return await agreed_status(self._pool, look, moved)

    async def broadcast(self, send: Callable[[Node], Awaitable[BroadcastResult]]) -> BroadcastResult:
        """Send to all nodes; the best outcome counts."""
        return await self._pool.broadcast(send)

    async def examine(self) -> tuple[Report, ...]:
        """Look at every node."""
        return await self._pool.examine()

    async def heads(self) -> AsyncIterator[None]:
        """Yield on each pushed new block of the current node; ends when the line drops."""
        try:
            async for _ in self._pool.current.client.subscribe("newBlock"):
                yield
        except RpcError:
            return

    async def close(self) -> None:
        """Close the connections."""
        await self._pool.close()
