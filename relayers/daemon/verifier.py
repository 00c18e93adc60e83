"""Asks the chain about each lock directly: a node may not have reported an event."""

from __future__ import annotations

import asyncio

import structlog

from bridge.chains.port import ChainPort, HtlcEvent, LockStatus
from bridge.engine.ingest import Ingest
from bridge.engine.reconcile import Reconcile, Suspect

log = structlog.get_logger("worker")


class LockVerifier:
    """Compares the locks of open swaps with what their chain says."""

    def __init__(self, port: ChainPort, ingest: Ingest, reconcile: Reconcile, max_blocks: int) -> None:
        """`max_blocks`: the most that one scan reads."""
        self._port = port
        self._ingest = ingest
        self._reconcile = reconcile
        self._max_blocks = max_blocks

    async def verify(self) -> None:
        """Scan again where the chain disagrees. Raises `PortUnavailableError` and `StoreError`."""
        for suspect in await asyncio.to_thread(self._reconcile.suspects):
            lock_id = suspect.lock_id or self._port.lock_id(suspect.terms)
            status = await self._port.read_lock(lock_id, suspect.terms)
            expected = LockStatus.OPEN if suspect.expected_open else LockStatus.ABSENT
            if status is expected:
                continue
            if status is LockStatus.ABSENT:
                log.error("lock_disagreement", chain=self._port.chain, swap=suspect.swap_id, lock=lock_id)
                continue
            news = await self._scan_again(suspect)
            if news:
                log.warning("hidden_events_found", chain=self._port.chain, swap=suspect.swap_id, news=news)

    async def _scan_again(self, suspect: Suspect) -> int:
        """Read the blocks again in which the events must be; returns how many were new."""
        recent_blocks = await asyncio.to_thread(self._ingest.recent_blocks)
        if not recent_blocks:
            return 0
        last = suspect.since if suspect.since is not None else recent_blocks[0]
        events: list[HtlcEvent] = []
        while last.height < recent_blocks[-1].height:
            scan = await self._port.scan([last], self._max_blocks)
            if scan.orphaned or not scan.blocks:
                break
            events += scan.events
            last = scan.blocks[-1]
        return await asyncio.to_thread(self._ingest.ingest_missed, events)
