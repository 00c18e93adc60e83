"""Which of several endpoints' answers to one broadcast counts."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence, Set

from bridge.chains.errors import PortUnavailableError
from bridge.chains.port import BroadcastOutcome, BroadcastResult

_BEST_FIRST = (
    BroadcastOutcome.ACCEPTED,
    BroadcastOutcome.ALREADY_KNOWN,
    BroadcastOutcome.SEQUENCE_USED,
    BroadcastOutcome.LATER,
    BroadcastOutcome.UNDERPRICED,
    BroadcastOutcome.REJECTED,
)
"""One endpoint that has the transaction is enough. Of refusals the one counts that asks for the
least: looking before waiting, waiting before a higher bid, and a rejection only where all reject."""

TAKEN = frozenset({BroadcastOutcome.ACCEPTED, BroadcastOutcome.ALREADY_KNOWN})
"""The network has it."""


def best_of(results: Sequence[BroadcastResult]) -> BroadcastResult:
    """Return the best of at least one result."""
    return min(results, key=lambda result: _BEST_FIRST.index(result.outcome))


_GRACE = 1.0
"""Seconds that the other endpoints are waited for once one has taken a transaction."""


async def outcome_of(tasks: Set[asyncio.Task[BroadcastResult]]) -> BroadcastResult:
    """Wait for the endpoints' answers, not long once one has taken it, and return the best. Raises the first
    failure where there is no answer."""
    waiting, timeout = tasks, None
    results: list[BroadcastResult] = []
    failures: list[BaseException] = []
    while waiting:
        done, waiting = await asyncio.wait(waiting, timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
        if not done:
            break
        for task in done:
            if (failure := task.exception()) is None:
                results.append(task.result())
            else:
                failures.append(failure)
        if any(result.outcome in TAKEN for result in results):
            timeout = _GRACE
    if results:
        return best_of(results)
    # An error that says what to do (a foreign endpoint) before one that will pass.
    raise next((e for e in failures if not isinstance(e, PortUnavailableError)), failures[0])
