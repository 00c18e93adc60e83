"""Whole networks on the event heap: seeded, in virtual time."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from chain.network.core.events import PROVEN, Fault, Kind
from chain.network.messages import BlockMessage, CompactBlock, Headers, Message, Type
from chain.rules.block import Block
from tests.unit.chain.harness import ALICE, BOB, TREASURY
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


def ring(net: Simulation, count: int, steps: tuple[int, ...] = (1, 3)) -> None:
    for number in range(count):
        for step in steps:
            net.link(number, (number + step) % count)


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


def partition(net: Simulation) -> tuple[set[bytes], float]:
    """Cut 20 nodes into two halves for 50 blocks, heal, and say how long it took to agree."""
    ring(net, 20, (1, 3, 7))
    net.run(5)
    left = set(range(10))
    net.cut = lambda one, other: (one in left) != (other in left)
    for k in range(50):
        net.at(6 * k + net.random.random(), lambda: net.mine(net.random.randrange(10)))
    for k in range(55):
        net.at(5.4 * k + net.random.random(), lambda: net.mine(10 + net.random.randrange(10)))
    net.run(310)
    before = net.tips()
    net.cut = lambda one, other: False
    net.mine(15)
    return before, net.run_until(lambda: len(net.tips()) == 1, 60)


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
    """Eight attackers announce every block and deliver none; one outbound peer is honest."""
    net = network(3, 17)
    for number in range(1, 9):
        net.link(number, number % 8 + 1)
    for attacker in range(9, 17):
        net.link(attacker, 0)
        net.link(attacker, 1 + (attacker - 9))

        def withhold(message: Message) -> Message | None:
            return None if isinstance(message, BlockMessage | CompactBlock) else message

        net.nodes[attacker].hook = withhold
    net.link(0, 1)
    for k in range(20):
        net.at(10 * k, lambda: net.mine(1 + net.random.randrange(8)))
    net.run(260)
    assert net.nodes[0].chain.tip == net.nodes[1].chain.tip
    assert net.nodes[0].chain.tip.height >= 15
    assert {fault for _, node, other, fault in net.drops if node == 0 and other > 8} <= {Fault.STALLING}
    assert 0 not in {other for _, node, other, _ in net.drops if node in range(1, 9)}


def _bad_work(message: Message) -> Message:
    if isinstance(message, Headers) and message.headers:
        return Headers((*message.headers[:-1], replace(message.headers[-1], nonce=1)))
    return message


def _unlinked(message: Message) -> Message:
    if isinstance(message, Headers) and message.headers:
        return Headers((message.headers[-1], message.headers[-1]))
    return message


def _bad_body(message: Message) -> Message:
    if isinstance(message, BlockMessage):
        witnesses = message.block.witnesses.copy()
        bodies = message.block.bodies.copy()
        bodies[0, 2] += 1
        return BlockMessage(Block(message.block.header, bodies, witnesses))
    return message


@pytest.mark.parametrize(
    ("lie", "fault"),
    [(_bad_work, Fault.BAD_WORK), (_unlinked, Fault.BAD_HEADERS), (_bad_body, Fault.BAD_BLOCK)],
)
def test_a_liar_is_left_at_once_and_the_rest_go_on(
    network: MakeNetwork, lie: Callable[[Message], Message], fault: Fault
) -> None:
    net = network(4, 6)
    ring(net, 5, (1, 2))
    net.nodes[5].hook = lie
    net.run(2)
    for _ in range(3):
        net.mine(5)
    net.link(5, 0)
    took = net.run_until(lambda: bool(net.faults_of(5)), 10)
    assert net.faults_of(5)[0] is fault
    assert took < 2
    net.mine(1)
    net.run_until(lambda: len(net.tips(range(5))) == 1, 10)
    net.link(5, 0)
    net.run(1)
    assert net.faults_of(5)[-1] is Fault.DISCOURAGED
    assert no_honest_peer_was_blamed(net, {5})


def test_transactions_reach_all_and_are_mined_by_another(network: MakeNetwork) -> None:
    net = network(5, 5)
    ring(net, 5, (1, 2))
    net.run(2)
    box = net.nodes[0]
    from chain.rules.params import COIN, DEV
    from chain.wallet.transactions import build_transfer

    sent = [
        build_transfer(TREASURY, DEV, nonce=n, recipient=key.key_hash, amount=COIN, fee=1_000)
        for n, key in enumerate((ALICE, BOB, ALICE))
    ]
    for tx in sent:
        net.submit(0, tx)
    net.run_until(lambda: all(len(node.mempool) == 3 for node in net.nodes), 120)
    assert box.mempool.get(sent[0].txid) is not None
    before = net.sent_bytes.get(Type.BLOCK, 0)
    net.mine(3)
    net.run_until(lambda: len(net.tips()) == 1, 10)
    assert all(len(node.mempool) == 0 for node in net.nodes)
    assert net.sent_bytes[Type.COMPACT_BLOCK] > 0
    assert net.sent_bytes.get(Type.BLOCK, 0) == before, "all had the transactions: no whole block was needed"
    assert not net.drops


def test_a_node_that_connects_to_itself_notices(network: MakeNetwork) -> None:
    net = network(6, 1)
    net.link(0, 0, Kind.MANUAL)
    net.run(2)
    assert Fault.SELF in net.faults_of(0)
    assert not net.nodes[0].core.peers
