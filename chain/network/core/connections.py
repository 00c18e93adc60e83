"""Which connections exist: outbound by netgroup, anchors, feelers, those named; inbound evicted fairly."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import Any

from chain.network.core.addresses import AddressBook
from chain.network.core.events import PROVEN, Dial, Fault, Kind
from chain.network.core.peers import Peer, Shared
from chain.network.messages import AddressEntry, Addresses, GetAddresses
from chain.network.peer_address import Net, PeerAddress
from chain.rules.hashing import sha256

DISCOURAGED_SECONDS = 86_400.0
MAX_DISCOURAGED = 10_000
SUBNET_LIMIT = 8
"""So many discouraged addresses of one /24 or /48 discourage all of it."""
FEELER_SECONDS = 120.0
MANUAL_RETRY_SECONDS = (1.0, 2.0, 5.0, 10.0, 30.0, 60.0)
DIAL_SECONDS = 0.5
ADDRESS_TRICKLE_SECONDS = 30.0
HELLO_SECONDS = 60.0
_THIS_MACHINE = frozenset({(Net.IPV4, bytes([127, 0, 0, 1])), (Net.IPV6, bytes(15) + b"\x01")})


class Connections:
    """Decides whom to dial, whom to let in and whom to leave."""

    def __init__(self, shared: Shared, book: AddressBook) -> None:
        self._shared, self.book = shared, book
        self._discouraged: OrderedDict[bytes, float] = OrderedDict()
        self._subnets: dict[bytes, set[bytes]] = {}
        self._dialling: dict[PeerAddress, Kind] = {}
        self._manual_retry: dict[PeerAddress, tuple[int, float]] = {}
        self._next_dial = 0.0
        self._next_feeler = FEELER_SECONDS
        self._anchors = list(book.anchors)
        self.own: set[PeerAddress] = set()
        """Addresses that turned out to be this very node."""
        shared.on_gone.append(self._gone)

    # discouragement ----------------------------------------------------------------------------------

    def discourage(self, address: PeerAddress) -> None:
        """Refuse connections from and to a host for a day; this machine itself is never refused."""
        if (address.net, address.raw) in _THIS_MACHINE:
            return
        until = self._shared.now + DISCOURAGED_SECONDS
        self._discouraged[address.host_key] = until
        subnet = self._subnets.setdefault(address.subnet, set())
        subnet.add(address.host_key)
        subnet &= {one for one in subnet if self._discouraged.get(one, 0.0) > self._shared.now}
        if len(subnet) >= SUBNET_LIMIT:
            self._discouraged[b"subnet" + address.subnet] = until
        while len(self._discouraged) > MAX_DISCOURAGED:
            self._discouraged.popitem(last=False)
        while len(self._subnets) > MAX_DISCOURAGED:
            del self._subnets[next(iter(self._subnets))]

    def is_discouraged(self, address: PeerAddress) -> bool:
        """Tell whether a host is refused now."""
        for key in (address.host_key, b"subnet" + address.subnet):
            until = self._discouraged.get(key)
            if until is not None and until > self._shared.now:
                return True
        return False

    # inbound -----------------------------------------------------------------------------------------

    def admit(self, peer: Peer) -> bool:
        """Let a connection in, if need be by evicting another. False: it was dropped."""
        self._dialling.pop(peer.address, None)
        if not peer.inbound:
            return True
        if self.is_discouraged(peer.address):
            self._shared.drop(peer, Fault.DISCOURAGED)
            return False
        inbound = [one for one in self._shared.peers.values() if one.inbound]
        if len(inbound) <= self._shared.settings.inbound:
            return True
        victim = self._victim([one for one in inbound if one is not peer])
        if victim is None:
            self._shared.drop(peer, Fault.FULL)
            return False
        self._shared.drop(victim, Fault.EVICTED)
        return True

    def _victim(self, inbound: list[Peer]) -> Peer | None:
        """Choose an inbound peer to evict; protected are those that an attacker cannot easily outdo.

        Protected: 4 netgroups chosen by a secret, the 8 quickest to answer, the 4 that gave blocks and the 4
        that gave transactions last, and of the rest the longer connected half. Then the youngest of the
        largest netgroup goes. After Bitcoin Core's `SelectNodeToEvict`.
        """
        left = list(inbound)

        def protect(count: int, key: Callable[[Peer], Any]) -> None:
            left.sort(key=key, reverse=True)
            del left[:count]

        protect(4, lambda one: sha256(self.book.salt + one.address.group))
        protect(8, lambda one: -one.latency)
        protect(4, lambda one: one.transactions_given)
        protect(4, lambda one: (one.blocks_given > 0, one.last_block))
        protect(len(left) // 2, lambda one: -one.since)
        if not left:
            return None
        groups: dict[bytes, list[Peer]] = {}
        for one in left:
            groups.setdefault(one.address.group, []).append(one)
        largest = max(groups.values(), key=lambda group: (len(group), max(one.since for one in group)))
        return max(largest, key=lambda one: (one.since, one.id))

    # outbound ----------------------------------------------------------------------------------------

    def dial_failed(self, address: PeerAddress) -> None:
        """Note that nobody answered."""
        self._dialling.pop(address, None)
        self.book.failed(address, self._shared.ledger.now())
        self._later(address)

    def _later(self, address: PeerAddress) -> None:
        if address in self._shared.settings.manual:
            tries, _ = self._manual_retry.get(address, (0, 0.0))
            wait = MANUAL_RETRY_SECONDS[min(tries, len(MANUAL_RETRY_SECONDS) - 1)]
            self._manual_retry[address] = (tries + 1, self._shared.now + wait)

    def on_ready(self, peer: Peer) -> None:
        """Note a node that answered, and ask it for addresses; of one that came, note where it listens."""
        if peer.inbound:
            self._note_listener(peer)
            return
        now = self._shared.ledger.now()
        self._manual_retry.pop(peer.address, None)
        hello = peer.hello
        if peer.address.routable or self._shared.settings.local:
            self.book.good(peer.address, now, hello.services if hello else 0)
        if peer.kind is Kind.FEELER:
            self._shared.drop(peer, Fault.DONE)
            return
        peer.asked_addresses = True
        self._shared.send(peer, GetAddresses())

    def _note_listener(self, peer: Peer) -> None:
        port = peer.hello.port if peer.hello is not None else 0
        address = PeerAddress(peer.address.net, peer.address.raw, port)
        if not (address.routable or (self._shared.settings.local and port)):
            return
        now = self._shared.ledger.now()
        services = peer.hello.services if peer.hello is not None else 0
        if self.book.add(address, peer.address.group, now, now, services):
            self._pass_on(peer, [AddressEntry(now & 0xFFFFFFFF, services, address)])

    def _gone(self, peer: Peer, fault: Fault | None) -> None:
        if fault in PROVEN:
            self.discourage(peer.address)
        if peer.kind is Kind.MANUAL:
            self._later(peer.address)
        elif not peer.inbound and not peer.ready:
            self.book.failed(peer.address, self._shared.ledger.now())

    def tick(self) -> None:
        """Leave peers without a hello, dial what is missing."""
        shared, now = self._shared, self._shared.now
        for peer in list(shared.peers.values()):
            if not peer.ready and now - peer.since > HELLO_SECONDS:
                shared.drop(peer, Fault.NO_HELLO)
        connected = {peer.address for peer in shared.peers.values() if not peer.inbound}
        for address in shared.settings.manual:
            _, not_before = self._manual_retry.get(address, (0, 0.0))
            if address in connected or address in self._dialling or address in self.own or now < not_before:
                continue
            self._dial(address, Kind.MANUAL)
        if not shared.settings.discover or now < self._next_dial:
            return
        self._next_dial = now + DIAL_SECONDS
        have = {kind: self._count(kind) for kind in (Kind.FULL, Kind.BLOCKS_ONLY)}
        if have[Kind.BLOCKS_ONLY] < shared.settings.blocks_only and self._anchors:
            self._dial(self._anchors.pop(0), Kind.BLOCKS_ONLY)
        elif have[Kind.FULL] < shared.settings.full:
            self._dial_new(Kind.FULL)
        elif have[Kind.BLOCKS_ONLY] < shared.settings.blocks_only:
            self._dial_new(Kind.BLOCKS_ONLY)
        elif now >= self._next_feeler:
            self._next_feeler = now + shared.chance.expovariate(1 / FEELER_SECONDS)
            self._dial_new(Kind.FEELER)

    def _count(self, kind: Kind) -> int:
        open_ones = sum(1 for peer in self._shared.peers.values() if peer.kind is kind)
        return open_ones + sum(1 for one in self._dialling.values() if one is kind)

    def _dial_new(self, kind: Kind) -> None:
        """Dial an address of a netgroup that no outbound connection has."""
        taken = [peer.address.group for peer in self._shared.peers.values() if not peer.inbound]
        taken += [address.group for address in self._dialling]
        address = self.book.pick(self._shared.ledger.now(), taken, only_new=kind is Kind.FEELER)
        if address is not None:
            self._dial(address, kind)

    def _dial(self, address: PeerAddress, kind: Kind) -> None:
        if address in self.own or address in self._dialling:
            return
        if kind is not Kind.MANUAL and self.is_discouraged(address):
            return
        self._dialling[address] = kind
        self.book.trying(address, self._shared.ledger.now())
        self._shared.effects.append(Dial(address, kind))

    def keep_anchors(self) -> None:
        """Note the blocks-only peers of now as anchors of the next run."""
        anchors = [peer for peer in self._shared.ready() if peer.kind is Kind.BLOCKS_ONLY]
        self.book.anchors = tuple(peer.address for peer in anchors[:2])

    # addresses ---------------------------------------------------------------------------------------

    def on_get_addresses(self, peer: Peer) -> None:
        """Answer once, and only those who came to us: others could fingerprint the node with it."""
        if not peer.inbound or peer.gave_addresses:
            return
        peer.gave_addresses = True
        entries = [
            AddressEntry(max(entry.seen, 0) & 0xFFFFFFFF, entry.services, entry.address)
            for entry in self.book.share(self._shared.ledger.now())
        ]
        if entries:
            self._shared.send(peer, Addresses(tuple(entries)))

    def on_addresses(self, peer: Peer, message: Addresses) -> None:
        """Take addresses within the peer's budget; the rest are not looked at."""
        if peer.kind is Kind.BLOCKS_ONLY:
            return
        if peer.asked_addresses:
            peer.asked_addresses = False
            peer.address_tokens.take(self._shared.now, 0)
            peer.address_tokens.add(1_000)
        now = self._shared.ledger.now()
        fresh = []
        for entry in message.entries:
            if not peer.address_tokens.take(self._shared.now):
                break
            if not (entry.address.routable or (self._shared.settings.local and entry.address.port)):
                continue
            if self.is_discouraged(entry.address):
                continue
            if self.book.add(entry.address, peer.address.group, entry.time, now, entry.services):
                fresh.append(entry)
        if fresh and len(message.entries) <= 10:
            self._pass_on(peer, fresh)

    def _pass_on(self, origin: Peer, entries: list[AddressEntry]) -> None:
        """Send news of addresses to two peers, the same two for an address all day."""
        day = self._shared.ledger.now() // 86_400
        others = [peer for peer in self._shared.ready() if peer is not origin and peer.relays]
        for entry in entries:
            key = entry.address.host_key + day.to_bytes(8, "little")
            others.sort(key=lambda one: sha256(self.book.salt + key + one.id.to_bytes(8, "little")))
            for peer in others[:2]:
                self._shared.send(peer, Addresses((entry,)))
