"""The network in production: the core, driven by asyncio over TLS. All on the node's event loop."""

from __future__ import annotations

import asyncio
import random
import socket
import ssl
import time
from collections import deque
from pathlib import Path

import structlog

from chain.network.addresses_file import load_book, save_book
from chain.network.config import DEFAULT_PORTS, NetworkConfig
from chain.network.connection import Connection
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
from chain.network.core.limits import Bucket
from chain.network.core.peers import Settings
from chain.network.errors import NetworkError
from chain.network.frames import Frame, encode_frame, network_magic
from chain.network.ledger import BlockVerdict, Ledger, TransactionVerdict
from chain.network.message_codec import encode_message
from chain.network.names import Names, open_listener
from chain.network.peer_address import Net, PeerAddress, address_of, split_host_port
from chain.network.socks import connect_through
from chain.network.tls import (
    HANDSHAKE_SECONDS,
    client_context,
    ensure_certificate,
    fingerprint,
    own_fingerprint,
    server_context,
)

log = structlog.get_logger("zion.network")

HANDSHAKES_PER_MINUTE = 10
"""TLS handshakes that one /24 or /48 may begin: each costs a millisecond."""
MAX_HANDSHAKES = 32
TRANSACTION_BATCH_SECONDS = 0.005
MAX_QUEUED_TRANSACTIONS = 20_000
SAVE_SECONDS, STATUS_SECONDS = 600.0, 30.0


