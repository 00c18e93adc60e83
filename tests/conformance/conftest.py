"""One devnet per chain for the whole session; each test brings accounts of its own."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from pytest_asyncio import is_async_test

from bridge.protocol.types import ChainId
from tests.conformance.cardano_rig import CardanoRig, OwnNodeRig
from tests.conformance.ethereum_rig import EthereumRig
from tests.conformance.fake_rig import FakeRig
from tests.conformance.rig import Rig, Scene
from tests.conformance.solana_rig import SolanaRig
from tests.conformance.stellar_rig import StellarRig
from tests.conformance.zion_rig import ZionRig

INSTALLED = {point.name: point for point in entry_points(group="rainbow.conformance")}
"""The rigs that other distributions offer: each makes one in the directory it is given."""
CHAINS = ("fake", "zion", "ethereum", "solana", "stellar", "cardano", "cardano_own_node", *sorted(INSTALLED))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if "conformance" in item.path.parts and is_async_test(item):
            item.add_marker(pytest.mark.asyncio(loop_scope="session"), append=False)


class Rigs:
    """The session's devnets, each started when it is first asked for."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._running: dict[str, Any] = {}

    async def get(self, name: str) -> Any:
        if name not in self._running:
            directory = self._directory / name
            makers: dict[str, Callable[[], Any]] = {
                "fake": FakeRig,
                "zion": lambda: ZionRig(directory),
                "ethereum": lambda: EthereumRig(directory),
                "polygon": lambda: EthereumRig(directory, ChainId("polygon"), 31338, coin="POL"),
                "solana": lambda: SolanaRig(directory),
                "cardano": lambda: CardanoRig(directory),
                "cardano_own_node": lambda: OwnNodeRig(directory),
                "stellar": lambda: StellarRig(directory),
            }
            if name in INSTALLED:
                makers[name] = lambda: INSTALLED[name].load()(directory)
            made = self._running[name] = makers[name]()
            await made.start()
        return self._running[name]

    async def stop(self) -> None:
        for rig in self._running.values():
            await rig.stop()


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def rigs(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Rigs]:
    made = Rigs(tmp_path_factory.mktemp("rigs"))
    yield made
    await made.stop()


@pytest_asyncio.fixture(scope="session", loop_scope="session", params=CHAINS)
async def rig(request: pytest.FixtureRequest, rigs: Rigs) -> Rig:
    made: Rig = await rigs.get(request.param)
    return made


@pytest_asyncio.fixture(loop_scope="session")
async def scene(rig: Rig, request: pytest.FixtureRequest) -> Scene:
    return Scene(rig, request.node.name)
