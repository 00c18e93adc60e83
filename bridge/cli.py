"""The `rainbow` command.

Each command's module is imported when the command is used: a relayer of one chain neither waits for nor
depends on the libraries of the others.

Exit codes: 0 done · 1 refused or failed · 2 wrong usage · 3 configuration or keys · 4 something does not
answer · 5 going on could cost money.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Any

import typer
from typer.core import TyperGroup
from typer.main import get_command

_COMMANDS = {
    "demo": "bridge.demo.command:demo",
    "init": "bridge.commands.init:init",
    "check": "bridge.commands.check:check",
    "up": "bridge.commands.serve:up",
    "api": "bridge.commands.serve:api",
    "relayer": "bridge.commands.serve:relayer",
    "quote": "bridge.commands.swap:quote",
    "swap": "bridge.commands.swap:app",
    "db": "bridge.commands.database:app",
    # The chain knows nothing of the bridge, so its commands are mounted, not called.
    "node": "chain.cli:node",
    "mine": "chain.cli:mine",
    "wallet": "chain.cli:wallet",
    "version": "bridge.commands.version:version",
}
"""Where each command is: a function, or a group of commands of its own."""


class _LazyGroup(TyperGroup):
    """Commands that are imported on first use."""

    def list_commands(self, ctx: Any) -> list[str]:  # noqa: ARG002 - click's signature
        """Return the names, in the order of the help."""
        return list(_COMMANDS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:  # noqa: ARG002 - click's signature
        """Import a command."""
        if cmd_name not in _COMMANDS:
            return None
        module, _, name = _COMMANDS[cmd_name].partition(":")
        found: typer.Typer | Callable[..., Any] = getattr(import_module(module), name)
        if not isinstance(found, typer.Typer):
            single = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
            single.command(cmd_name)(found)
            found = single
        command = get_command(found)
        command.name = cmd_name
        return command


app = typer.Typer(
    cls=_LazyGroup,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Atomic swaps between ZION and other chains: the service, relayers, the node, your own swaps.",
    epilog="Exit codes: 0 done · 1 refused or failed · 2 wrong usage · 3 configuration or keys · "
    "4 something does not answer · 5 going on could cost money.",
)


@app.callback()
def _rainbow() -> None:
    pass


def main() -> None:
    """Run the command line."""
    app()


if __name__ == "__main__":
    main()
