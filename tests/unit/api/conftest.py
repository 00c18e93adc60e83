"""The real application on SQLite, over pure adapters; chains are played by writing what relayers would."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI
from starlette.testclient import TestClient

from bridge import config
from bridge.api.app import create_app
from bridge.api.services import Services
from bridge.store import Store
from tests.unit.api import play
from tests.unit.api.play import Clock, ReadyBuilder, base_settings, healthy_chains, services_for

SECRETS_KEY = bytes(range(32))


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def overrides() -> dict[str, Any]:
    """Parametrise to change the configuration, e.g. {"swaps": {"quote_ttl": 5}}."""
    return {}


@pytest.fixture
def settings(tmp_path: Path, overrides: dict[str, Any]) -> config.Settings:
    return base_settings(tmp_path, overrides)


@pytest.fixture
def store(tmp_path: Path, clock: Clock) -> Iterator[Store]:
    opened = Store.open(f"sqlite:///{tmp_path}/bridge.db", secrets_key=SECRETS_KEY, clock=clock)
    yield opened
    opened.close()


@pytest.fixture
def services(settings: config.Settings, store: Store, clock: Clock) -> Services:
    healthy_chains(store, clock)
    return services_for(settings, store, clock)


@pytest.fixture
def app(services: Services) -> FastAPI:
    return create_app(services)


@pytest.fixture
def client(app: FastAPI) -> Iterator[TestClient]:
    with TestClient(app, raise_server_exceptions=False) as opened:
        yield opened


@pytest.fixture
def locked(client: TestClient, store: Store) -> dict[str, Any]:
    """A swap quoted as `gasless`, both of whose locks are final."""
    swap = play.place(client, gasless=True)
    play.lock_both(store, swap["id"])
    return swap


@pytest.fixture
def builder(services: Services) -> ReadyBuilder:
    made = ReadyBuilder()
    for chain in services.ports:
        services.paperwork._builders[chain] = made  # type: ignore[index]
    return made
