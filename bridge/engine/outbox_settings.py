"""How the outbox waits and bids."""

from __future__ import annotations

import msgspec

from bridge.engine.courtesy import CourtesyLimits
from bridge.protocol.types import Amount


class OutboxSettings(msgspec.Struct, frozen=True):
    """Times in milliseconds (`…_ms`), the rest in blocks and counts."""

    lease_ms: int = 15_000
    default_depth: int = 3
    """Confirmations that settle a transaction that belongs to no swap."""
    bump_blocks: int = 3
    """A transaction that is still in no block after this many blocks is replaced with a higher bid."""
    urgent_bump_blocks: int = 1
    """The same for a claim near its deadline."""
    max_bumps: int = 60
    retry_ms: int = 1_000
    max_retry_ms: int = 15_000
    max_close_retry_ms: int = 600_000
    """Deposits are collected when they become available, which may be hours away and is never urgent."""
    max_courtesy_retry_ms: int = 600_000
    """What pays somebody else and is refused is tried again this seldom at last: they can help themselves."""
    courtesy: CourtesyLimits = CourtesyLimits()
    look_ms: int = 10_000
    """A transaction is looked up after each new block, and at least this often."""
    kept: dict[str, Amount] = {}
    """By asset key, what is never offered."""
    parallel: int = 8
    """How many lookups of transactions run at the same time."""
