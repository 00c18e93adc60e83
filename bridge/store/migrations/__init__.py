"""Alembic migrations, run from inside the program: nobody has to call a tool.

A new one: change `tables.py`, then `alembic.command.revision` with `config()` and autogenerate on; the
test `migrations build exactly the tables` says whether it is complete.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Engine, text

from bridge.store.errors import StoreError

_MIGRATION_LOCK = 0x4D494752
"""Key of the PostgreSQL advisory lock under which migrations run ("MIGR")."""


def config() -> Config:
    """Return the Alembic configuration, without any file."""
    made = Config()
    made.set_main_option("script_location", str(Path(__file__).parent).replace("%", "%%"))
    return made


@cache
def newest() -> str:
    """Return the newest revision."""
    head = ScriptDirectory.from_config(config()).get_current_head()
    assert head is not None  # noqa: S101 -- the package always ships one
    return head


def _current(connection: Connection) -> str | None:
    return MigrationContext.configure(connection).get_current_revision()


def _refuse_newer(revision: str | None) -> None:
    if revision is None:
        return
    known = {script.revision for script in ScriptDirectory.from_config(config()).walk_revisions()}
    if revision not in known:
        raise StoreError(
            f"the database is at revision {revision}, which this program does not know",
            "it was used by a newer version: upgrade the program",
        )


def upgrade(engine: Engine) -> None:
    """Bring the database to the newest revision; several processes may start at once."""
    target = newest()
    with engine.connect() as connection:
        if _current(connection) == target:
            return
    with engine.connect() as opened:
        connection = opened.execution_options(rainbow_write=True)
        with connection.begin():
            if engine.dialect.name == "postgresql":
                connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _MIGRATION_LOCK})
            _refuse_newer(_current(connection))
            made = config()
            made.attributes["connection"] = connection
            command.upgrade(made, "head")


def require_current(engine: Engine) -> None:
    """Raise `StoreError` unless the database is at the newest revision."""
    with engine.connect() as connection:
        revision = _current(connection)
    if revision != newest():
        raise StoreError(
            f"the database is at revision {revision}, the program needs {newest()}",
            "open it once with migrations allowed",
        )
