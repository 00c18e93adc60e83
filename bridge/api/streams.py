"""Pushing events: one task reads the store's event log, every stream gets the swaps it subscribed to.

A stream first replays from the sequence number it names and then follows. It skips what it has sent before:
nothing is lost or repeated. A stream that reads too slowly is closed; its client can resume where it stopped.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict, defaultdict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import structlog

from bridge.api.metrics import Metrics
from bridge.api.problems import ApiError, Kind
from bridge.config import ApiConfig
from bridge.protocol.types import SwapId
from bridge.store import Store, StoreError
from bridge.store.records import SwapEvent
from bridge.store.repositories.logs import EventPage

QUEUE_EVENTS = 1_000
"""How many events may wait in one stream."""

PAGE = 500
IDLE_SECONDS = 5.0
"""The log is read at least this often, even without wake-ups."""

STAGES_REMEMBERED = 10_000

log = structlog.get_logger("rainbow.api")


class Subscription:
    """The live events of one stream. Make it with `Follower.subscribe`."""

    def __init__(self) -> None:
        self.queue: asyncio.Queue[SwapEvent] = asyncio.Queue(QUEUE_EVENTS)
        self.swap_ids: set[SwapId] = set()
        self.overrun = False

    def offer(self, event: SwapEvent) -> None:
        """Queue an event; a full queue marks the stream as overrun."""
        try:
            self.queue.put_nowait(event)
        except asyncio.QueueFull:
            self.overrun = True


class Follower:
    """Reads new events once for all streams of this process, and measures the stages of swaps."""

    def __init__(self, store: Store, config: ApiConfig, metrics: Metrics) -> None:
        self._store = store
        self._config = config
        self._metrics = metrics
        self._listeners: dict[str, set[Subscription]] = defaultdict(set)
        self._clients: dict[str, int] = defaultdict(int)
        self._streams = 0
        self._last_change: OrderedDict[str, SwapEvent] = OrderedDict()

    async def run(self) -> None:
        """Follow the log until cancelled."""
        seq = await asyncio.to_thread(self._last_seq)
        wakeups = self._store.wakeups()
        try:
            while True:
                try:
                    seq = await self._catch_up(seq)
                except StoreError as error:
                    log.warning("the event log cannot be read", error=str(error))
                await wakeups.wait(IDLE_SECONDS)
        finally:
            await wakeups.close()

    async def _catch_up(self, seq: int) -> int:
        while True:
            page = await asyncio.to_thread(self._read, seq)
            for event in page.events:
                self._measure(event)
                for listener in self._listeners.get(event.swap_id, ()):
                    listener.offer(event)
            seq = page.seq
            if page.is_last:
                return seq

    async def replay(self, swap_id: SwapId, after: int) -> AsyncIterator[SwapEvent]:
        """Yield the stored events of a swap after a sequence number."""
        while True:
            page = await asyncio.to_thread(self._read, after, swap_id)
            for event in page.events:
                yield event
            after = page.seq
            if page.is_last:
                return

    @asynccontextmanager
    async def subscribe(self, client: str) -> AsyncIterator[Subscription]:
        """Open a stream for a client. Raises `ApiError` when there are too many."""
        if self._streams >= self._config.stream_limit:
            raise ApiError(Kind.BUSY, "too many event streams are open", "try again soon", retry_after=30)
        if self._clients[client] >= self._config.streams_per_client:
            raise ApiError(
                Kind.LIMIT_REACHED,
                f"you have {self._config.streams_per_client} event streams open",
                "use one WebSocket for all your swaps",
                retry_after=30,
            )
        subscription = Subscription()
        self._streams += 1
        self._clients[client] += 1
        self._metrics.streams.set(self._streams)
        try:
            yield subscription
        finally:
            for swap_id in subscription.swap_ids:
                self._drop(swap_id, subscription)
            self._streams -= 1
            self._clients[client] -= 1
            if not self._clients[client]:
                del self._clients[client]
            self._metrics.streams.set(self._streams)

    def listen(self, subscription: Subscription, swap_id: SwapId) -> None:
        """Add a swap to a stream. Do it before replaying, so that no event is missed."""
        subscription.swap_ids.add(swap_id)
        self._listeners[swap_id].add(subscription)

    def _drop(self, swap_id: SwapId, subscription: Subscription) -> None:
        listeners = self._listeners.get(swap_id)
        if listeners is None:
            return
        listeners.discard(subscription)
        if not listeners:
            del self._listeners[swap_id]

    def _measure(self, event: SwapEvent) -> None:
        before = self._last_change.get(event.swap_id)
        if before is not None:
            self._metrics.stage(before, event)
        if before is None or before.state is not event.state:
            self._last_change[event.swap_id] = event
            self._last_change.move_to_end(event.swap_id)
            while len(self._last_change) > STAGES_REMEMBERED:
                self._last_change.popitem(last=False)

    def _read(self, after: int, swap_id: SwapId = SwapId("")) -> EventPage:
        with self._store.reading() as tx:
            return tx.events.page(after, PAGE, swap_id)

    def _last_seq(self) -> int:
        with self._store.reading() as tx:
            return tx.events.last_seq()
