"""Nothing dies silently: a lost device, a full disk, a task that fails."""

from __future__ import annotations

import asyncio
import queue
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from chain.mining import miner as miner_module
from chain.mining.miner import SoloMiner, Work
from chain.node import Node, NodeConfig
from chain.rules.errors import StoreError
from chain.rules.params import Network
from chain.service.supervision import Tasks
from kernels.backends import open_scanner
from kernels.errors import BackendUnavailableError
from tests.unit.chain.harness import Sandbox


def wait_until(true: Callable[[], object], seconds: float = 20.0) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.01)


async def becomes(true: Callable[[], object], seconds: float = 20.0) -> None:
    async with asyncio.timeout(seconds):
        while not true():
            await asyncio.sleep(0.01)


class LostDevice:
    """A backend that works for some scans, then not, until it is opened again as often as it says."""

    def __init__(self, failures: int) -> None:
        self.failures, self.opened = failures, 0

    def open(self, backend: str, *, threads: int) -> Any:
        self.opened += 1
        real, owner, number, scans = open_scanner(backend, threads=threads), self, self.opened, 0

        class Device:
            def scan(self, *arguments: Any) -> Any:
                nonlocal scans
                scans += 1
                if number <= owner.failures and scans > 2:
                    raise BackendUnavailableError("device lost")
                return real.scan(*arguments)

            def close(self) -> None:
                real.close()

        return Device()


def test_a_miner_whose_device_was_lost_opens_it_again_and_says_so_meanwhile(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(miner_module, "FIRST_PAUSE", 0.2)
    box = Sandbox(tmp_path / "chain")
    device, found = LostDevice(2), queue.Queue[int]()
    miner = SoloMiner("numba", lambda _, nonce: found.put(nonce), open_backend=device.open)
    block = box.forge(mined=False)
    miner.offer(Work(block, block.header.raw, 1))
    miner.start()
    try:
        wait_until(lambda: miner.problem)
        assert "device lost" in miner.problem
        assert miner.hash_rate == 0
        wait_until(lambda: miner.restarts == 2 and not miner.problem)
        assert miner.alive
        wait_until(lambda: miner.hash_rate > 0)
        miner.offer(Work.of(block))
        assert box.accept(Work.of(block).solved(found.get(timeout=20))).connected
    finally:
        miner.stop()
        box.close()


def test_a_hash_rate_measured_long_ago_is_not_the_hash_rate(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    box = Sandbox(tmp_path / "chain")
    found: queue.Queue[int] = queue.Queue()
    miner = SoloMiner("numba", lambda _, nonce: found.put(nonce))
    miner.offer(Work.of(box.forge(mined=False)))
    miner.start()
    found.get(timeout=20)
    assert miner.hash_rate > 0
    monkeypatch.setattr(miner_module, "STALE_SECONDS", 0.0)
    assert miner.hash_rate == 0
    miner.stop()
    box.close()


async def test_a_failing_task_is_tried_again_and_named_until_it_gets_on() -> None:
    tasks, tries = Tasks(first_pause=0.01), 0
    done = asyncio.Event()

    async def work() -> None:
        nonlocal tries
        tries += 1
        if tries < 3:
            raise OSError("no space left on device")
        tasks.succeeded("work")
        done.set()
        await asyncio.sleep(60)

    tasks.start("work", work)
    await becomes(lambda: tasks.problems)
    assert "no space left" in tasks.problems[0]
    await asyncio.wait_for(done.wait(), 5)
    assert tasks.problems == ()
    await tasks.stop()


async def test_a_dev_node_goes_on_mining_after_the_disk_was_full(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """LMDB's own map is the disk here: it really is full, and then larger."""
    monkeypatch.setattr("chain.state.store.MAP_SIZE", 1 << 20)
    node = Node(NodeConfig(Network.DEV, tmp_path, mine=True, block_interval=0.001, sync=False))
    node.tasks = Tasks(first_pause=0.05)
    await node.start()
    try:
        await becomes(lambda: node.problems)
        assert "cannot write" in node.problems[0]
        height = node.chain.tip.height
        node.chain.store._env.set_mapsize(1 << 30)
        await becomes(lambda: node.chain.tip.height > height and not node.problems)
    finally:
        await node.stop()


async def test_a_block_that_the_miner_found_while_the_disk_was_full_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    node = Node(NodeConfig(Network.DEV, tmp_path, sync=False))
    node.tasks = Tasks(first_pause=0.05)
    from chain.mining.template import solve

    block, full = solve(node.template()), True
    sound = node.chain.accept_block

    def accept(offered: Any) -> Any:
        if full:
            raise StoreError("cannot write to the data directory: no space left")
        return sound(offered)

    monkeypatch.setattr(node.chain, "accept_block", accept)
    node.tasks.start("blocks of our own", node._take_found)
    node._found_blocks.put_nowait(block)
    await becomes(lambda: node.problems)
    assert node.chain.tip.height == 0
    full = False
    await becomes(lambda: node.chain.tip.id == block.id and not node.problems)
    await node.stop()
