"""The EVM against a stranger who knows its grammar: what the ledger accepts, the port reports as it was."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from tests.conformance.conftest import Rigs
from tests.conformance.ethereum_rig import EthereumRig
from tests.conformance.hostile.evm_world import World

SPENDS = int(os.environ.get("SPENDS", "10000"))
SEED = int(os.environ.get("SEED", "1"))


@pytest_asyncio.fixture(loop_scope="session", scope="session")
async def rig(rigs: Rigs) -> EthereumRig:
    made: EthereumRig = await rigs.get("ethereum")
    return made


@pytest_asyncio.fixture(loop_scope="session")
async def own_rig(tmp_path: Path) -> AsyncIterator[EthereumRig]:
    made = EthereumRig(tmp_path, persist=False)  # writing its state every second takes most of the time
    await made.start()
    yield made
    await made.stop()


async def test_spends_are_reported_as_they_were(rig: EthereumRig) -> None:
    world = await World(rig, SEED).start()
    try:
        while world.spends < 100:
            await world.round()
    finally:
        await world.close()
    assert len(world.ways.used) >= 8, world.ways.used


@pytest.mark.long
async def test_ten_thousand_spends_are_reported_as_they_were(own_rig: EthereumRig) -> None:
    world = await World(own_rig, SEED).start()
    try:
        while world.spends < SPENDS:
            await world.round()
    finally:
        await world.close()
        print(f"evm, seed {SEED}: {world.spends} spends, ways {world.ways.used}")
    assert set(world.ways.used) == {"run", "nest", "lax", "lax nest", "direct", "borrow", "born", "undo"}
