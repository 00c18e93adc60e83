"""Calls to one JSON-RPC endpoint: batches and ranges of the size that it takes, each error judged."""

from __future__ import annotations

import asyncio
import itertools
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

import msgspec

from bridge.chains.endpoints.answers import Answer, EndpointError, shortened
from bridge.chains.endpoints.http import HttpEndpoint
from bridge.chains.endpoints.rpc_errors import ErrorTable, RpcError
from bridge.chains.endpoints.sizes import AdaptiveSize, RangeReader

MAX_BATCH = 100
"""Calls in one HTTP request. Nodes have no limit below their body size; hosted endpoints commonly refuse more
than 100 to 1,000. One that takes fewer gets fewer."""


class Call(msgspec.Struct, frozen=True):
    """One JSON-RPC call; parameters by position or, for nodes that take no others, by name."""

    method: str
    params: tuple[Any, ...] | Mapping[str, Any] = ()


_IN_PLACE = frozenset({Answer.REFUSED, Answer.TOO_MUCH})
"""Errors of a single call that stand where its result would."""

_SLOW_BATCHES = 2
"""Batches in a row that were not answered in time, after which they are made smaller."""

_PERHAPS_TOO_MUCH = frozenset({Answer.TOO_MUCH, Answer.WRONG, Answer.PERMANENT, Answer.REFUSED})
"""Errors of a whole batch after which half of it is asked for. They come in all words."""


class Calls(ABC):
    """Calls to a network, or to one of its endpoints."""

    @abstractmethod
    async def batch(self, calls: Sequence[Call]) -> list[Any]:
        """Return the results of `calls` in order, an `RpcError` in the place of each that was refused.

        They are split over as many requests as the endpoint needs. Raises `EndpointError` when a call was not
        served.
        """

    @abstractmethod
    async def ranged(
        self, what: str, first: int, last: int, most: int, call: Callable[[int, int], Call]
    ) -> list[tuple[int, int, Any]]:
        """Return the results of `call(a, b)` for pieces that cover `first`…`last`: first, last, result.

        Pieces are at most `most` long, and shorter where the endpoint takes no such range; `what` names the
        limit that is remembered for it. Raises `EndpointError`, an `RpcError` when it refuses even one step.
        """

    async def call(self, method: str, *params: Any) -> Any:
        """Return one result. Raises `RpcError` when it is refused, `EndpointError` when it is not served."""
        (result,) = await self.batch([Call(method, params)])
        if isinstance(result, RpcError):
            raise result
        return result

    async def all(self, *calls: Call) -> list[Any]:
        """Return the results of `calls`; the first refused one raises its `RpcError`."""
        results = await self.batch(calls)
        for result in results:
            if isinstance(result, RpcError):
                raise result
        return results


