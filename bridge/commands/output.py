"""How commands speak: text for people or JSON for programs, errors with a hint, and exit codes.

Exit codes: 0 done · 1 refused or failed · 2 wrong usage · 3 configuration or keys · 4 something does not
answer · 5 going on could cost money.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from enum import IntEnum
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from kernels.errors import RainbowError

if TYPE_CHECKING:
    from rich.console import Console


class Exit(IntEnum):
    """The exit codes, see the module."""

    DONE = 0
    FAILED = 1
    USAGE = 2
    CONFIG = 3
    UNREACHABLE = 4
    UNSAFE = 5


class WrongUsageError(RainbowError):
    """The command cannot be carried out as it was given."""

    exit_code = Exit.USAGE


Json = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]
ConfigFile = Annotated[
    Path | None,
    typer.Option("--config", "-c", help="The configuration file (default: $RAINBOW_CONFIG, ./rainbow.toml)."),
]


class Output:
    """Where a command's result goes."""

    def __init__(self, as_json: bool) -> None:
        self.as_json = as_json

    @cached_property
    def console(self) -> Console:
        """The terminal. rich is imported only when something is shown there."""
        return _console()

    def result(self, value: Any, *lines: Any) -> None:
        """Show a result: `value` as JSON, or the lines (text or rich renderables) for people."""
        if self.as_json:
            sys.stdout.write(json.dumps(value, default=str) + "\n")
            sys.stdout.flush()
            return
        for line in lines:
            self.console.print(line)

    def note(self, text: str) -> None:
        """Show something for people only; programs do not see it."""
        if not self.as_json:
            self.console.print(text)

    def failure(
        self, code: int, message: str, hint: str = "", problems: Sequence[str] = (), **more: Any
    ) -> None:
        """Show an error on standard error; `problems` are its parts, one line each."""
        if self.as_json:
            body = {"message": message, "hint": hint, "exit_code": int(code), **more}
            if problems:
                body["problems"] = list(problems)
            sys.stderr.write(json.dumps({"error": body}, default=str) + "\n")
            return
        errors = _console(stderr=True)
        errors.print(f"[bold red]error:[/] {plain(message)}")
        for line in problems:
            errors.print(f"  • {plain(line)}")
        if hint:
            errors.print(f"[bold]hint:[/] {plain(hint)}")


def _console(*, stderr: bool = False) -> Console:
    from rich.console import Console

    # Without emoji: their table alone takes 30 ms to import, and a ":name:" in an id is not one.
    return Console(stderr=stderr, highlight=False, soft_wrap=True, emoji=False)


def aligned(rows: Iterable[tuple[str, str]]) -> str:
    """Lay labels and values out in two columns. Unlike a table it never breaks a value, however narrow the
    terminal is: amounts and ids can be copied whole."""
    lines = list(rows)
    width = max((len(label) for label, _ in lines), default=0)
    return "\n".join(f"{label:<{width}}  {value}" for label, value in lines)


def plain(text: str) -> str:
    """Keep square brackets from being read as markup."""
    return text.replace("[", "\\[")


@contextmanager
def speaking(as_json: bool) -> Iterator[Output]:
    """Run a command's body. Here alone errors of ours become a message with a hint and an exit code."""
    output = Output(as_json)
    try:
        yield output
    except KeyboardInterrupt:
        raise typer.Exit(130) from None
    except RainbowError as error:
        _show(output, error)
        raise typer.Exit(int(error.exit_code)) from None


def _show(output: Output, error: RainbowError) -> None:
    """Show an error of ours. Some have more to say: `headline` above their `problems`, and `problem_type`."""
    problem_type = getattr(error, "problem_type", "")
    output.failure(
        error.exit_code,
        getattr(error, "headline", error.message),
        error.hint,
        getattr(error, "problems", ()),
        **({"type": problem_type} if problem_type else {}),
    )
