"""Which endpoints may be asked, and in which order. Pure: times and answers are handed in.

`now` is a clock that never jumps (seconds), `clock` the time of day (Unix seconds), which heads are compared
with.
"""

from __future__ import annotations

from dataclasses import dataclass

import msgspec

from bridge.chains.endpoints.answers import Answer


class Head(msgspec.Struct, frozen=True):
    """The newest block of an endpoint: its height, and its time in Unix seconds (None: not known)."""

    height: int
    time: int | None = None


class Rules(msgspec.Struct, frozen=True):
    """When an endpoint of a network is left. Seconds, but for `lag`, which is in the head's own heights.

    `lag` and `lag_seconds`: it lags when it is more than `lag` behind the others, and its head is so much
    older than theirs or has not moved for so long (where heads show no time, `lag` alone counts).
    `max_age`: how old its head may be, 0 for no limit (local chains stand still between two tests).
    `ahead`: how far its head may be ahead of the clock where `max_age` counts. `probe_every`: between two
    looks at all heads. `rest`: how long one that failed is asked last, doubled with each failure up to
    `longest_rest`. `foreign_rest`: until one of another network is looked at again. `patience`: how long a
    request may wait for an endpoint that asks for slower requests. `memory`: how long a head that was seen
    counts after its endpoint has gone.
    """

    lag: int = 3
    lag_seconds: int = 15
    max_age: float = 0.0
    ahead: float = 900.0
    probe_every: float = 5.0
    rest: float = 2.0
    longest_rest: float = 60.0
    foreign_rest: float = 60.0
    patience: float = 15.0
    memory: float = 600.0


class Verdict(msgspec.Struct, frozen=True):
    """What is wrong with an endpoint, for people; `hint` says what to do."""

    reason: str
    hint: str


@dataclass
class _State:
    head: Head | None = None
    head_at: float = 0.0
    """When its head was last read."""
    moved_at: float = 0.0
    """When its head was last seen to differ from the one before."""
    failures: int = 0
    rests_until: float = 0.0
    limited_until: float = 0.0
    limits: int = 0
    foreign_until: float = 0.0
    trouble: Verdict | None = None


_LIMIT_WAITS = (0.5, 1.0, 2.0, 4.0, 8.0, 15.0, 30.0, 60.0)
"""Seconds that an endpoint is left alone which asks for slower requests and does not say how slow."""
_LONGEST_LIMIT = 600.0


