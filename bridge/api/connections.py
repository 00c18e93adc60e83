"""What a TCP connection must keep to before there is a request: how many, how fast, how large.

uvicorn limits how long a connection may idle between two requests, and nothing before the first one
(`uvicorn.protocols.http.h11_impl`, uvicorn 0.54): a client that sends half a header keeps its connection. So
its h11 protocol gets a timer until each request's head is whole, and connections are counted, also per peer.
A head that is too large is refused by h11 while it arrives (`h11_max_incomplete_event_size`).
"""

from __future__ import annotations

import asyncio
import ipaddress
from collections import Counter
from typing import Any

import msgspec
import structlog
from uvicorn.protocols.http.h11_impl import H11Protocol

from bridge.api.limits import Networks, is_in, peer_group

log = structlog.get_logger("rainbow.api")

HEAD_SECONDS = 10.0
"""How long a client may take from its first byte, or from connecting, to the end of a request's head."""
HEAD_BYTES = 16_384
"""The most bytes of a request line and headers together."""


class ConnectionLimits(msgspec.Struct, frozen=True):
    """`total` and `per_peer`: connections open at once, of all and of one peer (IPv6: one /64). `proxies`
    speak for many clients and are counted only in the total. `head_seconds`: see `HEAD_SECONDS`."""

    total: int
    per_peer: int
    proxies: Networks = ()
    head_seconds: float = HEAD_SECONDS


class OpenConnections:
    """The connections that one server has open."""

    def __init__(self, limits: ConnectionLimits) -> None:
        self._limits = limits
        self._peers: Counter[str] = Counter()
        self.refused = 0

    @property
    def head_seconds(self) -> float:
        """See `ConnectionLimits`."""
        return self._limits.head_seconds

    def enter(self, address: str) -> str | None:
        """Count a connection in and return the peer to count out later, None if there are too many."""
        peer = self._peer(address)
        full = self._peers.total() >= self._limits.total
        if full or (peer and self._peers[peer] >= self._limits.per_peer):
            self.refused += 1
            if self.refused & (self.refused - 1) == 0:  # 1, 2, 4, 8 …: a flood does not fill the log
                log.warning("connections refused", all_together=self.refused, all_taken=full)
            return None
        self._peers[peer] += 1
        return peer

    def leave(self, peer: str) -> None:
        """Count a connection out."""
        self._peers[peer] -= 1
        if self._peers[peer] <= 0:
            del self._peers[peer]

    def _peer(self, address: str) -> str:
        try:
            parsed = ipaddress.ip_address(address)
        except ValueError:
            return ""
        return "" if is_in(parsed, self._limits.proxies) else peer_group(parsed)


def guarded_protocol(connections: OpenConnections) -> type[asyncio.Protocol]:
    """Return uvicorn's HTTP protocol, held to limits. For `uvicorn.Config(http=…)`."""

    class GuardedProtocol(H11Protocol):
        """One connection. A WebSocket leaves it with its handshake; then the limits of streams hold."""

        _peer: str | None = None
        _head_timer: asyncio.TimerHandle | None = None

        def connection_made(self, transport: Any) -> None:
            """Refuse the connection, or start to wait for its first request."""
            super().connection_made(transport)
            self._peer = connections.enter(self.client[0] if self.client else "")
            if self._peer is None:
                transport.abort()
                return
            self._await_head()

        def connection_lost(self, exc: Exception | None) -> None:
            """Forget the connection."""
            self._let_go()
            super().connection_lost(exc)

        def data_received(self, data: bytes) -> None:
            """Take bytes in; a head must be whole in time, whichever request of the connection it is."""
            if not self._is_serving() and self._head_timer is None:
                self._await_head()
            super().data_received(data)
            if self._is_serving():
                self._stop_waiting()

        def handle_websocket_upgrade(self, event: Any) -> None:
            """Hand the connection over."""
            self._let_go()
            super().handle_websocket_upgrade(event)

        def _is_serving(self) -> bool:
            return self.cycle is not None and not self.cycle.response_complete

        def _await_head(self) -> None:
            self._stop_waiting()
            self._head_timer = self.loop.call_later(connections.head_seconds, self._too_slow)

        def _stop_waiting(self) -> None:
            if self._head_timer is not None:
                self._head_timer.cancel()
                self._head_timer = None

        def _too_slow(self) -> None:
            self._head_timer = None
            if not self._is_serving() and self.transport is not None:
                self.transport.abort()

        def _let_go(self) -> None:
            self._stop_waiting()
            if self._peer is not None:
                connections.leave(self._peer)
                self._peer = None

    return GuardedProtocol
