"""JSON-RPC 2.0 over HTTP (POST /) and WebSocket (/ws), with pushes of new blocks and transactions."""

from __future__ import annotations

import asyncio
import math
from typing import Any
from urllib.parse import urlsplit

import msgspec
import structlog
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect

from chain.rules.block import MAX_BLOCK_BYTES
from chain.service.budgets import HEAVY_UNITS, REQUEST_UNITS, AddressBudgets
from chain.service.messages import NewBlock, to_wire
from chain.service.metrics import exposition
from chain.service.ports import Event, ServedNode
from chain.service.rpc import (
    INTERNAL_ERROR,
    INVALID_REQUEST,
    PARSE_ERROR,
    TOO_MUCH,
    CallError,
    Methods,
)

log = structlog.get_logger("zion.server")

MAX_REQUEST_BYTES = 2 * MAX_BLOCK_BYTES + 65_536
MAX_BATCH = 50
MAX_SOCKETS = 200
MAX_WAITING = 8
"""Heavy reads that wait for their turn; more are refused as busy."""
BODY_SECONDS = 30.0
"""How long a request may take to arrive."""
TOPICS = ("newBlock", "newTransaction")


def make_app(node: ServedNode) -> Starlette:
    """Return the ASGI application of a node."""
    server = _Server(node)
    return Starlette(
        routes=[
            Route("/", server.post, methods=["POST"]),
            Route("/healthz", server.health, methods=["GET"]),
            Route("/metrics", server.metrics, methods=["GET"]),
            WebSocketRoute("/ws", server.socket),
        ]
    )


