"""Two relayers per chain, each a process of its own, on one real PostgreSQL that is not kind to them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from bridge.protocol.types import SwapId, SwapState
from bridge.store import StoreError
from tests import instances
from tests.recovered_postgres import ArchivingServer
from tests.scenario.machine import LEASE_MS, ChainServer
from tests.scenario.world import NATIVE, BridgeWorld

BLOCK_SECONDS = 0.25
"""Time between blocks, at least."""
BLOCK_SECONDS_MOST = 3
"""So long a block waits for relayers that have not read the last one: deadlines count blocks, and on a busy
computer they would pass before anybody has looked."""


class TwoMachines:
    """The world with four relayer processes; `step` mines a block and lets the users act."""

    def __init__(self, folder: Path, server: ArchivingServer) -> None:
        self.server = server
        url = server.database("bridge")
        self.world = BridgeWorld(folder / "world", url=url)
        address = str(folder / "chains")
        self.chains = ChainServer(address, self.world.chains)
        self.processes = {
            (machine, chain): subprocess.Popen(
                [sys.executable, "-m", "tests.scenario.machine", address, chain, url, f"{machine}-{chain}"]
            )
            for machine in ("A", "B")
            for chain in NATIVE
        }
        self._until_they_work()

    def _until_they_work(self) -> None:
        """Sell nothing before both chains are watched: starting four processes takes longer than a window to
        lock."""
        end = time.monotonic() + 60
        while time.monotonic() < end:
            with self.world.store.reading() as tx:
                if set(tx.chains.all()) == set(NATIVE):
                    return
            time.sleep(0.2)
        raise AssertionError("no relayer has started")

    def step(self) -> None:
        with self.chains.lock:
            self.world.mine()
            for user in self.world.users.values():
                user.act()
        end = time.monotonic() + BLOCK_SECONDS_MOST
        time.sleep(BLOCK_SECONDS)
        while time.monotonic() < end and not self._asked(self._have_read):
            time.sleep(BLOCK_SECONDS / 5)

    def _have_read(self) -> bool:
        with self.world.store.reading() as tx:
            statuses = tx.chains.all()
        heads = {chain: ledger.head.height for chain, ledger in self.world.chains.items()}
        return all(chain in statuses and statuses[chain].scanned >= heads[chain] for chain in heads)

    def until(self, done: Callable[[], bool], limit: int) -> None:
        for _ in range(limit):
            if self._asked(done):
                return
            self.step()
        raise AssertionError(f"not reached in {limit} blocks:\n{self.world.describe()}")

    def _asked(self, done: Callable[[], bool]) -> bool:
        try:
            return done()
        except StoreError:
            return False  # the server was just restarted

    def signal(self, machine: str, number: signal.Signals) -> None:
        for (name, _), process in self.processes.items():
            if name == machine:
                os.kill(process.pid, number)

    def close(self) -> None:
        for process in self.processes.values():
            process.kill()
            process.wait()
        self.chains.close()
        self.world.close()


@pytest.fixture
def machines(tmp_path: Path) -> Iterator[TwoMachines]:
    server = ArchivingServer()
    try:
        made = TwoMachines(tmp_path, server)
        yield made
        made.close()
    finally:
        server.close()


def _over(world: BridgeWorld, count: int) -> bool:
    return all(world.is_over(f"swap{number}") for number in range(1, count + 1))


def _sell(world: BridgeWorld, number: int) -> None:
    source = instances.ETHEREUM if number % 2 else instances.ZION
    world.swap(number, source, claims=number % 5 != 0)


def _checked(world: BridgeWorld, count: int) -> None:
    world.check()
    for number in range(1, count + 1):
        expected = SwapState.REFUNDED if number % 5 == 0 else SwapState.COMPLETED
        assert world.state(f"swap{number}") is expected, world.describe()
        with world.store.reading() as tx:
            purposes = [intent.purpose for intent in tx.intents.of_swap(SwapId(f"swap{number}"))]
        assert len(purposes) == len(set(purposes))
    with world.store.reading() as tx:
        assert tx.unknown_locks.unresolved() == []
        assert tx.controls.all() == []


def _play(machines: TwoMachines, count: int) -> None:
    """Machines are frozen past their leases and woken, the server restarts, connections are cut."""
    world, sold = machines.world, 0
    troubles: list[Callable[[], None]] = [
        lambda: machines.signal("A", signal.SIGSTOP),
        machines.server.cut_connections,
        lambda: machines.signal("A", signal.SIGCONT),
        machines.server.restart,
        lambda: machines.signal("B", signal.SIGSTOP),
        lambda: machines.signal("B", signal.SIGCONT),
    ]
    between = int(LEASE_MS / 1000 / BLOCK_SECONDS) + 2
    at_once = max(2, count // len(troubles))
    for trouble in troubles:
        for _ in range(min(at_once, count - sold)):
            sold += 1
            _sell(world, sold)
        for _ in range(between):
            machines.step()
        trouble()
    while sold < count:
        sold += 1
        _sell(world, sold)
    machines.until(lambda: _over(world, count), 300)
    _checked(world, count)


@pytest.mark.long
@pytest.mark.timeout(600)
def test_two_machines_lock_nothing_twice_and_lose_no_swap(machines: TwoMachines) -> None:
    _play(machines, 60)


@pytest.mark.timeout(200)
def test_a_machine_that_was_frozen_past_its_lease_sends_nothing_twice(machines: TwoMachines) -> None:
    """The short slice of the long test."""
    world = machines.world
    for number in (1, 2):
        _sell(world, number)
    for _ in range(4):
        machines.step()
    machines.signal("A", signal.SIGSTOP)
    for _ in range(int(LEASE_MS / 1000 / BLOCK_SECONDS) + 2):
        machines.step()
    machines.signal("A", signal.SIGCONT)
    machines.server.restart()
    machines.until(lambda: _over(world, 2), 150)
    _checked(world, 2)
