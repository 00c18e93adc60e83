"""Measure the transparency log: appending in batches, proofs, and memory, on SQLite."""

from __future__ import annotations

import argparse
import json
import random
import resource
import statistics
import tempfile
import time
from pathlib import Path

from bridge.protocol import merkle
from bridge.protocol.receipt import receipt_text
from bridge.protocol.types import SwapId
from bridge.store import Store
from scripts.sample_swap import sample_swap

PROOFS = 300


def peak_kib() -> int:
    """Return the most memory that this process ever had, KiB (Linux)."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def main() -> None:
    """Print what was measured as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--leaves", type=int, default=1_000_000)
    parser.add_argument("--batch", type=int, default=2_000)
    given = parser.parse_args()
    body = receipt_text(sample_swap(), {})
    random.seed(1)
    with tempfile.TemporaryDirectory() as directory:
        store = Store.open(f"sqlite:///{Path(directory) / 'log.db'}")
        begun = time.perf_counter()
        early = 0
        for start in range(0, given.leaves, given.batch):
            with store.transaction() as tx:
                for number in range(start, min(given.leaves, start + given.batch)):
                    tx.receipts.append(SwapId(f"swap{number}"), f"{body[:-1]} {number}}}")
            early = early or (peak_kib() if start * 10 >= given.leaves else 0)
        appended = time.perf_counter() - begun
        inclusion, consistency = [], []
        for _ in range(PROOFS):
            index, first = random.randrange(given.leaves), random.randrange(1, given.leaves)
            begun = time.perf_counter()
            with store.reading() as tx:
                path = tx.receipts.inclusion(index, given.leaves)
            inclusion.append(time.perf_counter() - begun)
            begun = time.perf_counter()
            with store.reading() as tx:
                tx.receipts.consistency(first, given.leaves)
            consistency.append(time.perf_counter() - begun)
            with store.reading() as tx:
                (leaf,) = tx.receipts.slice(index, index + 1)
                head = tx.receipts.root(given.leaves)
            hashed = merkle.leaf_hash(leaf.body.encode())
            assert merkle.is_included(hashed, index, given.leaves, path, head)
        store.close()
    found = {
        "leaves": given.leaves,
        "leaf_bytes": len(body),
        "appended_per_second": round(given.leaves / appended),
        "inclusion_ms": {"median": statistics.median(inclusion) * 1e3, "worst": max(inclusion) * 1e3},
        "consistency_ms": {"median": statistics.median(consistency) * 1e3, "worst": max(consistency) * 1e3},
        "peak_kib_after_a_tenth": early,
        "peak_kib": peak_kib(),
    }
    print(json.dumps(found, indent=2))


if __name__ == "__main__":
    main()
