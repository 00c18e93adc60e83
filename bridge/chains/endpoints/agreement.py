"""What two endpoints say to one question, where money depends on the answer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Generic, TypeAlias, TypeVar

AnswerT = TypeVar("AnswerT")


@dataclass(frozen=True)
class Agreed(Generic[AnswerT]):
    """`answer` is what two endpoints say, or the only one that is configured (`endpoints` 1)."""

    answer: AnswerT
    endpoints: int


@dataclass(frozen=True)
class NotAgreed:
    """Two endpoints say different things, or of several only one has answered: nothing may be concluded.

    `reason` says which, for people.
    """

    reason: str


Agreement: TypeAlias = Agreed[AnswerT] | NotAgreed
