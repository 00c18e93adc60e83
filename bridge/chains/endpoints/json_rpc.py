"""The JSON-RPC endpoints of one network: single and batched calls, pinned work, sending, agreement.

Results are kept as the JSON they came in: what an adapter needs of them is little, and it checks their shape
where it uses them. Ethereum's and Solana's adapters both speak through it; what their error codes mean they
say with an `ErrorTable`.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeVar, cast

from bridge.chains.endpoints.agreement import Agreement
from bridge.chains.endpoints.ancestry import Ancestry
from bridge.chains.endpoints.answers import Answer, EndpointError
from bridge.chains.endpoints.http import HttpEndpoint
from bridge.chains.endpoints.names import endpoint_names
from bridge.chains.endpoints.pool import Pool
from bridge.chains.endpoints.reports import Report
from bridge.chains.endpoints.rpc_calls import MAX_BATCH, Call, Calls, OneEndpoint
from bridge.chains.endpoints.rpc_errors import STANDARD_CODES, ErrorTable, RpcError
from bridge.chains.endpoints.selection import Head, Rules
from bridge.chains.endpoints.sizes import RangeReader
from bridge.chains.errors import PortError, PortUnavailableError
from bridge.chains.port import BroadcastResult

__all__ = [
    "MAX_BATCH",
    "STANDARD_CODES",
    "Call",
    "Calls",
    "ErrorTable",
    "Identity",
    "JsonRpc",
    "OneEndpoint",
    "RpcError",
    "record",
]

ResultT = TypeVar("ResultT")

Identity = Callable[[OneEndpoint], Awaitable[None]]
"""Raises a `PortError` that is no `PortUnavailableError` for an endpoint of another network or contract."""
ReadHead = Callable[[OneEndpoint], Awaitable[Head]]


class JsonRpc(Calls):
    """The JSON-RPC endpoints of one network.

    `network` is its name in messages ("Solana"), `errors` what its nodes' errors mean. `timeout` is seconds
    for one request. `send_urls` are where transactions go instead of to all `urls`. The rest: see
    `pool.Pool`.
    """

    def __init__(
        self,
        urls: Sequence[str],
        timeout: float,
        *,
        network: str,
        errors: ErrorTable,
        rules: Rules = Rules(),
        identify: Identity | None = None,
        head: ReadHead | None = None,
        ancestry: Ancestry[OneEndpoint] | None = None,
        send_urls: Sequence[str] = (),
        identify_sender: Identity | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        if not urls:
            raise PortError(f"no {network} RPC URL is configured", "set rpc_urls of the chain")
        self._rules = rules
        self.pool = self._pool(urls, timeout, f"the {network} RPC", errors, identify, head, ancestry, clock)
        self._senders = self.pool
        if send_urls:
            what = f"the {network} RPC for sending"
            self._senders = self._pool(send_urls, timeout, what, errors, identify_sender, None, None, clock)

    def _pool(
        self,
        urls: Sequence[str],
        timeout: float,
        what: str,
        errors: ErrorTable,
        identify: Identity | None,
        head: ReadHead | None,
        ancestry: Ancestry[OneEndpoint] | None,
        clock: Callable[[], float],
    ) -> Pool[OneEndpoint]:
        names = endpoint_names(urls, what)
        clients = [
            OneEndpoint(HttpEndpoint(url, timeout, name), errors)
            for url, name in zip(urls, names, strict=True)
        ]
        pool = Pool(
            clients,
            names,
            what,
            rules=self._rules,
            identify=identify,
            head=head,
            ancestry=ancestry,
            clock=clock,
        )
        for client in clients:
            client.http.on_connect = lambda client=client: pool.reconnected(client)  # type: ignore[misc]
            client.waits_for = lambda error, client=client: pool.wait_for(client, error)  # type: ignore[misc]
        return pool

    async def batch(self, calls: Sequence[Call]) -> list[Any]:
        """See `Calls.batch`. What one endpoint has served is kept when the next one goes on."""
        got: dict[int, Any] = {}
        declined: dict[int, RpcError] = {}
        try:
            await self.pool.ask(lambda endpoint: endpoint.fill(calls, got, declined))
        except EndpointError as error:
            if error.kind is not Answer.PERMANENT or any(
                at not in got and at not in declined for at in range(len(calls))
            ):
                raise
        return [got[at] if at in got else declined[at] for at in range(len(calls))]

    async def ranged(
        self, what: str, first: int, last: int, most: int, call: Callable[[int, int], Call]
    ) -> list[tuple[int, int, Any]]:
        """See `Calls.ranged`. What one endpoint has served is kept when the next one goes on."""
        reader: RangeReader[Any] = RangeReader(first, last)
        await self.pool.ask(lambda endpoint: endpoint.read_range(reader, what, most, call))
        return reader.pieces

    async def pinned(self, work: Callable[[OneEndpoint], Awaitable[ResultT]]) -> ResultT:
        """Do `work` with one endpoint, again with the next one when that fails. See `Pool.ask`."""
        return await self.pool.ask(work)

    async def reread(
        self, work: Callable[[OneEndpoint], Awaitable[ResultT]], moved: type[Exception]
    ) -> ResultT:
        """Do `work` as `pinned` does, and again while it raises `moved`. See `Pool.reread`."""
        return await self.pool.reread(work, moved)

    async def agree(
        self,
        question: Callable[[OneEndpoint], Awaitable[ResultT]],
        moved: type[Exception] | None = None,
    ) -> Agreement[ResultT]:
        """Let two endpoints answer where two are configured. See `Pool.agree`."""
        return await self.pool.agree(question, moved=moved)

    async def broadcast(self, send: Callable[[OneEndpoint], Awaitable[BroadcastResult]]) -> BroadcastResult:
        """Send to all endpoints, or to all that are for sending. See `Pool.broadcast`."""
        return await self._senders.broadcast(send)

    async def examine(self) -> tuple[Report, ...]:
        """Look at every endpoint. See `Pool.examine`."""
        reports = await self.pool.examine()
        return reports if self._senders is self.pool else (*reports, *await self._senders.examine())

    async def close(self) -> None:
        """Close the connections."""
        await self.pool.close()
        if self._senders is not self.pool:
            await self._senders.close()


def record(value: Any) -> dict[str, Any]:
    """Check that a result is a JSON object. Raises `PortUnavailableError` if it is not."""
    if not isinstance(value, dict):
        raise PortUnavailableError(
            "the RPC does not have what it has just named", "its view is moving; try again"
        )
    return cast(dict[str, Any], value)
