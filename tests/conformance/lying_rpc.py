"""A JSON-RPC proxy in front of a real node that can lag, lie, refuse, hang or break on the way."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import httpx
from aiohttp import web

Mangle = Callable[[dict[str, Any], dict[str, Any]], dict[str, Any]]
"""(call, honest answer) → answer."""


class LyingRpc:
    """Forwards every call to `upstream`; `mangle` changes single answers, the other faults whole requests."""

    def __init__(self, upstream: str) -> None:
        self._upstream = upstream
        self.mangle: Mangle | None = None
        self.status = 200
        self.garbage = False
        self.delay = 0.0
        self.seen: list[str] = []
        self.url = ""

    async def __aenter__(self) -> LyingRpc:
        app = web.Application()
        app.router.add_post("/{key:.*}", self._handle)
        self._runner = web.AppRunner(app, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        port = self._runner.addresses[0][1]
        self.url = f"http://127.0.0.1:{port}/v3/secret-api-key"
        self._client = httpx.AsyncClient()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._client.aclose()
        await self._runner.cleanup()

    async def _handle(self, request: web.Request) -> web.Response:
        calls = await request.json()
        honest = (await self._client.post(self._upstream, json=calls)).json()
        await asyncio.sleep(self.delay)
        batch = isinstance(calls, list)
        self.seen += [call["method"] for call in (calls if batch else [calls])]
        if self.status != 200:
            return web.Response(status=self.status, text="no")
        if self.garbage:
            return web.Response(text="<html>gateway</html>")
        if self.mangle is None:
            return web.json_response(honest)
        if not batch:
            return web.json_response(self.mangle(calls, honest))
        by_id = {answer["id"]: answer for answer in honest}
        return web.json_response([self.mangle(call, by_id[call["id"]]) for call in calls])
