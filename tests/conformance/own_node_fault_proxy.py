"""The same faults as `fault_proxy` makes, for your own Cardano node: Ogmios by WebSocket, Kupo by HTTP.

Ogmios has no status for each answer. What a proxy in front of it does, it does to the handshake. What ends
in the middle ends the connection.
"""

from __future__ import annotations

import asyncio
import json
import random
import re
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import aiohttp
from aiohttp import WSCloseCode, web

from tests.conformance.fault_proxy import Fault

WRONG: tuple[Any, ...] = ("0x", 7, {"x": 1}, [1], "text", True, {"height": "zero"}, [[]])
OFTEN, OF_MANY = 0.1, 0.02
"""How often a request or connection is answered badly, and how often a message of a conversation, which has
two for each block that it reads."""
_READ = "X-Most-Recent-Checkpoint"
_SLOT = re.compile(r"checkpoints/(\d+)$")
_LATER = 60.0
"""Seconds: Ogmios answers nextBlock when there is one; longer than anybody waits here."""
_INTERNAL, _NO_INTERSECTION = -32603, 1000
"""JSON-RPC 2.0, section 5.1; Ogmios' findIntersection."""


@dataclass(frozen=True)
class Place:
    """A block, in the words that Ogmios and Kupo share."""

    height: int
    slot: int
    id: str

    @property
    def tip(self) -> dict[str, Any]:
        return {"slot": self.slot, "id": self.id, "height": self.height}


