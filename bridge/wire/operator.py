"""What operators and monitoring read: inventory, audit trail, switches, readiness."""

from __future__ import annotations

from typing import Annotated

import msgspec

from bridge.protocol.types import ChainId, LegRole, LockId, SwapId
from bridge.wire.base import Moment, Money, Wire


class InventoryLine(Wire, frozen=True):
    """What the bridge holds of an asset."""

    asset: str
    balance: Money | None
    reserved: Money
    kept: Money
    available: Money
    seen: Moment | None


class InventoryView(Wire, frozen=True):
    """All assets."""

    assets: list[InventoryLine]


class AuditLine(Wire, frozen=True):
    """What an operator did."""

    seq: int
    by: str
    verb: str
    subject: str
    detail: str
    at: Moment


class AuditView(Wire, frozen=True):
    """A page of the audit trail, newest first."""

    entries: list[AuditLine]
    next_cursor: str | None


class UnprovenLine(Wire, frozen=True):
    """A lock that was spent, and nobody can prove how."""

    swap_id: SwapId
    leg: LegRole
    chain: ChainId
    lock_id: LockId
    tx_id: Annotated[str, msgspec.Meta(description="Empty where no transaction was seen.")]
    height: int


class UnprovenView(Wire, frozen=True):
    """All of them, of the swaps that are not over."""

    spends: list[UnprovenLine]


class UnreadLine(Wire, frozen=True):
    """An item of a block that could not be read. `lock_ids`: the locks that it names; empty: it could concern
    any."""

    id: int
    chain: ChainId
    item: str
    height: int
    reason: str
    lock_ids: list[str]
    software: Annotated[str, msgspec.Meta(description="The version that tried to read it last.")]
    first_seen: Moment


class UnreadView(Wire, frozen=True):
    """What could not be read of a chain, oldest first."""

    items: list[UnreadLine]


class PauseView(Wire, frozen=True):
    """The operators' switches."""

    paused: list[str]


class DependencyView(Wire, frozen=True):
    """One thing the API needs."""

    name: str
    ready: bool
    detail: str


class ReadyView(Wire, frozen=True):
    """Readiness, one line for each dependency."""

    ready: bool
    dependencies: list[DependencyView]


class HealthView(Wire, frozen=True):
    """Liveness."""

    status: str
    version: str
