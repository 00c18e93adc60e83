"""The daemon: woken by hints and commits, deaf to no stop, killed by no adapter, silent about secrets."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
import structlog
from prometheus_client import CollectorRegistry, generate_latest

from bridge.chains.actions import AnchorAction
from bridge.engine.metrics import Metrics
from bridge.protocol.types import Asset, Purpose, SwapState
from bridge.store import Store
from bridge.store.records import IntentState
from relayers.daemon.loop import Job, Worker, WorkerSettings, run_worker
from relayers.fake import FakeChain, FakePort
from tests import instances
from tests.scenario.world import BridgeWorld
from tests.unit.samples import ZION

TOKEN = Asset(instances.ZION, "TOK", 6, "0xtok")
SLOW = WorkerSettings(
    poll_seconds=60,
    sweep_seconds=60,
    status_seconds=60,
    verify_seconds=60,
    bump_seconds=60,
    inventory_seconds=60,
)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    opened = Store.open(f"sqlite:///{tmp_path}/bridge.db", secrets_key=bytes(32))
    yield opened
    opened.close()


@pytest.fixture
def port() -> FakePort:
    chain = FakeChain(instances.ZION, ZION)
    chain.credit("bridge", ZION, 10**9)
    return FakePort(chain, "bridge")


def _metrics() -> Metrics:
    return Metrics(CollectorRegistry())


async def _eventually(check: Any, seconds: float = 10) -> None:
    async with asyncio.timeout(seconds):
        while not check():
            await asyncio.sleep(0.01)


def _height(store: Store) -> int:
    with store.reading() as tx:
        status = tx.chains.get(instances.ZION)
    return status.scanned if status else -1


async def test_a_hint_is_enough_to_take_a_block_in_and_stop_ends_it(
    store: Store, port: FakePort, tmp_path: Path
) -> None:
    stop = asyncio.Event()
    health = tmp_path / "health.json"
    running = asyncio.create_task(
        run_worker(port, store, SLOW, stop=stop, metrics=_metrics(), health_file=health)
    )
    await _eventually(lambda: _height(store) == 0)
    await asyncio.sleep(0.05)
    port.fake.mine(2)
    await _eventually(lambda: _height(store) == 2)
    assert json.loads(health.read_text())["healthy"] is True
    stop.set()
    await asyncio.wait_for(running, 5)


async def test_a_commit_of_another_process_wakes_the_outbox(store: Store, port: FakePort) -> None:
    stop = asyncio.Event()
    running = asyncio.create_task(run_worker(port, store, SLOW, stop=stop, metrics=_metrics()))
    await _eventually(lambda: _height(store) == 0)
    await asyncio.sleep(0.1)

    from bridge.engine.actions import encode_action
    from bridge.store.records import PlannedIntent

    with store.transaction() as tx:
        action = encode_action(AnchorAction(b"root", 3))
        tx.intents.plan(PlannedIntent("anchor:1", Purpose.ANCHOR, instances.ZION, action=action))
    await _eventually(lambda: len(port.fake.mempool) == 1)
    stop.set()
    await asyncio.wait_for(running, 5)


async def test_periodic_jobs_run_without_any_hint(store: Store, port: FakePort) -> None:
    class Quiet(FakePort):
        async def hints(self) -> AsyncIterator[None]:
            await asyncio.Event().wait()
            yield

    quiet = Quiet(port.fake, "bridge")
    stop = asyncio.Event()
    settings = WorkerSettings(poll_seconds=0.05)
    running = asyncio.create_task(run_worker(quiet, store, settings, stop=stop, metrics=_metrics()))
    await _eventually(lambda: _height(store) == 0)
    port.fake.mine()
    await _eventually(lambda: _height(store) == 1)
    stop.set()
    await asyncio.wait_for(running, 5)


async def test_no_exception_of_an_adapter_ends_the_worker(store: Store, port: FakePort) -> None:
    class Broken(FakePort):
        broken = True

        async def scan(self, *args: Any) -> Any:
            if self.broken:
                raise ZeroDivisionError("preimage 123")
            return await super().scan(*args)

    broken = Broken(port.fake, "bridge")
    stop = asyncio.Event()
    settings = WorkerSettings(first_backoff=0.01, max_backoff=0.02)
    with structlog.testing.capture_logs() as logs:
        running = asyncio.create_task(run_worker(broken, store, settings, stop=stop, metrics=_metrics()))
        await _eventually(lambda: any(line["event"] == "stage_broke" for line in logs))
        broken.broken = False
        await _eventually(lambda: _height(store) == 0)
        stop.set()
        await asyncio.wait_for(running, 5)
    assert not any("preimage 123" in str(value) for line in logs for value in line.values())


async def test_an_unavailable_chain_is_marked_unhealthy_then_healthy_again(
    store: Store, port: FakePort
) -> None:
    worker = Worker(port, store, metrics=_metrics())
    assert await worker.run_pass()
    port.faults.down = True
    assert not await worker.run_pass([Job.POLL])
    with store.reading() as tx:
        status = tx.chains.get(instances.ZION)
    assert status is not None
    assert (status.healthy, bool(status.detail)) == (False, True)
    port.faults.down = False
    assert await worker.run_pass([Job.POLL])
    with store.reading() as tx:
        status = tx.chains.get(instances.ZION)
    assert status is not None
    assert status.healthy


async def test_set_up_approves_tokens_and_status_tells_balances_and_fees(
    store: Store, port: FakePort
) -> None:
    port.fake.credit("bridge", TOKEN, 500)
    metrics = _metrics()
    worker = Worker(port, store, assets=[ZION, TOKEN], metrics=metrics)
    await worker.run_pass()
    port.fake.mine(5)
    await worker.run_pass([Job.POLL])
    assert ("bridge", TOKEN.key) in port.fake.ledger.approvals
    with store.reading() as tx:
        status = tx.chains.get(instances.ZION)
        states = tx.intents.count_by_state()
    assert status is not None
    assert status.balances[TOKEN.key] == 500
    assert status.fees[ZION.key].lock == 1000
    assert states == {(instances.ZION, IntentState.FINAL): 1}
    assert b'rainbow_scanned_height{chain="zion"} 5.0' in generate_latest(metrics.registry)


async def test_the_anchor_hook_decides_what_is_anchored(store: Store, port: FakePort) -> None:
    async def hook(_store: Store, _port: Any) -> AnchorAction:
        return AnchorAction(b"root", 1)

    worker = Worker(port, store, anchor=hook, metrics=_metrics())
    await worker.run_pass()
    await worker.run_pass([Job.ANCHOR])
    assert [pending.tx.payload for pending in port.fake.mempool.values()] == ["root"]


async def test_offers_that_expired_give_their_inventory_back(tmp_path: Path) -> None:
    world = BridgeWorld(tmp_path)
    with world.store.transaction() as tx:
        tx.reservations.hold("zion:ZION", 5, "q", world.now_ms + 1000)
    world.now_ms += 1000
    await world.workers[instances.ZION].run_pass([Job.INVENTORY])
    with world.store.reading() as tx:
        assert not tx.reservations.has_expired()
    world.close()


async def test_no_log_line_of_a_whole_swap_holds_the_preimage(tmp_path: Path) -> None:
    world = BridgeWorld(tmp_path)
    world.swap()
    with structlog.testing.capture_logs() as logs:
        await world.until(world.is_over)
    assert world.state() is SwapState.COMPLETED
    secret = world.secrets["swap1"].reveal()
    text = json.dumps(logs, default=str)
    assert logs
    assert secret.hex() not in text
    assert repr(secret) not in text
    world.close()
