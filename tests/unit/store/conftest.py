"""Every store test runs on SQLite; those that name `any_store` also run on a real PostgreSQL."""

from __future__ import annotations

import itertools
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from bridge.store import Store

KEY = bytes(range(32))


class Clock:
    """A clock in Unix milliseconds that tests move by hand."""

    def __init__(self) -> None:
        self.now_ms = 1_800_000_000_000

    def __call__(self) -> int:
        return self.now_ms


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def store(tmp_path: Path, clock: Clock) -> Iterator[Store]:
    opened = Store.open(f"sqlite:///{tmp_path}/bridge.db", secrets_key=KEY, clock=clock)
    yield opened
    opened.close()


@pytest.fixture(scope="session")
def postgres_urls(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[], str]]:
    """Makes fresh databases on one real server (from PyPI's `pgserver`)."""
    import pgserver

    data = tmp_path_factory.mktemp("postgres")
    server = pgserver.get_server(data, cleanup_mode="stop")
    numbers = itertools.count()

    def fresh() -> str:
        name = f"bridge{next(numbers)}"
        server.psql(f"CREATE DATABASE {name}")
        return str(server.get_uri(database=name))

    yield fresh
    server.cleanup()
    shutil.rmtree(data, ignore_errors=True)


@pytest.fixture(params=["sqlite", "postgres"])
def any_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/bridge.db"
    return str(request.getfixturevalue("postgres_urls")())


@pytest.fixture
def any_store(any_url: str, clock: Clock) -> Iterator[Store]:
    opened = Store.open(any_url, secrets_key=KEY, clock=clock)
    yield opened
    opened.close()