class OwnNodeFaultProxy:
    """Serves the devnet at `upstream` (http://host:port) with one fault. One seed makes the same chances.

    `back`: blocks that a stale node lags. `frozen_at`: the height at which a frozen one stands still, and at
    which the index of a pruned one begins.
    """

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
        self._places: dict[int, Place] = {}
        self.seen: Counter[str] = Counter()
        self.faults = 0
        """Requests that were answered badly."""
        self.ogmios_url = self.kupo_url = ""

    async def __aenter__(self) -> OwnNodeFaultProxy:
        app = web.Application(client_max_size=2**26)
        app.router.add_get("/secret-api-key/ogmios", self._ogmios)
        app.router.add_get("/secret-api-key/kupo/{path:.*}", self._kupo)
        self._client = aiohttp.ClientSession()
        self._runner = web.AppRunner(app, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        place = f"127.0.0.1:{self._runner.addresses[0][1]}/secret-api-key"
        self.ogmios_url, self.kupo_url = f"ws://{place}/ogmios", f"http://{place}/kupo"
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._client.close()
        await self._runner.cleanup()

    def _hit(self, often: float = OFTEN) -> bool:
        hit = self._chance.random() < (often / 2 if self.fault is Fault.SLOW else often)
        self.faults += hit
        return hit

    # ------------------------------------------------------------------ which block it is at

    async def _place(self, name: int | str) -> Place:
        if isinstance(name, int) and name in self._places:
            return self._places[name]
        async with self._client.get(f"{self._upstream}/api/v0/blocks/{name}") as answer:
            found = await answer.json()
        place = Place(found["height"], found["slot"], found["hash"])
        self._places[place.height] = place
        return place

    async def _newest(self, *, lags: bool) -> Place | None:
        """The newest block that is shown; None for an honest node's."""
        if self.fault is Fault.FROZEN:
            return await self._place(self._frozen_at)
        if self.fault is Fault.STALE or lags:
            head = await self._place("latest")
            return await self._place(max(1, head.height - self._back))
        return None

    # ------------------------------------------------------------------ Kupo

    async def _kupo(self, request: web.Request) -> web.StreamResponse:
        path, query = request.match_info["path"], request.rel_url.raw_query_string
        self.seen[f"kupo {path.split('/')[0]}"] += 1
        hit = self.fault not in {Fault.STALE, Fault.FROZEN, Fault.FOREIGN, Fault.PRUNED} and self._hit()
        chance = self._chance
        match self.fault:
            case Fault.EMPTY if hit:
                # An empty list, or null for a checkpoint, is an answer: only another service can contradict.
                return web.Response(text=chance.choice(["", "{}", "[]" if _SLOT.search(path) else "null"]))
            case Fault.RATE_LIMITED if hit:
                return web.Response(status=429, headers={"Retry-After": "1"}, text="slower")
            case Fault.BROKEN if hit:
                return web.Response(status=chance.choice([500, 502, 503, 504]), text="<html>")
            case Fault.SLOW if hit:
                await asyncio.sleep(self._delay)
        newest = await self._newest(lags=self.fault is Fault.TWO_NODES and hit)
        found, read = await self._ask_kupo(path, query, newest)
        if self.fault is Fault.PRUNED:
            found = _since((await self._place(self._frozen_at)).slot, path, found)
        text = json.dumps(found)
        if self.fault is Fault.TRUNCATED and hit:
            text = text[: len(text) // 2] if len(text) > 2 else ""
        if self.fault is Fault.MISSHAPEN and hit:
            text = json.dumps(chance.choice(WRONG))
        return web.Response(text=text, content_type="application/json", headers={_READ: str(read)})

    async def _ask_kupo(self, path: str, query: str, newest: Place | None) -> tuple[Any, int]:
        """Return Kupo's answer as of a block, and the slot that it has read."""
        if newest is not None:
            # What was spent after it was not yet.
            query = "&".join(part for part in query.split("&") if part != "unspent")
            slot = _SLOT.search(path)
            if slot is not None and int(slot[1]) > newest.slot:
                path = f"checkpoints/{newest.slot}"
        async with self._client.get(f"{self._upstream}/kupo/{path}?{query}") as answer:
            found, read = json.loads(await answer.read()), int(answer.headers.get(_READ, "0"))
        if newest is None:
            return found, read
        if path == "checkpoints":
            found = [point for point in found if point["slot_no"] <= newest.slot]
        if path.startswith("matches"):
            found = [match for match in found if match["created_at"]["slot_no"] <= newest.slot]
            for match in found:
                if match["spent_at"] is not None and match["spent_at"]["slot_no"] > newest.slot:
                    match["spent_at"] = None
        return found, min(read, newest.slot)

    # ------------------------------------------------------------------ Ogmios

    async def _ogmios(self, request: web.Request) -> web.StreamResponse:
        if self.fault in {Fault.RATE_LIMITED, Fault.BROKEN} and self._hit():
            if self.fault is Fault.RATE_LIMITED:
                return web.Response(status=429, headers={"Retry-After": "1"}, text="slower")
            return web.Response(status=self._chance.choice([500, 502, 503, 504]), text="<html>")
        lags = self.fault is Fault.TWO_NODES and self._hit()
        ours = web.WebSocketResponse()
        await ours.prepare(request)
        async with self._client.ws_connect(f"{self._upstream}/ogmios") as theirs:
            async for message in ours:
                call = json.loads(message.data)
                self.seen[call["method"]] += 1
                honest = await self._answer(theirs, call, lags=lags)
                arrives = await self._spoilt(request, ours, call, honest)
                if arrives is None:
                    break
                await ours.send_str(arrives)
        await ours.close()
        return ours

    async def _answer(self, theirs: Any, call: dict[str, Any], *, lags: bool) -> str:
        """Return what the node says whose newest block is ours or an older one."""
        newest = await self._newest(lags=lags)
        if newest is not None and call["method"] == "findIntersection":
            points = [p for p in call["params"]["points"] if p == "origin" or p["slot"] <= newest.slot]
            call = {**call, "params": {"points": points}}
            if not points:
                told = {"code": _NO_INTERSECTION, "message": "No intersection found."}
                return json.dumps({**_head(call), "error": {**told, "data": {"tip": newest.tip}}})
        await theirs.send_str(json.dumps(call))
        answer: dict[str, Any] = json.loads((await theirs.receive()).data)
        found = answer.get("result")
        if newest is not None and isinstance(found, dict) and "tip" in found:
            answer["result"] = {**found, "tip": newest.tip}
            if found.get("direction") == "forward" and found["block"]["height"] > newest.height:
                await asyncio.sleep(_LATER)
        if self.fault is Fault.FOREIGN and call["method"] == "queryNetwork/genesisConfiguration":
            answer["result"] = {**answer["result"], "networkMagic": answer["result"]["networkMagic"] + 1}
        return json.dumps(answer)

    async def _spoilt(
        self, request: web.Request, ours: web.WebSocketResponse, call: dict[str, Any], text: str
    ) -> str | None:
        """Return what arrives of an answer; None when the connection ends instead."""
        chance = self._chance
        spoils = {
            Fault.EMPTY,
            Fault.TRUNCATED,
            Fault.MISSHAPEN,
            Fault.SLOW,
            Fault.RATE_LIMITED,
            Fault.BROKEN,
        }
        if self.fault not in spoils or not self._hit(OF_MANY):
            return text
        match self.fault:
            case Fault.EMPTY:
                nothing: list[Any] = [
                    {},
                    [],
                    None,
                    {**_head(call), "result": {}},
                    {**_head(call), "result": None},
                ]
                return chance.choice(["", *map(json.dumps, nothing)])
            case Fault.TRUNCATED:
                return text[: len(text) // 2]
            case Fault.MISSHAPEN:
                return json.dumps({**_head(call), "result": chance.choice(WRONG)})
            case Fault.SLOW:
                await asyncio.sleep(self._delay)
                return text
            case Fault.RATE_LIMITED:
                await ours.close(code=WSCloseCode.TRY_AGAIN_LATER, message=b"slower")
                return None
        return await self._broken(request, ours, call)

    async def _broken(
        self, request: web.Request, ours: web.WebSocketResponse, call: Mapping[str, Any]
    ) -> str | None:
        ends: list[Callable[[], Any]] = [
            lambda: json.dumps({**_head(call), "error": {"code": _INTERNAL, "message": "Internal error"}}),
            lambda: ours.close(code=WSCloseCode.INTERNAL_ERROR),
            lambda: request.transport.abort() if request.transport is not None else None,
        ]
        end = self._chance.choice(ends)()
        if isinstance(end, str):
            return end
        if asyncio.iscoroutine(end):
            await end
        return None


def _head(call: Mapping[str, Any]) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "method": call["method"], "id": call["id"]}


def _since(slot: int, path: str, found: Any) -> Any:
    """Answer as a Kupo does that began at a slot (`--since`): what was made before it knows of nothing."""
    if path.startswith("matches"):
        return [match for match in found if match["created_at"]["slot_no"] >= slot]
    if path == "checkpoints":
        return [point for point in found if point["slot_no"] >= slot]
    if _SLOT.search(path) and found is not None and found["slot_no"] < slot:
        return None
    return found
