"""A proxy between an adapter and its local chain that answers as bad endpoints do, by a seed.

What a fault does to single answers of a network stands in `fault_dialects`; what it does to whole HTTP
answers stands here, and holds for every network.
"""

from __future__ import annotations

import asyncio
import json
import random
from collections import Counter
from collections.abc import Sequence
from enum import StrEnum
from typing import Any, Protocol

import httpx
from aiohttp import web


class Fault(StrEnum):
    """What is wrong with an endpoint."""

    STALE = "stale"
    """It answers as the chain was some blocks ago."""
    FROZEN = "frozen"
    """It stands still at one block."""
    FOREIGN = "foreign"
    """It is of another network."""
    EMPTY = "empty but 200"
    TRUNCATED = "truncated"
    REORDERED = "reordered batch"
    RATE_LIMITED = "429 with Retry-After"
    BROKEN = "5xx"
    MISSHAPEN = "wrong-shaped"
    SLOW = "slow"
    BATCH_LIMITED = "batch-limited"
    RANGE_LIMITED = "range-limited"
    PRUNED = "pruned"
    TWO_NODES = "two nodes behind one URL"
    """Each request meets a node that is up to date or one that lags, by chance."""


class Dialect(Protocol):
    """What must be known of a network to answer for it."""

    async def height(self, upstream: Upstream) -> int:
        """Return the height that faults are measured in."""
        ...

    async def as_of(self, upstream: Upstream, call: dict[str, Any], height: int) -> dict[str, Any]:
        """Answer a call as a node does whose newest block is at `height`."""
        ...

    async def pruned(self, upstream: Upstream, call: dict[str, Any], oldest: int) -> dict[str, Any]:
        """Answer a call as a node does that has nothing below `oldest`."""
        ...

    async def foreign(self, upstream: Upstream, call: dict[str, Any]) -> dict[str, Any]:
        """Answer a call as a node of another network does."""
        ...

    def too_wide(self, call: dict[str, Any], most: int) -> dict[str, Any] | None:
        """Return the error with which a range of more than `most` blocks is refused; None for others."""
        ...


class Upstream:
    """The honest node. `ask` gives the answer to one call, as JSON-RPC writes it."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._http = httpx.AsyncClient(timeout=30)

    async def post(self, body: Any) -> Any:
        return (await self._http.post(self._url, json=body)).json()

    async def ask(self, call: dict[str, Any], **changes: Any) -> dict[str, Any]:
        answer: dict[str, Any] = await self.post({**call, **changes})
        return answer

    async def result(self, method: str, params: Any) -> Any:
        answer = await self.post({"jsonrpc": "2.0", "id": 1, "method": method, "params": params})
        return answer["result"]

    async def close(self) -> None:
        await self._http.aclose()


class FaultProxy:
    """Serves `upstream` with one fault. The same seed makes the same chances.

    `back`: blocks that a stale node lags. `frozen_at`: the height at which a frozen one stands still (and
    below which a pruned one has nothing). `most`: calls or blocks that a limited one takes at once.
    """

    def __init__(
        self,
        upstream: str,
        dialect: Dialect,
        fault: Fault,
        *,
        seed: int = 1,
        back: int = 8,
        frozen_at: int = 0,
        most: int = 5,
        delay: float = 2.0,
    ) -> None:
        self._upstream = Upstream(upstream)
        self._dialect = dialect
        self.fault = fault
        self._chance = random.Random(f"{seed}/{fault}")
        self._back = back
        self._frozen_at = frozen_at
        self._most = most
        self._delay = delay
        self.seen: Counter[str] = Counter()
        self.faults = 0
        """Requests that were answered badly."""
        self.url = ""

    async def __aenter__(self) -> FaultProxy:
        app = web.Application(client_max_size=2**26)
        app.router.add_post("/{key:.*}", self._handle)
        self._runner = web.AppRunner(app, shutdown_timeout=0.1, access_log=None)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}/v3/secret-api-key"
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._runner.cleanup()
        await self._upstream.close()

    async def _handle(self, request: web.Request) -> web.Response:
        body = await request.json()
        calls: Sequence[dict[str, Any]] = body if isinstance(body, list) else [body]
        self.seen.update(call["method"] for call in calls)
        hit = self._chance.random() < (0.1 if self.fault is Fault.SLOW else 0.25)
        match self.fault:
            case Fault.EMPTY if hit:
                self.faults += 1
                return web.Response(text=self._chance.choice(["", "{}", "[]", "null"]))
            case Fault.RATE_LIMITED if hit:
                self.faults += 1
                return web.Response(status=429, headers={"Retry-After": "1"}, text="slower")
            case Fault.BROKEN if hit:
                self.faults += 1
                return web.Response(status=self._chance.choice([500, 502, 503, 504]), text="<html>")
            case Fault.SLOW if hit:
                self.faults += 1
                await asyncio.sleep(self._delay)
            case Fault.BATCH_LIMITED if len(calls) > self._most:
                self.faults += 1
                words = f"Batch of more than {self._most} requests are not allowed"
                return web.json_response(
                    {"jsonrpc": "2.0", "id": None, "error": {"code": -32014, "message": words}}
                )
        answers = await self._answers(calls, hit=hit)
        whole: Any = answers if isinstance(body, list) else answers[0]
        text = json.dumps(whole)
        if self.fault is Fault.TRUNCATED and hit:
            self.faults += 1
            text = text[: len(text) // 2]
        return web.Response(text=text, content_type="application/json")

    async def _answers(self, calls: Sequence[dict[str, Any]], *, hit: bool) -> list[dict[str, Any]]:
        upstream, dialect = self._upstream, self._dialect
        match self.fault:
            case Fault.STALE:
                height = max(1, await dialect.height(upstream) - self._back)
                return [await dialect.as_of(upstream, call, height) for call in calls]
            case Fault.FROZEN:
                return [await dialect.as_of(upstream, call, self._frozen_at) for call in calls]
            case Fault.TWO_NODES if hit:
                self.faults += 1
                height = max(1, await dialect.height(upstream) - self._back)
                return [await dialect.as_of(upstream, call, height) for call in calls]
            case Fault.FOREIGN:
                return [await dialect.foreign(upstream, call) for call in calls]
            case Fault.PRUNED:
                return [await dialect.pruned(upstream, call, self._frozen_at) for call in calls]
            case Fault.RANGE_LIMITED:
                return [
                    refused
                    if (refused := dialect.too_wide(call, self._most)) is not None
                    else await upstream.ask(call)
                    for call in calls
                ]
        answers = [dict(answer) for answer in await upstream.post(list(calls))] if len(calls) > 1 else []
        answers = answers or [await upstream.ask(calls[0])]
        if self.fault is Fault.REORDERED:
            self._chance.shuffle(answers)
        if self.fault is Fault.MISSHAPEN and hit:
            self.faults += 1
            at = self._chance.randrange(len(answers))
            wrong = self._chance.choice(["0x", 7, {"x": 1}, [1], "text", True, {"number": "zero"}, [[]]])
            answers[at] = {"jsonrpc": "2.0", "id": answers[at]["id"], "result": wrong}
        return answers
