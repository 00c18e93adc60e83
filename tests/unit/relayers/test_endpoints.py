"""What all JSON-RPC endpoints have in common: batches, timeouts, and errors that tell no URL."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from aiohttp import web

from bridge.chains.endpoints.answers import Answer, EndpointError
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
from bridge.chains.port import BroadcastOutcome, BroadcastResult

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
        self.headers: dict[str, str] = {}
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
            return web.Response(status=self.status, text=self.text or "no", headers=self.headers)
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


# ---------------------------------------------------------------------- limits


def at_most(limit: int, words: str) -> Callable[[Any], Any]:
    """A server that takes batches of at most `limit` calls."""

    def whole(body: Any) -> Any:
        if isinstance(body, list) and len(body) > limit:
            return {"id": None, "error": {"code": -32014, "message": words}}
        answers = (
            [{"id": call["id"], "result": call["params"]} for call in body] if isinstance(body, list) else []
        )
        return answers or {"id": body["id"], "result": body["params"]}

    return whole


@pytest.mark.parametrize("words", ["batch of more than 10 requests", "no", "internal server fault"])
async def test_an_endpoint_that_takes_small_batches_is_given_small_ones(
    words: str, rpc: JsonRpc, endpoint: Endpoint
) -> None:
    endpoint.whole = at_most(10, words)
    assert await rpc.batch(calls(57)) == [[number] for number in range(57)]
    asked = [len(body) for body in endpoint.bodies]
    assert asked[:4] == [57, 28, 14, 7]
    endpoint.bodies.clear()
    assert await rpc.batch(calls(14)) == [[number] for number in range(14)]
    assert [len(body) for body in endpoint.bodies] == [7, 7], "it is remembered"


@pytest.mark.parametrize("limit", [1, 2])
async def test_an_endpoint_without_batches_is_asked_one_by_one(
    limit: int, rpc: JsonRpc, endpoint: Endpoint
) -> None:
    endpoint.whole = at_most(limit, "no batches")
    assert await rpc.batch(calls(9)) == [[number] for number in range(9)]


async def test_a_cut_off_answer_is_asked_for_in_smaller_parts(rpc: JsonRpc, endpoint: Endpoint) -> None:
    honest = Endpoint._handle

    async def cuts_off(request: web.Request) -> web.Response:
        answer = await honest(endpoint, request)
        assert answer.text is not None
        return web.Response(text=answer.text[:200], content_type="application/json")

    endpoint._handle = cuts_off  # type: ignore[method-assign]
    await endpoint.stop()
    await endpoint.start()
    async_rpc = JsonRpc([endpoint.url], 0.5, network="Testnet", errors=ERRORS)
    assert await async_rpc.batch(calls(20)) == [[number] for number in range(20)]
    await async_rpc.close()


async def test_what_was_served_is_kept_when_the_rest_must_wait(endpoint: Endpoint) -> None:
    """Forty calls in a window, as the public Solana endpoint counts them: each refused on its own."""
    rpc = JsonRpc([endpoint.url], 0.5, network="Testnet", errors=ERRORS, rules=Rules(patience=2.0))
    loop = asyncio.get_running_loop()
    served: list[float] = []

    def forty_each_half_second(call: dict[str, Any]) -> dict[str, Any]:
        now = loop.time()
        if sum(1 for at in served if now - at < 0.5) >= 40:
            return {"error": {"code": 429, "message": "Too many requests for a specific RPC call"}}
        served.append(now)
        return {"result": call["params"]}

    endpoint.answer = forty_each_half_second
    expected = [[number] for number in range(200)]
    assert await rpc.batch(calls(200)) == expected
    assert len(served) == 200, "nothing was asked for twice"
    served.clear()
    assert await rpc.pinned(lambda one: one.batch(calls(200))) == expected
    assert len(served) == 200
    await rpc.close()


async def test_a_limit_of_one_endpoint_sends_the_rest_to_the_other(
    endpoint: Endpoint, spare: Endpoint
) -> None:
    rpc = JsonRpc([endpoint.url, spare.url], 0.5, network="Testnet", errors=ERRORS)
    first_three: list[Any] = []

    def three(call: dict[str, Any]) -> dict[str, Any]:
        if len(first_three) >= 3:
            return {"error": {"code": 429, "message": "slower"}}
        first_three.append(call["params"])
        return {"result": call["params"]}

    endpoint.answer = three
    assert await rpc.batch(calls(9)) == [[number] for number in range(9)]
    assert (len(first_three), len(spare.bodies[0])) == (3, 6)
    await rpc.close()


async def test_the_pause_that_a_header_asks_for_is_kept(endpoint: Endpoint, spare: Endpoint) -> None:
    rpc = JsonRpc([endpoint.url, spare.url], 0.5, network="Testnet", errors=ERRORS)
    endpoint.status, endpoint.headers = 429, {"Retry-After": "3600"}
    for number in range(3):
        assert await rpc.call("echo", number) == [number]
    assert len(endpoint.bodies) == 1
    alone = JsonRpc([endpoint.url], 0.5, network="Testnet", errors=ERRORS)
    with pytest.raises(EndpointError, match="HTTP 429") as limited:
        await alone.call("echo")
    assert (limited.value.kind, limited.value.retry_after) == (Answer.RATE_LIMITED, 3600.0)
    await rpc.close()
    await alone.close()


async def test_a_method_that_one_endpoint_lacks_is_asked_of_the_other(
    endpoint: Endpoint, spare: Endpoint
) -> None:
    rpc = JsonRpc([endpoint.url, spare.url], 0.5, network="Testnet", errors=ERRORS)
    endpoint.answer = lambda _: {"error": {"code": -32601, "message": "method not found"}}
    assert await rpc.call("echo", 1) == [1]
    spare.answer = endpoint.answer
    with pytest.raises(RpcError, match="method not found") as refused:
        await rpc.call("echo", 1)
    assert refused.value.kind is Answer.PERMANENT
    first, second = await rpc.batch(calls(2))
    assert isinstance(first, RpcError)
    assert isinstance(second, RpcError)
    await rpc.close()


async def test_a_range_is_halved_and_its_limit_remembered_for_each_endpoint(
    rpc: JsonRpc, endpoint: Endpoint
) -> None:
    def ten_blocks(call: dict[str, Any]) -> dict[str, Any]:
        first, last = call["params"]
        if last - first >= 10:
            return {"error": {"code": -32600, "message": "that would cost too much"}}
        return {"result": list(range(first, last + 1))}

    endpoint.answer = ten_blocks
    pieces = await rpc.ranged("logs", 5, 64, 500, lambda first, last: Call("echo", (first, last)))
    assert [number for _, _, numbers in pieces for number in numbers] == list(range(5, 65))
    endpoint.bodies.clear()
    await rpc.ranged("logs", 5, 14, 500, lambda first, last: Call("echo", (first, last)))
    assert [body["params"] for body in endpoint.bodies] == [[5, 11], [12, 14]]


async def test_work_that_must_fit_together_goes_to_one_endpoint(endpoint: Endpoint, spare: Endpoint) -> None:
    rpc = JsonRpc([endpoint.url, spare.url], 0.5, network="Testnet", errors=ERRORS)
    asked: list[str] = []

    async def two_steps(one: Any) -> list[Any]:
        cursor = await one.call("echo", one.name[-13:])
        asked.append(cursor[0])
        if len(asked) == 1:
            endpoint.status = 503
        return [cursor, await one.call("echo", cursor[0])]

    first, second = await rpc.pinned(two_steps)
    assert first == second
    assert len(asked) == 2, "it began again with the other endpoint"
    await rpc.close()


async def test_transactions_go_to_the_endpoints_for_sending_where_there_are_any(
    endpoint: Endpoint, spare: Endpoint
) -> None:
    rpc = JsonRpc(
        [endpoint.url], 0.5, network="Testnet", errors=ERRORS, send_urls=[spare.url, "http://127.0.0.1:1/"]
    )

    async def send(one: Any) -> BroadcastResult:
        await one.call("send", "0x00")
        return BroadcastResult(BroadcastOutcome.ACCEPTED)

    assert (await rpc.broadcast(send)).outcome is BroadcastOutcome.ACCEPTED
    assert (len(endpoint.bodies), len(spare.bodies)) == (0, 1)
    names = [report.name for report in await rpc.examine()]
    assert names == [
        "the Testnet RPC, endpoint 1 of 1 (127.0.0.1)",
        "the Testnet RPC for sending, endpoint 1 of 2 (127.0.0.1)",
        "the Testnet RPC for sending, endpoint 2 of 2 (127.0.0.1)",
    ]
    await rpc.close()


async def test_each_new_line_is_looked_at_before_it_is_believed(endpoint: Endpoint) -> None:
    looks = 0

    async def identify(one: Any) -> None:
        nonlocal looks
        looks += 1
        await one.call("who")

    rpc = JsonRpc([endpoint.url], 0.5, network="Testnet", errors=ERRORS, identify=identify)
    await rpc.call("echo")
    await rpc.call("echo")
    assert looks == 1, "the line of the first look is the one that is used"
    endpoint.hang_up = 1
    await rpc.call("echo")
    assert looks == 2
    await rpc.close()


async def test_a_key_in_an_endpoints_own_words_is_not_repeated(rpc: JsonRpc, endpoint: Endpoint) -> None:
    endpoint.status, endpoint.text = 400, "no project secret-key here"
    with pytest.raises(EndpointError) as refused:
        await rpc.call("echo")
    assert "no project … here" in str(refused.value)
    endpoint.status, endpoint.text = 200, None
    endpoint.answer = lambda _: {"error": {"code": 3, "message": "secret-key is over its quota"}}
    with pytest.raises(RpcError, match="… is over its quota"):
        await rpc.call("echo")


async def test_an_error_that_came_with_an_http_error_is_still_read(rpc: JsonRpc, endpoint: Endpoint) -> None:
    endpoint.status = 400
    endpoint.text = '{"jsonrpc":"2.0","id":null,"error":{"code":3,"message":"execution reverted"}}'
    with pytest.raises(RpcError, match="execution reverted"):
        await rpc.call("echo")
