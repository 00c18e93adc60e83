"""Alembic migrations, run from inside the program: nobody has to call a tool.

Alembic itself is imported only when there is something to migrate: it takes a quarter of the time that a
process needs to start. A new one: change `tables.py`, then `alembic.command.revision` with `config()` and
autogenerate; the test `migrations build exactly the tables` says whether it is complete.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import Connection, Engine, inspect, text

from bridge.store.errors import StoreError

if TYPE_CHECKING:
    from alembic.config import Config

_MIGRATION_LOCK = 0x4D494752
"""Key of the PostgreSQL advisory lock under which migrations run ("MIGR")."""


def config() -> Config:
    """Return the Alembic configuration, without any file."""
    from alembic.config import Config

    made = Config()
    made.set_main_option("script_location", str(Path(__file__).parent).replace("%", "%%"))
    return made


@cache
def known() -> tuple[str, ...]:
    """Return all revisions, oldest first: the numbers that their files' names begin with."""
    return tuple(sorted(file.name[:4] for file in (Path(__file__).parent / "versions").glob("[0-9]*.py")))


def newest() -> str:
    """Return the newest revision."""
    return known()[-1]


def _current(connection: Connection) -> str | None:
    if not inspect(connection).has_table("alembic_version"):
        return None
    found: str | None = connection.execute(text("SELECT version_num FROM alembic_version")).scalar()
    return found


def _refuse_newer(revision: str | None) -> None:
    if revision is not None and revision not in known():
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
            from alembic import command

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
