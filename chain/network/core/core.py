"""The core: one method, events in, effects out. Equal events, ledger and chance give equal effects.

It imports no clock, socket or source of chance: `now` comes with each event (monotonic seconds), random
numbers from `chance`, the chain's facts from `ledger`.
"""

from __future__ import annotations

from chain.network.codec import PROTOCOL_VERSION, Block, wtxid_of
from chain.network.core.addresses import AddressBook
from chain.network.core.compact import CompactRelay
from chain.network.core.connections import Connections
from chain.network.core.downloads import Downloads
from chain.network.core.events import (
    BlockChecked,
    Connected,
    DialFailed,
    Disconnected,
    Drained,
    Effect,
    Event,
    Fault,
    Kind,
    OwnTransaction,
    Received,
    Tick,
    TipMoved,
    TransactionsChecked,
)
from chain.network.core.header_tree import HeaderTree
from chain.network.core.limits import RATES, UNKNOWN_TYPES, Over, bucket_of
from chain.network.core.peers import Chance, Peer, Settings, Shared, State
from chain.network.core.serving import Server
from chain.network.core.sync import HeaderSync
from chain.network.core.transactions import TransactionRelay
from chain.network.errors import MalformedMessageError
from chain.network.ledger import Ledger
from chain.network.message_codec import decode_message
from chain.network.messages import (
    Addresses,
    BlockMessage,
    BlockTransactions,
    Bye,
    CompactBlock,
    FeeFilter,
    GetAddresses,
    GetBlocks,
    GetBlockTransactions,
    GetHeaders,
    GetTransactions,
    Headers,
    Hello,
    Inventory,
    Message,
    NotFound,
    Ping,
    Pong,
    Ready,
    SendCompact,
    Transactions,
    Type,
)

OLDEST_PROTOCOL = 1
SERVICE_BLOCKS = 1
"""`services`, bit 0: serves all blocks."""
PING_SECONDS = 120.0
SILENT_SECONDS = 1_200.0


