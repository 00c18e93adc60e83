"""The `rainbow` command.

Exit codes: 0 done · 1 refused or failed · 2 wrong usage · 3 configuration or keys · 4 something does not
answer · 5 going on could cost money.
"""

from __future__ import annotations

import sys
from importlib.metadata import version as installed_version

import typer

from bridge.commands import check, database, init, serve, swap
from bridge.commands.output import Json, speaking
from bridge.demo.command import demo
from chain.cli import app as chain_app

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Atomic swaps between ZION and other chains: the service, relayers, the node, your own swaps.",
    epilog="Exit codes: 0 done · 1 refused or failed · 2 wrong usage · 3 configuration or keys · "
    "4 something does not answer · 5 going on could cost money.",
)

app.command()(demo)
app.command()(init.init)
app.command()(check.check)
app.command()(serve.api)
app.command()(serve.relayer)
app.command()(serve.up)
app.command()(swap.quote)
app.add_typer(swap.app, name="swap")
app.add_typer(database.app, name="db")
# node, mine and wallet: the chain knows nothing of the bridge, so its commands are mounted, not called.
app.registered_commands += chain_app.registered_commands
app.registered_groups += chain_app.registered_groups


@app.command()
def version(as_json: Json = False) -> None:
    """Print the version."""
    with speaking(as_json) as output:
        number = installed_version("rainbow-bridge")
        python = ".".join(str(part) for part in sys.version_info[:3])
        output.result({"version": number, "python": python}, f"rainbow {number} (Python {python})")


def main() -> None:
    """Run the command line."""
    app()


if __name__ == "__main__":
    main()
