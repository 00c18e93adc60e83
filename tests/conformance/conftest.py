"""One devnet per chain for the whole session; each test brings accounts of its own."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio
from pytest_asyncio import is_async_test

from tests.conformance.ethereum_rig import EthereumRig
from tests.conformance.fake_rig import FakeRig
from tests.conformance.rig import Rig, Scene
from tests.conformance.stellar_rig import StellarRig
from tests.conformance.zion_rig import ZionRig

CHAINS = ("fake", "zion", "ethereum", "stellar")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if "conformance" in item.path.parts and is_async_test(item):
            item.add_marker(pytest.mark.asyncio(loop_scope="session"), append=False)


@pytest_asyncio.fixture(scope="session", loop_scope="session", params=CHAINS)
async def rig(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Rig]:
    made: Any
    if request.param == "fake":
        made = FakeRig()
    elif request.param == "zion":
        made = await ZionRig(tmp_path_factory.mktemp(request.param)).start()
    elif request.param == "stellar":
        made = await StellarRig(tmp_path_factory.mktemp(request.param)).start()
    else:
        made = await EthereumRig(tmp_path_factory.mktemp(request.param)).start()
    yield made
    await made.stop()


@pytest_asyncio.fixture(loop_scope="session")
async def scene(rig: Rig, request: pytest.FixtureRequest) -> Scene:
    return Scene(rig, request.node.name)
