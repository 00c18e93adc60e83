"""What can go wrong for a user: the bridge refuses, does not answer, or is not to be trusted."""

from __future__ import annotations

from bridge.wire.problems import Problem
from kernels.errors import RainbowError


class BridgeRefusedError(RainbowError):
    """The bridge refused a request; `problem` is its RFC 9457 answer."""

    def __init__(self, problem: Problem, retry_after: int | None = None) -> None:
        super().__init__(problem.detail, problem.hint)
        self.problem = problem
        self.retry_after = retry_after

    @property
    def problem_type(self) -> str:
        """The stable URI of what is wrong."""
        return self.problem.type

    @property
    def problems(self) -> tuple[str, ...]:
        """What is wrong with each part of the request, where the bridge names parts."""
        return tuple(f"{part.pointer}: {part.message}" for part in self.problem.errors or ())

    @property
    def kind(self) -> str:
        """The last part of the problem's type, e.g. `quote-gone`."""
        return self.problem.type.rpartition(":")[2]


class BridgeUnreachableError(RainbowError):
    """The bridge did not answer, or not as a bridge does. What became of the request is unknown."""

    exit_code = 4

    def __init__(self, message: str, hint: str = "check the address of the bridge, and try again") -> None:
        super().__init__(message, hint)


class UnsafeError(RainbowError):
    """Going on could cost the user money. `hint` says what to do instead."""

    exit_code = 5
