"""What can go wrong for a user: the bridge refuses, does not answer, or is not to be trusted."""

from __future__ import annotations

from bridge.wire.problems import Problem


class BridgeProblem(Exception):
    """The bridge refused a request; `problem` is its RFC 9457 answer."""

    def __init__(self, problem: Problem, retry_after: int | None = None) -> None:
        super().__init__(problem.detail)
        self.problem = problem
        self.hint = problem.hint
        self.retry_after = retry_after

    @property
    def kind(self) -> str:
        """The last part of the problem's type, e.g. `quote-gone`."""
        return self.problem.type.rpartition(":")[2]


class BridgeUnreachable(Exception):
    """The bridge did not answer, or not as a bridge does. What became of the request is unknown."""

    def __init__(self, message: str, hint: str = "check the address of the bridge, and try again") -> None:
        super().__init__(message)
        self.hint = hint


class Unsafe(Exception):
    """Going on could cost the user money. `hint` says what to do instead."""

    def __init__(self, message: str, hint: str) -> None:
        super().__init__(message)
        self.hint = hint
