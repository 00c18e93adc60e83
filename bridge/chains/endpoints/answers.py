"""How an endpoint's answer is judged, and the errors that carry the judgement. All are `PortError`s."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum

import msgspec

from bridge.chains.errors import PortUnavailableError

MAX_WORDS = 300
"""Characters of an endpoint's own words that a message repeats."""


class Answer(StrEnum):
    """What an error of an endpoint means for the request."""

    PASSING = "passing"
    """It cannot answer now. Another one may; the same one may later."""
    PERMANENT = "permanent"
    """It will never answer this request (unknown method, history it does not keep). Another one may."""
    REFUSED = "refused"
    """It is the answer: the chain refuses what was asked. No other endpoint is asked for a better one."""
    TOO_MUCH = "too much"
    """Too many calls, blocks or results at once: ask for half."""
    RATE_LIMITED = "rate limited"
    """Asked too often. The endpoint is left alone until it says so, or for a while."""
    WRONG = "wrong"
    """No answer of this network: malformed, incomplete, or of another network."""


class EndpointError(PortUnavailableError):
    """An endpoint has not served a request; `kind` says how it failed.

    `retry_after` is in seconds and None where the endpoint did not say. `progress`: part of the request was
    served and kept, so trying again is worth while. `slow`: no answer came in time.
    """

    def __init__(
        self,
        message: str,
        hint: str = "",
        *,
        kind: Answer = Answer.PASSING,
        retry_after: float | None = None,
        progress: bool = False,
        slow: bool = False,
    ) -> None:
        super().__init__(message, hint)
        self.kind = kind
        self.retry_after = retry_after
        self.progress = progress
        self.slow = slow


_UNREADABLE = (
    KeyError,
    IndexError,
    TypeError,
    ValueError,  # UnicodeDecodeError and json.JSONDecodeError too
    AttributeError,
    ArithmeticError,
    RecursionError,
    struct.error,
    msgspec.MsgspecError,
)
"""What reading an answer of an unexpected shape ends in."""


@contextmanager
def reading(name: str) -> Iterator[None]:
    """Make what a malformed answer breaks in the code that reads it an `EndpointError` of `name`."""
    try:
        yield
    except _UNREADABLE as error:
        raise EndpointError(
            f"{name} answered in a shape that cannot be read ({type(error).__name__})",
            "use another endpoint; if all do it, this software may be too old",
            kind=Answer.WRONG,
        ) from error


def shortened(words: str) -> str:
    """Return an endpoint's words on one line and at a bearable length."""
    line = " ".join(words.split())
    return line if len(line) <= MAX_WORDS else line[: MAX_WORDS - 1] + "…"
