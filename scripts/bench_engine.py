"""Benchmarks of the engine on a real SQLite file, synced at every commit: python -m scripts.bench_engine

1. Durable swap lifecycles per second: 8 events each, each event in a transaction of its own, through the
   same code as in production (event log, compare and swap, intents, notifications, receipt).
2. From the event that makes the source final to the broadcast of the counter-lock, with 100 swaps open: one
   process stores the event, another one runs the destination's worker and is woken by the store.

Results go to build/bench/engine.json.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import json
import logging
import multiprocessing
import os
import platform
import statistics
import tempfile
import time
from multiprocessing.synchronize import Event
from pathlib import Path
from typing import Any

import structlog

from bridge.chains.port import Tip
from bridge.engine.apply import apply_events, retrying
from bridge.protocol.events import ClaimFinal, ClaimSeen, LockFinal, LockSeen
from bridge.protocol.events import Event as SwapEvent
from bridge.protocol.timelocks import plan_deadlines
from bridge.protocol.transition import new_swap
from bridge.protocol.types import (
    Address,
    Amount,
    Asset,
    BlockHeight,
    BlockRef,
    ChainTiming,
    LegRole,
    LockTerms,
    Preimage,
    Swap,
    SwapId,
    SwapPolicy,
    SwapState,
    TxId,
    UnixSeconds,
)
from bridge.store import Store
from bridge.store.records import ChainStatus, ObservedKind, SwapMeta
from relayers.daemon.loop import WorkerSettings, run_worker
from relayers.fake import FakeChain, FakePort
from relayers.fake.chain import GENESIS_TIME
from relayers.fake.ledger import lock_id_of
from tests import instances

ETH = Asset(instances.ETHEREUM, "ETH", 18)
ZION = Asset(instances.ZION, "ZION", 8)
KEY = bytes(32)
TIMING = ChainTiming(block_interval=10, finality_depth=1, inclusion_p99=30, clock_skew=600)
SOURCE, DESTINATION = LegRole.SOURCE, LegRole.DESTINATION


def _preimage(number: int) -> Preimage:
    return Preimage(hashlib.sha256(b"bench %d" % number).digest())


def _swap(number: int) -> Swap:
    dates = plan_deadlines(
        UnixSeconds(GENESIS_TIME),
        UnixSeconds(GENESIS_TIME),
        source=TIMING,
        destination=TIMING,
        user_window=600,
        outage_budget=600,
        lock_window=3600,
    )
    hashlock = _preimage(number).hashlock()
    return new_swap(
        SwapId(f"swap{number:06}"),
        source=LockTerms(
            instances.ETHEREUM,
            Address("htlc"),
            Address("user"),
            Address("bridge"),
            ETH,
            Amount(10**18),
            hashlock,
            dates.source,
        ),
        destination=LockTerms(
            instances.ZION,
            Address("htlc"),
            Address("bridge"),
            Address("user"),
            ZION,
            Amount(10**8),
            hashlock,
            dates.destination,
        ),
        policy=SwapPolicy(TIMING, TIMING, 600, 600, dates.lock_by),
        accepted=True,
    )


def _block(height: int) -> BlockRef:
    return BlockRef(
        BlockHeight(height), f"{height:064x}", f"{height - 1:064x}", UnixSeconds(GENESIS_TIME + height)
    )


def _lock_seen(swap: Swap, role: LegRole) -> LockSeen:
    terms = swap.leg(role).terms
    return LockSeen(role, lock_id_of(terms), terms, TxId("aa" * 32), _block(5))


def _life(swap: Swap, preimage: Preimage) -> list[SwapEvent]:
    source, destination = lock_id_of(swap.source.terms), lock_id_of(swap.destination.terms)
    return [
        _lock_seen(swap, SOURCE),
        LockFinal(SOURCE, source),
        _lock_seen(swap, DESTINATION),
        LockFinal(DESTINATION, destination),
        ClaimSeen(DESTINATION, destination, TxId("bb" * 32), _block(6), preimage),
        ClaimSeen(SOURCE, source, TxId("cc" * 32), _block(6), preimage),
        ClaimFinal(DESTINATION, destination),
        ClaimFinal(SOURCE, source),
    ]


def _hear_chains(store: Store) -> None:
    now_ms = store.now_ms()
    with store.transaction() as tx:
        for chain in (instances.ETHEREUM, instances.ZION):
            status = ChainStatus(
                chain,
                tip=Tip(_block(6), UnixSeconds(GENESIS_TIME + 6)),
                scanned=BlockHeight(6),
                healthy=True,
                seen_ms=now_ms,
                tip_ms=now_ms,
            )
            tx.chains.put(status)


def lifecycles(folder: Path, swaps: int) -> dict[str, Any]:
    """Play whole lives one after the other and measure events per second."""
    store = Store.open(f"sqlite:///{folder}/lives.db", secrets_key=KEY)
    _hear_chains(store)
    for number in range(swaps):
        with store.transaction() as tx:
            tx.swaps.add(_swap(number), SwapMeta())
    started = time.perf_counter()
    for number in range(swaps):
        swap = _swap(number)
        for event in _life(swap, _preimage(number)):
            retrying(store, lambda tx, i=swap.id, e=event: apply_events(tx, i, [e]))  # type: ignore[misc]
    took = time.perf_counter() - started
    with store.reading() as tx:
        assert tx.swaps.count_by_state() == {SwapState.COMPLETED: swaps}
        assert tx.receipts.size() == swaps
    store.close()
    return {
        "swaps": swaps,
        "events_per_swap": 8,
        "seconds": round(took, 3),
        "lifecycles_per_second": round(swaps / took, 1),
        "transactions_per_second": round(8 * swaps / took, 1),
    }


class _TimedPort(FakePort):
    """Notes when each lock was sent."""

    sent: dict[str, float]

    async def broadcast(self, tx: Any) -> Any:
        terms = json.loads(tx.raw)["terms"]
        if terms:
            self.sent.setdefault(terms["hashlock"], time.monotonic())
        return await super().broadcast(tx)


def _destination_worker(folder: str, ready: Event, stop: Event) -> None:
    """The other process: a worker of the destination chain, woken as in production."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))

    async def work() -> None:
        store = Store.open(f"sqlite:///{folder}/latency.db", secrets_key=KEY)
        chain = FakeChain(instances.ZION, ZION)
        chain.credit("bridge", ZION, 10**20)
        chain.mine(6, interval=1)
        port = _TimedPort(chain, "bridge")
        port.sent = {}
        asked = asyncio.Event()
        running = asyncio.create_task(run_worker(port, store, WorkerSettings(), stop=asked))
        await asyncio.sleep(1)
        ready.set()
        while not stop.is_set():
            await asyncio.sleep(0.05)
        asked.set()
        await running
        (Path(folder) / "sent.json").write_text(json.dumps(port.sent))
        store.close()

    asyncio.run(work())


