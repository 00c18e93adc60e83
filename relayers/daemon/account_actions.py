"""Plans what the bridge's account does apart from swaps: what it must do now and then, and anchors."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence

import structlog

from bridge.chains.actions import AccountAction, AnchorAction
from bridge.chains.port import ChainPort
from bridge.chains.upkeep import KeepsAlive
from bridge.engine.actions import encode_action
from bridge.engine.metrics import Metrics
from bridge.protocol.types import Asset
from bridge.store import Store
from bridge.store.records import PlannedIntent
from relayers.daemon.patience import still_waits

log = structlog.get_logger("worker")

SET_UP_AGAIN_MS = 86_400_000
"""Milliseconds after which the chain is asked again what the account must do: an allowance may have been used
up, an entry may be about to be archived."""

AnchorHook = Callable[[Store, ChainPort], Awaitable[AnchorAction | None]]
"""Called every `anchor_seconds`; returns an anchor of the log to send, or None."""


class AccountActions:
    """Plans them as intents; planning one again changes nothing."""

    def __init__(
        self,
        port: ChainPort,
        store: Store,
        assets: Sequence[Asset],
        anchor: AnchorHook | None,
        metrics: Metrics,
    ) -> None:
        self._port = port
        self._store = store
        self._assets = assets
        self._anchor = anchor
        self._metrics = metrics
        self._set_up_until_ms = 0

    @property
    def is_set_up(self) -> bool:
        """Whether what the account must do was planned, within the last day: some of it comes again."""
        return still_waits(self._store.now_ms(), self._set_up_until_ms, SET_UP_AGAIN_MS)

    async def set_up(self) -> None:
        """Plan what the account must do once, such as token approvals. Raises `PortUnavailableError`."""
        for action in await self._port.setup_actions(self._assets):
            await self._plan(f"{action.purpose.value}:{self._port.account}:{action.payload.hex()}", action)
        await self._tell_of_upkeep()
        self._set_up_until_ms = self._store.now_ms() + SET_UP_AGAIN_MS

    async def _tell_of_upkeep(self) -> None:
        if not isinstance(self._port, KeepsAlive):
            return
        for kept in await self._port.upkeep(self._assets):
            lives = self._metrics.upkeep.labels(self._port.chain, kept.what)
            lives.set(0 if kept.seconds is None else kept.seconds)
            if kept.trouble:
                log.warning("upkeep", chain=self._port.chain, what=kept.what, trouble=kept.trouble)

    async def plan_anchor(self) -> None:
        """Plan an anchor of the log, if the hook wants one."""
        if self._anchor is None:
            return
        action = await self._anchor(self._store, self._port)
        if action is not None:
            await self._plan(f"anchor:{action.root.hex()}:{action.size}", action)

    async def _plan(self, subject: str, action: AccountAction) -> None:
        planned = PlannedIntent(subject, action.purpose, self._port.chain, action=encode_action(action))

        def write() -> None:
            with self._store.transaction() as tx:
                tx.intents.plan(planned)
                if isinstance(action, AnchorAction):
                    tx.log_anchors.add(action.size, action.root.hex(), self._port.chain)

        await asyncio.to_thread(write)
