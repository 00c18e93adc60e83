"""Event streams: server-sent events for one swap, a WebSocket for many."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Annotated, Any, Literal

import msgspec
from fastapi import APIRouter, Header, Query, Request, WebSocket, WebSocketDisconnect
from fastapi.sse import KEEPALIVE_COMMENT, format_sse_event
from starlette.concurrency import run_in_threadpool
from starlette.responses import StreamingResponse

from bridge.api.problems import ApiError, Kind, responses
from bridge.api.services import Services, Use, services_of
from bridge.api.streams import Follower, Subscription
from bridge.api.views import event_view
from bridge.desk.refused import RefusedError
from bridge.protocol.status import TERMINAL_STATES
from bridge.protocol.types import SwapId, SwapState
from bridge.store.records import SwapEvent
from bridge.wire.requests import SwapIdPath
from bridge.wire.swaps import EventView

router = APIRouter(tags=["events"])

KEEPALIVE_SECONDS = 15.0
MAX_SEQ = (1 << 63) - 1
MAX_MESSAGE = 1_024
MAX_SUBSCRIPTIONS = 200
CLOSE_GOING_AWAY, CLOSE_POLICY, CLOSE_TOO_SLOW, CLOSE_BUSY = 1001, 1008, 1013, 1013


_FRAME = {
    "type": "object",
    "properties": {"event": {"const": "swap"}, "id": {"type": "string"}, "data": {"type": "string"}},
    "required": ["event", "id", "data"],
}
"""One server-sent event; `data` is an EventView as JSON."""


@router.get(
    "/v1/swaps/{swap_id}/events",
    response_class=StreamingResponse,
    responses={
        200: {
            "description": "`text/event-stream`: each `data` is an Event, its `id` the sequence number.",
            "content": {"text/event-stream": {"schema": _FRAME}},
        },
        **responses(Kind.NOT_FOUND, Kind.INVALID_REQUEST, Kind.LIMIT_REACHED, Kind.BUSY),
    },
)
async def stream_events(
    request: Request,
    swap_id: SwapIdPath,
    services: Use,
    *,
    after: Annotated[int, Query(ge=0, le=MAX_SEQ, description="Replay what came after this number.")] = 0,
    last_event_id: Annotated[int | None, Header(ge=0, le=MAX_SEQ)] = None,
    follow: Annotated[bool, Query(description="Stay and send new events.")] = True,
) -> StreamingResponse:
    """Follow one swap: past events first, then new ones as they happen, until the swap has ended."""
    await run_in_threadpool(services.swaps.get, swap_id)
    stack = AsyncExitStack()
    subscription = await stack.enter_async_context(services.follower.subscribe(request.state.client))
    start = after if last_event_id is None else last_event_id
    seconds = services.settings.api.stream_seconds if follow else 0
    body = _frames(stack, services.follower, subscription, swap_id, after=start, seconds=seconds)
    return StreamingResponse(body, media_type="text/event-stream", headers={"X-Accel-Buffering": "no"})


async def _frames(
    stack: AsyncExitStack,
    follower: Follower,
    subscription: Subscription,
    swap_id: SwapId,
    *,
    after: int,
    seconds: float,
) -> AsyncIterator[bytes]:
    async with stack:
        follower.listen(subscription, swap_id)
        state = None
        async for event in follower.replay(swap_id, after):
            after, state = event.seq, event.state
            yield _frame(event_view(event))
        loop = asyncio.get_running_loop()
        end = loop.time() + seconds
        while not subscription.overrun and not _ended(state) and (left := end - loop.time()) > 0:
            try:
                async with asyncio.timeout(min(KEEPALIVE_SECONDS, left)):
                    event = await subscription.queue.get()
            except TimeoutError:
                yield KEEPALIVE_COMMENT
                continue
            if event.seq > after:
                after, state = event.seq, event.state
                yield _frame(event_view(event))


def _frame(view: EventView) -> bytes:
    return format_sse_event(data_str=msgspec.json.encode(view).decode(), event="swap", id=str(view.seq))


def _ended(state: SwapState | None) -> bool:
    return state in TERMINAL_STATES


class _Subscribe(msgspec.Struct, forbid_unknown_fields=True):
    """A message from a WebSocket client."""

    op: Literal["subscribe"]
    swap_id: Annotated[SwapId, msgspec.Meta(pattern=r"^[0-9a-f]{32}$")]
    after: Annotated[int, msgspec.Meta(ge=0, le=MAX_SEQ)] = 0


_subscribe = msgspec.json.Decoder(_Subscribe)


@router.websocket("/v1/ws")
async def websocket_events(socket: WebSocket) -> None:
    """Follow many swaps: send `{"op": "subscribe", "swap_id": …, "after": 0}` for each, get events."""
    services = services_of(socket)
    origin = socket.headers.get("origin")
    allowed = services.settings.api.cors_origins
    if origin and "*" not in allowed and origin not in allowed:
        await socket.close(CLOSE_POLICY, "this origin is not allowed")
        return
    await socket.accept()
    try:
        async with services.follower.subscribe(socket.state.client) as subscription:
            await _Feed(socket, services, subscription).serve()
    except ApiError as error:
        await _send_problem(socket, error)
        await socket.close(CLOSE_BUSY, error.detail)
    except WebSocketDisconnect:
        pass


class _Feed:
    """One WebSocket: what was sent of each swap, and what waits until its replay is finished."""

    def __init__(self, socket: WebSocket, services: Services, subscription: Subscription) -> None:
        self._socket = socket
        self._services = services
        self._subscription = subscription
        self._sent: dict[str, int] = {}
        self._held: dict[str, list[SwapEvent]] = {}

    async def serve(self) -> None:
        """Read and push until one side closes or the stream's time is over."""
        reading = asyncio.create_task(self._read())
        loop = asyncio.get_running_loop()
        end = loop.time() + self._services.settings.api.stream_seconds
        try:
            while not reading.done():
                left = end - loop.time()
                if left <= 0:
                    await self._socket.close(CLOSE_GOING_AWAY, "time is over: subscribe again")
                    return
                pushing = asyncio.create_task(self._subscription.queue.get())
                await asyncio.wait({reading, pushing}, timeout=left, return_when=asyncio.FIRST_COMPLETED)
                if not pushing.done():
                    pushing.cancel()
                    continue
                await self._push(pushing.result())
                if self._subscription.overrun:
                    await self._socket.close(CLOSE_TOO_SLOW, "too slow: subscribe again from the last event")
                    return
            reading.result()
        finally:
            reading.cancel()

    async def _push(self, event: SwapEvent) -> None:
        newest = self._sent.get(event.swap_id)
        if newest is None:
            self._held.setdefault(event.swap_id, []).append(event)
        elif event.seq > newest:
            self._sent[event.swap_id] = event.seq
            await _send_event(self._socket, event)

    async def _read(self) -> None:
        while True:
            text = await self._socket.receive_text()
            try:
                self._check_rate()
                await self._subscribe(self._understood(text))
            except ApiError as error:
                await _send_problem(self._socket, error)
            except RefusedError as refused:
                await _send_problem(self._socket, ApiError(Kind.NOT_FOUND, str(refused), refused.hint))

    def _check_rate(self) -> None:
        """Count a message like a request of its client."""
        verdict = self._socket.state.rate.take(self._socket.state.client)
        if not verdict.allowed:
            raise ApiError(
                Kind.RATE_LIMITED,
                f"at most {verdict.quota} messages and requests a minute",
                f"wait {verdict.reset} s; a swap needs one subscription",
                retry_after=verdict.reset,
            )

    def _understood(self, text: str) -> _Subscribe:
        if len(text) > MAX_MESSAGE:
            raise ApiError(Kind.TOO_LARGE, f"more than {MAX_MESSAGE} characters", "subscribe one at a time")
        try:
            message = _subscribe.decode(text)
        except msgspec.DecodeError as error:
            hint = '{"op": "subscribe", "swap_id": "<32 hex digits>", "after": 0}'
            raise ApiError(Kind.INVALID_REQUEST, str(error), hint) from None
        if message.swap_id not in self._sent and len(self._sent) >= MAX_SUBSCRIPTIONS:
            raise ApiError(
                Kind.LIMIT_REACHED, f"{MAX_SUBSCRIPTIONS} swaps are followed", "open another connection"
            )
        return message

    async def _subscribe(self, message: _Subscribe) -> None:
        await run_in_threadpool(self._services.swaps.get, message.swap_id)
        follower = self._services.follower
        self._sent.pop(message.swap_id, None)
        follower.listen(self._subscription, message.swap_id)
        await _send(self._socket, {"op": "subscribed", "swap_id": message.swap_id})
        newest = message.after
        async for event in follower.replay(message.swap_id, message.after):
            newest = event.seq
            await _send_event(self._socket, event)
        held = self._held.setdefault(message.swap_id, [])
        while held:
            event = held.pop(0)
            if event.seq > newest:
                newest = event.seq
                await _send_event(self._socket, event)
        del self._held[message.swap_id]
        self._sent[message.swap_id] = newest


async def _send_event(socket: WebSocket, event: SwapEvent) -> None:
    await _send(socket, {"op": "event", "event": event_view(event)})


async def _send(socket: WebSocket, message: dict[str, Any]) -> None:
    await socket.send_text(msgspec.json.encode(message).decode())


async def _send_problem(socket: WebSocket, error: ApiError) -> None:
    problem = error.problem(socket.state.request_id)
    await _send(socket, {"op": "error", "problem": problem})
