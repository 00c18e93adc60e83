"""JSON-RPC 2.0 over HTTP: single and batched calls to several endpoints in turn, errors in our own words.

Results are kept as the JSON they came in: what an adapter needs of them is little, and it checks their shape
where it uses them. Ethereum's and Solana's adapters both speak through it.
"""

from __future__ import annotations

import itertools
from collections.abc import Collection, Sequence
from typing import Any, cast

import msgspec

from bridge.chains.endpoints.http import HttpEndpoint
from bridge.chains.endpoints.in_turn import InTurn
from bridge.chains.errors import PortError, PortUnavailableError
from kernels.errors import RainbowError

MAX_BATCH = 100
"""Calls in one HTTP request. Nodes have no limit below their body size; hosted endpoints commonly refuse more
than 100 to 1,000."""


class RpcError(RainbowError):
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


class JsonRpc:
    """The JSON-RPC endpoints of one network.

    `network` is its name in messages ("Solana"). `busy` are the error codes by which an endpoint says that
    it cannot answer now: the same call may work later, or elsewhere. `timeout` is seconds for one request.
    """

    def __init__(self, urls: Sequence[str], timeout: float, *, network: str, busy: Collection[int]) -> None:
        if not urls:
            raise PortError(f"no {network} RPC URL is configured", "set rpc_urls of the chain")
        self._name = f"the {network} RPC"
        self._busy = frozenset(busy)
        self._endpoints = InTurn([HttpEndpoint(url, timeout, self._name) for url in urls])
        self._ids = itertools.count(1)

    async def call(self, method: str, *params: Any) -> Any:
        """Return one result. Raises `RpcError` for the endpoint's own errors, `PortUnavailableError`
        otherwise."""
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
        """Return the results of `calls` in order, an `RpcError` in the place of each that failed.

        More than `MAX_BATCH` calls are split over several requests. Raises `PortUnavailableError`.
        """
        results: list[Any] = []
        for start in range(0, len(calls), MAX_BATCH):
            part = calls[start : start + MAX_BATCH]
            results += await self._endpoints.ask(
                lambda endpoint, part=part: self._exchange(endpoint, part)  # type: ignore[misc]
            )
        return results

    async def close(self) -> None:
        """Close the connections."""
        for endpoint in self._endpoints.all:
            await endpoint.close()

    async def _exchange(self, endpoint: HttpEndpoint, calls: Sequence[Call]) -> list[Any]:
        requests = [
            {"jsonrpc": "2.0", "id": next(self._ids), "method": call.method, "params": list(call.params)}
            for call in calls
        ]
        if len(requests) == 1:
            answer = await endpoint.post(requests[0])
            if isinstance(answer, dict) and answer.get("id") not in (requests[0]["id"], None):
                raise PortUnavailableError(f"{self._name} answered another call", "use another endpoint")
            return [self._result_or_error(answer)]
        answers = await endpoint.post(requests)
        if not isinstance(answers, list):
            self._result(answers)
            raise PortUnavailableError(
                f"{self._name} answered a batch with one result", "use one with batches"
            )
        answers = [answer for answer in answers if isinstance(answer, dict)]
        by_id = {answer["id"]: answer for answer in answers if isinstance(answer.get("id"), int)}
        if not all(request["id"] in by_id for request in requests):
            raise PortUnavailableError(
                f"{self._name} left out part of a batch", "try again or use another one"
            )
        return [self._result_or_error(by_id[request["id"]]) for request in requests]

    def _result_or_error(self, answer: Any) -> Any:
        try:
            return self._result(answer)
        except RpcError as error:
            return error

    def _result(self, answer: Any) -> Any:
        if not isinstance(answer, dict):
            raise PortUnavailableError(
                f"{self._name} answered with something other than JSON-RPC", "check the URL"
            )
        error = answer.get("error")
        if error is not None:
            if not isinstance(error, dict):
                error = {"message": str(error)}
            code = error.get("code")
            code = code if isinstance(code, int) else 0
            message = str(error.get("message", "unknown error"))
            if code in self._busy:
                raise PortUnavailableError(
                    f"{self._name} cannot answer now: {message}", "it is retried; or use another one"
                )
            raise RpcError(code, message, error.get("data"))
        if "result" not in answer:
            raise PortUnavailableError(f"{self._name} answered without a result", "check the URL")
        return answer["result"]


def record(value: Any) -> dict[str, Any]:
    """Check that a result is a JSON object. Raises `PortUnavailableError` if it is not."""
    if not isinstance(value, dict):
        raise PortUnavailableError(
            "the RPC does not have what it has just named", "its view is moving; try again"
        )
    return cast(dict[str, Any], value)
