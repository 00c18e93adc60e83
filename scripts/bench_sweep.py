"""Measures what a sweep costs with many open swaps: `python -m scripts.bench_sweep [SWAPS]`, on SQLite."""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path

import msgspec

from bridge.chains.port import Tip
from bridge.engine.reconcile import Reconcile
from bridge.protocol.events import Accepted, LockFinal, LockSeen, Tick
from bridge.protocol.transition import transition
from bridge.protocol.types import BlockHeight, LockId, Swap, SwapId, TxId, UnixSeconds
from bridge.store import Store
from bridge.store.records import ChainStatus, SwapMeta
from scripts.sample_swap import START, block, sample_swap

IN_A_COMMIT = 5_000
ROUNDS = 20


def waiting_swap() -> Swap:
    """Return a swap whose locks stand, and whose user has all the time to claim."""
    swap = transition(sample_swap(), Accepted()).swap
    chains = [leg.terms.chain for leg in swap.legs]
    events = [Tick(chain, UnixSeconds(START), BlockHeight(1)) for chain in chains]
    for event in events:
        swap = transition(swap, event).swap
    for leg in swap.legs:
        lock = LockId(leg.role.value)
        for fact in (LockSeen(leg.role, lock, leg.terms, TxId("t"), block(10)), LockFinal(leg.role, lock)):
            swap = transition(swap, fact).swap
    return swap


def numbered(model: Swap, number: int) -> Swap:
    """Return the same swap with an id and a hashlock of its own."""
    return msgspec.structs.replace(model, id=SwapId(f"{number:032x}"), hashlock=number.to_bytes(32, "big"))


def fill(store: Store, model: Swap, count: int) -> None:
    """Store that many swaps, and chains that have moved on a little since."""
    with store.transaction() as tx:
        for leg in model.legs:
            tip = Tip(block(11), UnixSeconds(START + 60))
            tx.chains.put(ChainStatus(leg.terms.chain, tip=tip, scanned=BlockHeight(11), healthy=True))
    for start in range(0, count, IN_A_COMMIT):
        with store.transaction() as tx:
            for number in range(start, min(count, start + IN_A_COMMIT)):
                tx.swaps.add(numbered(model, number), SwapMeta())


def main() -> None:
    """Fill a database, sweep it, print what that took."""
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 100_000
    model = waiting_swap()
    with tempfile.TemporaryDirectory() as folder:
        store = Store.open(f"sqlite:///{Path(folder) / 'bench.db'}", secrets_key=bytes(32))
        fill(store, model, count)
        reconcile = Reconcile(store, model.source.terms.chain)
        begun = time.perf_counter()
        reconcile.sweep()
        first = (time.perf_counter() - begun) * 1000
        took: list[float] = []
        for _ in range(ROUNDS):
            begun = time.perf_counter()
            reconcile.sweep()
            took.append((time.perf_counter() - begun) * 1000)
        store.close()
    took.sort()
    middle = took[len(took) // 2]
    print(f"{count} open swaps, {model.state.value}: a sweep takes {middle:.1f} ms (median of {ROUNDS}), "
          f"{took[-1]:.1f} ms at most; the first one {first:.1f} ms")  # fmt: skip


if __name__ == "__main__":
    main()
