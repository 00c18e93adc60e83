"""Scenes that tests and `make zion-network` play: each on a simulation, seeded."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from chain.network.core.events import Fault
from chain.network.messages import BlockMessage, CompactBlock, Headers, Message
from chain.rules.block import Block
from chain.rules.header import compact_to_target
from kernels import cosmic_harmony
from tests.unit.chain.network.simulation import Simulation

Lie = Callable[[Message], Message | None]


def ring(net: Simulation, count: int, steps: tuple[int, ...] = (1, 3)) -> None:
    for number in range(count):
        for step in steps:
            net.link(number, (number + step) % count)


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


def eclipse(net: Simulation) -> None:
    """Node 0 has eight attackers (9 … 16) that announce every block and deliver none, and one honest peer."""
    for number in range(1, 9):
        net.link(number, number % 8 + 1)
    for attacker in range(9, 17):
        net.link(attacker, 0)
        net.link(attacker, 1 + (attacker - 9))
        net.nodes[attacker].hook = withhold
    net.link(0, 1)
    for k in range(20):
        net.at(10 * k, lambda: net.mine(1 + net.random.randrange(8)))
    net.run(260)


def withhold(message: Message) -> Message | None:
    return None if isinstance(message, BlockMessage | CompactBlock) else message


def lying_peer(net: Simulation, lie: Lie, fault: Fault) -> float:
    """Let node 5 lie to one of five honest nodes; return how long until it was left. They go on."""
    ring(net, 5, (1, 2))
    net.nodes[5].hook = lie
    net.run(2)
    for _ in range(3):
        net.mine(5)
    net.link(5, 0)
    took = net.run_until(lambda: bool(net.faults_of(5)), 90)
    assert net.faults_of(5)[0] is fault, net.faults_of(5)
    net.mine(1)
    net.mine(1)
    net.mine(1)
    net.mine(1)
    net.run_until(lambda: len(net.tips(range(5))) == 1, 60)
    return took


def _bad_work(message: Message) -> Message:
    if isinstance(message, Headers) and message.headers:
        last, target = message.headers[-1], compact_to_target(message.headers[-1].target)
        nonce = next(n for n in range(1_000) if not cosmic_harmony.verify(last.raw, n, target))
        return Headers((*message.headers[:-1], replace(last, nonce=nonce)))
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


LIES: dict[str, tuple[Lie, Fault]] = {
    "work": (_bad_work, Fault.BAD_WORK),
    "links": (_unlinked, Fault.BAD_HEADERS),
    "body": (_bad_body, Fault.BAD_BLOCK),
    "withheld blocks": (withhold, Fault.STALLING),
}
