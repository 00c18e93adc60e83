"""Wake-ups from new slots and the program's logs: pushed by WebSocket, else polled. Never the truth."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import msgspec
import websockets

from bridge.chains.endpoints.json_rpc import JsonRpc, RpcError
from bridge.chains.errors import PortUnavailableError

_POLLS_BEFORE_RETRY = 20
"""After so many polls the iterator ends, so that its caller comes back and the WebSocket is tried again."""


async def wake_ups(
    rpc: JsonRpc, ws_url: str, program: str, poll_interval: float, timeout: float
) -> AsyncIterator[None]:
    """Yield whenever something may have happened; fall back to polling when there is no WebSocket."""
    if ws_url:
        try:
            async with asyncio.timeout(timeout):
                socket = await websockets.connect(ws_url, ping_interval=20, ping_timeout=20, max_size=2**22)
            async with socket:
                for number, (method, params) in enumerate(
                    (
                        ("slotSubscribe", []),
                        ("logsSubscribe", [{"mentions": [program]}, {"commitment": "confirmed"}]),
                    )
                ):
                    call = {"jsonrpc": "2.0", "id": number, "method": method, "params": params}
                    await socket.send(msgspec.json.encode(call).decode())
                async for message in socket:
                    if str(msgspec.json.decode(message).get("method", "")).endswith("Notification"):
                        yield
        except (OSError, TimeoutError, websockets.WebSocketException, msgspec.DecodeError):
            yield  # whatever happened while the line was down has not been announced
    seen = None
    for _ in range(_POLLS_BEFORE_RETRY):
        try:
            slot = await rpc.call("getSlot", {"commitment": "confirmed"})
        except RpcError as error:
            raise PortUnavailableError(
                f"the Solana RPC gave no slot: {error.message}", "try again"
            ) from error
        if slot != seen:
            seen = slot
            yield
        await asyncio.sleep(poll_interval)
