"""Of an account's transactions the one with the lowest sequence has its turn first."""

from __future__ import annotations

from bridge.engine.outbox import _head_of_line
from bridge.store.records import IntentState
from tests.unit.engine.test_step_plan import CLAIM, LOCK, PENDING, SENT, UNKNOWN, intent, snapshot, tx


def test_nothing_lands_before_the_lowest_sequence_whatever_it_is_for() -> None:
    lock = snapshot(LOCK, (tx(sequence=3), UNKNOWN))
    claim = snapshot(CLAIM, (tx(sequence=5), UNKNOWN), (tx(sequence=4), PENDING))
    assert _head_of_line([claim, lock]) is lock
    assert _head_of_line([claim]) is claim


def test_what_is_in_a_block_or_has_no_sequence_is_waited_for_by_nobody() -> None:
    landed = snapshot(intent(state=IntentState.INCLUDED), (tx(sequence=1), PENDING))
    unnumbered = snapshot(LOCK, (tx(sequence=None), UNKNOWN))
    first = snapshot(CLAIM, (SENT, UNKNOWN))
    assert _head_of_line([landed, unnumbered, snapshot(CLAIM)]) is None
    assert _head_of_line([landed, unnumbered, first]) is first
