"""JSON-RPC endpoints: single and batched calls with a timeout, and errors in our own words.

It speaks through web3's asynchronous HTTP provider and keeps results as the JSON they came in: what the
adapter needs of them is little, and the shape is checked where it is used.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, cast

import aiohttp
import msgspec
from web3 import AsyncHTTPProvider
from web3.types import RPCEndpoint

from bridge.chains.port import PortError, PortUnavailable

MAX_BATCH = 100
"""Calls in one HTTP request; hosted endpoints commonly refuse more than 100 to 1,000."""

_BUSY_CODES = {-32005, -32016, 429}
"""EIP-1474 "limit exceeded" and what hosted endpoints use for it: the same call may work later."""


class RpcError(Exception):
    """The endpoint answered, with a JSON-RPC error: its code, its words and its data (revert bytes)."""

    def __init__(self, code: int, message: str, data: Any = None) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.data = data


class Call(msgspec.Struct, frozen=True):
    """One JSON-RPC call."""

    method: str
    params: tuple[Any, ...] = ()


class Rpc:
    """JSON-RPC over HTTP(S), connections kept alive; bound to the event loop that first uses it.

    With several URLs it stays with one until that one is unavailable, then goes round the others before
    it gives up. They may stand at different heights: whoever compares blocks must bear with that.
    """

    def __init__(self, urls: Sequence[str], timeout: float = 10.0) -> None:
        if not urls:
            raise PortError("no RPC URL is configured", "set rpc_urls of the chain")
        self._endpoints = [_Endpoint(url, timeout) for url in urls]
        self._current = 0

    async def call(self, method: str, *params: Any) -> Any:
        """Return one result. Raises `RpcError` for the endpoint's own errors, `PortUnavailable` otherwise."""
        return await self._anywhere(lambda endpoint: endpoint.single(Call(method, params)))

    async def batch(self, calls: Sequence[Call]) -> list[Any]:
        """Return the results of `calls` in order, an `RpcError` in the place of each that failed.

        More than `MAX_BATCH` calls are split over several requests.
        """
        results: list[Any] = []
        for start in range(0, len(calls), MAX_BATCH):
            part = calls[start : start + MAX_BATCH]
            results += await self._anywhere(lambda endpoint, part=part: endpoint.several(part))  # type: ignore[misc]
        return results

    async def all(self, *calls: Call) -> list[Any]:
        """Return the results of `calls`; the first failed one raises its `RpcError`."""
        results = await self.batch(calls)
        for result in results:
            if isinstance(result, RpcError):
                raise result
        return results

    async def close(self) -> None:
        """Close the connections."""
        for endpoint in self._endpoints:
            await endpoint.close()

    async def _anywhere(self, request: Callable[[_Endpoint], Awaitable[Any]]) -> Any:
        for _ in self._endpoints[1:]:
            try:
                return await request(self._endpoints[self._current])
            except PortUnavailable:
                self._current = (self._current + 1) % len(self._endpoints)
        return await request(self._endpoints[self._current])


class _Endpoint:
    def __init__(self, url: str, timeout: float) -> None:
        self._timeout = timeout
        self._provider = AsyncHTTPProvider(
            url,
            request_kwargs={"timeout": aiohttp.ClientTimeout(total=timeout)},
            # Retrying is decided by the caller, who knows whether the answer still matters.
            exception_retry_configuration=None,
        )
        self._session: aiohttp.ClientSession | None = None

    async def single(self, call: Call) -> Any:
        request = (RPCEndpoint(call.method), list(call.params))
        return _result(await self._exchange(lambda: self._provider.make_request(*request)))

    async def several(self, calls: Sequence[Call]) -> list[Any]:
        requests = [(RPCEndpoint(call.method), list(call.params)) for call in calls]
        responses = await self._exchange(lambda: self._provider.make_batch_request(requests))
        if not isinstance(responses, list):
            _result(responses)
            raise PortUnavailable("the RPC answered a batch with one result", "use one with batches")
        if len(responses) != len(calls):
            raise PortUnavailable("the RPC left out part of a batch", "try again or use another one")
        results: list[Any] = []
        for response in responses:
            try:
                results.append(_result(response))
            except RpcError as error:
                results.append(error)
        return results

    async def close(self) -> None:
        await self._provider.disconnect()
        self._session = None

    async def _exchange(self, request: Callable[[], Awaitable[Any]]) -> Any:
        # web3's own session opens a new connection (and TLS handshake) for every request.
        if self._session is None or self._session.closed:
            self._session = aiohttp.ClientSession(raise_for_status=True)
            await self._provider.cache_async_session(self._session)
        try:
            async with asyncio.timeout(self._timeout):
                try:
                    return await request()
                except (aiohttp.ServerDisconnectedError, aiohttp.ClientOSError):
                    # A kept-alive connection that the server has closed shows only when it is used. All we
                    # ask may be asked again (sending the same signed bytes included): one retry is safe.
                    return await request()
        except Exception as error:
            raise _unavailable(error) from error


def _result(response: Any) -> Any:
    if not isinstance(response, dict):
        raise PortUnavailable("the RPC answered with something that is no JSON-RPC", "check the URL")
    error = response.get("error")
    if error is not None:
        if not isinstance(error, dict):
            error = {"message": str(error)}
        code = error.get("code", 0)
        message = str(error.get("message", "unknown error"))
        if code in _BUSY_CODES:
            raise PortUnavailable(f"the RPC is overloaded: {message}", "it is retried; or use another one")
        raise RpcError(code if isinstance(code, int) else 0, message, error.get("data"))
    if "result" not in response:
        raise PortUnavailable("the RPC answered without a result", "check the URL")
    return response["result"]


def _unavailable(error: Exception) -> Exception:
    """Turn transport failures into `PortUnavailable` without the URL, which may contain an API key."""
    if isinstance(error, TimeoutError):
        return PortUnavailable("the RPC did not answer in time", "is the node overloaded or far away?")
    if isinstance(error, aiohttp.ClientResponseError):
        return PortUnavailable(f"the RPC answered HTTP {error.status}", "check URL, key and quota")
    if isinstance(error, aiohttp.ClientError | OSError):
        return PortUnavailable(
            f"the RPC cannot be reached ({type(error).__name__})",
            "is the node up and the URL right?",
        )
    if isinstance(error, ValueError | LookupError | TypeError):
        return PortUnavailable("the RPC answered with something that is no JSON-RPC", "check the URL")
    return error


def sound(result: Any) -> Any:
    """Return a result of `Rpc.batch` that is no error. Raises `PortUnavailable` for one that is."""
    if isinstance(result, RpcError):
        raise failed(result)
    return result


def failed(error: RpcError) -> PortUnavailable:
    """Return an error of the endpoint as what it means to us: try again, here or elsewhere."""
    return PortUnavailable(f"the RPC failed: {error.message}", "use a complete, synchronised node")


def quantity(value: Any) -> int:
    """Decode a JSON-RPC quantity ("0x…"). Raises `PortUnavailable` if it is none."""
    if not isinstance(value, str):
        raise PortUnavailable("the RPC left out a number", "use a complete, synchronised node")
    try:
        return int(value, 16)
    except ValueError:
        raise PortUnavailable("the RPC sent a malformed number", "use another endpoint") from None


def record(value: Any) -> dict[str, Any]:
    """Check that a result is a JSON object. Raises `PortUnavailable` if it is not."""
    if not isinstance(value, dict):
        raise PortUnavailable("the RPC does not have what it has just named", "its view is moving; try again")
    return cast(dict[str, Any], value)
