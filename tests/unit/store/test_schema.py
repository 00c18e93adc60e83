"""The migrations build exactly the tables, on both databases."""

from __future__ import annotations

from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Engine, create_engine, text

from bridge.store import Store, StoreError, migrations
from bridge.store.tables import metadata


def _engine(url: str) -> Engine:
    return create_engine(url.replace("postgresql:", "postgresql+psycopg:"))


def test_the_migrations_build_exactly_the_tables(any_url: str) -> None:
    Store.open(any_url).close()
    engine = _engine(any_url)
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, metadata) == []
    engine.dispose()


def test_opening_a_current_database_again_changes_nothing(any_url: str) -> None:
    for _ in range(2):
        Store.open(any_url).close()
    Store.open(any_url, migrate=False).close()


def test_a_database_of_a_newer_program_is_refused(any_url: str) -> None:
    Store.open(any_url).close()
    engine = _engine(any_url)
    with engine.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    engine.dispose()
    with pytest.raises(StoreError, match="does not know") as caught:
        Store.open(any_url)
    assert "upgrade" in caught.value.hint


def test_a_fresh_database_is_refused_when_migrations_are_not_allowed(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="needs"):
        Store.open(f"sqlite:///{tmp_path}/fresh.db", migrate=False)


@pytest.mark.parametrize(
    "url", ["sqlite://", "mysql://host/name", "nonsense", "sqlite:////nowhere/at/all.db"]
)
def test_a_url_that_cannot_serve_is_refused_with_a_hint(url: str) -> None:
    with pytest.raises(StoreError) as caught:
        Store.open(url)
    assert caught.value.hint


def test_the_newest_revision_is_known() -> None:
    assert migrations.newest()


def test_sqlite_runs_in_wal_mode_and_syncs_every_commit(store: Store) -> None:
    with store._engine.connect() as connection:
        assert connection.exec_driver_sql("PRAGMA journal_mode").scalar() == "wal"
        assert connection.exec_driver_sql("PRAGMA synchronous").scalar() == 2
