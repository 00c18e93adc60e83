"""Measure the pure protocol: transitions and whole swap lifecycles per second, on one core.

Usage: python -m scripts.bench_protocol [--seconds 2] [--out build/bench/protocol.json]
"""

from __future__ import annotations

import argparse
import json
import platform
import time
from pathlib import Path

from bridge.protocol import events as ev
from bridge.protocol.pricing import Costs, FixedSide, Rate, Terms, price
from bridge.protocol.rules import may_counterlock, required_effects
from bridge.protocol.transition import transition
from bridge.protocol.types import Amount, BlockHeight, LegRole, LockId, Swap, SwapState, TxId, UnixSeconds
from scripts.sample_swap import PREIMAGE, START, block, sample_swap
from tests import instances

SOURCE, DESTINATION = LegRole.SOURCE, LegRole.DESTINATION


def lifecycle(swap: Swap) -> list[ev.Event]:
    """The 11 events of a swap that completes."""
    return [
        ev.Accepted(),
        ev.Tick(instances.ETHEREUM, UnixSeconds(START + 1), BlockHeight(1)),
        ev.Tick(instances.ZION, UnixSeconds(START + 1), BlockHeight(1)),
        ev.LockSeen(SOURCE, LockId("s"), swap.source.terms, TxId("s-lock"), block(10)),
        ev.LockFinal(SOURCE, LockId("s")),
        ev.LockSeen(DESTINATION, LockId("d"), swap.destination.terms, TxId("d-lock"), block(20)),
        ev.LockFinal(DESTINATION, LockId("d")),
        ev.ClaimSeen(DESTINATION, LockId("d"), TxId("d-claim"), block(30), PREIMAGE),
        ev.ClaimSeen(SOURCE, LockId("s"), TxId("s-claim"), block(40), PREIMAGE),
        ev.ClaimFinal(DESTINATION, LockId("d")),
        ev.ClaimFinal(SOURCE, LockId("s")),
    ]


def per_second(work, units: int, seconds: float) -> float:  # type: ignore[no-untyped-def]
    """Return units of work done per second, over at least `seconds`."""
    work()
    rounds = 0
    start = time.perf_counter()
    while (spent := time.perf_counter() - start) < seconds:
        for _ in range(50):
            work()
        rounds += 50
    return rounds * units / spent


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=2.0, help="time spent on each figure")
    parser.add_argument("--out", type=Path, default=Path("build/bench/protocol.json"))
    args = parser.parse_args()

    quoted = sample_swap()
    events = lifecycle(quoted)

    def live() -> Swap:
        swap = quoted
        for event in events:
            swap = transition(swap, event).swap
        return swap

    if live().state is not SwapState.COMPLETED:
        raise SystemExit("the sample swap does not complete: nothing was measured")
    waiting = quoted
    for event in events[:5]:
        waiting = transition(waiting, event).swap
    tick = ev.Tick(instances.ZION, UnixSeconds(START + 2), BlockHeight(2))
    terms = Terms(
        Rate.from_price("2500", quoted.source.terms.asset, quoted.destination.terms.asset),
        spread_ppm=5000,
        skew_ppm=1000,
        costs=Costs(Amount(1000), Amount(2000), Amount(500), Amount(0)),
    )
    figures = {
        "transitions_per_s": per_second(live, len(events), args.seconds),
        "lifecycles_per_s": per_second(live, 1, args.seconds),
        "ticks_per_s": per_second(lambda: transition(waiting, tick), 1, args.seconds),
        "required_effects_per_s": per_second(lambda: required_effects(waiting), 1, args.seconds),
        "may_counterlock_per_s": per_second(lambda: may_counterlock(waiting), 1, args.seconds),
        "prices_per_s": per_second(
            lambda: price(
                terms,
                source=quoted.source.terms.asset,
                destination=quoted.destination.terms.asset,
                fixed=FixedSide.SOURCE,
                amount=Amount(10**17),
            ),
            1,
            args.seconds,
        ),
    }
    report = {
        "name": "protocol",
        "python": platform.python_version(),
        "machine": platform.machine(),
        "events_per_lifecycle": len(events),
        **{name: round(figure) for name, figure in figures.items()},
    }
    args.out.parent.mkdir(parents=True, exist_ok=True)
    args.out.write_text(json.dumps(report, indent=2) + "\n")
    print(json.dumps(report, indent=2))


if __name__ == "__main__":
    main()
