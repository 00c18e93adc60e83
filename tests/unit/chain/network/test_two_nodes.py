"""Two real node processes on this machine: they meet over TLS, synchronise, relay, and survive a kill."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.unit.chain.harness import ALICE
from tests.unit.chain.network.processes import Process, until


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Process]]:
    running: list[Process] = []

    def run(name: str, *arguments: str) -> Process:
        running.append(Process(tmp_path / name, *arguments))
        return running[-1]

    yield run
    for one in running:
        one.stop(signal.SIGKILL)


def test_two_processes_meet_synchronise_relay_and_go_on_after_a_kill(start: Callable[..., Process]) -> None:
    first = start("first", "--listen", "127.0.0.1:0")
    first.call("dev_mine", count=30)
    second = start("second", "--connect", first.address)
    until(lambda: second.best == first.best, "the second node at the first one's head")
    assert second.call("getInfo")["height"] == 30
    (peer,) = second.call("getPeers")["peers"]
    assert (peer["ready"], peer["kind"]) == (True, "manual")
    assert second.call("getPeers")["blocks_left"] == 0

    txid = second.call("dev_fund", address=ALICE.address, amount="1000")["txid"]
    until(lambda: first.call("getTransaction", txid=txid)["status"] == "mempool", "the transaction relayed")
    first.call("dev_mine", count=1)
    until(lambda: second.best == first.best, "the new block relayed")
    assert second.call("getTransaction", txid=txid)["status"] == "included"

    second.stop(signal.SIGKILL)
    first.call("dev_mine", count=3)
    again = start("second", "--connect", first.address)
    until(lambda: again.best == first.best, "the killed node caught up")


@pytest.mark.long
def test_a_peer_with_another_key_than_the_pinned_one_is_refused(start: Callable[..., Process]) -> None:
    first = start("first", "--listen", "127.0.0.1:0")
    first.call("dev_mine", count=2)
    place = first.address.partition("@")[2]
    second = start("second", "--connect", f"{'0' * 64}@{place}")
    until(lambda: "another key" in (second.directory / "log").read_text(), "the key refused")
    assert second.call("getInfo")["height"] == 0
    assert second.call("getPeers")["peers"] == []
