"""One bad row, price or answer stops nothing but its own swap; clocks that step back stop nothing at all."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from nacl.secret import SecretBox
from sqlalchemy import text

from bridge.chains.actions import ClaimAction, LockAction
from bridge.chains.errors import TooDearError
from bridge.protocol.types import LegState, SwapId, SwapState
from bridge.store import UnreadableRowError
from tests import instances
from tests.scenario.world import ALL_JOBS, BridgeWorld

FOREIGN = SecretBox(b"\x07" * 32)


def execute(world: BridgeWorld, statement: str, **values: Any) -> None:
    with world.store.transaction() as tx:
        tx._connection.execute(text(statement), values)


def seal_with_a_foreign_key(world: BridgeWorld, swap_id: str) -> None:
    secret = world.secrets[swap_id]
    execute(world, "delete from secrets where hashlock = :h", h=secret.hashlock().hex())
    execute(
        world,
        "insert into secrets(hashlock, sealed, created_ms) values (:h, :s, 0)",
        h=secret.hashlock().hex(),
        s=bytes(FOREIGN.encrypt(secret.reveal())),
    )


async def test_an_unreadable_secret_heals_when_the_chain_shows_it(world: BridgeWorld) -> None:
    world.swap()
    await world.until(lambda: world.get().destination.state is LegState.FINAL)
    seal_with_a_foreign_key(world, "swap1")
    await world.until(world.is_over)
    assert world.state() is SwapState.COMPLETED
    world.check()


async def test_a_secret_that_turns_unreadable_delays_its_own_claim_only(world: BridgeWorld) -> None:
    world.swap(refunds=False)
    await world.until(lambda: world.get().destination.state is LegState.FINAL)
    real = world.ports[instances.ETHEREUM].prepare

    async def wait(action: Any, *rest: Any) -> Any:
        if isinstance(action, ClaimAction) and action.terms.hashlock == world.get().hashlock:
            raise TooDearError("not yet", "")
        return await real(action, *rest)

    world.ports[instances.ETHEREUM].prepare = wait  # type: ignore[method-assign]
    await world.until(lambda: world.get().secret_known)
    seal_with_a_foreign_key(world, "swap1")
    world.ports[instances.ETHEREUM].prepare = real  # type: ignore[method-assign]
    world.swap(2)
    await world.until(lambda: world.is_over("swap2"), limit=60)
    assert world.state("swap2") is SwapState.COMPLETED
    with world.store.reading() as tx:
        assert tx.secrets.unreadable() == [world.secrets["swap1"].hashlock().hex()]
        with pytest.raises(UnreadableRowError, match="another key"):
            tx.secrets.get(world.get().hashlock)


BREAK: dict[str, str] = {
    "a swap's snapshot": "update swaps set snapshot = '{' where id = 'swap1'",
    "an intent's row": "update intents set purpose = 'dance' where swap_id = 'swap1'",
    "a transaction's row": (
        "update transactions set fee = '{' "
        "where intent_id in (select id from intents where swap_id = 'swap1' and leg = 'destination')"
    ),
    "an observation's row": "update observations set terms = '{' where swap_id = 'swap1' and terms != ''",
}


@pytest.mark.parametrize("what", BREAK)
async def test_a_row_that_cannot_be_read_stops_no_other_swap(world: BridgeWorld, what: str) -> None:
    world.swap(refunds=False)
    await world.until(lambda: world.get().destination.state is LegState.SEEN)
    execute(world, BREAK[what])
    world.users.pop("swap1")
    world.swap(2)
    await world.until(lambda: world.is_over("swap2"), limit=60)
    assert world.state("swap2") is SwapState.COMPLETED


async def test_a_lock_that_is_too_expensive_waits_and_its_chain_stays_healthy(world: BridgeWorld) -> None:
    port = world.ports[instances.ETHEREUM]
    real = port.prepare

    async def prepare(action: Any, *rest: Any) -> Any:
        if isinstance(action, LockAction):
            raise TooDearError("a lock needs 400 gwei now, over the cap of 300", "wait for lower fees")
        return await real(action, *rest)

    port.prepare = prepare  # type: ignore[method-assign]
    world.swap(1, source=instances.ZION)  # its lock on Ethereum is too expensive
    world.swap(2)  # its claim on Ethereum is not
    for _ in range(40):
        world.mine()
        for user in world.users.values():
            user.act()
        for worker in world.workers.values():
            assert await worker.run_pass(ALL_JOBS), "a pass counted as failed"
    assert world.state("swap2") is SwapState.COMPLETED
    assert world.locks_sent("swap1") == 0
    with world.store.reading() as tx:
        status = tx.chains.get(instances.ETHEREUM)
        reasons = [intent.reason for intent in tx.intents.of_swap(SwapId("swap1"))]
    assert status is not None
    assert status.healthy
    assert any("400 gwei" in reason for reason in reasons) or world.get("swap1").abandoned is not None


@pytest.mark.parametrize("kill", [True, False], ids=["killed", "not killed"])
async def test_a_clock_that_steps_back_an_hour_delays_nothing(world: BridgeWorld, kill: bool) -> None:
    """field/case_05: the old process holds the leases of both chains, the clock steps back, kill -9."""
    world.swap()
    await world.until(lambda: world.state() is SwapState.AWAIT_CLAIM)
    for worker in world.workers.values():
        assert await worker.outbox._store.acquire()
    offset = -3_600_000
    true_clock: Callable[[], int] = world.clock
    world.clock = lambda: true_clock() + offset  # type: ignore[method-assign]
    world.store._clock = world.clock
    if kill:
        world.process()
    await world.until(world.is_over, limit=40)
    assert world.state() is SwapState.COMPLETED
    world.check()


async def test_an_intent_postponed_by_a_clock_that_was_ahead_is_due(world: BridgeWorld) -> None:
    world.swap()
    await world.until(lambda: world.get().destination.state is LegState.INTENT)
    with world.store.transaction() as tx:
        lock = tx.intents.of_swap(SwapId("swap1"))[0]
        tx.intents.postpone(lock.id, world.now_ms + 3_600_000, "a clock an hour ahead")
    with world.store.reading() as tx:
        assert [intent.id for intent in tx.intents.due(lock.chain)] == [lock.id]
    with world.store.transaction() as tx:
        tx.intents.postpone(lock.id, world.now_ms + 600_000, "a real wait")
    with world.store.reading() as tx:
        assert tx.intents.due(lock.chain) == []
