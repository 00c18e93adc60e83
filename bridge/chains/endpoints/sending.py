"""Which of several endpoints' answers to one broadcast counts. Pure."""

from __future__ import annotations

from collections.abc import Sequence

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
