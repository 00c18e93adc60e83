"""Asks the chain about each lock directly: a node may have hidden an event, or not been able to read it.

A lock that was spent without proof is asked about again and again, less and less often, until the scan of its
blocks shows a claim or a refund, or the chain itself says that it stands.
"""

from __future__ import annotations

import asyncio
from collections.abc import Hashable

import structlog

from bridge.chains.errors import PortUnavailableError
from bridge.chains.port import ChainPort, HtlcEvent, LockStatus
from bridge.chains.recent_blocks import block_at
from bridge.engine.ingest import Ingest
from bridge.engine.metrics import Metrics
from bridge.engine.reconcile import Expected, Reconcile, Suspect
from bridge.protocol.types import BlockHeight, LockId
from bridge.store import Store, StoreError
from relayers.daemon.confirmer import SPENT
from relayers.daemon.patience import Patience

log = structlog.get_logger("worker")

FIRST_WAIT_MS, LONGEST_WAIT_MS = 20_000, 60_000
"""A minute at most: the secret that a spend hides must be found while the other leg can still be claimed."""
UNREAD_AT_ONCE = 20
"""Blocks with unread items that one pass reads again."""
UNANSWERED_IN_A_ROW = 3
"""The pass ends after so many locks in a row about which the chain did not answer."""

_AS_EXPECTED = {Expected.ABSENT: LockStatus.ABSENT, Expected.OPEN: LockStatus.OPEN}


class LockVerifier:
    """Compares the locks of open swaps with what their chain says."""

    def __init__(
        self,
        port: ChainPort,
        store: Store,
        ingest: Ingest,
        reconcile: Reconcile,
        metrics: Metrics,
        max_blocks: int,
    ) -> None:
        """`max_blocks`: the most that one scan reads."""
        self._port = port
        self._ingest = ingest
        self._reconcile = reconcile
        self._metrics = metrics
        self._max_blocks = max_blocks
        self._patience = Patience(store.now_ms, FIRST_WAIT_MS, LONGEST_WAIT_MS)

    async def verify(self) -> None:
        """Scan again where the chain disagrees, and what an older version could not read.

        Raises `PortUnavailableError` when the chain answers about none of the locks, and `StoreError`.
        """
        await self._read_again()
        trouble: PortUnavailableError | None = None
        suspects = await asyncio.to_thread(self._reconcile.suspects)
        self._patience.keep_only({_question(suspect) for suspect in suspects})
        answered = in_a_row = 0
        for suspect in suspects:
            if not self._patience.may_ask(_question(suspect)):
                continue
            if in_a_row >= UNANSWERED_IN_A_ROW:
                break
            try:
                is_settled = await self._look(suspect)
            except StoreError:
                raise
            except PortUnavailableError as error:
                in_a_row += 1
                trouble = trouble or error
                self._unanswered(suspect, "unavailable")
                continue
            except Exception as error:
                self._unanswered(suspect, type(error).__name__)
                continue
            answered, in_a_row = answered + 1, 0
            if is_settled:
                self._patience.regained(_question(suspect))
            else:
                self._patience.lost(_question(suspect))
        if trouble is not None and not answered:
            raise trouble

    async def _look(self, suspect: Suspect) -> bool:
        """Read one lock; returns whether what is known of it needs no further look for now."""
        lock_id = suspect.lock_id or self._port.lock_id(suspect.terms)
        since = None if suspect.since is None else BlockHeight(max(0, suspect.since.height - 1))
        status = await self._port.read_lock(
            lock_id, suspect.terms, since=since, agreed=suspect.expected is Expected.PROOF
        )
        if status is _AS_EXPECTED.get(suspect.expected):
            return True
        if suspect.expected is Expected.ABSENT and status is LockStatus.UNKNOWN:
            return True  # nothing is known of it, and nothing follows from that
        if suspect.expected is Expected.PROOF and status is LockStatus.OPEN:
            # Two endpoints that agree: what was taken for a spend was none, or a reorg has removed it.
            news = await asyncio.to_thread(self._ingest.ingest_standing, lock_id)
            log.warning("lock_stands_after_all", chain=self._port.chain, swap=suspect.swap_id, lock=lock_id,
                        news=news)  # fmt: skip
            return True
        if suspect.expected is Expected.OPEN and status not in SPENT:
            self._alarm(suspect, lock_id, status.value)
            return False
        return await self._find_events(suspect, lock_id, status)

    async def _find_events(self, suspect: Suspect, lock_id: LockId, status: LockStatus) -> bool:
        refunded = lock_id if status is LockStatus.REFUNDED else LockId("")
        news = await self._scan_again(suspect, refunded)
        if not news and suspect.expected is Expected.PROOF and status is LockStatus.CLAIMED:
            news = await asyncio.to_thread(self._ingest.ingest_claimed, lock_id)
        if news:
            log.warning("hidden_events_found", chain=self._port.chain, swap=suspect.swap_id, news=news)
            return True
        if await asyncio.to_thread(self._ingest.is_spent, lock_id) and suspect.expected is Expected.OPEN:
            return True  # found meanwhile, together with another lock's
        if not self._patience.has_lost(_question(suspect)):
            return False  # the first time it may stand in a block that was not scanned yet
        self._alarm(suspect, lock_id, status.value)
        if suspect.expected is Expected.OPEN:
            # The chain calls it spent, and no block shows how: from now on that is its fate.
            ring = await asyncio.to_thread(self._ingest.recent_blocks)
            reason = f"the chain calls it {status.value}, and its scan shows no spend"
            if ring:
                await asyncio.to_thread(self._ingest.ingest_unproven, lock_id, ring[-1], reason)
        return False

    async def _scan_again(self, suspect: Suspect, refunded: LockId) -> int:
        """Read the blocks again in which the events must be; returns how many were new. `refunded`: the lock
        itself where the chain calls it so."""
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
        return await asyncio.to_thread(self._ingest.ingest_missed, events, refunded)

    async def _read_again(self) -> None:
        """Read the items again that an older version of this software had to set aside."""
        for block in (await asyncio.to_thread(self._ingest.unread_blocks))[:UNREAD_AT_ONCE]:
            try:
                scan = await self._port.scan([block_at(block.height - 1)], 1)
                news = await asyncio.to_thread(self._ingest.ingest_read_again, block, scan)
            except (StoreError, PortUnavailableError):
                raise
            except Exception as error:
                log.error("not_read_again", chain=self._port.chain, block=block.id, kind=type(error).__name__)
                continue
            log.info("read_again", chain=self._port.chain, block=block.id, news=news)

    def _alarm(self, suspect: Suspect, lock_id: LockId, said: str) -> None:
        self._metrics.disagreements.labels(self._port.chain, said).inc()
        log.error("lock_disagreement", chain=self._port.chain, swap=suspect.swap_id, lock=lock_id,
                  expected=suspect.expected.value, said=said)  # fmt: skip

    def _unanswered(self, suspect: Suspect, kind: str) -> None:
        self._patience.lost(_question(suspect))
        self._metrics.disagreements.labels(self._port.chain, kind).inc()
        log.error(
            "lock_not_read", chain=self._port.chain, swap=suspect.swap_id, lock=suspect.lock_id, kind=kind
        )


def _question(suspect: Suspect) -> Hashable:
    return suspect.swap_id, suspect.lock_id, suspect.expected
