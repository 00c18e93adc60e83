"""What all JSON-RPC endpoints have in common: batches, timeouts, and errors that tell no URL."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from aiohttp import web

from bridge.chains.endpoints.answers import Answer
from bridge.chains.endpoints.json_rpc import (
    MAX_BATCH,
    STANDARD_CODES,
    Call,
    ErrorTable,
    JsonRpc,
    RpcError,
    record,
)
from bridge.chains.endpoints.selection import Rules
from bridge.chains.errors import PortError, PortUnavailableError

BUSY = -32005

ERRORS = ErrorTable(
    codes={**STANDARD_CODES, 3: Answer.REFUSED, BUSY: Answer.RATE_LIMITED},
    words=(("cost too much", Answer.TOO_MUCH),),
    answering=frozenset({"echo"}),
)


# ---------------------------------------------------------------------- over the wire


class Endpoint:
    """A JSON-RPC server that answers what a test wants: `answer` for each call, `whole` for a whole body."""

    def __init__(self) -> None:
        self.answer: Callable[[dict[str, Any]], dict[str, Any]] = lambda call: {"result": call["params"]}
        self.whole: Callable[[Any], Any] | None = None
        self.status = 200
        self.delay = 0.0
        self.text: str | None = None
        self.hang_up = 0
        self.bodies: list[Any] = []
        self.url = ""

    async def start(self) -> Endpoint:
        app = web.Application()
        app.router.add_post("/secret-key", self._handle)
        self._runner = web.AppRunner(app, shutdown_timeout=0.1, access_log=None)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}/secret-key"
        return self

    async def stop(self) -> None:
        await self._runner.cleanup()

    async def _handle(self, request: web.Request) -> web.Response:
        body = await request.json()
        self.bodies.append(body)
        await asyncio.sleep(self.delay)
        if self.hang_up:
            self.hang_up -= 1
            assert request.transport is not None
            request.transport.close()
        if self.text is not None or self.status != 200:
            return web.Response(status=self.status, text=self.text or "no")
        if self.whole is not None:
            return web.json_response(self.whole(body))
        if isinstance(body, list):
            return web.json_response([self._one(call) for call in reversed(body)])
        return web.json_response(self._one(body))

    def _one(self, call: dict[str, Any]) -> dict[str, Any]:
        return {"jsonrpc": "2.0", "id": call["id"]} | self.answer(call)


@pytest.fixture
async def endpoint() -> AsyncIterator[Endpoint]:
    made = await Endpoint().start()
    yield made
    await made.stop()


@pytest.fixture
async def spare() -> AsyncIterator[Endpoint]:
    made = await Endpoint().start()
    yield made
    await made.stop()


@pytest.fixture
async def rpc(endpoint: Endpoint) -> AsyncIterator[JsonRpc]:
    made = JsonRpc([endpoint.url], 0.5, network="Testnet", errors=ERRORS, rules=Rules(patience=0.0))
    yield made
    await made.close()


def calls(count: int) -> list[Call]:
    return [Call("echo", (number,)) for number in range(count)]


async def test_a_call_returns_its_result_and_goes_as_one_object(rpc: JsonRpc, endpoint: Endpoint) -> None:
    assert await rpc.call("echo", 1, "two") == [1, "two"]
    (body,) = endpoint.bodies
    assert (body["jsonrpc"], body["method"], body["params"]) == ("2.0", "echo", [1, "two"])


async def test_the_answers_of_a_batch_are_told_apart_by_their_ids(rpc: JsonRpc, endpoint: Endpoint) -> None:
    assert await rpc.batch(calls(3)) == [[0], [1], [2]]
    assert len(endpoint.bodies) == 1


async def test_a_long_batch_goes_in_several_requests(rpc: JsonRpc, endpoint: Endpoint) -> None:
    assert await rpc.batch(calls(2 * MAX_BATCH + 1)) == [[number] for number in range(2 * MAX_BATCH + 1)]
    sizes = [len(body) if isinstance(body, list) else 1 for body in endpoint.bodies]
    assert sizes == [MAX_BATCH, MAX_BATCH, 1]
    assert await rpc.batch([]) == []


async def test_an_error_stands_in_a_batch_where_its_result_would(rpc: JsonRpc, endpoint: Endpoint) -> None:
    def second_fails(call: dict[str, Any]) -> dict[str, Any]:
        if call["params"] == [1]:
            return {"error": {"code": 3, "message": "execution reverted", "data": "0xdead"}}
        return {"result": call["params"]}

    endpoint.answer = second_fails
    first, second, third = await rpc.batch(calls(3))
    assert (first, third) == ([0], [2])
    assert isinstance(second, RpcError)
    assert (second.code, second.message, second.data) == (3, "execution reverted", "0xdead")
    with pytest.raises(RpcError, match="reverted"):
        await rpc.all(*calls(3))
    with pytest.raises(RpcError, match="reverted"):
        await rpc.call("echo", 1)


@pytest.mark.parametrize("error", ["overloaded", {"message": "odd"}, {"code": [], "message": "odd"}, {}])
async def test_an_error_of_an_odd_form_is_an_error_all_the_same(
    error: object, rpc: JsonRpc, endpoint: Endpoint
) -> None:
    endpoint.answer = lambda _: {"error": error}
    with pytest.raises(RpcError) as failure:
        await rpc.call("echo")
    assert failure.value.code == 0


@pytest.mark.parametrize("code", [BUSY, 429])
async def test_a_busy_endpoint_is_unavailable_and_the_next_one_takes_over(
    code: int, endpoint: Endpoint, spare: Endpoint
) -> None:
    rpc = JsonRpc([endpoint.url, spare.url], 0.5, network="Testnet", errors=ERRORS, rules=Rules(patience=0.0))
    endpoint.answer = lambda _: {"error": {"code": code, "message": "limit exceeded"}}
    assert await rpc.call("echo", 7) == [7]
    assert await rpc.call("echo", 8) == [8]
    assert (len(endpoint.bodies), len(spare.bodies)) == (1, 2)
    spare.status = 503
    with pytest.raises(PortUnavailableError, match=r"endpoint 2 of 2 \(127.0.0.1\) answered HTTP 503"):
        await rpc.call("echo", 9)
    assert (len(endpoint.bodies), len(spare.bodies)) == (1, 3), "one that asks for a pause gets it"
    await rpc.close()


WRONG: dict[str, Callable[[Any], Any]] = {
    "one result for a batch": lambda body: {"id": body[0]["id"], "result": 1},
    "a result short": lambda body: [{"id": call["id"], "result": 1} for call in body[1:]],
    "an id twice": lambda body: [{"id": body[0]["id"], "result": 1}] * len(body),
    "ids of others": lambda body: [{"id": call["id"] + 1000, "result": 1} for call in body],
    "no results": lambda body: [{"id": call["id"]} for call in body],
    "no objects": lambda body: [1 for _ in body],
    "an id that is none": lambda body: [{"id": [], "result": 1} for _ in body],
    "a number": lambda _: 1,
    "nothing": lambda _: None,
}


@pytest.mark.parametrize("what", WRONG)
async def test_a_batch_that_is_answered_wrongly_is_not_believed(
    what: str, rpc: JsonRpc, endpoint: Endpoint
) -> None:
    endpoint.whole = WRONG[what]
    with pytest.raises(PortUnavailableError) as failure:
        await rpc.batch(calls(2))
    assert failure.value.hint


async def test_a_whole_batch_can_be_refused_with_one_error(rpc: JsonRpc, endpoint: Endpoint) -> None:
    endpoint.whole = lambda _: {"id": None, "error": {"code": -32600, "message": "batches cost too much"}}
    first, second = await rpc.batch(calls(2))
    for refused in (first, second):
        assert isinstance(refused, RpcError)
        assert "cost too much" in refused.message
    assert [isinstance(body, list) for body in endpoint.bodies] == [True, False, False], "halved down to one"


@pytest.mark.parametrize("answer", [{"id": 10**9, "result": 1}, {"id": 1}, [], 1, None, "text"])
async def test_a_call_that_is_answered_wrongly_is_not_believed(
    answer: object, rpc: JsonRpc, endpoint: Endpoint
) -> None:
    endpoint.whole = lambda _: answer
    with pytest.raises(PortUnavailableError) as failure:
        await rpc.call("echo")
    assert failure.value.hint


async def test_an_error_without_an_id_is_the_answer_to_a_single_call(
    rpc: JsonRpc, endpoint: Endpoint
) -> None:
    endpoint.whole = lambda _: {"id": None, "error": {"code": 3, "message": "execution reverted"}}
    with pytest.raises(RpcError, match="execution reverted"):
        await rpc.call("echo")


@pytest.mark.parametrize("fault", ["status", "text", "delay", "hang_up", "stop"])
async def test_a_broken_line_is_unavailable_and_tells_no_url(
    fault: str, rpc: JsonRpc, endpoint: Endpoint
) -> None:
    assert await rpc.call("echo") == []
    if fault == "stop":
        await endpoint.stop()
    else:
        setattr(endpoint, fault, {"status": 500, "text": "<html>", "delay": 2.0, "hang_up": 2}[fault])
    with pytest.raises(PortUnavailableError) as failure:
        await rpc.call("echo")
    assert failure.value.hint
    shown = f"{failure.value} {failure.value.hint} {failure.value.__cause__!r} {rpc!r} {vars(rpc)}"
    assert "secret-key" not in shown


async def test_a_connection_that_the_server_closed_is_opened_once_more(
    rpc: JsonRpc, endpoint: Endpoint
) -> None:
    assert await rpc.call("echo", 1) == [1]
    endpoint.hang_up = 1
    assert await rpc.call("echo", 2) == [2]
    assert len(endpoint.bodies) == 3


async def test_it_can_be_used_again_after_it_was_closed(rpc: JsonRpc) -> None:
    assert await rpc.call("echo", 1) == [1]
    await rpc.close()
    assert await rpc.call("echo", 2) == [2]


def test_without_a_url_nothing_is_opened() -> None:
    with pytest.raises(PortError, match="no Testnet RPC URL") as refusal:
        JsonRpc([], 1.0, network="Testnet", errors=ERRORS)
    assert refusal.value.hint


def test_what_must_be_an_object_is_one() -> None:
    assert record({"a": 1}) == {"a": 1}
    with pytest.raises(PortUnavailableError):
        record(None)
