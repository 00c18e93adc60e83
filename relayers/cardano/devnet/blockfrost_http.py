"""What all routes of a Blockfrost-compatible server share: errors, pages, answers in JSON."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from aiohttp import web

from kernels.errors import RainbowError

_MAX_COUNT = 100


class BlockfrostError(RainbowError):
    """An error in Blockfrost's form."""

    def __init__(self, status: int, error: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.body = {"status_code": status, "error": error, "message": message}


def not_found() -> BlockfrostError:
    """Return Blockfrost's answer for what does not exist."""
    return BlockfrostError(404, "Not Found", "The requested component has not been found.")


@web.middleware
async def errors(
    request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
) -> web.StreamResponse:
    """Turn exceptions into Blockfrost's error bodies."""
    try:
        return await handler(request)
    except BlockfrostError as error:
        return web.json_response(error.body, status=error.status)
    except web.HTTPNotFound:
        return web.json_response(not_found().body, status=404)


def reader(answer: Callable[[web.Request], Any]) -> Callable[[web.Request], Awaitable[web.Response]]:
    """Return a handler that answers what `answer` returns, as JSON."""

    async def handle(request: web.Request) -> web.Response:
        return web.json_response(answer(request))

    return handle


def paging(request: web.Request) -> tuple[int, int]:
    """Return the page's size and number that a request asks for. Raises `BlockfrostError`."""
    try:
        count = min(_MAX_COUNT, int(request.query.get("count", _MAX_COUNT)))
        page = int(request.query.get("page", "1"))
    except ValueError as error:
        raise BlockfrostError(400, "Bad Request", "count and page must be numbers") from error
    if count < 1 or page < 1:
        raise BlockfrostError(400, "Bad Request", "count and page must be positive")
    return count, page


def paged(request: web.Request, items: list[Any]) -> list[Any]:
    """Return the page of the items that a request asks for. Raises `BlockfrostError`."""
    count, page = paging(request)
    if request.query.get("order") == "desc":
        items = items[::-1]
    return items[(page - 1) * count : page * count]
