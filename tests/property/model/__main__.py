"""The search from the command line: `make check-protocol`, or

    python -m tests.property.model --seconds 120 --reorgs 1 --faults 1 --depth 2

With bounds of your own the searches of all kinds of people are made within these; without, a set that covers
each kind of trouble alone completely, and as much as the time allows of several at once.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import replace

from tests.property.model.explore import Search
from tests.property.model.world import Bounds

BOUNDS = ("reorgs", "faults", "depth", "inclusion", "outage", "user_window")
QUIET = Bounds(reorgs=0, faults=0)
SEARCHES: dict[str, Bounds] = {
    "a careful user": replace(QUIET, careful=True),
    "a careful user, a fault": replace(QUIET, careful=True, faults=1),
    "a careful user, a reorg": replace(QUIET, careful=True, reorgs=1),
    "a careful user, clocks apart": replace(QUIET, careful=True, skew=1),
    "a hostile user": QUIET,
    "a hostile user, claims nobody can read": replace(QUIET, odd_claims=True, faults=1),
    "a hostile user, a fault": replace(QUIET, faults=1),
    "a hostile user, a reorg": replace(QUIET, reorgs=1),
    "a hostile user, a second lock": replace(QUIET, stray=True),
    "a hostile user, an operator": replace(QUIET, operator=True),
    "a careful user, terms decided at the lock": replace(QUIET, careful=True, floating=-1, lock_window=3),
    "a careful user, terms decided at the lock, a fault": replace(QUIET, careful=True, floating=1, faults=1),
    "a careful user, terms decided at the lock, a reorg": replace(QUIET, careful=True, floating=1, reorgs=1),
    "a hostile user, terms decided at the lock": Bounds(floating=1, lock_window=2),
    "a careful user, everything at once": Bounds(careful=True, operator=True, inclusion=2, user_window=3),
    "a hostile user, everything at once": Bounds(
        odd_claims=True, stray=True, operator=True, inclusion=2, user_window=3
    ),
}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--seconds", type=float, default=90, help="the most for each search (default 90)")
    parser.add_argument("--worlds", type=int, default=2_000_000, help="the most for each search")
    parser.add_argument("--only", default="", help="only searches whose name holds this")
    for name in BOUNDS:
        parser.add_argument(f"--{name.replace('_', '-')}", type=int, dest=name)
    options = parser.parse_args()
    own = {name: getattr(options, name) for name in BOUNDS}
    changes = {name: value for name, value in own.items() if value is not None}
    total, began = 0, 0.0
    for name, bounds in SEARCHES.items():
        if options.only not in name:
            continue
        found = Search(replace(bounds, **changes)).run(most=options.worlds, seconds=options.seconds)
        total, began = total + found.worlds, began + found.seconds
        extent = "complete" if found.complete else "as far as time allowed"
        print(
            f"{found.worlds:9} worlds {found.moves:9} moves {found.seconds:6.1f} s  {extent}: {name}",
            flush=True,
        )
        if found.counterexample:
            print(found.counterexample)
            return 1
    print(f"{total:9} worlds in {began:.0f} s, no promise broken")
    return 0


if __name__ == "__main__":
    sys.exit(main())
