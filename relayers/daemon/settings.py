"""How often a worker does what, and how much at a time."""

from __future__ import annotations

import msgspec

from bridge.engine.outbox import OutboxSettings


class WorkerSettings(msgspec.Struct, frozen=True):
    """Times in seconds, the rest in counts."""

    poll_seconds: float = 1.0
    sweep_seconds: float = 5.0
    status_seconds: float = 10.0
    verify_seconds: float = 30.0
    bump_seconds: float = 5.0
    anchor_seconds: float = 600.0
    inventory_seconds: float = 5.0
    heartbeat_seconds: float = 5.0
    """The chain's status is written at least this often, and whenever the tip moves."""
    max_blocks: int = 200
    """The most blocks that one scan reads."""
    first_backoff: float = 0.5
    max_backoff: float = 30.0
    outbox: OutboxSettings = OutboxSettings()