class NetworkService:
    """A node's connections. `start`, then `tip_moved` and `own_transaction` as things happen, then `stop`."""

    def __init__(self, ledger: Ledger, config: NetworkConfig, directory: Path) -> None:
        """Read keys and addresses. Raises `NetworkError`."""
        self._ledger, self._config, self._directory = ledger, config, directory
        self._magic = network_magic(ledger.genesis_id)
        self._port = DEFAULT_PORTS[ledger.params.network]
        certificate = ensure_certificate(directory)
        self.fingerprint = own_fingerprint(certificate)
        self._server_tls, self._client_tls = server_context(certificate), client_context()
        self._chance = random.SystemRandom()
        self._connections: dict[PeerId, Connection] = {}
        self._origins: dict[Connection, tuple[PeerAddress, Kind]] = {}
        self._next_peer = 0
        self._listeners: list[socket.socket] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._handshakes: dict[bytes, Bucket] = {}
        self._shaking = 0
        self._blocks: deque[CheckBlock] = deque()
        self._transactions: deque[CheckTransactions] = deque()
        self._working = False
        self._height_then = ledger.tip().height
        self._waiting_drain: set[PeerId] = set()
        self._proxy = split_host_port(config.proxy, 9_050) if config.proxy else None
        self._names = Names(self._port, look_up=self._proxy is None)
        self.core: Core | None = None
        self.listening: list[str] = []
        """host:port of each listener, with the port that was really taken."""

    # life --------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Listen, and begin to connect. Raises `NetworkError`."""
        port = 0
        for text in self._config.listen:
            listener = open_listener(*split_host_port(text, self._port))
            self._listeners.append(listener)
            host, port = listener.getsockname()[:2]
            self.listening.append(f"[{host}]:{port}" if ":" in host else f"{host}:{port}")
        manual = [await self._names.resolve(text) for text in self._config.connect]
        settings = Settings(
            agent=self._config.agent,
            port=port,
            manual=tuple(address for one in manual for address in one[:1]),
            local=self._config.local,
            discover=self._config.discover,
        )
        book = load_book(self._directory, self._chance, self._ledger.now())
        self.core = Core(self._ledger, settings, self._chance, book)
        if self.listening:
            (self._directory / "p2p_address").write_text(f"{self.fingerprint}@{self.listening[0]}")
        log.info("network started", listening=self.listening, key=self.fingerprint)
        for listener in self._listeners:
            self._spawn(self._accept(listener))
        self._spawn(self._tick())
        if self._config.discover:
            self._spawn(self._names.add_seeds(book, self._config, self._ledger.now()))

    async def stop(self) -> None:
        """Close all connections; keep what is known of addresses."""
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for listener in self._listeners:
            listener.close()
        if self.core is not None:
            self.core.connections.keep_anchors()
            save_book(self._directory, self.core.connections.book)
        for connection in list(self._connections.values()):
            connection.close()
        await asyncio.sleep(0)

    def _spawn(self, work: object) -> None:
        task = asyncio.ensure_future(work)  # type: ignore[call-overload]
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("a task of the network ended", error=repr(error), exc_info=error)

    # news of the node --------------------------------------------------------------------------------

    def tip_moved(self) -> None:
        """The chain has a new head that may not have come from here."""
        self._give(TipMoved())

    def own_transaction(self, raw: bytes, fee: int) -> None:
        """The mempool took a transaction that may not have come from here."""
        self._give(OwnTransaction(raw, fee))

    # events and effects ------------------------------------------------------------------------------

    def _give(self, event: Event) -> None:
        if self.core is None:
            return
        for effect in self.core.handle(event, time.monotonic()):
            self._do(effect)

    def _do(self, effect: Effect) -> None:
        match effect:
            case Send(peer, message):
                connection = self._connections.get(peer)
                if connection is not None:
                    connection.write(encode_frame(self._magic, *encode_message(message)))
            case Drop(peer, fault):
                connection = self._connections.pop(peer, None)
                if connection is not None:
                    address, _ = self._origins.get(connection, (None, None))
                    log.info("peer left", peer=peer, address=str(address), reason=fault.value)
                    connection.close()
            case Dial(address, kind):
                self._spawn(self._dial(address, kind))
            case CheckBlock():
                self._blocks.append(effect)
                self._work_soon()
            case CheckTransactions():
                self._transactions.append(effect)
                while len(self._transactions) > MAX_QUEUED_TRANSACTIONS:
                    self._transactions.popleft()
                self._work_soon()
            case AwaitDrain(peer):
                self._waiting_drain.add(peer)
                connection = self._connections.get(peer)
                if connection is not None and not connection.congested:
                    asyncio.get_running_loop().call_soon(self.drained, connection)

    def _work_soon(self) -> None:
        if not self._working:
            self._working = True
            asyncio.get_running_loop().call_soon(self._work)

    def _work(self) -> None:
        """Do one piece: a block first, else transactions for 5 ms; then let the loop turn."""
        self._working = False
        if self._blocks:
            asked = self._blocks.popleft()
            verdict: BlockVerdict = self._ledger.accept_block(asked.block)
            self._give(BlockChecked(asked.peer, asked.block, verdict))
        elif self._transactions:
            work = self._transactions.popleft()
            until = time.monotonic() + TRANSACTION_BATCH_SECONDS
            verdicts: list[TransactionVerdict] = []
            for raw in work.raws:
                verdicts.append(self._ledger.accept_transaction(raw))
                if time.monotonic() > until:
                    break
            done = work.raws[: len(verdicts)]
            if len(done) < len(work.raws):
                self._transactions.appendleft(CheckTransactions(work.peer, work.raws[len(done) :]))
            self._give(TransactionsChecked(work.peer, done, tuple(verdicts)))
        if self._blocks or self._transactions:
            self._work_soon()

    # connections -------------------------------------------------------------------------------------

    def opened(self, connection: Connection) -> None:
        """A connection is open: tell the core."""
        origin = self._origins.get(connection)
        if origin is None:
            raise AssertionError("a connection without an origin")
        address, kind = origin
        pin = self._names.pins.get(address)
        if pin is not None and kind is not Kind.INBOUND:
            tls = connection.transport.get_extra_info("ssl_object")
            if fingerprint(tls.getpeercert(binary_form=True) or b"") != pin:
                log.error("a peer has another key than the one pinned", address=str(address))
                connection.close()
                self._give(DialFailed(address, kind))
                return
        peer = PeerId(self._next_peer)
        self._next_peer += 1
        connection.peer = peer
        self._connections[peer] = connection
        self._give(Connected(peer, address, kind))

    def frame(self, connection: Connection, frame: Frame) -> None:
        """A frame came: tell the core."""
        if connection.peer is not None:
            self._give(Received(connection.peer, frame.type, frame.payload))

    def drained(self, connection: Connection) -> None:
        """What waited for a peer has gone out: tell the core, if it asked."""
        if connection.peer in self._waiting_drain and not connection.closed:
            self._waiting_drain.discard(connection.peer)
            self._give(Drained(connection.peer))

    def lost(self, connection: Connection, fault: Fault | None) -> None:
        """A connection is closed: tell the core."""
        self._origins.pop(connection, None)
        if connection.peer is not None:
            self._connections.pop(connection.peer, None)
            self._waiting_drain.discard(connection.peer)
            self._give(Disconnected(connection.peer, fault))

    async def _dial(self, address: PeerAddress, kind: Kind) -> None:
        connection = Connection(self, self._magic, inbound=False)
        self._origins[connection] = (address, kind)
        try:
            async with asyncio.timeout(2 * HANDSHAKE_SECONDS):
                await self._open(connection, address)
        except (OSError, ssl.SSLError, NetworkError, TimeoutError) as error:
            self._origins.pop(connection, None)
            log.debug("no connection", address=str(address), error=str(error))
            self._give(DialFailed(address, kind))

    async def _open(self, connection: Connection, address: PeerAddress) -> None:
        loop = asyncio.get_running_loop()
        if self._proxy is not None:
            sock = await connect_through(self._proxy, address)
        elif address.net is Net.ONION:
            raise NetworkError("an onion service is reached through a proxy", hint="give --proxy")
        else:
            family = socket.AF_INET if address.net is Net.IPV4 else socket.AF_INET6
            sock = socket.socket(family, socket.SOCK_STREAM)
            sock.setblocking(False)
            try:
                if self._config.source is not None:
                    sock.bind((self._config.source, 0))
                await loop.sock_connect(sock, (address.host, address.port))
            except BaseException:
                sock.close()
                raise
        await loop.create_connection(
            lambda: connection,
            sock=sock,
            ssl=self._client_tls,
            server_hostname="zion",
            ssl_handshake_timeout=HANDSHAKE_SECONDS,
        )

    async def _accept(self, listener: socket.socket) -> None:
        """Take connections; refuse before the handshake what is discouraged or comes too often."""
        loop = asyncio.get_running_loop()
        while True:
            try:
                sock, name = await loop.sock_accept(listener)
            except OSError as error:  # out of file descriptors, say
                log.warning("no connection can be accepted", error=str(error))
                await asyncio.sleep(1)
                continue
            sock.setblocking(False)
            address = address_of(str(name[0]), int(name[1]))
            if self.core is None or not self._may_shake(address):
                sock.close()
                continue
            self._spawn(self._shake(sock, address))

    def _may_shake(self, address: PeerAddress) -> bool:
        if self._shaking >= MAX_HANDSHAKES or (
            self.core is not None and self.core.connections.is_discouraged(address)
        ):
            return False
        bucket = self._handshakes.setdefault(
            address.subnet, Bucket(HANDSHAKES_PER_MINUTE, HANDSHAKES_PER_MINUTE / 60)
        )
        while len(self._handshakes) > 10_000:
            del self._handshakes[next(iter(self._handshakes))]
        return bucket.take(time.monotonic())

    async def _shake(self, sock: socket.socket, address: PeerAddress) -> None:
        connection = Connection(self, self._magic, inbound=True)
        self._origins[connection] = (address, Kind.INBOUND)
        self._shaking += 1
        try:
            await asyncio.get_running_loop().connect_accepted_socket(
                lambda: connection, sock, ssl=self._server_tls, ssl_handshake_timeout=HANDSHAKE_SECONDS
            )
        except (OSError, ssl.SSLError, TimeoutError) as error:
            self._origins.pop(connection, None)
            sock.close()
            log.debug("no handshake", address=str(address), error=str(error))
        finally:
            self._shaking -= 1

    # time --------------------------------------------------------------------------------------------

    async def _tick(self) -> None:
        next_save = time.monotonic() + SAVE_SECONDS
        next_status = time.monotonic() + STATUS_SECONDS
        while True:
            await asyncio.sleep(TICK_SECONDS)
            now = time.monotonic()
            try:
                self._give(Tick())
                for connection in list(self._connections.values()):
                    connection.check(now)
                if now >= next_status:
                    next_status = now + STATUS_SECONDS
                    self._log_status()
                if now >= next_save and self.core is not None:
                    next_save = now + SAVE_SECONDS
                    save_book(self._directory, self.core.connections.book)
            except Exception:  # one bad moment must not end the network
                log.exception("a tick of the network failed")

    def _log_status(self) -> None:
        core = self.core
        if core is not None:
            height, left = self._ledger.tip().height, core.downloads.left
            rate = max(0.0, (height - self._height_then) / STATUS_SECONDS)
            self._height_then = height
            log.info(
                "network",
                peers=sum(1 for peer in core.peers if peer.ready),
                height=height,
                blocks_left=left,
                seconds_left=round(left / rate) if left and rate else None,
                addresses=len(core.connections.book),
            )
