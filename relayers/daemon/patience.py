"""How long to wait before a question that got no good answer is asked again."""

from __future__ import annotations

from collections.abc import Callable, Hashable


def still_waits(now_ms: int, until_ms: int, longest_ms: int) -> bool:
    """Tell whether a wait until `until_ms` is not over. One that has longer to go than it ever could was
    begun before the clock was set back: it is void."""
    return 0 < until_ms - now_ms <= longest_ms


class Patience:
    """Waits twice as long after each bad answer to the same question, up to `longest_ms`."""

    def __init__(self, now_ms: Callable[[], int], first_ms: int, longest_ms: int) -> None:
        """`now_ms`: a clock, Unix milliseconds."""
        self._now_ms = now_ms
        self._first_ms = first_ms
        self._longest_ms = longest_ms
        self._waits: dict[Hashable, tuple[int, int]] = {}
        """By question: until when to wait, and for how long this time."""

    def may_ask(self, question: Hashable) -> bool:
        """Tell whether a question may be asked now."""
        until, wait = self._waits.get(question, (0, 0))
        return not still_waits(self._now_ms(), until, wait)

    def has_lost(self, question: Hashable) -> bool:
        """Tell whether the last answer was a bad one."""
        return question in self._waits

    def lost(self, question: Hashable) -> bool:
        """Note a bad answer; returns whether it is the first one in a row."""
        _, last = self._waits.get(question, (0, 0))
        wait = min(self._longest_ms, 2 * last or self._first_ms)
        self._waits[question] = (self._now_ms() + wait, wait)
        return not last

    def regained(self, question: Hashable) -> None:
        """Note a good answer."""
        self._waits.pop(question, None)

    def keep_only(self, questions: set[Hashable]) -> None:
        """Forget all other questions."""
        self._waits = {each: wait for each, wait in self._waits.items() if each in questions}
