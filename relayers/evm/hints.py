"""Wake-ups from new heads: pushed over WebSocket where there is one, polled otherwise. Never the truth."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import msgspec
import websockets

from relayers.evm.rpc import Rpc

_SUBSCRIBE = b'{"jsonrpc":"2.0","id":1,"method":"eth_subscribe","params":["newHeads"]}'
_POLLS_BEFORE_RETRY = 20
"""After so many polls the iterator ends, so that its caller comes back and the WebSocket is tried again."""


async def new_heads(rpc: Rpc, ws_url: str, poll_interval: float, timeout: float) -> AsyncIterator[None]:
    """Yield once per new head; fall back to polling for a while when the WebSocket cannot be had or drops."""
    if ws_url:
        try:
            async with asyncio.timeout(timeout):
                socket = await websockets.connect(ws_url, ping_interval=20, ping_timeout=20, max_size=2**20)
            async with socket:
                await socket.send(_SUBSCRIBE.decode())
                async for message in socket:
                    if msgspec.json.decode(message).get("method") == "eth_subscription":
                        yield
        except (OSError, TimeoutError, websockets.WebSocketException, msgspec.DecodeError):
            yield  # whatever happened while the line was down has not been announced
    seen = None
    for _ in range(_POLLS_BEFORE_RETRY):
        head = await rpc.call("eth_blockNumber")
        if head != seen:
            seen = head
            yield
        await asyncio.sleep(poll_interval)
