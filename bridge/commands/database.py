"""`rainbow db`: the database's schema."""

from __future__ import annotations

import typer

from bridge.commands.output import ConfigFile, Json, speaking
from bridge.commands.runtime import load_settings

app = typer.Typer(no_args_is_help=True, help="The database.")


@app.callback()
def database() -> None:
    """Work on the database."""


@app.command()
def upgrade(config: ConfigFile = None, as_json: Json = False) -> None:
    """Create the tables, or bring an older database up to date. Servers do so by themselves, too."""
    from bridge.store import Store

    with speaking(as_json) as output:
        settings = load_settings(config)
        settings.data_dir.mkdir(parents=True, exist_ok=True)
        Store.open(settings.database_url(), migrate=True).close()
        output.result({"up_to_date": True}, "the database is up to date")
