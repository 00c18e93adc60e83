"""Without a database and without a journal: every open leg is found on chain and ended."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from bridge.commands.rescue import send_all
from bridge.engine.rescue import Leg, Step, judge, look_through
from bridge.protocol.types import BlockHeight, ChainId, LegState, LockId, Preimage
from relayers.fake import FakeWallet
from relayers.fake.ledger import LedgerLockState
from tests import instances
from tests.scenario.world import BridgeWorld


class Silent:
    """Takes notes of nobody's."""

    def note(self, text: str) -> None:
        pass


async def _legs(
    world: BridgeWorld, preimages: tuple[Preimage, ...] = ()
) -> tuple[dict[tuple[ChainId, bool], Leg], dict[bytes, Preimage]]:
    found = {chain: await look_through(port, BlockHeight(0), 7) for chain, port in world.ports.items()}
    legs, known = judge(found, preimages)
    return {(leg.chain, leg.lock.ours): leg for leg in legs}, known


async def _send(world: BridgeWorld, legs: Any, known: Any) -> dict[str, str]:
    output: Any = Silent()
    return await send_all(world.ports, list(legs.values()), known, world.folder / "rescue", output)


def _stored(folder: Path) -> int:
    return len(list((folder / "rescue").glob("*.json")))


async def test_a_secret_shown_on_one_chain_claims_the_other(world: BridgeWorld) -> None:
    world.swap()
    await world.until(lambda: world.get().destination.state is LegState.FINAL)
    swap = world.users["swap1"].swap
    for _ in range(3):
        world.mine()
        world.users["swap1"].act()
    legs, known = await _legs(world)
    assert [(key, leg.step) for key, leg in legs.items()] == [((instances.ETHEREUM, False), Step.CLAIM)]
    sent = await _send(world, legs, known)
    assert all(outcome.startswith("accepted") for outcome in sent.values())
    assert _stored(world.folder) == 1
    world.mine()
    assert world.lock_state(swap.source) is LedgerLockState.CLAIMED
    assert (await _legs(world))[0] == {}
    await world.until(world.is_over)


async def test_our_lock_is_refunded_after_its_deadline_alone(world: BridgeWorld) -> None:
    world.swap(claims=False, refunds=False)
    await world.until(lambda: world.get().destination.state is LegState.FINAL)
    swap = world.users["swap1"].swap
    legs, known = await _legs(world)
    assert {key: leg.step for key, leg in legs.items()} == {
        (instances.ZION, True): Step.WAIT,
        (instances.ETHEREUM, False): Step.NO_SECRET,
    }
    assert await _send(world, legs, known) == {}
    while world.chains[instances.ZION].head.time < swap.destination.terms.deadline:
        world.mine()
    legs, known = await _legs(world)
    assert legs[instances.ZION, True].step is Step.REFUND
    await _send(world, legs, known)
    world.mine()
    assert world.lock_state(swap.destination) is LedgerLockState.REFUNDED
    # With ours back, a secret that appears now must not make us take the user's, too.
    legs, known = await _legs(world, (world.secrets["swap1"],))
    assert legs[instances.ETHEREUM, False].step is Step.GIVE_BACK
    assert await _send(world, legs, known) == {}
    await world.steps(4)


async def test_with_a_known_secret_the_user_is_paid_and_we_are(world: BridgeWorld) -> None:
    world.swap(claims=False, refunds=False)
    await world.until(lambda: world.get().destination.state is LegState.FINAL)
    swap = world.users["swap1"].swap
    legs, known = await _legs(world, (world.secrets["swap1"],))
    assert {leg.step for leg in legs.values()} == {Step.CLAIM, Step.CLAIM_FOR_USER}
    await _send(world, legs, known)
    world.mine()
    assert world.lock_state(swap.source) is LedgerLockState.CLAIMED
    assert world.lock_state(swap.destination) is LedgerLockState.CLAIMED
    await world.steps(8)


async def test_one_leg_that_is_refused_does_not_keep_the_others(
    world: BridgeWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in (1, 2):
        world.swap(number, claims=False, refunds=False)
    await world.until(lambda: all(world.get(f"swap{n}").destination.state is LegState.FINAL for n in (1, 2)))
    # The first is claimed by somebody else between looking and sending.
    found = {chain: await look_through(port, BlockHeight(0), 7) for chain, port in world.ports.items()}
    legs, known = judge(found, world.secrets.values())
    first = world.users["swap1"].swap.source
    taken = next(leg.lock.lock_id for leg in legs if leg.lock.terms == first.terms)
    FakeWallet(world.chains[instances.ETHEREUM], "user").claim(LockId(taken), world.secrets["swap1"])
    world.mine()
    output: Any = Silent()
    sent = await send_all(world.ports, legs, known, world.folder / "rescue", output)
    assert sent[taken].startswith("not sent")
    assert sum(outcome.startswith("accepted") for outcome in sent.values()) == 3
    await world.steps(8)
