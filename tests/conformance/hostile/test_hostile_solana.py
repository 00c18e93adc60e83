"""Solana against a stranger who knows its grammar: what the ledger accepts, the port reports as it was."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from relayers.solana.devnet.node import SolanaNode
from tests.conformance.hostile.solana_world import SolanaWorld, proxy_code

SPENDS = int(os.environ.get("SPENDS", "10000"))
SEED = int(os.environ.get("SEED", "1"))
FORMS = {"legacy", "v0", "tables", "v1", "failed", "not recorded"}
WAYS = {f"{kind} at depth {depth}" for kind in ("claim", "refund") for depth in range(4)}


@pytest_asyncio.fixture(loop_scope="session")
async def node() -> AsyncIterator[SolanaNode]:
    made = await SolanaNode().start()
    yield made
    await made.stop()


async def run(node: SolanaNode, scratch: Path, spends: int) -> SolanaWorld:
    world = await SolanaWorld(node, proxy_code(scratch), SEED).start()
    try:
        while world.spends < spends:
            await world.round()
    finally:
        await world.close()
    return world


async def test_spends_are_reported_as_they_were(node: SolanaNode, tmp_path: Path) -> None:
    world = await run(node, tmp_path, 150)
    assert set(world.ways) >= FORMS | WAYS, world.ways


@pytest.mark.long
async def test_ten_thousand_spends_are_reported_as_they_were(node: SolanaNode, tmp_path: Path) -> None:
    world = await run(node, tmp_path, SPENDS)
    print(f"solana, seed {SEED}: {world.spends} spends, ways {dict(world.ways)}")
    assert set(world.ways) >= FORMS | WAYS, world.ways
