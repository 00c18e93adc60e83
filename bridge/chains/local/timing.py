"""The timing of local chains, as a configuration's section."""

from __future__ import annotations

from typing import Any

CLOCK_SKEW = 15
"""Seconds: blocks made on request push the local chains' clocks ahead of ours."""


def local_timing(block_time: int, finality: int, **more: Any) -> dict[str, Any]:
    """Return `[chains.<name>.timing]` of a chain with a block every `block_time` seconds."""
    return {
        "block_interval": block_time,
        "finality_base": finality,
        "finality_cap": finality,
        "inclusion_p99": 5 * block_time,
        "clock_skew": CLOCK_SKEW,
        **more,
    }
