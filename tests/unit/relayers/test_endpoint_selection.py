"""Whom to ask: pure, with the times handed in."""

from __future__ import annotations

import pytest

from bridge.chains.endpoints.answers import Answer
from bridge.chains.endpoints.selection import Head, Rules, Selection, Verdict

DOWN = Verdict("is down", "start it")


def order(selection: Selection, now: float = 0.0, clock: float = 1_000.0) -> tuple[int, ...]:
    return selection.order(now, clock)


def fail(selection: Selection, index: int, kind: Answer = Answer.PASSING, now: float = 0.0) -> None:
    selection.failed(index, kind, DOWN, now)


def test_a_request_tries_every_endpoint_once_the_current_one_first() -> None:
    selection = Selection(3, Rules())
    assert order(selection) == (0, 1, 2)
    fail(selection, 0)
    assert order(selection) == (1, 2, 0), "what failed is asked last"


def test_it_stays_with_an_endpoint_until_that_one_fails() -> None:
    selection = Selection(2, Rules())
    assert order(selection)[0] == order(selection)[0] == 0
    fail(selection, 0)
    assert order(selection)[0] == order(selection)[0] == 1
    assert order(selection, now=1e6)[0] == 1, "the first one's rest is over, but the second did no wrong"


def test_many_requests_that_fail_at_one_endpoint_leave_only_that_one() -> None:
    selection = Selection(3, Rules())
    for _ in range(5):
        fail(selection, 0)
    assert order(selection) == (1, 2, 0)


def test_there_must_be_an_endpoint() -> None:
    with pytest.raises(ValueError, match="at least one"):
        Selection(0, Rules())


def test_a_refusal_is_an_answer_and_harms_nobody() -> None:
    selection = Selection(2, Rules())
    for kind in (Answer.REFUSED, Answer.PERMANENT, Answer.TOO_MUCH):
        fail(selection, 0, kind)
    assert order(selection) == (0, 1)
    assert selection.trouble(0, 0.0, 1_000.0) is None


def test_who_asks_for_a_pause_gets_it_and_is_then_asked_again() -> None:
    selection = Selection(2, Rules())
    selection.failed(0, Answer.RATE_LIMITED, DOWN, 0.0, retry_after=7.0)
    assert order(selection, now=6.9) == (1,)
    assert selection.wait(2.0, 1_000.0) == 5.0
    assert order(selection, now=7.0) == (1, 0)
    assert selection.wait(7.0, 1_000.0) is None


def test_unnamed_pauses_grow_until_something_is_served() -> None:
    selection = Selection(1, Rules())
    waits = []
    now = 0.0
    for _ in range(4):
        fail(selection, 0, Answer.RATE_LIMITED, now)
        wait = selection.wait(now, 0.0)
        assert wait is not None
        waits.append(wait)
        now += wait
    assert waits == [0.5, 1.0, 2.0, 4.0]
    selection.served(0)
    fail(selection, 0, Answer.RATE_LIMITED, now)
    assert selection.wait(now, 0.0) == 0.5


def test_one_that_stands_still_is_left_once_the_others_are_ahead() -> None:
    selection = Selection(2, Rules(lag=3, lag_seconds=15))
    selection.saw_head(0, Head(100, 1_000), 0.0)
    selection.saw_head(1, Head(103, 1_036), 0.0)
    assert order(selection) == (0, 1), "as many blocks as the lag allows"
    selection.saw_head(1, Head(104, 1_048), 0.0)
    assert order(selection) == (1,)
    trouble = selection.trouble(0, 0.0, 1_000.0)
    assert trouble is not None
    assert trouble.reason == "is 4 blocks behind the others, at 100"
    selection.saw_head(0, Head(104, 1_048), 1.0)
    assert order(selection, now=1.0) == (1, 0)


def test_a_fast_chain_is_measured_in_seconds_too() -> None:
    selection = Selection(2, Rules(lag=3, lag_seconds=15))
    selection.saw_head(0, Head(100, 1_000), 0.0)
    selection.saw_head(1, Head(130, 1_008), 0.0)
    assert order(selection) == (0, 1), "thirty blocks of a quarter second"
    selection.saw_head(1, Head(170, 1_018), 0.0)
    assert order(selection) == (1,)


def test_without_times_the_heights_alone_count() -> None:
    selection = Selection(2, Rules(lag=75))
    selection.saw_head(0, Head(100), 0.0)
    selection.saw_head(1, Head(176), 0.0)
    assert order(selection) == (1,)


