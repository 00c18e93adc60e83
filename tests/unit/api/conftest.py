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
from bridge.api.services import Services, build
from bridge.desk.prices import StaticPrices
from bridge.desk.quotes import QuoteSigner
from bridge.keys.keystore import devnet_key
from bridge.store import Store
from relayers.fake.adapter import FakePort
from relayers.fake.chain import FakeChain
from tests import instances
from tests.unit.api.play import Clock, base_settings, put_status

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
    with store.transaction() as tx:
        for chain in (instances.ETHEREUM, instances.ZION):
            put_status(tx, chain, clock)
    assets = settings.assets_by_key()
    ports = {
        instances.ETHEREUM: FakePort(FakeChain(instances.ETHEREUM, assets["ethereum:ETH"]), "bridge"),
        instances.ZION: FakePort(FakeChain(instances.ZION, assets["zion:ZION"]), "bridge"),
    }
    return build(
        settings,
        store,
        prices=StaticPrices(settings.prices.static, clock.seconds),
        signer=QuoteSigner(devnet_key("quotes/signer")),
        ports=ports,
    )


@pytest.fixture
def app(services: Services) -> FastAPI:
    return create_app(services)


@pytest.fixture
def client(app: FastAPI) -> Iterator[TestClient]:
    with TestClient(app, raise_server_exceptions=False) as opened:
        yield opened
