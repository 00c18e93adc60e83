"""A long, seeded simulation with the engine's real code against an adversary: `make simulate`, or

    python -m tests.scenario.simulate --seeds 50 --first 0 --swaps 40

Without `--first` new seeds are drawn. Each run draws which faults are on (a swarm), plays its swaps while
they happen, lets them end, and audits the books. A run that fails prints its seed and its timeline; the same
seed plays it again, to the same line.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import secrets
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import structlog

from tests.scenario.adversary import FAULTS
from tests.scenario.simulation import Run, play


class Tally:
    """What all runs together have seen."""

    def __init__(self) -> None:
        self.swaps = 0
        self.deaths = 0
        self.batched = 0
        self.ends: Counter[str] = Counter()
        self.per_fault: Counter[str] = Counter()

    def add(self, run: Run) -> None:
        """Count a finished run; its database is still there."""
        self.deaths += run.deaths
        self.swaps += len(run.happened)
        self.per_fault.update(name for faults in run.happened.values() for name in faults)
        self.per_fault["none"] += sum(not faults for faults in run.happened.values())
        self.ends.update(run.ends.values())
        self.batched += run.batched

    def report(self, seconds: float) -> str:
        """Return the table of swaps per fault class."""
        lines = [f"{name:22} {self.per_fault[name]:8} swaps" for name in (*FAULTS, "none")]
        ends = ", ".join(f"{count} {state}" for state, count in self.ends.most_common())
        return "\n".join(
            [
                *lines,
                f"{self.swaps} swaps ({ends}), {self.deaths} kills, {self.batched} claims in batches, "
                f"{seconds:.0f} s, {self.swaps / seconds:.1f} swaps a second",
            ]
        )


def _silent(*_: object) -> str:
    """Log nothing: alarms are expected here."""
    raise structlog.DropEvent


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--seeds", type=int, default=50, help="how many seeds to play")
    parser.add_argument("--first", type=int, help="the first seed; without it, a new one is drawn")
    parser.add_argument("--swaps", type=int, default=40, help="swaps a run (default 40)")
    parser.add_argument("--seconds", type=float, default=1e9, help="begin no further run after so long")
    parser.add_argument("--go-on", action="store_true", help="print failures and go on with the next seed")
    options = parser.parse_args()
    structlog.configure(
        wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL), processors=[_silent]
    )
    first = secrets.randbelow(10**9) if options.first is None else options.first
    print(f"seeds {first} to {first + options.seeds - 1}, {options.swaps} swaps each", flush=True)
    tally, failed, started = Tally(), list[int](), time.monotonic()
    for seed in range(first, first + options.seeds):
        if time.monotonic() - started > options.seconds:
            break
        with tempfile.TemporaryDirectory(prefix="rainbow-sim-") as folder:
            try:
                tally.add(asyncio.run(play(seed, Path(folder), options.swaps)))
            except AssertionError as error:
                print(error, flush=True)
                failed.append(seed)
                if not options.go_on:
                    break
    print(tally.report(time.monotonic() - started))
    if failed:
        replay = f"python -m tests.scenario.simulate --seeds 1 --first {failed[0]} --swaps {options.swaps}"
        print(f"FAILED: seeds {failed}; play one again with: {replay}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