def test_the_one_that_was_ahead_is_remembered_for_a_while_after_it_has_gone() -> None:
    selection = Selection(2, Rules(memory=600.0))
    selection.saw_head(0, Head(100), 0.0)
    selection.saw_head(1, Head(200), 0.0)
    fail(selection, 1)
    assert order(selection) == (1,), "rather the one that failed than the one that is known to lag"
    assert set(order(selection, now=601.0)) == {0, 1}


def test_a_single_liar_among_three_bars_nobody() -> None:
    selection = Selection(3, Rules())
    for index, height in enumerate((100, 101, 10**9)):
        selection.saw_head(index, Head(height), 0.0)
    assert set(order(selection)) == {0, 1, 2}
    selection.saw_head(2, Head(120), 0.0)
    selection.saw_head(1, Head(120), 0.0)
    assert set(order(selection)) == {1, 2}, "two of three are ahead"


def test_an_old_head_is_left_even_where_there_is_nothing_to_compare() -> None:
    selection = Selection(1, Rules(max_age=300.0))
    selection.saw_head(0, Head(100, 1_000), 0.0)
    assert order(selection, clock=1_300.0) == (0,)
    assert order(selection, clock=1_301.0) == ()
    trouble = selection.trouble(0, 0.0, 1_301.0)
    assert trouble is not None
    assert trouble.reason == "stands still: its newest block is 301 s old"
    assert selection.wait(0.0, 1_301.0) is None
    assert Selection(1, Rules()).order(0.0, 1e9) == (0,), "no limit, no head: it is asked"


def test_a_head_without_a_time_ages_since_it_last_moved() -> None:
    selection = Selection(1, Rules(max_age=300.0))
    selection.saw_head(0, Head(100), 0.0)
    selection.saw_head(0, Head(100), 300.0)
    assert order(selection, now=300.0) == (0,)
    selection.saw_head(0, Head(100), 301.0)
    assert order(selection, now=301.0) == ()
    selection.saw_head(0, Head(101), 302.0)
    assert order(selection, now=302.0) == (0,)


def test_a_head_of_the_future_is_no_head_and_bars_nobody() -> None:
    selection = Selection(2, Rules(max_age=300.0, ahead=900.0))
    selection.saw_head(0, Head(100, 1_000), 0.0)
    selection.saw_head(1, Head(10**9, 1_901), 0.0)
    assert order(selection) == (0,)
    assert selection.trouble(0, 0.0, 1_000.0) is None


def test_a_foreign_endpoint_is_left_until_it_may_be_looked_at_again() -> None:
    selection = Selection(2, Rules(foreign_rest=60.0))
    selection.saw_head(0, Head(10**9), 0.0)
    selection.foreign(0, Verdict("serves chain id 1", "correct the URL"), 0.0)
    selection.saw_head(1, Head(5), 0.0)
    assert order(selection) == (1,), "its head does not count"
    assert not selection.may_identify(0, 59.0)
    assert selection.may_identify(0, 60.0)
    assert order(selection, now=60.0) == (1, 0)


def test_rests_grow_and_end() -> None:
    selection = Selection(2, Rules(rest=2.0, longest_rest=60.0))
    selection.saw_head(0, Head(1), 0.0)
    for _ in range(20):
        fail(selection, 1)
    assert selection._states[1].rests_until == 60.0
    selection.served(1)
    assert selection._states[1].rests_until == 0.0
    assert selection.trouble(1, 0.0, 1_000.0) is None


def test_where_heads_need_backing_one_without_bars_nobody() -> None:
    selection = Selection(2, Rules(), heads_need_backing=True)
    selection.saw_head(0, Head(100, 1_000), 0.0)
    selection.saw_head(1, Head(200, 1_000), 0.0)
    selection.saw_head(1, Head(200, 1_500), 0.0)
    assert selection.disputes(0.0, 1_500.0) == [(1, 0)]
    assert order(selection, clock=1_500.0) == (0, 1)
    selection.backed(1, 0, shown=False)
    assert order(selection, clock=1_500.0) == (0, 1)
    found = selection.trouble(1, 0.0, 1_500.0)
    assert found is not None
    assert "compare both with an explorer" in found.hint
    selection.backed(1, 0, shown=True)
    assert order(selection, clock=1_500.0) == (1,)
    assert selection.trouble(1, 0.0, 1_500.0) is None
    # When it has caught up there is nothing to say any more.
    selection.backed(1, 0, shown=False)
    selection.saw_head(0, Head(200, 1_500), 0.0)
    assert selection.disputes(0.0, 1_500.0) == []
    assert selection.trouble(1, 0.0, 1_500.0) is None
