"""Several writers, several processes' worth of stores, one database."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable

from bridge.protocol.events import Accepted
from bridge.protocol.types import Purpose
from bridge.store import Store
from bridge.store.records import Lease, PlannedIntent, SwapMeta
from tests import instances
from tests.unit.samples import swap


def _together(*jobs: Callable[[], None]) -> None:
    threads = [threading.Thread(target=job) for job in jobs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)


def test_two_stores_writing_at_once_lose_nothing_and_number_in_order(any_url: str) -> None:
    stores = [Store.open(any_url) for _ in range(2)]
    with stores[0].transaction() as tx:
        for number in (0, 1):
            tx.swaps.add(swap(number), SwapMeta())

    def writer(number: int) -> Callable[[], None]:
        def write() -> None:
            for _ in range(25):
                with stores[number].transaction() as tx:
                    tx.events.append(swap(number), Accepted())

        return write

    _together(writer(0), writer(1))
    with stores[0].reading() as tx:
        events = tx.events.after(0)
        for number in (0, 1):
            mine = [event.swap_seq for event in events if event.swap_id == f"swap{number}"]
            assert mine == list(range(1, 26))
    for store in stores:
        store.close()


def test_writers_that_hold_several_swaps_never_wait_for_each_other_in_a_circle(any_url: str) -> None:
    stores = [Store.open(any_url) for _ in range(2)]
    swaps = {number: swap(number) for number in range(6)}
    with stores[0].transaction() as tx:
        for made in swaps.values():
            tx.swaps.add(made, SwapMeta())
    together, written = threading.Barrier(2), list[int]()

    def writer(store: Store, order: list[int]) -> Callable[[], None]:
        def write() -> None:
            for _ in range(15):
                together.wait(30)
                with store.transaction() as tx:
                    tx.swaps.hold(swaps[number].id for number in order)
                    for number in order:
                        assert tx.swaps.get(swaps[number].id, for_update=True) is not None
                        tx.events.append(swaps[number], Accepted())
                    written.append(len(order))

        return write

    _together(writer(stores[0], [0, 1, 2, 3, 4, 5]), writer(stores[1], [5, 4, 3, 2, 1, 0]))
    assert written == [6] * 30
    for store in stores:
        store.close()


def test_a_reader_that_polls_for_newer_events_never_misses_one(any_url: str) -> None:
    writers = [Store.open(any_url) for _ in range(3)]
    reader = Store.open(any_url)
    with reader.transaction() as tx:
        for number in range(3):
            tx.swaps.add(swap(number), SwapMeta())
    done = threading.Event()
    seen: list[int] = []

    def read() -> None:
        last = 0
        while True:
            finished = done.is_set()
            with reader.reading() as tx:
                for event in tx.events.after(last):
                    seen.append(event.seq)
                    last = event.seq
            if finished:
                return

    def writer(number: int) -> Callable[[], None]:
        def write() -> None:
            for _ in range(20):
                with writers[number].transaction() as tx:
                    tx.events.append(swap(number), Accepted())
                    time.sleep(0.001)

        return write

    reading = threading.Thread(target=read)
    reading.start()
    _together(*(writer(number) for number in range(3)))
    done.set()
    reading.join(30)
    assert len(seen) == len(set(seen)) == 60
    for store in (*writers, reader):
        store.close()


def test_two_workers_never_take_the_same_intent(any_url: str) -> None:
    stores = [Store.open(any_url) for _ in range(2)]
    with stores[0].transaction() as tx:
        for number in range(40):
            tx.intents.plan(PlannedIntent(f"s{number}", Purpose.CLAIM, instances.ZION))
    taken: list[list[int]] = [[], []]

    def worker(number: int) -> Callable[[], None]:
        def take() -> None:
            lease = Lease("l", f"worker{number}", number, 0)
            for _ in range(10):
                with stores[number].transaction() as tx:
                    got = tx.intents.take(instances.ZION, lease, limit=4)
                    for intent in got:
                        tx.intents.postpone(intent.id, 10**15, "taken")
                    taken[number] += [intent.id for intent in got]

        return take

    _together(worker(0), worker(1))
    assert len(taken[0]) + len(taken[1]) == len(set(taken[0] + taken[1])) == 40
    for store in stores:
        store.close()


async def test_a_commit_of_another_store_wakes_a_waiter_soon(any_url: str) -> None:
    mine, other = Store.open(any_url), Store.open(any_url)
    wakeups = mine.wakeups()
    while await wakeups.wait(0.2):
        pass

    def write() -> None:
        with other.transaction() as tx:
            tx.audit.append("op", "look", "all")

    started = time.monotonic()
    waiting = asyncio.create_task(wakeups.wait(5))
    await asyncio.sleep(0.02)
    await asyncio.to_thread(write)
    assert await waiting
    assert time.monotonic() - started < 2
    assert not await wakeups.wait(0.1)
    await wakeups.close()
    mine.close()
    other.close()
