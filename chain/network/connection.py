"""One connection: bytes to frames, and how much may wait in each direction."""

from __future__ import annotations

import asyncio
import time
from typing import Protocol, cast

from chain.network.core.events import Fault, PeerId
from chain.network.errors import FrameError
from chain.network.frames import Frame, FrameReader
from chain.network.messages import CAPS

SOFT_BYTES, HARD_BYTES = 2**20, 5 * 2**20
"""Outgoing bytes that wait: beyond the first nothing more is served, beyond the second the peer is left."""
STUCK_SECONDS = 60.0
CPU_BURST = 1.0
CPU_INBOUND, CPU_OUTBOUND = 0.05, 0.2
"""Seconds of processor time a second that a peer's messages may cost; beyond it its bytes wait."""


class Owner(Protocol):
    """What a connection tells of itself."""

    def opened(self, connection: Connection) -> None:
        """The connection is open."""

    def frame(self, connection: Connection, frame: Frame) -> None:
        """A frame came."""

    def drained(self, connection: Connection) -> None:
        """What waited has been sent."""

    def lost(self, connection: Connection, fault: Fault | None) -> None:
        """The connection is closed."""


class Connection(asyncio.Protocol):
    """A peer's connection. A peer that costs too much is not read from for a while, not closed."""

    def __init__(self, owner: Owner, magic: bytes, *, inbound: bool) -> None:
        self._owner = owner
        self._reader = FrameReader(magic, CAPS)
        self._transport: asyncio.Transport | None = None
        self._fault: Fault | None = None
        self._paused_since: float | None = None
        self._cpu, self._cpu_at = CPU_BURST, time.monotonic()
        self._cpu_rate = CPU_INBOUND if inbound else CPU_OUTBOUND
        self.inbound = inbound
        self.peer: PeerId | None = None
        self._closed = False
        self.received_bytes = self.sent_bytes = 0

    @property
    def transport(self) -> asyncio.Transport:
        """The transport of an open connection."""
        if self._transport is None:
            raise AssertionError("the connection is not open yet")
        return self._transport

    @property
    def closed(self) -> bool:
        """Whether the connection is closed, or about to be."""
        return self._closed

    def _over(self) -> bool:
        return self._closed

    @property
    def congested(self) -> bool:
        """Whether the peer takes bytes more slowly than they are sent."""
        return self._paused_since is not None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        self._transport = cast("asyncio.Transport", transport)
        self._transport.set_write_buffer_limits(SOFT_BYTES)
        self._owner.opened(self)

    def data_received(self, data: bytes) -> None:
        """Cut frames, hand them on, charge their cost."""
        if self.closed:
            return
        self.received_bytes += len(data)
        began = time.monotonic()
        try:
            frames = self._reader.feed(data)
        except FrameError:
            self.close(Fault.BAD_FRAME)
            return
        for frame in frames:
            if self._over():  # the frame before may have ended it
                return
            self._owner.frame(self, frame)
        self._charge(began)

    def _charge(self, began: float) -> None:
        now = time.monotonic()
        self._cpu = min(CPU_BURST, self._cpu + (began - self._cpu_at) * self._cpu_rate) - (now - began)
        self._cpu_at = now
        if self._cpu < 0 and not self.closed and self._transport is not None:
            self._transport.pause_reading()
            asyncio.get_running_loop().call_later(-self._cpu / self._cpu_rate, self._resume)

    def _resume(self) -> None:
        if not self.closed and self._transport is not None:
            self._transport.resume_reading()

    def write(self, data: bytes) -> None:
        """Send bytes. A peer that leaves too much waiting is closed."""
        if self.closed or self._transport is None:
            return
        self.sent_bytes += len(data)
        self._transport.write(data)
        if self._transport.get_write_buffer_size() > HARD_BYTES:
            self.close(Fault.SLOW_READER)

    def check(self, now: float) -> None:
        """Close when nothing of what waits has gone out for a minute."""
        if self._paused_since is not None and now - self._paused_since > STUCK_SECONDS:
            self.close(Fault.SLOW_READER)

    def pause_writing(self) -> None:
        """Note that the peer reads slowly."""
        self._paused_since = time.monotonic()

    def resume_writing(self) -> None:
        """Note that what waited has gone out."""
        self._paused_since = None
        if not self.closed:
            self._owner.drained(self)

    def close(self, fault: Fault | None = None) -> None:
        """Close at once; `lost` follows."""
        if self.closed:
            return
        self._closed, self._fault = True, fault
        if self._transport is not None:
            self._transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's signature
        """Tell the owner."""
        self._closed = True
        self._owner.lost(self, self._fault)
