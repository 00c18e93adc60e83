"""A network in one process: real chains, real cores, virtual time, one seed.

An event heap carries messages between cores as bytes, with a delay of each link. Everything that happens is
hashed: equal seeds must give equal digests.
"""

from __future__ import annotations

import hashlib
import heapq
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from chain.consensus.chain import Chain
from chain.mempool.pool import Mempool
from chain.mining.template import assemble, with_nonce
from chain.network.core.core import Core
from chain.network.core.events import (
    TICK_SECONDS,
    AwaitDrain,
    BlockChecked,
    CheckBlock,
    CheckTransactions,
    Connected,
    Dial,
    DialFailed,
    Disconnected,
    Drained,
    Drop,
    Effect,
    Event,
    Fault,
    Kind,
    OwnTransaction,
    PeerId,
    Received,
    Send,
    Tick,
    TipMoved,
    TransactionsChecked,
)
from chain.network.core.peers import Settings
from chain.network.message_codec import encode_message
from chain.network.messages import CAPS, Message
from chain.network.node_ledger import NodeLedger
from chain.network.peer_address import PeerAddress, address_of
from chain.rules.block import Block
from chain.rules.header import compact_to_target
from chain.rules.params import DEV, NetworkParams
from chain.rules.records import Transaction
from chain.rules.types import KeyHash
from kernels import cosmic_harmony

PORT = 28_080
Hook = Callable[[Message], Message | None]


def address_of_node(number: int) -> PeerAddress:
    return address_of(f"127.{number // 250 + 1}.0.{number % 250 + 1}", PORT)


@dataclass
class Link:
    """One end of a connection: the other node and its number for this connection there."""

    node: int
    peer: PeerId


@dataclass
class SimNode:
    number: int
    chain: Chain
    mempool: Mempool
    ledger: NodeLedger
    core: Core
    links: dict[PeerId, Link] = field(default_factory=dict)
    listens: bool = True
    alive: bool = True
    hook: Hook | None = None
    """What an attacker does to each message that it sends; None in place of one: it is not sent."""


