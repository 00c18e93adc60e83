"""Asks the chain itself about what is deep enough to be final, before anything follows from it.

A lock counts as final if the chain says that it stands, or if its spend is known; a refund if the chain says
that the lock was refunded. Anything else concludes nothing: it is asked again later, and the others go on.
"""

from __future__ import annotations

import asyncio

import structlog

from bridge.chains.port import ChainPort, LockStatus
from bridge.engine.ingest import FinalityCandidate, Ingest
from bridge.engine.metrics import Metrics
from bridge.protocol.types import BlockHeight
from bridge.store import Store, StoreError
from bridge.store.records import ObservedKind
from relayers.daemon.patience import Patience

log = structlog.get_logger("worker")

FIRST_WAIT_MS, LONGEST_WAIT_MS = 1_000, 60_000
SPENT = frozenset({LockStatus.CLAIMED, LockStatus.REFUNDED, LockStatus.SPENT})


class Confirmer:
    """Confirms the final locks and refunds of one chain."""

    def __init__(self, port: ChainPort, store: Store, ingest: Ingest, metrics: Metrics) -> None:
        self._port = port
        self._ingest = ingest
        self._metrics = metrics
        self._patience = Patience(store.now_ms, FIRST_WAIT_MS, LONGEST_WAIT_MS)

    async def confirm(self) -> None:
        """Read back what is deep enough and tell the swaps what is final. Raises `StoreError`.

        A lock about which the chain gives no answer does not make the chain unhealthy, and delays no other.
        """
        candidates = await asyncio.to_thread(self._ingest.finality_candidates)
        self._patience.keep_only({candidate.observation.id for candidate in candidates})
        confirmed: list[FinalityCandidate] = []
        for candidate in candidates:
            seen = candidate.observation
            if not self._patience.may_ask(seen.id):
                continue
            if await self._is_confirmed(candidate):
                self._patience.regained(seen.id)
                confirmed.append(candidate)
        if confirmed:
            await asyncio.to_thread(self._ingest.confirm, confirmed)

    async def _is_confirmed(self, candidate: FinalityCandidate) -> bool:
        seen = candidate.observation
        try:
            since = BlockHeight(max(0, await self._lock_height(candidate) - 1))
            status = await self._port.read_lock(seen.lock_id, candidate.terms, since=since, agreed=True)
        except StoreError:
            raise
        except Exception as error:
            # One lock that cannot be read, whatever the reason, must not keep the others from being final.
            return self._refused(candidate, type(error).__name__)
        if seen.kind is ObservedKind.REFUNDED:
            if status in {LockStatus.CLAIMED, LockStatus.OPEN}:
                await asyncio.to_thread(self._ingest.doubt, candidate)
            return status is LockStatus.REFUNDED or self._refused(candidate, status.value)
        if status is LockStatus.OPEN:
            return True
        # Spent, and no scan has shown it: a counter-lock must not follow before that is explained.
        explained = status in SPENT and await asyncio.to_thread(self._ingest.is_spent, seen.lock_id)
        return explained or self._refused(candidate, status.value)

    async def _lock_height(self, candidate: FinalityCandidate) -> int:
        """Return the height of the lock itself, below which it cannot have been made."""
        seen = candidate.observation
        if seen.kind is ObservedKind.LOCKED:
            return seen.block.height
        return await asyncio.to_thread(self._ingest.lock_height, seen.lock_id)

    def _refused(self, candidate: FinalityCandidate, said: str) -> bool:
        seen = candidate.observation
        self._metrics.disagreements.labels(self._port.chain, said).inc()
        tell = log.error if self._patience.lost(seen.id) else log.warning
        tell("not_confirmed", chain=self._port.chain, swap=seen.swap_id, lock=seen.lock_id,
             scanned=seen.kind.value, said=said, hint="it is asked again; compare another node")  # fmt: skip
        return False