class Core:
    """A node's part in the network, without its sockets."""

    def __init__(
        self, ledger: Ledger, settings: Settings, chance: Chance, book: AddressBook | None = None
    ) -> None:
        self._shared = Shared(ledger, settings, chance)
        self.tree = HeaderTree(ledger, settings.minimum_work)
        self.connections = Connections(self._shared, book or AddressBook(chance))
        self.downloads = Downloads(self._shared, self.tree, self._connected)
        self.sync = HeaderSync(self._shared, self.tree, self.downloads.retarget)
        self.compact = CompactRelay(self._shared, self.tree, self.downloads)
        self.transactions = TransactionRelay(self._shared)
        self._server = Server(self._shared)
        self._announced = ledger.tip().id

    @property
    def peers(self) -> list[Peer]:
        """The connections that exist."""
        return list(self._shared.peers.values())

    def handle(self, event: Event, now: float) -> list[Effect]:
        """Take an event; return what is to be done, in order."""
        shared = self._shared
        shared.now = max(now, shared.now)
        match event:
            case Connected():
                self._on_connected(event)
            case DialFailed(address, _):
                self.connections.dial_failed(address)
            case Disconnected(peer_id, fault):
                if (peer := shared.peers.get(peer_id)) is not None:
                    shared.forget(peer, fault)
            case Received(peer_id, frame_type, payload):
                if (peer := shared.peers.get(peer_id)) is not None:
                    self._on_frame(peer, frame_type, payload)
            case Drained(peer_id):
                if (peer := shared.peers.get(peer_id)) is not None:
                    self._server.serve(peer)
            case BlockChecked(peer_id, block, verdict):
                self.downloads.on_checked(shared.peers.get(peer_id), block, verdict)
            case TransactionsChecked(peer_id, raws, verdicts):
                self.transactions.on_checked(shared.peers.get(peer_id), raws, verdicts)
            case TipMoved():
                self.tree.follow()
                self.downloads.retarget()
                self._announce(None)
            case OwnTransaction(raw, fee):
                self.transactions.log(wtxid_of(raw), fee)
            case Tick():
                self._tick()
        effects, shared.effects = shared.effects, []
        return effects

    # connections -------------------------------------------------------------------------------------

    def _on_connected(self, event: Connected) -> None:
        shared = self._shared
        nonce = shared.chance.getrandbits(64)
        peer = Peer(event.peer, event.address, event.kind, since=shared.now, nonce=nonce)
        peer.last_received = shared.now
        shared.peers[peer.id] = peer
        if not self.connections.admit(peer):
            return
        tip = shared.ledger.tip()
        shared.send(
            peer,
            Hello(
                protocol=PROTOCOL_VERSION,
                genesis=shared.ledger.genesis_id,
                services=SERVICE_BLOCKS,
                nonce=nonce,
                height=tip.height,
                work=tip.work.to_bytes(32, "big"),
                time=shared.ledger.now(),
                agent=shared.settings.agent,
                port=shared.settings.port,
                relay=event.kind not in (Kind.BLOCKS_ONLY, Kind.FEELER),
            ),
        )

    def _on_frame(self, peer: Peer, frame_type: int, payload: bytes) -> None:
        shared = self._shared
        peer.last_received = shared.now
        rate = RATES.get(frame_type)
        if rate is None and frame_type not in set(Type):
            rate = UNKNOWN_TYPES
        if rate is not None:
            bucket = peer.buckets.get(frame_type if frame_type in RATES else -1)
            if bucket is None:
                bucket = peer.buckets[frame_type if frame_type in RATES else -1] = bucket_of(rate)
            if not bucket.take(shared.now):
                if rate.over is Over.CLOSE:
                    shared.drop(peer, Fault.OVER_BUDGET)
                return
        if frame_type in (Type.BLOCK, Type.BLOCK_TRANSACTIONS, Type.TRANSACTIONS) and not peer.ready:
            shared.drop(peer, Fault.OUT_OF_PLACE)  # before the cost of reading it
            return
        try:
            message = decode_message(frame_type, payload)
        except MalformedMessageError:
            shared.drop(peer, Fault.MALFORMED)
            return
        if message is not None:
            self._on_message(peer, message)

    def _on_message(self, peer: Peer, message: Message) -> None:
        if isinstance(message, Bye):
            return
        if isinstance(message, Hello):
            self._on_hello(peer, message)
        elif isinstance(message, Ready):
            self._on_ready(peer)
        elif not peer.ready:
            self._shared.drop(peer, Fault.OUT_OF_PLACE)
        else:
            self._on_ready_message(peer, message)

    def _on_hello(self, peer: Peer, hello: Hello) -> None:
        shared = self._shared
        if peer.state is not State.CONNECTED:
            shared.drop(peer, Fault.OUT_OF_PLACE)
        elif hello.genesis != shared.ledger.genesis_id:
            shared.drop(peer, Fault.OTHER_NETWORK)
        elif hello.protocol < OLDEST_PROTOCOL:
            shared.drop(peer, Fault.OLD_PROTOCOL)
        elif any(other.nonce == hello.nonce for other in shared.peers.values()):
            if not peer.inbound:
                self.connections.own.add(peer.address)
            shared.drop(peer, Fault.SELF)
        else:
            peer.hello, peer.state = hello, State.GREETED
            shared.send(peer, Ready())

    def _on_ready(self, peer: Peer) -> None:
        if peer.state is not State.GREETED:
            self._shared.drop(peer, Fault.OUT_OF_PLACE)
            return
        shared = self._shared
        peer.state = State.READY
        peer.next_ping = shared.now
        peer.next_addresses = shared.now + shared.chance.expovariate(1 / 30.0)
        self.connections.on_ready(peer)
        if shared.alive(peer):
            self.sync.on_ready(peer)
            if peer.relays:
                self.transactions.on_ready(peer)
            if not peer.inbound:
                self.compact.prefer(peer)

    # messages ----------------------------------------------------------------------------------------

    def _on_ready_message(self, peer: Peer, message: Message) -> None:
        match message:
            case Ping(nonce):
                self._shared.send(peer, Pong(nonce))
            case Pong(nonce):
                self._on_pong(peer, nonce)
            case GetAddresses():
                self.connections.on_get_addresses(peer)
            case Addresses():
                self.connections.on_addresses(peer, message)
            case GetHeaders():
                self.sync.serve(peer, message)
            case Headers(headers):
                self.sync.on_headers(peer, headers)
            case GetBlocks(ids):
                self._server.on_get_blocks(peer, ids)
            case BlockMessage(block):
                self.downloads.on_block(peer, block)
            case NotFound():
                self.downloads.on_not_found(peer, message)
                self.transactions.on_not_found(peer, message)
            case SendCompact(enabled):
                peer.compact = enabled
            case CompactBlock():
                self._on_compact(peer, message)
            case GetBlockTransactions():
                self.compact.serve(peer, message)
            case BlockTransactions():
                self.compact.on_transactions(peer, message)
            case FeeFilter(fee):
                peer.fee_filter = fee
            case Inventory(wtxids) if self._relays(peer):
                self.transactions.on_inventory(peer, wtxids)
            case GetTransactions(wtxids) if self._relays(peer):
                self.transactions.on_get(peer, wtxids)
            case Transactions(raws) if self._relays(peer):
                self.transactions.on_transactions(peer, raws)
            case _:
                pass

    def _relays(self, peer: Peer) -> bool:
        """Tell whether transactions may come over this connection; drop a peer that was told they may not."""
        if peer.kind is Kind.BLOCKS_ONLY:
            self._shared.drop(peer, Fault.OUT_OF_PLACE)
            return False
        return True

    def _on_pong(self, peer: Peer, nonce: int) -> None:
        if peer.ping_nonce == nonce:
            peer.latency = min(peer.latency, self._shared.now - peer.ping_at)
            peer.ping_nonce = None

    def _on_compact(self, peer: Peer, message: CompactBlock) -> None:
        if not peer.asked_compact and peer.id in self._shared.peers:
            return  # it may have been sent before our "no more" arrived
        if self.tree.get(message.header.previous) is None:
            self.sync.ask(peer)
            return
        self.compact.on_compact(peer, message)

    # news --------------------------------------------------------------------------------------------

    def _connected(self, peer: Peer | None, block: Block) -> None:
        if peer is not None and self.downloads.left <= 1 and self.sync.near_tip():
            self.compact.prefer(peer)
        self._announce(block)

    def _announce(self, block: Block | None) -> None:
        """Tell the peers of a new head: at once, most of all when we made it."""
        tip = self._shared.ledger.tip()
        if tip.id == self._announced:
            return
        self._announced = tip.id
        self.transactions.on_tip()
        if self.downloads.left > 1 and not self.sync.near_tip():
            return  # catching up: nobody is helped by our old blocks
        head = block if block is not None and block.id == tip.id else self._shared.ledger.block(tip.id)
        for peer in self._shared.ready():
            if head is None or not self.compact.announce(peer, head):
                self.sync.announce(peer)

    # time --------------------------------------------------------------------------------------------

    def _tick(self) -> None:
        shared = self._shared
        for peer in list(shared.peers.values()):
            if peer.ready and shared.now >= peer.next_ping and peer.ping_nonce is None:
                peer.ping_nonce, peer.ping_at = shared.chance.getrandbits(64), shared.now
                peer.next_ping = shared.now + PING_SECONDS
                shared.send(peer, Ping(peer.ping_nonce))
            waits = shared.now - peer.ping_at if peer.ping_nonce is not None else 0.0
            if waits > SILENT_SECONDS or shared.now - peer.last_received > SILENT_SECONDS:
                shared.drop(peer, Fault.SILENT)
        self.connections.tick()
        self.sync.tick()
        self.downloads.tick()
        self.compact.tick()
        self.transactions.tick()