def latency(folder: Path, swaps: int) -> dict[str, Any]:
    """Open `swaps` swaps, make the source of one after the other final, see when the lock is sent."""
    store = Store.open(f"sqlite:///{folder}/latency.db", secrets_key=KEY)
    _hear_chains(store)
    for number in range(swaps):
        swap = _swap(number)
        with store.transaction() as tx:
            tx.swaps.add(swap, SwapMeta())
            seen = _lock_seen(swap, SOURCE)
            apply_events(tx, swap.id, [seen])
            tx.observations.add(
                instances.ETHEREUM,
                ObservedKind.LOCKED,
                swap.id,
                SOURCE,
                lock_id=seen.lock_id,
                tx_id=TxId(f"{number:064x}"),
                block=seen.block,
                depth=1,
                terms=seen.terms,
            )
    context = multiprocessing.get_context("spawn")
    ready, stop = context.Event(), context.Event()
    child = context.Process(target=_destination_worker, args=(str(folder), ready, stop))
    child.start()
    assert ready.wait(60), "the worker did not start"
    began: dict[str, float] = {}
    for number in range(swaps):
        swap = _swap(number)
        if number % 20 == 0:
            _hear_chains(store)
        final = LockFinal(SOURCE, lock_id_of(swap.source.terms))
        began[swap.id] = time.monotonic()
        retrying(store, lambda tx, i=swap.id, e=final: apply_events(tx, i, [e]))  # type: ignore[misc]
        time.sleep(0.12 + 0.01 * (number % 7))
    time.sleep(1)
    stop.set()
    child.join(60)
    sent: dict[str, float] = json.loads((folder / "sent.json").read_text())
    store.close()
    import base64

    waits = sorted(
        sent[base64.b64encode(_swap(number).hashlock).decode()] - began[_swap(number).id]
        for number in range(swaps)
    )
    return {
        "open_swaps": swaps,
        "p50_ms": round(statistics.median(waits) * 1000, 1),
        "p95_ms": round(waits[int(0.95 * (len(waits) - 1))] * 1000, 1),
        "max_ms": round(waits[-1] * 1000, 1),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--swaps", type=int, default=200, help="lives to play (default 200)")
    parser.add_argument("--open", type=int, default=100, help="open swaps in the latency run (default 100)")
    parser.add_argument("--out", type=Path, default=Path("build/bench/engine.json"))
    options = parser.parse_args()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    # Not in memory-backed /tmp: a sync to disk must be a sync to disk.
    options.out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=options.out.parent) as name:
        folder = Path(name)
        result = {
            "machine": f"{platform.machine()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}",
            "python": platform.python_version(),
            "database": "SQLite, WAL, synchronous=FULL",
            "lifecycles": lifecycles(folder, options.swaps),
            "final_to_broadcast": latency(folder, options.open),
        }
    options.out.write_text(json.dumps(result, indent=2) + "\n")
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
