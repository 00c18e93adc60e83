"""`make zion-network`: partitions, liars and an eclipse in virtual time over many seeds; then real processes.

Usage: python -m tests.unit.chain.network.play [--seeds N] [--first N] [--nodes N]
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from chain.network.core.events import PROVEN, Fault
from tests.unit.chain.network.processes import Process, until
from tests.unit.chain.network.scenes import LIES, eclipse, lying_peer, partition
from tests.unit.chain.network.simulation import Simulation


class NetworkPlayError(Exception):
    """A scene did not end as it must; the seed is in the message."""


def simulated(first: int, seeds: int) -> None:
    """Play each scene with each seed; print how long things took, in virtual seconds."""
    times: dict[str, list[float]] = {}
    for seed in range(first, first + seeds):
        for name, scene in _scenes().items():
            with tempfile.TemporaryDirectory() as directory:
                times.setdefault(name, []).append(scene(Path(directory), seed))
    for name, taken in times.items():
        middle, most = statistics.median(taken), max(taken)
        print(
            f"{name:<32} {len(taken):>4} seeds   median {middle:6.1f} s   longest {most:6.1f} s", flush=True
        )


def _scenes() -> dict[str, Callable[[Path, int], float]]:
    def play_partition(directory: Path, seed: int) -> float:
        net = Simulation(directory, seed, 20)
        try:
            _, took = partition(net)
            _no_honest_peer_blamed(net, seed, set())
        finally:
            net.close()
        return took

    def play_eclipse(directory: Path, seed: int) -> float:
        net = Simulation(directory, seed, 17)
        try:
            eclipse(net)
            if net.nodes[0].chain.tip != net.nodes[1].chain.tip:
                raise NetworkPlayError(f"seed {seed}: the eclipsed node does not follow the honest chain")
            _no_honest_peer_blamed(net, seed, set(range(9, 17)))
        finally:
            net.close()
        return max((when for when, node, _, _ in net.drops if node == 0), default=0.0)

    def liar(name: str) -> Callable[[Path, int], float]:
        def play(directory: Path, seed: int) -> float:
            net = Simulation(directory, seed, 6)
            try:
                took = lying_peer(net, *LIES[name])
                _no_honest_peer_blamed(net, seed, {5})
            finally:
                net.close()
            return took

        return play

    liars = {f"liar: {name} dropped after": liar(name) for name in LIES}
    return {
        "partition 10/10 healed after": play_partition,
        "eclipse: last attacker left at": play_eclipse,
    } | liars


def _no_honest_peer_blamed(net: Simulation, seed: int, liars: set[int]) -> None:
    blamed: list[tuple[int, Fault]] = [
        (one[2], one[3]) for one in net.drops if one[2] not in liars and one[3] in PROVEN
    ]
    if blamed:
        raise NetworkPlayError(f"seed {seed}: honest nodes were blamed: {blamed}")


def real(count: int) -> None:
    """Two groups of processes that do not know each other, then one node that connects both."""
    half = count // 2
    with tempfile.TemporaryDirectory() as directory:
        nodes: list[Process] = []
        try:
            for number in range(2 * half):
                host = f"127.0.{1 + number // half}.{1 + number % half}"
                earlier = [node.address for node in nodes[half * (number // half) :]]
                known = [earlier[-step] for step in (1, 3) if step <= len(earlier)]
                arguments = ["--listen", f"{host}:0", "--source", host]
                for address in known:
                    arguments += ["--connect", address]
                nodes.append(Process(Path(directory) / str(number), *arguments))
            left, right = nodes[:half], nodes[half:]
            for group, blocks in ((left, 50), (right, 55)):
                group[0].call("dev_mine", count=blocks)
            until(lambda: _agree(left) and _agree(right), "each half at one head")
            if left[0].best == right[0].best:
                raise NetworkPlayError("the halves were never apart")
            bridge = Process(
                Path(directory) / "bridge", "--connect", left[0].address, "--connect", right[0].address,
                "--source", "127.0.9.1",
            )  # fmt: skip
            nodes.append(bridge)
            began = time.monotonic()
            until(lambda: _agree(nodes), "all at the heavier head")
            print(f"{len(nodes)} processes: both halves agreed after {time.monotonic() - began:.1f} s")
            if bridge.call("getInfo")["height"] != 55:
                raise NetworkPlayError("the lighter chain won")
        finally:
            for node in nodes:
                node.stop()


def _agree(nodes: list[Process]) -> bool:
    return len({node.best for node in nodes}) == 1


def main() -> int:
    """Play all; return 0 when each ended as it must."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=10, help="seeds of each simulated scene")
    parser.add_argument("--first", type=int, default=int(time.time()) % 10**6, help="the first seed")
    parser.add_argument("--nodes", type=int, default=20, help="real processes; 0: none")
    chosen = parser.parse_args()
    print(f"seeds {chosen.first} … {chosen.first + chosen.seeds - 1}", flush=True)
    simulated(chosen.first, chosen.seeds)
    if chosen.nodes:
        real(chosen.nodes)
    return 0


if __name__ == "__main__":
    sys.exit(main())
