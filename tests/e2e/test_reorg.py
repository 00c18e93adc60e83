"""Three blocks vanish from a real chain, and the user's lock with them, before it was final."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from rich.console import Console

from bridge.demo.board import Board
from bridge.demo.people import Person
from bridge.demo.plans import Plan
from bridge.demo.site import Site
from bridge.protocol.types import ChainId, LegState
from bridge.wire.swaps import SwapView
from relayers.evm.settings import ETH
from relayers.zion.settings import ZION
from tests import instances

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(240)]

REORG_DEPTH = 3
DEEP_FINALITY = 12
"""Confirmations wanted here, so that three blocks can vanish well before the lock is final."""


class PatientSite(Site):
    """A site that waits longer for finality, so that there is a time before it."""

    def configuration(self) -> str:
        text = super().configuration()
        for depth in ("finality_base = 3", "finality_cap = 3", "finality_cap = 6"):
            name = depth.partition(" =")[0]
            text = text.replace(depth, f"{name} = {DEEP_FINALITY}")
        return text


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def site(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Site]:
    site = PatientSite(tmp_path_factory.mktemp("site"), (instances.ETHEREUM, instances.ZION))
    try:
        site.configure()
        await site.start_chains()
        await site.start_bridge()
        yield site
    finally:
        await site.stop()


async def view_when(person: Person, state: LegState, patience: float = 60) -> SwapView:
    assert person.swap is not None
    async with asyncio.timeout(patience):
        while True:
            view = await person.swap.status()
            if view.source.state is state:
                return view
            await asyncio.sleep(0.1)


@pytest.mark.long
@pytest.mark.parametrize("chain", [instances.ETHEREUM, instances.ZION])
async def test_a_lock_that_a_reorg_removed_before_finality_is_not_answered(
    site: Site, chain: ChainId
) -> None:
    route = (ETH, ZION, 10**17) if chain == instances.ETHEREUM else (ZION, ETH, 50 * 10**8)
    plan = Plan(f"frank-{chain}", *route, walks_away=True)
    person = Person(site, plan, Board(Console(), silent=True), patience=60)
    try:
        await person.fund()
        locking = asyncio.create_task(person.lock())
        async with asyncio.timeout(60):
            while person.swap is None or not person.swap.id or "lock" not in person.swap.record.sent:
                await asyncio.sleep(0.1)
        seen = await view_when(person, LegState.SEEN)
        locking.cancel()  # it would send the lock again
        assert seen.destination.state is LegState.NONE, "the bridge waits for finality"

        await site.devnet(chain).reorg(REORG_DEPTH, drop=[person.swap.record.sent["lock"].tx_id])

        gone = await view_when(person, LegState.NONE)
        assert gone.destination.state is LegState.NONE
        # Longer than finality would have taken: the bridge must not act on what it once saw.
        await asyncio.sleep(DEEP_FINALITY + REORG_DEPTH)
        later = await person.swap.status()
        assert later.source.state is LegState.NONE
        assert later.destination.state is LegState.NONE, "no counter-lock was sent"
        assert later.destination.lock_tx == ""

        # The user's money never left; the same lock sent again is answered as if nothing had been.
        await person.swap.lock(person.wallets[chain])
        again = await view_when(person, LegState.FINAL)
        assert again.source.lock_tx == person.swap.record.sent["lock"].tx_id
    finally:
        await person.close()