class _Server:
    def __init__(self, node: ServedNode) -> None:
        self._node = node
        self._methods = Methods(node)
        self._sockets = 0
        self._budgets = AddressBudgets()
        self._one_heavy, self._waiting = asyncio.Semaphore(1), 0

    async def health(self, _: Request) -> Response:
        tip = self._node.chain.tip
        problems = self._node.problems
        body = {
            "status": "degraded" if problems else "ok",
            "height": tip.height,
            "best_id": tip.id.hex(),
            "problems": problems,
        }
        return JSONResponse(body, 503 if problems else 200)

    async def metrics(self, _: Request) -> Response:
        return Response(exposition(self._node), media_type="text/plain; version=0.0.4")

    async def post(self, request: Request) -> Response:
        # Only JSON requests: a web page cannot send one to a local node without the browser asking first.
        if request.headers.get("content-type", "").split(";")[0].strip().lower() != "application/json":
            return _refuse(415, "send content-type: application/json")
        address = request.client.host if request.client else None
        body = bytearray()
        try:
            async with asyncio.timeout(BODY_SECONDS):
                async for piece in request.stream():
                    body += piece
                    if len(body) > MAX_REQUEST_BYTES:
                        return _refuse(413, f"a request has at most {MAX_REQUEST_BYTES} bytes")
        except TimeoutError:
            return _refuse(408, f"a request is sent within {BODY_SECONDS} s")
        answer = await self._answer(bytes(body), address)
        if answer is None:
            return Response(status_code=204)
        return Response(msgspec.json.encode(answer), media_type="application/json")

    async def _answer(self, body: bytes | str, address: str | None) -> Any:
        if not self._budgets.may_ask(address):
            return _error(None, TOO_MUCH, "this address has asked for too much: wait some seconds")
        try:
            request = msgspec.json.decode(body)
        except (ValueError, RecursionError):
            return _error(None, PARSE_ERROR, "the request is not JSON")
        if isinstance(request, list):
            if not 1 <= len(request) <= MAX_BATCH:
                return _error(None, INVALID_REQUEST, f"a batch has 1 … {MAX_BATCH} requests")
            spent, answers = 0, []
            for item in request:
                answer, cost = await self._answer_one(item, address, REQUEST_UNITS - spent)
                spent += cost
                if answer is not None:
                    answers.append(answer)
                await asyncio.sleep(0)  # others are answered between the parts of a batch
            return answers or None
        return (await self._answer_one(request, address, REQUEST_UNITS))[0]

    async def _answer_one(
        self, request: Any, address: str | None, left: int
    ) -> tuple[dict[str, Any] | None, int]:
        """Return the answer and what it cost, of which `left` units may be used."""
        if not isinstance(request, dict) or request.get("jsonrpc") != "2.0":
            return _error(None, INVALID_REQUEST, 'a request is an object with "jsonrpc": "2.0"'), 1
        identifier, method = request.get("id"), request.get("method")
        if not _is_id(identifier):
            return _error(None, INVALID_REQUEST, "an id is a string, a number or null"), 1
        if not isinstance(method, str):
            return _error(identifier, INVALID_REQUEST, '"method" is missing'), 1
        params = request.get("params")
        if params is not None and not isinstance(params, dict | list):
            return _error(identifier, INVALID_REQUEST, '"params" is an object or a list'), 1
        cost, on_thread = self._methods.cost(method, params)
        if cost > left:
            return _error(identifier, TOO_MUCH, "the batch asks for too much: send fewer calls at once"), 0
        self._budgets.spend(address, cost)
        try:
            if on_thread and cost >= HEAVY_UNITS:
                result = await self._on_thread(method, params)
            else:
                result = self._methods.call(method, params)
            answer = {"jsonrpc": "2.0", "id": identifier, "result": result}
        except CallError as error:
            answer = {"jsonrpc": "2.0", "id": identifier, "error": error.body}
        return answer if "id" in request else None, cost

    async def _on_thread(self, method: str, params: Any) -> Any:
        """Answer one heavy read at a time beside the loop. Raises `CallError`, also when many wait."""
        if self._waiting >= MAX_WAITING:
            raise CallError(TOO_MUCH, "the node is busy", reason="busy", hint="ask again in some seconds")
        self._waiting += 1
        try:
            async with self._one_heavy:
                return await asyncio.to_thread(self._methods.call, method, params)
        finally:
            self._waiting -= 1

    async def socket(self, socket: WebSocket) -> None:
        if self._sockets >= MAX_SOCKETS or not _same_site(socket):
            await socket.close(1013 if self._sockets >= MAX_SOCKETS else 1008)
            return
        await socket.accept()
        self._sockets += 1
        topics: set[str] = set()
        address = socket.client.host if socket.client else None
        queue = self._node.subscribe()
        pushing = asyncio.create_task(self._push(socket, queue, topics))
        try:
            while True:
                answer = await self._on_message(await socket.receive_text(), topics, address)
                if answer is not None:
                    await socket.send_json(answer)
        except (WebSocketDisconnect, RuntimeError, KeyError):
            pass  # the other side left, or sent binary frames
        finally:
            self._sockets -= 1
            pushing.cancel()
            self._node.unsubscribe(queue)

    async def _on_message(self, text: str, topics: set[str], address: str | None) -> Any:
        if len(text) > MAX_REQUEST_BYTES:
            return _error(None, INVALID_REQUEST, "the request is too large")
        try:
            request = msgspec.json.decode(text)
        except (ValueError, RecursionError):
            return _error(None, PARSE_ERROR, "the request is not JSON")
        if isinstance(request, dict) and request.get("method") in ("subscribe", "unsubscribe"):
            return self._subscribe(request, topics)
        return await self._answer(text, address)

    @staticmethod
    def _subscribe(request: dict[str, Any], topics: set[str]) -> Any:
        identifier, params = request.get("id"), request.get("params")
        if not _is_id(identifier):
            return _error(None, INVALID_REQUEST, "an id is a string, a number or null")
        if isinstance(params, dict):
            params = params.get("topics")
        if not isinstance(params, list) or not params or any(topic not in TOPICS for topic in params):
            return _error(identifier, INVALID_REQUEST, f"params: topics, of {', '.join(TOPICS)}")
        if request["method"] == "subscribe":
            topics.update(params)
        else:
            topics.difference_update(params)
        return {"jsonrpc": "2.0", "id": identifier, "result": sorted(topics)}

    @staticmethod
    async def _push(socket: WebSocket, queue: asyncio.Queue[Event | None], topics: set[str]) -> None:
        while (event := await queue.get()) is not None:
            topic = "newBlock" if isinstance(event, NewBlock) else "newTransaction"
            if topic in topics:
                await socket.send_json({"jsonrpc": "2.0", "method": topic, "params": to_wire(event)})
        await socket.close(1013, "too slow: connect again and poll what was missed")


def _same_site(socket: WebSocket) -> bool:
    """Tell whether no browser is asking, or one on a page of this very host."""
    origin = socket.headers.get("origin")
    return origin is None or urlsplit(origin).netloc == socket.headers.get("host")


def _is_id(value: Any) -> bool:
    if isinstance(value, bool):
        return False
    return (
        value is None or isinstance(value, str | int) or (isinstance(value, float) and math.isfinite(value))
    )


def _error(identifier: Any, code: int, message: str) -> dict[str, Any]:
    names = {PARSE_ERROR: "parse_error", INTERNAL_ERROR: "internal_error", TOO_MUCH: "over_budget"}
    reason = names.get(code, "invalid_request")
    data = {"reason": reason, "hint": "see docs/zion-protocol.md"}
    return {"jsonrpc": "2.0", "id": identifier, "error": {"code": code, "message": message, "data": data}}


def _refuse(status: int, message: str) -> Response:
    return JSONResponse(_error(None, INVALID_REQUEST, message), status_code=status)
