"""A proxy in front of the devnet's server that can lag, lie, refuse, hang or break on the way."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any

import aiohttp
import msgspec
from aiohttp import web

from relayers.cardano.devnet import CardanoDevnet
from relayers.cardano.settings import CardanoSettings

MangleHttp = Callable[[str, Any], Any]
"""(path below the service, "?unspent" if that is asked, honest answer) → answer; None stands for 404."""
MangleCall = Callable[[str, Any], Any]
"""(Ogmios method, honest answer) → answer."""
_READ = "X-Most-Recent-Checkpoint"
SECRET_PATH = "secret-project-id"


class LyingWeb:
    """Forwards everything; the faults are for whole requests, the mangling for single answers."""

    def __init__(self, devnet: CardanoDevnet) -> None:
        self._upstream = f"http://127.0.0.1:{devnet.port}"
        self.mangle: MangleHttp | None = None
        self.mangle_call: MangleCall | None = None
        self.status = 200
        self.garbage = False
        self.cut = False
        self.hang_up = False
        self.lose_answer = ""
        self.lagging: dict[str, int] = {}
        """By what stands in a path: the slot up to which the Kupo that answers there has read."""
        self.delay = 0.0
        self.seen: list[str] = []

    async def __aenter__(self) -> LyingWeb:
        app = web.Application()
        app.router.add_get(f"/{SECRET_PATH}/ogmios", self._socket)
        app.router.add_route("*", f"/{SECRET_PATH}/{{path:.*}}", self._handle)
        self._runner = web.AppRunner(app, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        self._port = self._runner.addresses[0][1]
        self._client = aiohttp.ClientSession()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._client.close()
        await self._runner.cleanup()

    def hosted(self, devnet: CardanoDevnet) -> CardanoSettings:
        url = f"http://127.0.0.1:{self._port}/{SECRET_PATH}/api/v0"
        return msgspec.structs.replace(devnet.settings, blockfrost_url=url, timeout=1.0)

    def own_node(self, devnet: CardanoDevnet) -> CardanoSettings:
        place = f"127.0.0.1:{self._port}/{SECRET_PATH}"
        return msgspec.structs.replace(
            devnet.own_node_settings,
            ogmios_url=f"ws://{place}/ogmios",
            kupo_url=f"http://{place}/kupo",
            timeout=1.0,
        )

    def honest(self) -> None:
        """End all faults."""
        self.mangle = self.mangle_call = None
        self.status, self.garbage, self.cut, self.hang_up, self.delay = 200, False, False, False, 0.0
        self.lose_answer = ""
        self.lagging = {}

    async def _handle(self, request: web.Request) -> web.Response:
        path = request.match_info["path"]
        self.seen.append(path)
        headers = {"Content-Type": request.headers.get("Content-Type", "application/json")}
        async with self._client.request(
            request.method,
            f"{self._upstream}/{path}?{request.rel_url.raw_query_string}",
            data=await request.read(),
            headers=headers,
        ) as answer:
            status, body, kept = answer.status, await answer.read(), answer.headers
        await asyncio.sleep(self.delay)
        if self.lose_answer and self.lose_answer in path:
            return web.Response(status=504, text="gateway timeout")
        if self.status != 200:
            return web.json_response({"message": "no"}, status=self.status)
        if self.hang_up and request.transport is not None:
            request.transport.close()
        if self.garbage:
            return web.Response(text="<html>gateway</html>")
        if self.cut:
            return web.Response(body=body[: len(body) // 2], content_type="application/json")
        if self.mangle is not None and status == 200:
            asked = path + ("?unspent" if "unspent" in request.query else "")
            honest = json.loads(body)
            changed = self.mangle(asked, honest)
            if changed is None and honest is not None and "kupo/checkpoints/" not in path:
                return web.json_response({"message": "not found"}, status=404)
            body = json.dumps(changed).encode()
        headers = {_READ: kept[_READ]} if _READ in kept else {}
        for part, slot in self.lagging.items():
            if part in path:
                made = [match for match in json.loads(body) if match["created_at"]["slot_no"] <= slot]
                body, headers = json.dumps(made).encode(), {_READ: str(slot)}
        return web.Response(body=body, status=status, content_type="application/json", headers=headers)

    async def _socket(self, request: web.Request) -> web.WebSocketResponse:
        ours = web.WebSocketResponse()
        await ours.prepare(request)
        async with self._client.ws_connect(f"{self._upstream}/ogmios") as theirs:
            async for message in ours:
                self.seen.append(json.loads(message.data)["method"])
                await theirs.send_str(message.data)
                answer = json.loads((await theirs.receive()).data)
                await asyncio.sleep(self.delay)
                lost = self.lose_answer and self.lose_answer in answer["method"]
                if lost or self.hang_up or self.status != 200:
                    break
                if self.garbage:
                    await ours.send_str("<html>gateway</html>")
                elif self.cut:
                    await ours.send_str(json.dumps(answer)[:40])
                else:
                    if self.mangle_call is not None:
                        answer = self.mangle_call(answer["method"], answer)
                    await ours.send_json(answer)
        await ours.close()
        return ours
