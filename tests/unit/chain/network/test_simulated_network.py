"""Whole networks on the event heap: seeded, in virtual time."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from chain.network.core.events import PROVEN, Fault, Kind
from chain.network.messages import Type
from chain.rules.params import COIN, DEV
from chain.wallet.transactions import build_transfer
from tests.unit.chain.harness import ALICE, BOB, TREASURY
from tests.unit.chain.network.scenes import LIES, eclipse, lying_peer, partition, ring
from tests.unit.chain.network.simulation import Simulation

MakeNetwork = Callable[..., Simulation]


@pytest.fixture
def network(tmp_path: Path) -> Iterator[MakeNetwork]:
    made: list[Simulation] = []

    def make(seed: int, count: int) -> Simulation:
        made.append(Simulation(tmp_path / f"net{len(made)}", seed, count))
        return made[-1]

    yield make
    for one in made:
        one.close()


def no_honest_peer_was_blamed(net: Simulation, liars: set[int]) -> bool:
    return not [one for one in net.drops if one[2] not in liars and one[3] in PROVEN]


def test_two_nodes_meet_and_the_new_one_gets_all_blocks(network: MakeNetwork) -> None:
    net = network(1, 2)
    for _ in range(40):
        net.run(5)
        net.mine(0)
    net.link(1, 0)
    took = net.run_until(lambda: len(net.tips()) == 1, 30)
    assert took < 5
    assert net.nodes[1].chain.tip.height == 40
    assert not net.drops


def test_a_partition_of_ten_and_ten_heals_to_the_heaviest_chain(network: MakeNetwork) -> None:
    net = network(2, 20)
    before, took = partition(net)
    assert len(before) >= 2
    assert net.nodes[0].chain.tip.height >= 55
    assert took < 30
    assert no_honest_peer_was_blamed(net, set())


def test_equal_seeds_give_equal_networks(network: MakeNetwork) -> None:
    def play(seed: int) -> str:
        net = network(seed, 6)
        ring(net, 6, (1, 2))
        for _ in range(8):
            net.mine(net.random.randrange(6))
            net.run(3)
        assert len(net.tips()) == 1
        return net.log.hexdigest()

    assert play(7) == play(7)
    assert play(7) != play(8)


def test_an_eclipsed_node_with_one_honest_peer_follows_the_honest_chain(network: MakeNetwork) -> None:
    net = network(3, 17)
    eclipse(net)
    assert net.nodes[0].chain.tip == net.nodes[1].chain.tip
    assert net.nodes[0].chain.tip.height >= 15
    assert {fault for _, node, other, fault in net.drops if node == 0 and other > 8} <= {Fault.STALLING}
    assert 0 not in {other for _, node, other, _ in net.drops if node in range(1, 9)}


@pytest.mark.parametrize("name", ["work", "links", "body"])
def test_a_liar_is_left_at_once_and_the_rest_go_on(network: MakeNetwork, name: str) -> None:
    net = network(4, 6)
    assert lying_peer(net, *LIES[name]) < 2
    net.link(5, 0)
    net.run(1)
    assert net.faults_of(5)[-1] is Fault.DISCOURAGED
    assert no_honest_peer_was_blamed(net, {5})


def test_a_peer_that_withholds_the_only_heavier_chain_is_left_after_a_minute(network: MakeNetwork) -> None:
    net = network(4, 6)
    assert 50 < lying_peer(net, *LIES["withheld blocks"]) < 70
    assert no_honest_peer_was_blamed(net, {5})


def test_transactions_reach_all_and_are_mined_by_another(network: MakeNetwork) -> None:
    net = network(5, 5)
    ring(net, 5, (1, 2))
    net.run(2)
    box = net.nodes[0]
    sent = [
        build_transfer(TREASURY, DEV, nonce=n, recipient=key.key_hash, amount=COIN, fee=1_000)
        for n, key in enumerate((ALICE, BOB, ALICE))
    ]
    for tx in sent:
        net.submit(0, tx)
    net.run_until(lambda: all(len(node.mempool) == 3 for node in net.nodes), 120)
    assert box.mempool.get(sent[0].txid) is not None
    net.mine(3)
    net.run_until(lambda: len(net.tips()) == 1, 10)
    assert all(len(node.mempool) == 0 for node in net.nodes)
    assert net.sent_bytes[Type.COMPACT_BLOCK] > 0
    assert not net.drops


def test_a_node_that_connects_to_itself_notices(network: MakeNetwork) -> None:
    net = network(6, 1)
    net.link(0, 0, Kind.MANUAL)
    net.run(2)
    assert Fault.SELF in net.faults_of(0)
    assert not net.nodes[0].core.peers
