"""Every store test runs on SQLite; those that name `any_store` also run on a real PostgreSQL."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from bridge.store import Store
from tests.postgres import postgres_urls

__all__ = ["postgres_urls"]

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
