"""The `rainbow` command. Only the module of the subcommand at hand is imported: start-up stays quick.

Exit codes: 0 done · 1 refused or failed · 2 wrong usage · 3 configuration or keys · 4 something does not
answer · 5 going on could cost money.
"""

from __future__ import annotations

import difflib
import gc
import json
import os
import sys
from importlib import import_module
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

COMMANDS = {
    "demo": ("bridge.demo.command", "demo", "Swap real value between five local chains, thirty ways."),
    "init": ("bridge.commands.init", "init", "Write rainbow.toml and encrypted keystores."),
    "check": ("bridge.commands.check", "check", "Show what is reachable, funded and misconfigured."),
    "api": ("bridge.commands.serve", "api", "Serve the REST API."),
    "relayer": ("bridge.commands.relayer", "relayer", "Run one chain's relayer."),
    "up": ("bridge.commands.up", "up", "Run the API and all relayers."),
    "pairs": ("bridge.commands.quote", "pairs", "List the pairs that the bridge swaps."),
    "quote": ("bridge.commands.quote", "quote", "Ask the bridge for a price."),
    "swap": ("bridge.commands.swap", "app", "Your own swaps: start, status, claim, refund, recover."),
    "keys": ("bridge.commands.keys", "app", "Your own keys on every chain: new, list, import, export."),
    "verify": ("bridge.commands.verify", "verify", "Check the proof of a swap's outcome, offline."),
    "witness": ("bridge.commands.witness", "witness", "Watch a bridge's log: that nothing in it changes."),
    "rescue": ("bridge.commands.rescue", "rescue", "Find and end every open lock without a database."),
    "desk": ("bridge.commands.desk", "app", "What the desk holds and owes; its clients' credit."),
    "db": ("bridge.commands.database", "app", "The database's schema."),
    "devnet": ("bridge.commands.devnet", "devnet", "Run local chains with funded accounts."),
    "node": ("chain.cli", "node", "Run a ZION node."),
    "mine": ("chain.cli", "mine", "Mine ZION."),
    "wallet": ("chain.cli", "wallet", "A ZION wallet."),
    "zqal": ("bridge.commands.zqal", "app", "Programs in ZQAL: check, test, run, build."),
    "zion": ("chain.cli", "zion", "Look at a ZION node."),
}
"""Name → module, attribute (a command's function or a group's app), one line of help."""


class LazyGroup(TyperGroup):
    """Lists its subcommands from the table and imports only the one that is run."""

    def list_commands(self, ctx: Any) -> list[str]:
        """Return all names, the table's first."""
        return [*COMMANDS, *super().list_commands(ctx)]

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """Return a command; from the table a stand-in, which serves only the list of `--help`."""
        if cmd_name not in COMMANDS:
            return super().get_command(ctx, cmd_name)
        stand_in = typer.Typer(add_completion=False)
        stand_in.command(cmd_name, help=COMMANDS[cmd_name][2])(_nothing)
        return typer.main.get_command(stand_in)

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Import the command that is to be run."""
        if args and args[0] in COMMANDS:
            return args[0], load(args[0]), args[1:]
        names = self.list_commands(ctx)
        unknown = bool(args) and args[0] not in names and not args[0].startswith("-")
        close = difflib.get_close_matches(args[0], names, n=1) if unknown else []
        if close:
            ctx.fail(f"there is no command {args[0]!r}: did you mean {close[0]!r}?")
        return super().resolve_command(ctx, args)


def load(name: str) -> Any:
    """Return the real command of a name in the table."""
    module, attribute, _ = COMMANDS[name]
    found = getattr(import_module(module), attribute)
    if not isinstance(found, typer.Typer):
        function, found = found, typer.Typer(add_completion=False, pretty_exceptions_enable=False)
        found.command(name)(function)
    found._add_completion = False  # of the whole program or of nothing
    command = typer.main.get_command(found)
    command.name = name
    return command


def _nothing() -> None:
    """Stands in for a command that was not imported."""


app = typer.Typer(
    cls=LazyGroup,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Atomic swaps between ZION and other chains: the service, relayers, the node, your own swaps.",
    epilog="Exit codes: 0 done · 1 refused or failed · 2 wrong usage · 3 configuration or keys · "
    "4 something does not answer · 5 going on could cost money.",
)


@app.callback()
def rainbow() -> None:
    """Keep this a group."""


@app.command()
def version(
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for programs.")] = False,
) -> None:
    """Print the version."""
    from importlib.metadata import version as installed_version

    number = installed_version("rainbow-bridge")
    python = ".".join(str(part) for part in sys.version_info[:3])
    if as_json:
        typer.echo(json.dumps({"version": number, "python": python}))
    else:
        typer.echo(f"rainbow {number} (Python {python})")


def main() -> None:
    """Run the command line."""
    # Start-up makes many objects that stay: looking through them for garbage took an eighth of it.
    gc.set_threshold(20_000, 20, 20)
    # typer brings pydantic, which looks through all installed distributions for plugins of its own.
    os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "1")
    app()


if __name__ == "__main__":
    main()
