"""The same faults as `fault_proxy` makes, for a Blockfrost service: one path is one question."""

from __future__ import annotations

import asyncio
import json
import random
import re
from collections import Counter
from typing import Any

import httpx
from aiohttp import web

from tests.conformance.fault_proxy import Fault

UNKNOWN_HERE = {"status_code": 404, "error": "Not Found", "message": "not found"}
_LISTS = re.compile(r"/(next|transactions|redeemers|utxos)$|/mempool")


class BlockfrostFaultProxy:
    """Serves `upstream` (a URL that ends in /api/v0) with one fault. The same seed makes the same chances."""

    def __init__(
        self,
        upstream: str,
        fault: Fault,
        *,
        seed: int = 1,
        back: int = 8,
        frozen_at: int = 0,
        delay: float = 2.0,
    ) -> None:
        self._upstream = upstream
        self.fault = fault
        self._chance = random.Random(f"{seed}/{fault}")
        self._back = back
        self._frozen_at = frozen_at
        self._delay = delay
        self.seen: Counter[str] = Counter()
        self.faults = 0
        """Requests that were answered badly."""
        self.url = ""

    async def __aenter__(self) -> BlockfrostFaultProxy:
        app = web.Application(client_max_size=2**26)
        app.router.add_route("*", "/secret-api-key/api/v0/{path:.*}", self._handle)
        self._http = httpx.AsyncClient(timeout=30)
        self._runner = web.AppRunner(app, shutdown_timeout=0.1, access_log=None)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}/secret-api-key/api/v0"
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._runner.cleanup()
        await self._http.aclose()

    async def _get(self, path: str, query: str = "") -> Any:
        answer = await self._http.get(f"{self._upstream}{path}" + (f"?{query}" if query else ""))
        return answer.json() if answer.status_code == 200 else None

    async def _handle(self, request: web.Request) -> web.Response:
        path, query = "/" + request.match_info["path"], request.rel_url.raw_query_string
        kind = re.sub(r"[0-9a-f]{56,}|(?<=/)\d+|(addr|script)\w+", "…", path)
        self.seen[kind] += 1
        hit = self._chance.random() < (0.1 if self.fault is Fault.SLOW else 0.25)
        is_list = bool(_LISTS.search(path)) and not re.search(r"/txs/\w+/utxos$", path)
        match self.fault:
            case Fault.EMPTY if hit:
                self.faults += 1
                # An empty list is an answer to some: only another service can contradict it.
                return web.Response(text=self._chance.choice(["", "{}", "null", "{}" if is_list else "[]"]))
            case Fault.RATE_LIMITED if hit:
                self.faults += 1
                return web.Response(status=429, headers={"Retry-After": "1"}, text="slower")
            case Fault.BROKEN if hit:
                self.faults += 1
                return web.Response(status=self._chance.choice([500, 502, 503, 504]), text="<html>")
            case Fault.SLOW if hit:
                self.faults += 1
                await asyncio.sleep(self._delay)
        found = await self._get(path, query)
        if self.fault in {Fault.STALE, Fault.FROZEN}:
            head = (await self._get("/blocks/latest"))["height"]
            height = self._frozen_at if self.fault is Fault.FROZEN else max(1, head - self._back)
            found = await self._as_of(path, found, height)
        if self.fault is Fault.PRUNED:
            found = self._pruned(path, found)
        if self.fault is Fault.FOREIGN and path == "/genesis":
            found = {**found, "network_magic": found["network_magic"] + 1}
        if found is None:
            return web.json_response(UNKNOWN_HERE, status=404)
        text = json.dumps(found)
        if self.fault is Fault.TRUNCATED and hit:
            self.faults += 1
            text = text[: len(text) // 2] if len(text) > 2 else ""
        if self.fault is Fault.MISSHAPEN and hit:
            self.faults += 1
            text = json.dumps(
                self._chance.choice(["0x", 7, {"x": 1}, [1], "text", True, {"height": "zero"}, [[]]])
            )
        return web.Response(text=text, content_type="application/json")

    async def _as_of(self, path: str, found: Any, height: int) -> Any:
        """Answer as a service does whose newest block is at `height`."""
        if path == "/blocks/latest":
            return await self._get(f"/blocks/{height}")
        if path.endswith("/next"):
            return [block for block in found or () if block["height"] <= height]
        if path.endswith("/transactions"):
            return [tx for tx in found or () if tx["block_height"] <= height]
        if path.startswith("/blocks/") and found is not None and found["height"] > height:
            return None
        if re.fullmatch(r"/txs/\w+", path) and found is not None and found["block_height"] > height:
            return None
        return found

    def _pruned(self, path: str, found: Any) -> Any:
        """Answer as a service does that has nothing below the height at which it began."""
        if path.endswith("/transactions"):
            return [tx for tx in found or () if tx["block_height"] >= self._frozen_at]
        if re.fullmatch(r"/blocks/\w+", path) and found is not None and found["height"] < self._frozen_at:
            return None
        if path.endswith("/next"):
            return None
        return found
