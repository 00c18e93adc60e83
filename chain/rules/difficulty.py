"""The difficulty of the next block and the chain's clock.

LWMA-1 (zawy12, https://github.com/zawy12/difficulty-algorithms/issues/3), on targets, integers only: the
next target is the window's mean target times the linearly weighted mean solve time over the block time.
"""

from __future__ import annotations

from collections.abc import Sequence

from chain.rules.header import Header, compact_to_target, target_to_compact
from chain.rules.params import BLOCK_TIME, LWMA_WINDOW, MEDIAN_WINDOW, NetworkParams
from chain.rules.types import UnixSeconds

MAX_SOLVE_TIME = 6 * BLOCK_TIME
"""A single block moves the mean by no more: a wrong clock (up to 10 min ahead) cannot swing it."""


def next_target(params: NetworkParams, ancestors: Sequence[Header]) -> int:
    """Return the compact target of the block after `ancestors` (oldest first, ending with the parent).

    Give at least LWMA_WINDOW + 1 headers, or all down to genesis.
    """
    if not params.retarget or len(ancestors) < 3:
        return params.pow_limit
    window = ancestors[-(LWMA_WINDOW + 1) :]
    count = len(window) - 1
    weighted = 0
    total_target = 0
    clock = window[0].time
    for weight, header in enumerate(window[1:], start=1):
        # times may run backwards (within the median rule): treat them as a clock that never does
        now = max(header.time, clock + 1)
        weighted += weight * min(now - clock, MAX_SOLVE_TIME)
        clock = now
        total_target += compact_to_target(header.target)
    span = BLOCK_TIME * count * (count + 1) // 2
    weighted = max(weighted, span // 10)  # at most ten times harder than the window's mean
    target = total_target // count * weighted // span
    return target_to_compact(min(max(target, 1), compact_to_target(params.pow_limit)))


def median_time_past(times: Sequence[int]) -> UnixSeconds:
    """Return the median of the last 11 block times (fewer near genesis): the clock that deadlines read."""
    window = sorted(times[-MEDIAN_WINDOW:])
    return UnixSeconds(window[len(window) // 2])
