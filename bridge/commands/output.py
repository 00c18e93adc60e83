"""How commands speak: text for people or JSON for programs, errors with a hint, and exit codes.

Exit codes: 0 done · 1 refused or failed · 2 wrong usage · 3 configuration or keys · 4 something does not
answer · 5 going on could cost money.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from enum import IntEnum
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console


class Exit(IntEnum):
    """The exit codes, see the module."""

    DONE = 0
    FAILED = 1
    USAGE = 2
    CONFIG = 3
    UNREACHABLE = 4
    UNSAFE = 5


Json = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]
ConfigFile = Annotated[
    Path | None,
    typer.Option("--config", "-c", help="The configuration file (default: $RAINBOW_CONFIG, ./rainbow.toml)."),
]


class Output:
    """Where a command's result goes."""

    def __init__(self, as_json: bool) -> None:
        self.as_json = as_json
        self.console = Console(highlight=False, soft_wrap=True)

    def result(self, value: Any, *lines: Any) -> None:
        """Show a result: `value` as JSON, or the lines (text or rich renderables) for people."""
        if self.as_json:
            sys.stdout.write(json.dumps(value, default=str) + "\n")
            sys.stdout.flush()
            return
        for line in lines:
            self.console.print(line)

    def note(self, text: str) -> None:
        """Tell people something by the way; programs do not see it."""
        if not self.as_json:
            self.console.print(text)

    def failure(self, code: Exit, message: str, hint: str = "", **more: Any) -> None:
        """Show an error on standard error."""
        if self.as_json:
            body = {"error": {"message": message, "hint": hint, "exit_code": int(code), **more}}
            sys.stderr.write(json.dumps(body, default=str) + "\n")
            return
        errors = Console(stderr=True, highlight=False, soft_wrap=True)
        errors.print(f"[bold red]error:[/] {plain(message)}")
        for line in more.get("problems", ()):
            errors.print(f"  • {plain(str(line))}")
        if hint:
            errors.print(f"[bold]hint:[/] {plain(hint)}")


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
    """Run a command's body: our errors become a message with a hint and an exit code."""
    output = Output(as_json)
    try:
        yield output
    except KeyboardInterrupt:
        raise typer.Exit(130) from None
    except Exception as error:
        code = _explained(output, error)
        if code is None:
            raise
        raise typer.Exit(int(code)) from None


def _explained(output: Output, error: Exception) -> Exit | None:
    """Show one of our errors and return its exit code; None for what is not ours.

    The imports are here so that commands which never fail that way start without them.
    """
    from bridge.api.client import BridgeProblem, BridgeUnreachable
    from bridge.api.recovery import RecoveryError
    from bridge.api.userswap import Unsafe
    from bridge.config import ConfigError
    from bridge.store import StoreError
    from relayers.keystore import KeystoreError
    from relayers.port import PortError, PortUnavailable

    if isinstance(error, ConfigError):
        output.failure(Exit.CONFIG, "the configuration cannot be used", error.hint, problems=error.problems)
        return Exit.CONFIG
    if isinstance(error, BridgeProblem):
        output.failure(Exit.FAILED, str(error), error.hint, type=error.problem.type)
        return Exit.FAILED
    codes: tuple[tuple[type[Exception] | tuple[type[Exception], ...], Exit], ...] = (
        (KeystoreError, Exit.CONFIG),
        (Unsafe, Exit.UNSAFE),
        ((BridgeUnreachable, PortUnavailable), Exit.UNREACHABLE),
        ((StoreError, PortError, RecoveryError), Exit.FAILED),
    )
    for kinds, code in codes:
        if isinstance(error, kinds):
            output.failure(code, str(error), getattr(error, "hint", ""))
            return code
    return None
