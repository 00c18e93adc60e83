"""JSON-RPC endpoints of Solana: single and batched calls with a timeout, and errors in our own words."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any, cast

import aiohttp
import msgspec

from bridge.chains.errors import PortError, PortUnavailable

MAX_BATCH = 100
"""Calls in one HTTP request; Agave itself has no limit below its body size, hosted endpoints do."""

_BUSY_CODES = {-32005, -32014, -32016, 429}
"""Node unhealthy (behind), block status not yet available, minimum context slot not reached, rate limits."""

SKIPPED_CODES = {-32007, -32009}
"""The slot was skipped: it has no block, and never will on this fork (RpcCustomError of Agave)."""

BLOCK_NOT_AVAILABLE = -32004


class RpcError(Exception):
    """The endpoint answered, with a JSON-RPC error: its code, its words and its data."""

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

    With several URLs it stays with one until that one is unavailable, then goes round the others.
    """

    def __init__(self, urls: Sequence[str], timeout: float = 10.0) -> None:
        if not urls:
            raise PortError("no Solana RPC URL is configured", "set rpc_urls of the chain")
        self._urls = tuple(urls)
        self._current = 0
        self._timeout = aiohttp.ClientTimeout(total=timeout)
        self._session: aiohttp.ClientSession | None = None
        self._ids = itertools.count(1)

    async def call(self, method: str, *params: Any) -> Any:
        """Return one result. Raises `RpcError` for the endpoint's own errors, `PortUnavailable` otherwise."""
        (result,) = await self.batch([Call(method, params)])
        if isinstance(result, RpcError):
            raise result
        return result

    async def all(self, *calls: Call) -> list[Any]:
        """Return the results of `calls`; the first failed one raises its `RpcError`."""
        results = await self.batch(calls)
        for result in results:
            if isinstance(result, RpcError):
                raise result
        return results

    async def batch(self, calls: Sequence[Call]) -> list[Any]:
        """Return the results of `calls` in order, an `RpcError` in the place of each that failed."""
        results: list[Any] = []
        for start in range(0, len(calls), MAX_BATCH):
            results += await self._anywhere(calls[start : start + MAX_BATCH])
        return results

    async def close(self) -> None:
        """Close the connections."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def _anywhere(self, calls: Sequence[Call]) -> list[Any]:
        for _ in self._urls[1:]:
            try:
                return await self._exchange(calls)
            except PortUnavailable:
                self._current = (self._current + 1) % len(self._urls)
        return await self._exchange(calls)

    async def _exchange(self, calls: Sequence[Call]) -> list[Any]:
        requests = [
            {"jsonrpc": "2.0", "id": next(self._ids), "method": call.method, "params": list(call.params)}
            for call in calls
        ]
        body: Any = requests if len(requests) > 1 else requests[0]
        answer = await self._post(body)
        answers = answer if isinstance(answer, list) else [answer]
        by_id = {one.get("id"): one for one in answers if isinstance(one, dict)}
        missing = {"error": {"code": 429, "message": "left out of a batch"}}
        if not isinstance(answer, list) and len(requests) > 1:
            _result(answer)
        return [_settled(by_id.get(request["id"], missing)) for request in requests]

    async def _post(self, body: Any) -> Any:
        if self._session is None:
            self._session = aiohttp.ClientSession(timeout=self._timeout, raise_for_status=True)
        try:
            try:
                return await self._once(body)
            except (aiohttp.ServerDisconnectedError, aiohttp.ClientOSError):
                # A kept-alive connection that the server has closed shows only when it is used. All we ask
                # may be asked again (sending the same signed bytes included): one retry is safe.
                return await self._once(body)
        except TimeoutError:
            raise PortUnavailable(
                "the Solana RPC did not answer in time", "is the node overloaded or far away?"
            ) from None
        except aiohttp.ClientResponseError as error:
            raise PortUnavailable(
                f"the Solana RPC answered HTTP {error.status}", "check URL, key and quota"
            ) from None
        except (aiohttp.ClientError, OSError) as error:
            # Without the error's own words: they contain the URL, and that may contain an API key.
            kind = type(error).__name__
            raise PortUnavailable(
                f"the Solana RPC cannot be reached ({kind})", "is the node up and the URL right?"
            ) from None
        except ValueError:
            raise PortUnavailable(
                "the Solana RPC answered with something that is no JSON", "check the URL"
            ) from None

    async def _once(self, body: Any) -> Any:
        assert self._session is not None  # noqa: S101 - made by the only caller
        async with self._session.post(self._urls[self._current], json=body) as response:
            return await response.json(content_type=None)


def _settled(response: Any) -> Any:
    try:
        return _result(response)
    except RpcError as error:
        return error


def _result(response: Any) -> Any:
    if not isinstance(response, dict):
        raise PortUnavailable("the Solana RPC answered with something that is no JSON-RPC", "check the URL")
    error = response.get("error")
    if error is not None:
        if not isinstance(error, dict):
            error = {"message": str(error)}
        code = error.get("code", 0)
        message = str(error.get("message", "unknown error"))
        if code in _BUSY_CODES:
            raise PortUnavailable(f"the Solana RPC cannot answer now: {message}", "it is retried")
        raise RpcError(code if isinstance(code, int) else 0, message, error.get("data"))
    if "result" not in response:
        raise PortUnavailable("the Solana RPC answered without a result", "check the URL")
    return response["result"]


def record(value: Any) -> dict[str, Any]:
    """Check that a result is a JSON object. Raises `PortUnavailable` if it is not."""
    if not isinstance(value, dict):
        raise PortUnavailable(
            "the Solana RPC does not have what it has just named", "its view is moving; try again"
        )
    return cast(dict[str, Any], value)


def value_of(result: Any) -> Any:
    """Return the `value` of an answer that comes with a context."""
    answer = record(result)
    if "value" not in answer:
        raise PortUnavailable("the Solana RPC answered without a value", "use another endpoint")
    return answer["value"]
