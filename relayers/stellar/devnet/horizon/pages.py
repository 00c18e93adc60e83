"""Pages of records with cursors, and the streams of server-sent events over the same records."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Iterable
from dataclasses import dataclass
from urllib.parse import urlencode

from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse

from relayers.stellar.devnet.horizon.problems import bad_request
from relayers.stellar.devnet.horizon.resources import Json
from relayers.stellar.devnet.node import StellarNode

DEFAULT_LIMIT = 10
MAX_LIMIT = 200
_HEARTBEAT_SECONDS = 15.0


@dataclass(frozen=True)
class Window:
    """Which part of a collection is wanted."""

    cursor: str
    descending: bool
    limit: int


def window_of(request: Request) -> Window:
    """Read `cursor`, `order` and `limit`."""
    query = request.query_params
    try:
        limit = int(query.get("limit", DEFAULT_LIMIT))
    except ValueError:
        raise bad_request("limit", "limit must be a number") from None
    if not 0 < limit <= MAX_LIMIT:
        raise bad_request("limit", f"limit must be between 1 and {MAX_LIMIT}")
    order = query.get("order", "asc")
    if order not in ("asc", "desc"):
        raise bad_request("order", "order must be asc or desc")
    return Window(query.get("cursor", ""), order == "desc", limit)


def page(request: Request, records: list[Json]) -> Response:
    """Return a page whose links lead on from its ends."""
    window = window_of(request)

    def link(cursor: str, order: str) -> Json:
        query = dict(request.query_params) | {"cursor": cursor, "order": order, "limit": str(window.limit)}
        return {"href": f"{request.url.scheme}://{request.url.netloc}{request.url.path}?{urlencode(query)}"}

    order, opposite = ("desc", "asc") if window.descending else ("asc", "desc")
    first = records[0]["paging_token"] if records else window.cursor
    last = records[-1]["paging_token"] if records else window.cursor
    links = {"self": {"href": str(request.url)}, "next": link(last, order), "prev": link(first, opposite)}
    return JSONResponse({"_links": links, "_embedded": {"records": records}})


def cut_numeric(window: Window, tokens: Iterable[int]) -> list[int]:
    """Choose paging tokens (ascending) by numeric cursor, order and limit."""
    if window.cursor in ("", "now"):
        bound = None
    else:
        try:
            bound = int(window.cursor)
        except ValueError:
            raise bad_request("cursor", "cursor must be a number here") from None
    if window.descending:
        chosen = [each for each in reversed(list(tokens)) if bound is None or each < bound]
    else:
        chosen = [each for each in tokens if bound is None or each > bound]
    return chosen[: window.limit]


def cut_text(window: Window, records: list[Json]) -> list[Json]:
    """Choose records, sorted by their paging token as text, by cursor, order and limit."""
    ordered = sorted(records, key=lambda each: each["paging_token"], reverse=window.descending)
    if window.cursor:
        ordered = [
            each
            for each in ordered
            if (each["paging_token"] < window.cursor) == window.descending
            and each["paging_token"] != window.cursor
        ]
    return ordered[: window.limit]


def wants_stream(request: Request) -> bool:
    """Tell whether the client asked for server-sent events."""
    return "text/event-stream" in request.headers.get("accept", "")


def stream(request: Request, node: StellarNode, newer: Callable[[int], list[Json]]) -> Response:
    """Return a stream of the records after the cursor ("now" for those to come), and of each new one.

    `newer` returns the records whose paging token is above a given one, oldest first.
    """
    cursor = request.query_params.get("cursor", "") or request.headers.get("last-event-id", "")
    head = node.network.header.sequence
    position = (head + 1) << 32 if cursor == "now" else int(cursor or 0)
    position = position - 1 if cursor == "now" else position

    async def events() -> AsyncIterator[str]:
        nonlocal position
        yield 'retry: 1000\nevent: open\ndata: "hello"\n\n'
        while not await request.is_disconnected():
            seen = node.network.header.sequence
            for record in newer(position):
                position = int(record["paging_token"])
                yield f"id: {position}\ndata: {json.dumps(record)}\n\n"
            try:
                grown = await node.wait_for_ledger(seen, _HEARTBEAT_SECONDS)
            except asyncio.CancelledError:
                return
            if not grown:
                yield ": still here\n\n"

    return StreamingResponse(events(), media_type="text/event-stream")
