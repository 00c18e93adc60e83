"""One peer as the core knows it, and what the core's parts share."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Protocol

from chain.network.codec import WtxId
from chain.network.core.events import Drop, Effect, Fault, Kind, PeerId, Send
from chain.network.core.limits import Bucket
from chain.network.core.rolling import RollingSet
from chain.network.ledger import Ledger
from chain.network.messages import Hello, Message
from chain.network.peer_address import PeerAddress
from chain.rules.types import BlockId

KNOWN_TRANSACTIONS = 5_000


class Chance(Protocol):
    """Where random numbers come from: the system in production, a seed in tests."""

    def getrandbits(self, k: int, /) -> int:
        """Return k random bits."""

    def random(self) -> float:
        """Return a number in [0, 1)."""

    def expovariate(self, lambd: float, /) -> float:
        """Return the time between events that happen `lambd` times a second."""


@dataclass(frozen=True, slots=True)
class Settings:
    """What an operator chooses.

    `local`: addresses that strangers cannot reach (loopback, private) are used and passed on: dev, tests.
    `discover`: connections to addresses that were learnt, beside those in `manual`.
    """

    agent: str = "zion"
    port: int = 0
    manual: tuple[PeerAddress, ...] = ()
    local: bool = False
    discover: bool = True
    full: int = 8
    blocks_only: int = 2
    inbound: int = 114
    minimum_work: int = 0


class State(IntEnum):
    """How far a connection is."""

    CONNECTED = 0
    GREETED = 1
    READY = 2


@dataclass(eq=False, slots=True)
class Peer:
    """A connection. Times are monotonic seconds."""

    id: PeerId
    address: PeerAddress
    kind: Kind
    since: float
    nonce: int
    state: State = State.CONNECTED
    hello: Hello | None = None
    buckets: dict[int, Bucket] = field(default_factory=dict)
    # life
    last_received: float = 0.0
    ping_nonce: int | None = None
    ping_at: float = 0.0
    next_ping: float = 0.0
    latency: float = float("inf")
    # headers
    best: BlockId | None = None
    """The heaviest block that the peer has shown a header of."""
    best_work: int = 0
    headers_asked: float | None = None
    headers_done: bool = False
    unconnected: int = 0
    shown: RollingSet = field(default_factory=lambda: RollingSet(64))
    """Blocks that both sides know the other knows: not announced again."""
    behind_since: float | None = None
    # blocks
    in_flight: set[BlockId] = field(default_factory=set)
    last_block: float = 0.0
    blocks_given: int = 0
    to_serve: deque[BlockId] = field(default_factory=deque)
    draining: bool = False
    compact: bool = False
    """The peer wants new blocks as compact blocks."""
    asked_compact: bool = False
    # transactions
    known: RollingSet = field(default_factory=lambda: RollingSet(KNOWN_TRANSACTIONS))
    cursor: int = 0
    next_inventory: float = 0.0
    fee_filter: int = 0
    asked_transactions: set[WtxId] = field(default_factory=set)
    announced: int = 0
    transactions_given: float = 0.0
    sent_fee: int = 0
    # addresses
    gave_addresses: bool = False
    asked_addresses: bool = False
    address_tokens: Bucket = field(default_factory=lambda: Bucket(1_000, 0.1, 1.0))
    next_addresses: float = 0.0

    @property
    def inbound(self) -> bool:
        """Whether the other side opened the connection."""
        return self.kind is Kind.INBOUND

    @property
    def ready(self) -> bool:
        """Whether both sides accepted each other."""
        return self.state is State.READY

    @property
    def relays(self) -> bool:
        """Whether transactions go over this connection."""
        return (
            self.ready and self.kind is not Kind.BLOCKS_ONLY and self.hello is not None and self.hello.relay
        )


@dataclass(eq=False)
class Shared:
    """What the parts of one core share: the ledger, the peers, the present moment, the effects so far."""

    ledger: Ledger
    settings: Settings
    chance: Chance
    now: float = 0.0
    peers: dict[PeerId, Peer] = field(default_factory=dict)
    effects: list[Effect] = field(default_factory=list)
    on_gone: list[Callable[[Peer, Fault | None], None]] = field(default_factory=list)

    def send(self, peer: Peer, message: Message) -> None:
        """Queue a message, unless the peer has been dropped."""
        if peer.id in self.peers:
            self.effects.append(Send(peer.id, message))

    def drop(self, peer: Peer, fault: Fault) -> None:
        """Close a connection and forget the peer."""
        if self.forget(peer, fault):
            self.effects.append(Drop(peer.id, fault))

    def forget(self, peer: Peer, fault: Fault | None) -> bool:
        """Forget a peer; False if it was forgotten before."""
        if self.peers.pop(peer.id, None) is None:
            return False
        for hook in self.on_gone:
            hook(peer, fault)
        return True

    def alive(self, peer: Peer) -> bool:
        """Tell whether the peer is still here."""
        return peer.id in self.peers

    def ready(self) -> Iterator[Peer]:
        """Yield the peers that are ready."""
        return (peer for peer in list(self.peers.values()) if peer.ready and peer.kind is not Kind.FEELER)
