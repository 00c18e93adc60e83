"""What every HTTP request passes first: an id, limits on size and rate, security headers, log and metrics.

One plain ASGI layer, so that streams stay streams. Paths are logged as route templates: a swap's id is
known to its maker alone and stays out of the log, as do bodies, queries and all header values.
"""

from __future__ import annotations

import asyncio
import re
import secrets
import time
import traceback
from typing import Any

import msgspec
import structlog
from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from bridge.api.connections import HEAD_BYTES
from bridge.api.limits import RateLimiter, client_address
from bridge.api.metrics import Metrics
from bridge.api.problems import MEDIA_TYPE, ApiError, Kind
from bridge.config import ApiConfig

CLOSE_POLICY = 1008
"""The WebSocket close code for what is not allowed (RFC 6455, section 7.4.1)."""
BODY_SECONDS = 10.0
"""How long a client may take to send its body."""

MONITORING_PATHS = frozenset({"/healthz", "/readyz", "/metrics"})
"""Read by supervisors and monitoring, which must not be refused because of what else comes from their
address: they have a limit of their own."""
STREAM_SUFFIX = "/events"
"""Paths of streams: HEAD of them would follow a stream and throw it away."""

SECURITY_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}

_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{8,64}")
_WITH_BODY = frozenset({"POST", "PUT", "PATCH", "DELETE"})

log = structlog.get_logger("rainbow.api")


class RequestLimits:
    """The outermost layer of the application."""

    def __init__(self, app: ASGIApp, config: ApiConfig, metrics: Metrics) -> None:
        self._app = app
        self._config = config
        self._metrics = metrics
        self._proxies = tuple(config.trusted_proxies)
        self._all = RateLimiter("default", config.requests_per_minute)
        self._monitoring = RateLimiter("monitoring", config.requests_per_minute)
        self._special = {
            ("POST", "/v1/quotes"): RateLimiter("quotes", config.quotes_per_minute),
            ("POST", "/v1/swaps/restore"): RateLimiter("restore", config.swaps_per_minute),
            ("POST", "/v1/swaps"): RateLimiter("swaps", config.swaps_per_minute),
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        given = headers.get("x-request-id", "")
        request_id = given if _REQUEST_ID.fullmatch(given) else secrets.token_hex(8)
        peer = scope["client"][0] if scope.get("client") else ""
        forwarded = [part for value in headers.getlist("x-forwarded-for") for part in value.split(",")]
        state = scope.setdefault("state", {})
        state["request_id"] = request_id
        state["client"] = client_address(peer, forwarded, self._proxies)
        if scope["type"] == "websocket":
            # Opening one counts like a request, and so does each of its messages.
            state["rate"] = self._all
            if self._all.take(state["client"]).allowed:
                await self._app(scope, receive, send)
            else:
                await send({"type": "websocket.close", "code": CLOSE_POLICY, "reason": "too many requests"})
            return
        await self._http(scope, receive, send, headers)

    async def _http(self, scope: Scope, receive: Receive, send: Send, headers: Headers) -> None:
        began = time.perf_counter()
        state = scope["state"]
        extra = {**SECURITY_HEADERS, "X-Request-Id": state["request_id"]}
        status = 500
        started = False
        method = scope["method"]
        if method == "HEAD" and not scope["path"].endswith(STREAM_SUFFIX):
            scope["method"] = "GET"  # the answer is the same, without its body (RFC 9110, section 9.3.2)

        async def finishing(message: Message) -> None:
            nonlocal status, started
            if method == "HEAD" and message["type"] == "http.response.body":
                message = {**message, "body": b""}
            if message["type"] == "http.response.start":
                status, started = message["status"], True
                outgoing = MutableHeaders(scope=message)
                for name, value in extra.items():
                    outgoing.setdefault(name, value)
            await send(message)

        try:
            self._check_rate(scope, extra)
            receive = await self._body(scope, receive, headers)
            await self._app(scope, receive, finishing)
        except ApiError as error:
            await problem_response(error, state["request_id"])(scope, receive, finishing)
        except Exception as error:
            # Frames only: the message of a foreign exception may quote what a client sent.
            frames = "".join(traceback.format_tb(error.__traceback__))
            log.error(
                "request failed", request_id=state["request_id"], error=type(error).__name__, frames=frames
            )
            if not started:
                await problem_response(_internal(), state["request_id"])(scope, receive, finishing)
        finally:
            seconds = time.perf_counter() - began
            route = _template(scope)
            self._metrics.request(method, route, status, seconds)
            log.info(
                "request",
                method=method,
                route=route,
                status=status,
                ms=round(seconds * 1000, 1),
                request_id=state["request_id"],
            )

    def _check_rate(self, scope: Scope, extra: dict[str, str]) -> None:
        client = scope["state"]["client"]
        everyday = self._monitoring if scope["path"] in MONITORING_PATHS else self._all
        verdict = everyday.take(client)
        special = self._special.get((scope["method"], scope["path"]))
        if verdict.allowed and special is not None:
            verdict = special.take(client)
        extra.update(verdict.headers())
        if not verdict.allowed:
            raise ApiError(
                Kind.RATE_LIMITED,
                f"at most {verdict.quota} such requests a minute",
                "wait as long as Retry-After says; follow a swap with its event stream instead of polling",
            )

    async def _body(self, scope: Scope, receive: Receive, headers: Headers) -> Receive:
        """Read the body, within limits, and hand out a `receive` that replays it."""
        if sum(len(name) + len(value) for name, value in scope["headers"]) > HEAD_BYTES:
            raise ApiError(Kind.HEADERS_TOO_LARGE, f"more than {HEAD_BYTES} bytes", "send fewer headers")
        if scope["method"] not in _WITH_BODY:
            return receive
        most = self._config.max_body_bytes
        too_large = ApiError(Kind.TOO_LARGE, f"the body has more than {most} bytes", "send less")
        length = headers.get("content-length", "0")
        if length.isdecimal() and int(length) > most:
            raise too_large
        body = bytearray()
        try:
            async with asyncio.timeout(BODY_SECONDS):
                more = True
                while more:
                    message = await receive()
                    if message["type"] == "http.disconnect":
                        return receive
                    body += message.get("body", b"")
                    more = message.get("more_body", False)
                    if len(body) > most:
                        raise too_large
        except TimeoutError:
            raise ApiError(
                Kind.MALFORMED,
                f"the body did not arrive within {BODY_SECONDS:.0f} s",
                "send the body without pauses",
            ) from None
        media = headers.get("content-type", "").partition(";")[0].strip().lower()
        if body and media != "application/json":
            raise ApiError(
                Kind.UNSUPPORTED_MEDIA,
                f"the body's type is {media[:100]!r}",
                "send `Content-Type: application/json`",
            )
        return _replaying(bytes(body), receive)


def _replaying(body: bytes, receive: Receive) -> Receive:
    given = False

    async def replay() -> Message:
        nonlocal given
        if given:
            return await receive()
        given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return replay


def _template(scope: Scope) -> str:
    route: Any = scope.get("route")
    return str(getattr(route, "path", "")) or "(none)"


def _internal() -> ApiError:
    return ApiError(
        Kind.INTERNAL,
        "the request could not be served",
        "try again; if it happens again, give the operator the request's id",
    )


def problem_response(error: ApiError, request_id: str) -> Response:
    """Return the response of an error."""
    return JSONResponse(
        msgspec.to_builtins(error.problem(request_id)),
        status_code=error.kind.status,
        headers=error.headers,
        media_type=MEDIA_TYPE,
    )