class OneEndpoint(Calls):
    """One JSON-RPC endpoint: what must fit together is asked here. Cursors are kept in `memory`."""

    def __init__(self, http: HttpEndpoint, errors: ErrorTable) -> None:
        self.http = http
        self.memory: dict[str, Any] = {}
        """What a chain remembers of this endpoint alone, say the last transaction that it has seen there."""
        self._errors = errors
        self._ids = itertools.count(1)
        self._batch_size = AdaptiveSize(MAX_BATCH)
        self._slow_batches = 0
        self._sizes: dict[str, AdaptiveSize] = {}
        self.waits_for: Callable[[EndpointError], float | None] = lambda _: None
        """How long a rate limit is waited for in the middle of a request; None: give the request up."""

    def __repr__(self) -> str:
        return f"OneEndpoint({self.name})"

    @property
    def name(self) -> str:
        """What messages call it."""
        return self.http.name

    def size(self, what: str, most: int) -> AdaptiveSize:
        """Return the size that this endpoint takes of something."""
        return self._sizes.setdefault(what, AdaptiveSize(most))

    async def batch(self, calls: Sequence[Call]) -> list[Any]:
        """See `Calls.batch`. A rate limit in the middle is waited for, when there is nobody else to ask."""
        got: dict[int, Any] = {}
        declined: dict[int, RpcError] = {}
        while True:
            try:
                await self.fill(calls, got, declined)
            except EndpointError as error:
                if error.kind is Answer.PERMANENT:
                    break
                wait = self.waits_for(error) if error.kind is Answer.RATE_LIMITED else None
                if wait is None:
                    raise
                await asyncio.sleep(wait)
                continue
            break
        return [got[at] if at in got else declined[at] for at in range(len(calls))]

    async def ranged(
        self, what: str, first: int, last: int, most: int, call: Callable[[int, int], Call]
    ) -> list[tuple[int, int, Any]]:
        """See `Calls.ranged`."""
        reader: RangeReader[Any] = RangeReader(first, last)
        await self.read_range(reader, what, most, call)
        return reader.pieces

    async def read_range(
        self, reader: RangeReader[Any], what: str, most: int, call: Callable[[int, int], Call]
    ) -> None:
        """Read what is missing of a range. Raises `EndpointError`."""

        async def piece(start: int, end: int) -> Any:
            return (await self.all(call(start, end)))[0]

        await reader.read(self.size(what, most), piece)

    async def close(self) -> None:
        """Close the connections, and forget what was remembered of the endpoint."""
        self.memory.clear()
        await self.http.close()

    async def fill(self, calls: Sequence[Call], got: dict[int, Any], declined: dict[int, RpcError]) -> None:
        """Ask for the calls that `got` lacks and put their results there, by index; `declined` gets those
        that this endpoint will never answer. Raises `EndpointError` when it could not fill all."""
        unserved: EndpointError | None = None
        before = len(got)
        missing = [at for at in range(len(calls)) if at not in got]
        refused, remember = 0, False
        while missing:
            count = min(refused // 2 if refused else self._batch_size.size, len(missing))
            part, rest = missing[:count], missing[count:]
            try:
                answers = await self._exchange([calls[at] for at in part])
            except EndpointError as error:
                if count > 1 and error.kind in _PERHAPS_TOO_MUCH:
                    refused, remember = count, error.kind is not Answer.WRONG
                    continue
                if error.slow and count > 1:
                    self._slow_batches += 1
                    if self._slow_batches >= _SLOW_BATCHES:
                        self._slow_batches = 0
                        self._batch_size.too_much(count)  # next time less is asked
                error.progress |= len(got) > before
                raise
            self._slow_batches = 0
            if refused and remember:
                self._batch_size.too_much(refused)
            refused = 0
            self._batch_size.served(count)
            for at, answer in zip(part, answers, strict=True):
                if not isinstance(answer, RpcError) or answer.kind in _IN_PLACE:
                    got[at] = answer
                elif answer.kind is Answer.PERMANENT:
                    declined[at] = answer
                elif unserved is None or answer.kind is Answer.RATE_LIMITED:
                    unserved = self._unserved(answer)
            missing = rest
            if unserved is not None and unserved.kind is Answer.RATE_LIMITED:
                break  # asking for the rest would only prolong it
        if unserved is not None:
            unserved.progress = len(got) > before
            raise unserved
        if left := [declined[at] for at in range(len(calls)) if at not in got]:
            never = self._unserved(left[0])
            never.progress = len(got) > before
            raise never

    async def _exchange(self, calls: Sequence[Call]) -> list[Any]:
        """Return the results of one HTTP request, an `RpcError` for each call that failed. Raises
        `EndpointError` for the whole."""
        requests = [
            {"jsonrpc": "2.0", "id": next(self._ids), "method": call.method, "params": _params(call)}
            for call in calls
        ]
        single = len(requests) == 1
        answer = await self._post(requests[0] if single else requests)
        if single:
            if isinstance(answer, list) and len(answer) == 1:
                (answer,) = answer
            if isinstance(answer, dict) and answer.get("id") not in (requests[0]["id"], None):
                raise self._wrong("answered another call", "use another endpoint")
            return [self._result(calls[0], answer)]
        if not isinstance(answer, list):
            whole = self._result(calls[0], answer)
            if isinstance(whole, RpcError):
                raise self._unserved(whole)
            raise self._wrong("answered a batch with one result", "use one with batches")
        by_id: dict[int, Any] = {}
        for one in answer:
            if isinstance(one, dict) and isinstance(one.get("id"), int):
                if one["id"] in by_id:
                    raise self._wrong("answered one call of a batch twice", "use another endpoint")
                by_id[one["id"]] = one
        if not all(request["id"] in by_id for request in requests):
            raise self._wrong("left out part of a batch", "try again or use another one")
        return [
            self._result(call, by_id[cast(int, request["id"])])
            for call, request in zip(calls, requests, strict=True)
        ]

    async def _post(self, body: Any) -> Any:
        """Many services put a JSON-RPC error into an answer whose HTTP status is an error too."""
        answer = await self.http.request("POST", json=body, accept=_ANY_STATUS)
        if answer.status == 200:
            return self.http.json(answer)
        try:
            decoded = self.http.json(answer)
        except EndpointError:
            decoded = None
        told = decoded if isinstance(decoded, list) else [decoded]
        errors = [one for one in told if isinstance(one, dict) and isinstance(one.get("error"), dict)]
        if answer.status in {429, 413, 401, 403} or not errors or len(errors) != len(told):
            raise self.http.refusal(answer)
        return decoded

    def _result(self, call: Call, answer: Any) -> Any:
        if not isinstance(answer, dict):
            raise self._wrong("answered with something other than JSON-RPC", "check the URL")
        error = answer.get("error")
        if error is not None:
            if not isinstance(error, dict):
                error = {"message": str(error)}
            code = error.get("code")
            code = code if isinstance(code, int) else 0
            message = self.http.redacted(str(error.get("message", "unknown error")))
            kind = self._errors.meaning(call.method, code, message)
            return RpcError(code, message, error.get("data"), kind)
        if "result" not in answer:
            raise self._wrong("answered without a result", "check the URL")
        return answer["result"]

    def _unserved(self, error: RpcError) -> EndpointError:
        retry_after = None
        if isinstance(error.data, dict):
            # What services put there: {"rate": {"backoff_seconds": 30}} (Infura's documentation of -32005).
            rate = error.data.get("rate")
            said = rate.get("backoff_seconds") if isinstance(rate, dict) else None
            retry_after = float(said) if isinstance(said, int | float) and 0 <= said < 1e6 else None
        doing = "cannot answer" if error.kind is Answer.PERMANENT else "cannot answer now"
        return EndpointError(
            f"{self.name} {doing}: {shortened(error.message)}",
            _HINTS.get(error.kind, "it is retried; or use another endpoint"),
            kind=error.kind,
            retry_after=retry_after,
        )

    def _wrong(self, what: str, hint: str) -> EndpointError:
        return EndpointError(f"{self.name} {what}", hint, kind=Answer.WRONG)


def _params(call: Call) -> list[Any] | dict[str, Any]:
    return dict(call.params) if isinstance(call.params, Mapping) else list(call.params)


_ANY_STATUS = range(100, 600)
_HINTS = {
    Answer.RATE_LIMITED: "it limits requests: raise the quota, or add another endpoint",
    Answer.PERMANENT: "use a complete, synchronised node with the history that is needed",
    Answer.WRONG: "check the URL",
}
