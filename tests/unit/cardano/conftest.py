"""One ledger for the session; every test begins with the same chain."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator

import pytest
import pytest_asyncio

from bridge.keys.devkeys import devnet_key
from relayers.cardano.adapter import CardanoPort, open_port
from relayers.cardano.devnet import CardanoDevnet
from relayers.cardano.settings import CardanoSettings
from tests.unit.cardano.world import CardanoWorld


@pytest.fixture(scope="session")
def shared_world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CardanoWorld]:
    made = CardanoWorld(tmp_path_factory.mktemp("cardano"))
    yield made
    made.stop()


@pytest.fixture
def world(shared_world: CardanoWorld) -> CardanoWorld:
    shared_world.again()
    return shared_world


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def devnet(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[CardanoDevnet]:
    """One server for the session; every test brings accounts of its own."""
    made = await CardanoDevnet(tmp_path_factory.mktemp("devnet")).start()
    yield made
    await made.stop()


Opener = Callable[[CardanoSettings, str], CardanoPort]
"""Opens the port of a named account; it is closed when the test ends."""


@pytest_asyncio.fixture(loop_scope="session")
async def opened() -> AsyncIterator[Opener]:
    ports: list[CardanoPort] = []

    def open_named(settings: CardanoSettings, name: str) -> CardanoPort:
        ports.append(open_port(settings, devnet_key(name)))
        return ports[-1]

    yield open_named
    for port in ports:
        await port.close()
