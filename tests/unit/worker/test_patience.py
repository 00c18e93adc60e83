"""Waiting before a question is asked again, also when the machine's clock is set back."""

from __future__ import annotations

import pytest

from relayers.daemon.patience import Patience, still_waits


@pytest.mark.parametrize(
    ("now", "waits"), [(999, False), (1_000, True), (1_999, True), (2_000, False), (0, False)]
)
def test_a_wait_that_is_longer_than_it_could_be_is_void(now: int, waits: bool) -> None:
    assert still_waits(now, 2_000, 1_000) is waits


def test_each_bad_answer_doubles_the_wait_up_to_the_longest() -> None:
    now = 0
    patience = Patience(lambda: now, 1_000, 3_000)
    assert patience.may_ask("a")
    for wait in (1_000, 2_000, 3_000, 3_000):
        patience.lost("a")
        now += wait - 1
        assert not patience.may_ask("a")
        assert patience.may_ask("b")
        now += 1
        assert patience.may_ask("a")


def test_a_clock_that_was_set_back_makes_no_question_wait_for_hours() -> None:
    now = 10_000_000
    patience = Patience(lambda: now, 1_000, 60_000)
    patience.lost("a")
    now -= 3_600_000
    assert patience.may_ask("a")