class Simulation:
    """Nodes on an event heap. `drops`: (time, node, node that it left, fault)."""

    def __init__(self, directory: Path, seed: int, count: int, *, params: NetworkParams = DEV) -> None:
        self.random = random.Random(seed)
        self.now = 0.0
        self.params = params
        self._directory = directory
        self._heap: list[tuple[float, int, Callable[[], None]]] = []
        self._number = 0
        self._next_peer = 0
        self.log = hashlib.sha256()
        self.messages = 0
        self.sent_bytes: dict[int, int] = {}
        self.drops: list[tuple[float, int, int, Fault]] = []
        self.cut: Callable[[int, int], bool] = lambda _a, _b: False
        self.delays: dict[tuple[int, int], float] = {}
        self.nodes: list[SimNode] = []
        for _ in range(count):
            self.add_node()

    def add_node(self, **settings: object) -> SimNode:
        number = len(self.nodes)
        chain = Chain(
            self.params,
            self._directory / str(number),
            clock=lambda: int(self.params.genesis_time + self.now + 1),
            sync=False,
        )
        mempool = Mempool(chain)

        def take(block: Block) -> None:
            mempool.update(chain.accept_block(block))

        ledger = NodeLedger(chain, mempool, take, mempool.admit)
        chosen = {"local": True, "port": PORT, "discover": False, **settings}
        core = Core(ledger, Settings(**chosen), random.Random(self.random.getrandbits(64)))  # type: ignore[arg-type]
        node = SimNode(number, chain, mempool, ledger, core)
        self.nodes.append(node)
        self._tick(node)
        return node

    def _tick(self, node: SimNode) -> None:
        if node.alive:
            self.give(node, Tick())
        self.at(TICK_SECONDS, lambda: self._tick(node))

    # the heap ----------------------------------------------------------------------------------------

    def at(self, delay: float, act: Callable[[], None]) -> None:
        self._number += 1
        heapq.heappush(self._heap, (self.now + delay, self._number, act))

    def run(self, seconds: float) -> None:
        until = self.now + seconds
        while self._heap and self._heap[0][0] <= until:
            self.now, _, act = heapq.heappop(self._heap)
            act()
        self.now = until

    def run_until(self, done: Callable[[], bool], most: float) -> float:
        """Run until `done`; return how long it took. Fails after `most` seconds."""
        began = self.now
        while not done():
            assert self.now - began < most, f"not done after {most} virtual seconds; drops: {self.drops}"
            self.run(0.1)
        return self.now - began

    # links -------------------------------------------------------------------------------------------

    def delay(self, one: int, other: int) -> float:
        key = (min(one, other), max(one, other))
        if key not in self.delays:
            self.delays[key] = 0.02 + 0.2 * self.random.random()
        return self.delays[key]

    def link(self, one: int, other: int, kind: Kind = Kind.FULL) -> None:
        """Let node `one` connect to node `other`."""
        here, there = self.nodes[one], self.nodes[other]
        mine, theirs = PeerId(self._next_peer), PeerId(self._next_peer + 1)
        self._next_peer += 2
        here.links[mine], there.links[theirs] = Link(other, theirs), Link(one, mine)
        self.give(here, Connected(mine, address_of_node(other), kind))
        if theirs in there.links:
            self.give(there, Connected(theirs, address_of_node(one), Kind.INBOUND))

    def _close(self, node: SimNode, peer: PeerId) -> None:
        link = node.links.pop(peer, None)
        if link is None:
            return
        other = self.nodes[link.node]

        def lost() -> None:
            if other.links.pop(link.peer, None) is not None and other.alive:
                self.give(other, Disconnected(link.peer))

        self.at(self.delay(node.number, link.node), lost)

    def kill(self, number: int) -> None:
        """End a node: its connections are lost."""
        node = self.nodes[number]
        node.alive = False
        for peer in list(node.links):
            self._close(node, peer)
        node.chain.close()

    # events and effects ------------------------------------------------------------------------------

    def give(self, node: SimNode, event: Event) -> None:
        for effect in node.core.handle(event, self.now):
            self._do(node, effect)

    def _do(self, node: SimNode, effect: Effect) -> None:
        match effect:
            case Send(peer, message):
                self._send(node, peer, message)
            case Drop(peer, fault):
                link = node.links.get(peer)
                if link is not None:
                    self.drops.append((round(self.now, 3), node.number, link.node, fault))
                    self._close(node, peer)
            case Dial(address, kind):
                self.at(0.05, lambda: self._dial(node, address, kind))
            case CheckBlock(peer, block):
                self.at(0.0, lambda: self._check_block(node, peer, block))
            case CheckTransactions(peer, raws):
                self.at(0.0, lambda: self._check_transactions(node, peer, raws))
            case AwaitDrain(peer):
                self.at(0.05, lambda: self.give(node, Drained(peer)))

    def _send(self, node: SimNode, peer: PeerId, message: Message) -> None:
        link = node.links.get(peer)
        if link is None:
            return
        changed = node.hook(message) if node.hook else message
        if changed is None or self.cut(node.number, link.node):
            return
        self.raw(node, peer, *encode_message(changed))

    def raw(self, node: SimNode, peer: PeerId, frame_type: int, payload: bytes) -> None:
        """Let a node send any bytes."""
        link = node.links[peer]
        other = self.nodes[link.node]
        assert len(payload) <= CAPS.get(frame_type, 2**16), "the driver refuses this frame on its header"
        self.sent_bytes[frame_type] = self.sent_bytes.get(frame_type, 0) + len(payload)

        def arrive() -> None:
            if link.peer not in other.links or not other.alive:
                return
            self.messages += 1
            line = f"{self.now:.6f} {node.number} {other.number} {frame_type} "
            self.log.update(line.encode() + hashlib.sha256(payload).digest())
            self.give(other, Received(link.peer, frame_type, payload))

        self.at(self.delay(node.number, link.node), arrive)

    def _dial(self, node: SimNode, address: PeerAddress, kind: Kind) -> None:
        there = next((one for one in self.nodes if address_of_node(one.number) == address), None)
        if there is None or not there.listens or not there.alive:
            self.give(node, DialFailed(address, kind))
        else:
            self.link(node.number, there.number, kind)

    def _check_block(self, node: SimNode, peer: PeerId, block: Block) -> None:
        if node.alive:
            self.give(node, BlockChecked(peer, block, node.ledger.accept_block(block)))

    def _check_transactions(self, node: SimNode, peer: PeerId, raws: tuple[bytes, ...]) -> None:
        if node.alive:
            verdicts = tuple(node.ledger.accept_transaction(raw) for raw in raws)
            self.give(node, TransactionsChecked(peer, raws, verdicts))

    # what people do ----------------------------------------------------------------------------------

    def make_block(self, number: int, *transactions: Transaction) -> Block:
        """Return a block of a node on its head, with work, taking its chance from the seed."""
        node = self.nodes[number]
        miner = KeyHash(hashlib.sha256(b"miner %d" % number).digest()[:20])
        chosen = list(transactions) or node.mempool.best()
        with node.chain.store.scratch() as batch:
            block, _ = assemble(
                node.chain, batch, miner, chosen, node.ledger.now(), extra_nonce=self.random.getrandbits(64)
            )
        nonce = self.random.getrandbits(60)
        target = compact_to_target(block.header.target)
        while (found := cosmic_harmony.scan(block.header.raw, nonce, 4_096, target)).nonce is None:
            nonce += found.hashes_done
        return with_nonce(block, found.nonce)

    def mine(self, number: int) -> None:
        node = self.nodes[number]
        node.mempool.update(node.chain.accept_block(self.make_block(number)))
        self.give(node, TipMoved())

    def submit(self, number: int, transaction: Transaction) -> None:
        node = self.nodes[number]
        node.mempool.add(transaction)
        self.give(node, OwnTransaction(transaction.raw, transaction.fee))

    def tips(self, numbers: range | list[int] | None = None) -> set[bytes]:
        chosen = self.nodes if numbers is None else [self.nodes[one] for one in numbers]
        return {node.chain.tip.id for node in chosen if node.alive}

    def faults_of(self, number: int) -> list[Fault]:
        """Why other nodes left this one."""
        return [fault for _, _, other, fault in self.drops if other == number]

    def close(self) -> None:
        for node in self.nodes:
            if node.alive:
                node.chain.close()
