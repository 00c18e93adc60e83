"""The local ledger behind HTTP and WebSocket, as Solana's clients expect them. Loopback only."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

from aiohttp import WSMsgType, web

from bridge.chains.errors import PortError
from relayers.solana.devnet.encodings import RpcFailureError, account_json, matches
from relayers.solana.devnet.ledger import DevBlock, Entry
from relayers.solana.devnet.rpc_methods import RpcMethods


@dataclass
class _Subscription:
    socket: web.WebSocketResponse
    kind: str
    params: list[Any]


Command = Callable[..., Awaitable[Any]]


class RpcServer:
    """JSON-RPC over HTTP at `port`, subscriptions over WebSocket there and at `port + 1`, Solana's custom.

    `commands` are what a test may do to the chain, by name: POST /devnet/NAME with their arguments as JSON.
    """

    def __init__(self, methods: RpcMethods, port: int, commands: Mapping[str, Command] | None = None) -> None:
        self.methods = methods
        self.port = port
        self._commands = dict(commands or {})
        self._subscriptions: dict[int, _Subscription] = {}
        self._last = 0
        self._runners: list[web.AppRunner] = []

    async def start(self) -> None:
        """Listen."""
        for port in (self.port, self.port + 1):
            app = web.Application(client_max_size=2**22)
            app.router.add_route("*", "/", self._handle)
            app.router.add_post("/devnet/{command}", self._command)
            runner = web.AppRunner(app, shutdown_timeout=0.1, access_log=None)
            await runner.setup()
            self._runners.append(runner)
            await web.TCPSite(runner, "127.0.0.1", port).start()

    async def stop(self) -> None:
        """Hang up on everybody."""
        for subscription in list(self._subscriptions.values()):
            await subscription.socket.close()
        self._subscriptions.clear()
        for runner in self._runners:
            await runner.cleanup()
        self._runners.clear()

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        if request.headers.get("Upgrade", "").lower() == "websocket":
            return await self._serve_socket(request)
        try:
            body = await request.json()
        except ValueError:
            return web.json_response({"jsonrpc": "2.0", "error": {"code": -32700, "message": "Parse error"}})
        if isinstance(body, list):
            return web.json_response([self._answer(call) for call in body])
        return web.json_response(self._answer(body))

    async def _command(self, request: web.Request) -> web.Response:
        command = self._commands.get(request.match_info["command"])
        if command is None:
            raise web.HTTPNotFound(text="there is no such command")
        try:
            await command(**await request.json())
        except (PortError, ValueError, TypeError) as error:
            raise web.HTTPBadRequest(text=str(error)) from error
        return web.json_response({})

    def _answer(self, call: dict[str, Any], socket: web.WebSocketResponse | None = None) -> dict[str, Any]:
        reply: dict[str, Any] = {"jsonrpc": "2.0", "id": call.get("id")}
        method, params = str(call.get("method", "")), list(call.get("params") or ())
        try:
            if socket is not None and method.endswith("Unsubscribe"):
                return reply | {"result": self._subscriptions.pop(params[0], None) is not None}
            if socket is not None and method.endswith("Subscribe"):
                self._last += 1
                kind = method.removesuffix("Subscribe")
                self._subscriptions[self._last] = _Subscription(socket, kind, params)
                return reply | {"result": self._last}
            return reply | {"result": self.methods.call(method, params)}
        except RpcFailureError as failure:
            error = {"code": failure.code, "message": str(failure)}
            return reply | {"error": error if failure.data is None else error | {"data": failure.data}}

    async def _serve_socket(self, request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        async for message in socket:
            if message.type == WSMsgType.TEXT:
                call = json.loads(message.data)
                await socket.send_str(json.dumps(self._answer(call, socket)))
                if call.get("method") == "signatureSubscribe":
                    await self._announce_signatures()
        gone = [key for key, subscription in self._subscriptions.items() if subscription.socket is socket]
        for key in gone:
            del self._subscriptions[key]
        return socket

    # ------------------------------------------------------------------ announcing

    async def announce(self, block: DevBlock) -> None:
        """Tell the subscribers of a new block."""
        ledger = self.methods.ledger
        root = ledger.at("finalized").slot
        await self._notify(
            "slot", {"parent": block.parent_slot, "root": root, "slot": block.slot}, context=False
        )
        await self._notify("root", root, context=False)
        for entry in block.entries:
            await self._announce_entry(entry)
        await self._announce_signatures()

    async def _announce_entry(self, entry: Entry) -> None:
        keys = {str(key) for key in entry.keys}

        def wanted(params: list[Any]) -> bool:
            return params[0] in ("all", "allWithVotes") or bool(keys & set(params[0].get("mentions", ())))

        logs = {"signature": entry.signature, "err": entry.error, "logs": entry.meta["logMessages"]}
        await self._notify("logs", logs, wanted)
        if entry.error is not None:
            return
        for key in entry.keys:
            account = self.methods.ledger.account(key)
            if account is None:
                continue

            def is_key(params: list[Any], name: str = str(key)) -> bool:
                return bool(params[0] == name)

            def is_owner(
                params: list[Any], owner: str = str(account.owner), data: bytes = account.data
            ) -> bool:
                filters = params[1].get("filters") if len(params) > 1 else None
                return bool(params[0] == owner) and matches(data, filters)

            await self._notify("account", account_json(account), is_key)
            await self._notify("program", {"pubkey": str(key), "account": account_json(account)}, is_owner)

    async def _announce_signatures(self) -> None:
        """Tell each waiting signature subscriber once, when its level is reached; that ends it."""
        ledger = self.methods.ledger
        for key, subscription in list(self._subscriptions.items()):
            if subscription.kind != "signature":
                continue
            entry = ledger.entries.get(subscription.params[0])
            options = subscription.params[1] if len(subscription.params) > 1 else None
            level = str((options or {}).get("commitment") or "finalized")
            if entry is not None and entry.slot <= ledger.at(level).slot:
                await self._send(key, subscription, self._with_context({"err": entry.error}))
                self._subscriptions.pop(key, None)

    async def _notify(
        self,
        kind: str,
        result: Any,
        wanted: Callable[[list[Any]], bool] | None = None,
        *,
        context: bool = True,
    ) -> None:
        for key, subscription in list(self._subscriptions.items()):
            if subscription.kind == kind and (wanted is None or wanted(subscription.params)):
                await self._send(key, subscription, self._with_context(result) if context else result)

    def _with_context(self, value: Any) -> dict[str, Any]:
        return {"context": {"slot": self.methods.ledger.head.slot}, "value": value}

    async def _send(self, key: int, to: _Subscription, result: Any) -> None:
        params = {"result": result, "subscription": key}
        text = json.dumps({"jsonrpc": "2.0", "method": f"{to.kind}Notification", "params": params})
        try:
            await asyncio.wait_for(to.socket.send_str(text), 5)
        except (ConnectionError, TimeoutError):
            self._subscriptions.pop(key, None)
