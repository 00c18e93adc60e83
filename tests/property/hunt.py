"""Play the state machine for longer than the tests do, with fresh randomness, and tell how the swaps ended.

Usage: python -m tests.property.hunt [examples]
"""

from __future__ import annotations

import sys
from collections import Counter

from hypothesis import HealthCheck, settings
from hypothesis.stateful import run_state_machine_as_test

from tests.property.test_swap_machine import SwapMachine


def main() -> None:
    ends: Counter[str] = Counter()

    class CountingMachine(SwapMachine):
        """The same machine, keeping a tally."""

        def teardown(self) -> None:
            super().teardown()
            if hasattr(self, "world"):
                swap = self.world.swap
                legs = f"source {swap.source.state.value}, destination {swap.destination.state.value}"
                ends[f"{swap.state.value} ({legs})"] += 1

    run_state_machine_as_test(
        CountingMachine,
        settings=settings(
            max_examples=int(sys.argv[1]) if len(sys.argv) > 1 else 2000,
            stateful_step_count=50,
            deadline=None,
            database=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
    for end, count in ends.most_common():
        print(f"{count:7} {end}")


if __name__ == "__main__":
    main()
