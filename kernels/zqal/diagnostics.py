"""What the compiler says about a program: where, what is wrong, and what to write instead."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from kernels.errors import KernelError


@dataclass(frozen=True)
class Source:
    """A source text and the name that messages show for it."""

    name: str
    text: str = field(repr=False)


@dataclass(frozen=True)
class Place:
    """A stretch of one line of a source; lines and columns count from 1, `end` is the column behind it."""

    source: Source
    line: int
    column: int
    end: int


@dataclass(frozen=True)
class Diagnostic:
    """One fault: the place, the cause in one sentence, and help when the compiler knows any."""

    place: Place
    message: str
    help: str = ""

    def __str__(self) -> str:
        place = self.place
        lines = place.source.text.splitlines() or [""]
        text = lines[min(place.line, len(lines)) - 1]
        marks = "^" * max(1, min(place.end, len(text) + 1) - place.column)
        shown = [
            f"error: {self.message}",
            f"  --> {place.source.name}:{place.line}:{place.column}",
            "    |",
            f"{place.line:>3} | {text}",
            f"    | {' ' * (place.column - 1)}{marks}",
        ]
        if self.help:
            shown.append(f"    = help: {self.help}")
        return "\n".join(shown)


class ZqalError(KernelError):
    """A program that the compiler refuses; `diagnostics` has every fault that was found."""

    def __init__(self, diagnostics: Iterable[Diagnostic]) -> None:
        self.diagnostics = tuple(diagnostics)
        super().__init__("\n\n".join(map(str, self.diagnostics)))


class FaultError(KernelError):
    """Carries one fault up to the statement or item that contains it, where checking goes on."""

    def __init__(self, place: Place, message: str, help: str = "") -> None:  # noqa: A002 - the reader's word
        super().__init__(message)
        self.diagnostic = Diagnostic(place, message, help)