class Selection:
    """`count` endpoints by index, and what is known of each."""

    def __init__(self, count: int, rules: Rules, *, heads_need_backing: bool = False) -> None:
        if count < 1:
            raise ValueError("at least one endpoint is needed")
        self.rules = rules
        self._needs_backing = heads_need_backing
        self._backed: dict[tuple[int, int], bool] = {}
        """Whether the first, which is ahead, is known to have the second one's chain below its head."""
        self._states = [_State() for _ in range(count)]
        self._current = 0

    # ------------------------------------------------------------------ what was seen

    def served(self, index: int) -> None:
        """It has answered a request."""
        state = self._states[index]
        state.failures = state.limits = 0
        state.rests_until = state.limited_until = 0.0
        state.trouble = None

    def failed(
        self, index: int, kind: Answer, trouble: Verdict, now: float, retry_after: float | None = None
    ) -> None:
        """It has not. Failures of one that was left before do not move the current one: many requests may
        have been under way to it."""
        if kind in {Answer.REFUSED, Answer.PERMANENT, Answer.TOO_MUCH}:
            return
        state = self._states[index]
        state.trouble = trouble
        if kind is Answer.RATE_LIMITED:
            wait = _LIMIT_WAITS[min(state.limits, len(_LIMIT_WAITS) - 1)]
            wait = wait if retry_after is None else min(max(retry_after, 0.0), _LONGEST_LIMIT)
            state.limited_until = max(state.limited_until, now + wait)
            state.limits += 1
        else:
            wait = min(self.rules.rest * 2.0**state.failures, self.rules.longest_rest)
            wait = wait if retry_after is None else min(max(retry_after, wait), _LONGEST_LIMIT)
            state.rests_until = max(state.rests_until, now + wait)
            state.failures = min(state.failures + 1, 16)
        if index == self._current:
            self._current = (self._current + 1) % len(self._states)

    def foreign(self, index: int, verdict: Verdict, now: float) -> None:
        """It serves another network or another contract: what it says means nothing."""
        state = self._states[index]
        state.foreign_until = now + self.rules.foreign_rest
        state.trouble = verdict
        state.head = None
        if index == self._current:
            self._current = (self._current + 1) % len(self._states)

    def identified(self, index: int) -> None:
        """It is of our network."""
        self._states[index].foreign_until = 0.0

    def saw_head(self, index: int, head: Head, now: float) -> None:
        """Its newest block is `head`."""
        state = self._states[index]
        if head != state.head:
            state.moved_at = now
        state.head, state.head_at = head, now

    def backed(self, higher: int, lower: int, *, shown: bool) -> None:
        """The one that is ahead has shown the other one's chain below its head, or could not."""
        self._backed[higher, lower] = shown

    # ------------------------------------------------------------------ what follows

    def disputes(self, now: float, clock: float) -> list[tuple[int, int]]:
        """Return which endpoint's head would make which other one lag: pairs of the higher and the lower."""
        return [
            (higher, lower)
            for lower, state in enumerate(self._states)
            for higher, other in enumerate(self._states)
            if state.head is not None
            and other.head is not None
            and self._counts(other, now, clock)
            and self._lags(state, state.head, other.head, now)
        ]

    def order(self, now: float, clock: float) -> tuple[int, ...]:
        """Return the endpoints that may be asked, the best first: those in good standing from the current one
        on, then those that rest after a failure. It may be empty."""
        count = len(self._states)
        turn = [(self._current + step) % count for step in range(count)]
        allowed = [index for index in turn if self._barred(index, now, clock) is None]
        good = [index for index in allowed if self._states[index].rests_until <= now]
        resting = [index for index in allowed if self._states[index].rests_until > now]
        if good:
            self._current = good[0]
        return (*good, *sorted(resting, key=lambda index: self._states[index].rests_until))

    def may_identify(self, index: int, now: float) -> bool:
        """Tell whether it may be looked at: not so soon after it was found to be foreign."""
        return self._states[index].foreign_until <= now

    def wait(self, now: float, clock: float) -> float | None:
        """Return the seconds until the first endpoint that asks for slower requests may be asked again; None
        if there is none that could then be asked."""
        waits = [
            state.limited_until - now
            for index, state in enumerate(self._states)
            if state.limited_until > now and self._unfit(index, now, clock) is None
        ]
        return min(waits, default=None)

    def trouble(self, index: int, now: float, clock: float) -> Verdict | None:
        """Return why an endpoint is left, or how its last request failed; None when all is well."""
        found = self._barred(index, now, clock) or self._states[index].trouble
        if found is None and any(
            self._backed.get(pair) is False for pair in self.disputes(now, clock) if pair[0] == index
        ):
            return Verdict(
                "is far ahead of another one, and does not have that one's blocks",
                "one of the two is on another chain: compare both with an explorer, and use another endpoint",
            )
        return found

    def limits(self, index: int, now: float) -> tuple[int, float]:
        """Return how often in a row it has asked for slower requests, and the seconds until it may be asked
        again."""
        state = self._states[index]
        return state.limits, max(0.0, state.limited_until - now)

    def head(self, index: int) -> Head | None:
        """Return its head as last read."""
        return self._states[index].head

    def _barred(self, index: int, now: float, clock: float) -> Verdict | None:
        state = self._states[index]
        if state.limited_until > now:
            trouble = state.trouble.reason if state.trouble else "asks for fewer requests"
            return Verdict(
                trouble, f"it is asked again in {state.limited_until - now:.0f} s; raise its quota"
            )
        return self._unfit(index, now, clock)

    def _unfit(self, index: int, now: float, clock: float) -> Verdict | None:
        state = self._states[index]
        if state.foreign_until > now:
            return state.trouble
        if state.head is None:
            return None
        age = self._age(state.head, state.moved_at, now, clock)
        if self.rules.max_age and age > self.rules.max_age:
            return Verdict(
                f"stands still: its newest block is {age:.0f} s old",
                "is it synchronised, and has it peers? Use another one until it is",
            )
        if self._too_new(state.head, state.moved_at, now, clock):
            return Verdict(
                f"shows a block {-age:.0f} s ahead of the clock", "set the clock, or use another one"
            )
        best = self._best_of_others(index, now, clock)
        if best is not None and self._lags(state, state.head, best, now):
            return Verdict(
                f"is {best.height - state.head.height} blocks behind the others, at {state.head.height}",
                "it lags or stands still: use another one until it has caught up",
            )
        return None

    def _lags(self, state: _State, head: Head, best: Head, now: float) -> bool:
        if best.height - head.height <= self.rules.lag:
            return False
        if head.time is None or best.time is None:
            return True
        stood_still = now - state.moved_at
        return max(best.time - head.time, stood_still) > self.rules.lag_seconds

    def _too_new(self, head: Head, moved_at: float, now: float, clock: float) -> bool:
        return self.rules.max_age > 0 and -self._age(head, moved_at, now, clock) > self.rules.ahead

    def _counts(self, state: _State, now: float, clock: float) -> bool:
        """Tell whether a head is one to compare others with."""
        if state.head is None or now - state.head_at > self.rules.memory:
            return False
        return not self._too_new(state.head, state.moved_at, now, clock)

    def _age(self, head: Head, moved_at: float, now: float, clock: float) -> float:
        # Between two looks the head ages with our own clock.
        return now - moved_at if head.time is None else clock - head.time

    def _best_of_others(self, index: int, now: float, clock: float) -> Head | None:
        """Return what the others' heads let us expect: of two or more others the second highest, so that
        a single liar bars nobody."""
        heads = [
            other.head
            for at, other in enumerate(self._states)
            if at != index
            and other.head is not None
            and self._counts(other, now, clock)
            and (not self._needs_backing or self._backed.get((at, index), False))
        ]
        heads.sort(key=lambda head: head.height)
        return heads[-min(2, len(heads))] if heads else None
