"""A real PostgreSQL server (from PyPI's `pgserver`) for the tests that want one."""

from __future__ import annotations

import itertools
import shutil
from collections.abc import Callable, Iterator

import pytest


@pytest.fixture(scope="session")
def postgres_urls(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[], str]]:
    """Makes fresh databases on one server, which ends with the session."""
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
