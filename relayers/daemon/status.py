"""What the worker tells the other processes of its chain: tip, clock, health, balances and fees."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import msgspec
import structlog

from bridge.chains.port import ChainPort, FeeEstimate, Tip
from bridge.engine.metrics import Metrics
from bridge.protocol.types import Asset
from bridge.store import Store, StoreError
from bridge.store.records import ChainStatus

log = structlog.get_logger("worker")

HALT_MS = 600_000
"""A chain whose newest block is older than this has halted."""


class StatusKeeper:
    """Keeps the row of one chain in `chain_status`. `current` is what this worker knows."""

    def __init__(
        self,
        port: ChainPort,
        store: Store,
        metrics: Metrics,
        assets: Sequence[Asset],
        heartbeat_seconds: float,
    ) -> None:
        """`assets`: those of this chain, whose balances and fees are told. `heartbeat_seconds`: the status is
        written at least this often."""
        self._port = port
        self._store = store
        self._metrics = metrics
        self._assets = assets
        self._heartbeat_ms = heartbeat_seconds * 1000
        self._written_ms = 0
        self.current = self._of_this_port(ChainStatus(port.chain))

    # -- while watching ----------------------------------------------------------------------

    async def load(self) -> None:
        """Before the first write: read what the previous worker knew, above all since when the tip has not
        moved."""
        if self._written_ms == 0:
            self.current = await asyncio.to_thread(self._last_written)

    def _last_written(self) -> ChainStatus:
        with self._store.reading() as tx:
            stored = tx.chains.get(self._port.chain) or self.current
        return self._of_this_port(stored)

    def _of_this_port(self, status: ChainStatus) -> ChainStatus:
        return msgspec.structs.replace(
            status,
            account=self._port.account,
            contract=self._port.contract,
            proves_sender=self._port.traits.locks_prove_sender,
        )

    def with_tip(self, tip: Tip) -> ChainStatus:
        """Return the status with a tip that the RPC just answered with."""
        now_ms, old = self._store.now_ms(), self.current
        same = old.tip is not None and old.tip.block.id == tip.block.id
        # Only what was watched counts: that this relayer itself was away says nothing of the chain.
        stood_still = not same and old.tip is not None and old.seen_ms - old.tip_ms >= HALT_MS
        return msgspec.structs.replace(
            old,
            tip=tip,
            seen_ms=now_ms,
            tip_ms=old.tip_ms if same else now_ms,
            resumed_ms=now_ms if stood_still else old.resumed_ms,
        )

    def is_due(self, status: ChainStatus) -> bool:
        """Tell whether a status must be written although no block has come."""
        overdue = self._store.now_ms() - self._written_ms >= self._heartbeat_ms
        return overdue or not self.current.healthy or status.tip != self.current.tip

    def written(self, status: ChainStatus) -> None:
        """Note that ingest has stored this status together with its blocks."""
        self.current = msgspec.structs.replace(status, healthy=True, detail="")
        self._written_ms = self._store.now_ms()
        self._metrics.healthy.labels(self._port.chain).set(1)

    # -- from time to time -------------------------------------------------------------------

    async def refresh(self) -> None:
        """Ask the chain for balances and fees, and write them if they changed. Raises
        `PortUnavailableError`."""
        balances: dict[str, int] = {}
        fees: dict[str, FeeEstimate] = {}
        for asset in self._assets:
            balances[asset.key] = await self._port.balance(self._port.account, asset)
            fees[asset.key] = await self._port.fees(asset)
            self._metrics.balance.labels(self._port.chain, asset.symbol).set(balances[asset.key])
        if balances != self.current.balances or fees != self.current.fees:
            self.current = msgspec.structs.replace(self.current, balances=balances, fees=fees)
            await self._write()

    async def note_unhealthy(self, detail: str) -> None:
        """Write that the chain's RPC cannot be reached or believed, and why."""
        self._metrics.healthy.labels(self._port.chain).set(0)
        changed = self.current.healthy or self.current.detail != detail
        self.current = msgspec.structs.replace(self.current, healthy=False, detail=detail)
        if not changed:
            return
        try:
            await self._write()
        except StoreError as error:
            log.error("stage_failed", chain=self._port.chain, stage="status", reason=str(error))

    async def _write(self) -> None:
        """Write the status, but keep what ingest alone sets: the scanned height and what was set aside."""
        status = self.current

        def write() -> None:
            with self._store.transaction() as tx:
                stored = tx.chains.get(status.chain)
                if stored is None:
                    stored = ChainStatus(status.chain)
                tx.chains.put(
                    msgspec.structs.replace(status, scanned=stored.scanned, set_aside=stored.set_aside)
                )

        await asyncio.to_thread(write)
        self._written_ms = self._store.now_ms()
