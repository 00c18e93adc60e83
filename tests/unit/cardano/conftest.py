"""One ledger for the session; every test begins with the same chain."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.unit.cardano.world import World


@pytest.fixture(scope="session")
def shared_world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    made = World(tmp_path_factory.mktemp("cardano"))
    yield made
    made.stop()


@pytest.fixture
def world(shared_world: World) -> World:
    shared_world.again()
    return shared_world
