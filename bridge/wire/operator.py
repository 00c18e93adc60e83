"""What operators and monitoring read: inventory, audit trail, switches, readiness."""

from __future__ import annotations

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
