"""Stellar against a stranger with contracts of his own: what the ledger did, the port reports as it was."""

from __future__ import annotations

import os
from collections import Counter

import pytest

from tests.conformance.hostile.stellar_world import StellarWorld
from tests.unit.stellar.soroban.chain import running

SPENDS = int(os.environ.get("SPENDS", "10000"))
SEED = int(os.environ.get("SEED", "1"))
WAYS = {"direct", "run", "nest", "lax", "undo", "kept", "fire", "again", "born", "shout", "starved failed"}
FORMS = {"plain", "fee bump", "archived", "claim", "claim_for", "refund", "refund_coop", "twice failed"}


A_LEDGER = 400
"""Spends on one ledger: then a new one begins, for histories are read whole."""


async def run(spends: int, part: int = 0) -> StellarWorld:
    async with running() as chain:
        world = await StellarWorld(chain, f"{SEED}/{part}").start()
        try:
            while world.spends < spends:
                await world.round()
        finally:
            await world.close()
        return world


async def test_spends_are_reported_as_they_were() -> None:
    world = await run(20)
    assert set(world.ways) >= WAYS, world.ways


@pytest.mark.long
async def test_ten_thousand_spends_are_reported_as_they_were() -> None:
    ways: Counter[str] = Counter()
    spends = parts = 0
    while spends < SPENDS:
        world = await run(min(A_LEDGER, SPENDS - spends), parts)
        spends, parts = spends + world.spends, parts + 1
        ways += world.ways
    print(f"stellar, seed {SEED}: {spends} spends on {parts} ledgers, ways {dict(ways)}")
    assert set(ways) >= WAYS | FORMS, ways
