"""Scans the chain until all of its blocks are taken in, then sees which locks and refunds are final."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence

import msgspec
import structlog

from bridge.chains.errors import DeepReorgError
from bridge.chains.port import ChainPort, Scan
from bridge.chains.recent_blocks import block_at
from bridge.engine.ingest import Ingest, IngestResult
from bridge.engine.metrics import Metrics
from bridge.protocol.types import BlockRef
from bridge.store import Store
from relayers.daemon.confirmer import Confirmer
from relayers.daemon.patience import still_waits
from relayers.daemon.status import StatusKeeper

log = structlog.get_logger("worker")

START_DEPTH = 64
"""A relayer that knows no blocks yet starts this many below the head."""

LOOK_MS = 10_000
"""The least time between two extra looks at our locks."""


class ChainWatcher:
    """Watches one chain."""

    def __init__(
        self,
        port: ChainPort,
        store: Store,
        ingest: Ingest,
        status: StatusKeeper,
        metrics: Metrics,
        max_blocks: int,
    ) -> None:
        """`max_blocks`: the most that one scan reads."""
        self._port = port
        self._store = store
        self._ingest = ingest
        self._status = status
        self._metrics = metrics
        self._max_blocks = max_blocks
        self._confirmer = Confirmer(port, store, ingest, metrics)
        self._doubts = 0
        self._looked_ms = 0

    def take_doubts(self) -> int:
        """Return how many things since the last call leave the fate of our locks open, so that they should be
        asked about directly: items that could not be read, spends that are not proved. 0 when that was said a
        moment ago: strangers can make a chain hard to read in every block."""
        now_ms = self._store.now_ms()
        if still_waits(now_ms, self._looked_ms + LOOK_MS, LOOK_MS):
            return 0
        doubts, self._doubts = self._doubts, 0
        if doubts:
            self._looked_ms = now_ms
        return doubts

    async def watch(self, between: Callable[[], Awaitable[None]] | None = None) -> bool:
        """Scan until the tip is taken in, then confirm final locks; returns whether blocks came or went.

        `between`: done after each scan that leaves more to read. What is known already does not wait for a
        long backlog. Raises `PortUnavailableError`, `DeepReorgError` and `StoreError`.
        """
        moved = False
        await self._status.load()
        while True:
            recent_blocks = await asyncio.to_thread(self._ingest.recent_blocks)
            scan = await self._scan(recent_blocks)
            status = self._status.with_tip(scan.tip)
            news = bool(scan.blocks or scan.orphaned)
            if not news and not self._status.is_due(status):
                self._status.current = status
                break
            result = await asyncio.to_thread(self._ingest.ingest, scan, recent_blocks, status)
            if result.stale:
                continue
            moved |= news
            self._status.written(status)
            self._count(result)
            if result.caught_up or not scan.blocks:
                break
            if between is not None:
                await between()
        await self._confirmer.confirm()
        return moved

    async def _scan(self, recent_blocks: Sequence[BlockRef]) -> Scan:
        """Scan from the recent blocks; without any, from some blocks below the head, so that a first reorg
        finds common ground. When a reorg leaves none of the recent blocks, start again below them: a relayer
        that stopped looking could not claim. The operator is told, and the chain is paused for new swaps."""
        if not recent_blocks:
            return await self._first_scan()
        try:
            return await self._port.scan(recent_blocks, self._max_blocks)
        except DeepReorgError as error:
            scan = await self._port.scan([block_at(recent_blocks[0].height - START_DEPTH)], self._max_blocks)
            log.critical("deep_reorg", chain=self._port.chain, known=len(recent_blocks), hint=error.hint)
            self._metrics.errors.labels(self._port.chain, "DeepReorgError").inc()
            await asyncio.to_thread(self._pause, "no known block is left on the chain")
            return msgspec.structs.replace(scan, orphaned=tuple(reversed(recent_blocks)))

    async def _first_scan(self) -> Scan:
        head = (await self._port.tip()).block
        try:
            scan = await self._port.scan([block_at(head.height - START_DEPTH)], self._max_blocks)
        except DeepReorgError:
            scan = None
        if scan is not None and scan.blocks:
            return msgspec.structs.replace(scan, orphaned=())
        return await self._port.scan([], self._max_blocks)

    def _pause(self, reason: str) -> None:
        with self._store.transaction() as tx:
            tx.controls.set(f"pause:{self._port.chain}", reason, "relayer")

    def _count(self, result: IngestResult) -> None:
        chain = self._port.chain
        self._metrics.blocks.labels(chain).inc(result.blocks)
        if result.orphaned:
            self._metrics.orphaned.labels(chain).inc(result.orphaned)
            log.warning("reorg", chain=chain, orphaned=result.orphaned)
        if result.doubts:
            self._doubts += result.doubts
            log.error("chain_not_understood", chain=chain, doubts=result.doubts,
                      hint="`rainbow check` lists what could not be read")  # fmt: skip
        tip = self._status.current.tip
        scanned = self._ingest.height()
        self._metrics.scanned.labels(chain).set(scanned)
        self._metrics.tip_lag.labels(chain).set(max(0, (tip.block.height if tip else 0) - scanned))
