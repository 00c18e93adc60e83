"""The address book: where other nodes are said to be, in tables that one party cannot fill.

Two tables, as in Bitcoin Core's addrman: "new" for addresses that somebody named, "tried" for those that
answered us. An address's bucket follows from a secret salt, its netgroup and (new) the netgroup of the peer
that named it. So one source reaches at most 64 of the 1,024 new buckets, and one netgroup at most 8 of the
256 tried ones. A bucket has 64 places; an occupied place is only given up by an address that is stale.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

import msgspec

from chain.network.core.peers import Chance
from chain.network.peer_address import Net, PeerAddress
from chain.rules.hashing import sha256

NEW_BUCKETS, TRIED_BUCKETS, BUCKET_PLACES = 1_024, 256, 64
BUCKETS_PER_SOURCE, BUCKETS_PER_GROUP = 64, 8
HORIZON_SECONDS = 30 * 86_400
"""An address that nobody has seen for so long is stale."""
MAX_FAILURES = 3
RETRY_SECONDS = 600
SHARE_PERCENT, MAX_SHARED = 23, 1_000


@dataclass(slots=True)
class Entry:
    """A known address. Times are Unix seconds."""

    address: PeerAddress
    source: bytes
    seen: int
    services: int = 0
    last_try: int = 0
    failures: int = 0
    tried: bool = False


class SavedEntry(msgspec.Struct, frozen=True, array_like=True):
    """An entry in the file."""

    net: int
    raw: bytes
    port: int
    source: bytes
    seen: int
    services: int
    failures: int
    tried: bool


class SavedBook(msgspec.Struct, frozen=True, array_like=True):
    """The file: the salt that decides on buckets, all entries, and the anchors."""

    version: int
    salt: bytes
    entries: list[SavedEntry]
    anchors: list[tuple[int, bytes, int]] = []


@dataclass(slots=True)
class _Table:
    places: dict[tuple[int, int], PeerAddress] = field(default_factory=dict)


class AddressBook:
    """Known addresses. Bounded: 65,536 new and 16,384 tried ones at most."""

    def __init__(self, chance: Chance, salt: bytes = b"") -> None:
        self._chance = chance
        self.salt = salt or chance.getrandbits(256).to_bytes(32, "little")
        self._entries: dict[PeerAddress, Entry] = {}
        self._new, self._tried = _Table(), _Table()
        self._new_list: list[PeerAddress] = []
        self._tried_list: list[PeerAddress] = []
        self.anchors: tuple[PeerAddress, ...] = ()
        """Blocks-only peers of the last run: dialled first, a restart cannot be used to isolate us."""

    def __len__(self) -> int:
        return len(self._entries)

    @property
    def tried(self) -> int:
        """Addresses that answered us."""
        return len(self._tried.places)

    def get(self, address: PeerAddress) -> Entry | None:
        """Return what is known of an address."""
        return self._entries.get(address)

    def _hash(self, *parts: bytes) -> int:
        joined = b"".join(len(part).to_bytes(2, "little") + part for part in (self.salt, *parts))
        return int.from_bytes(sha256(joined)[:8], "little")

    def _place(self, address: PeerAddress, source: bytes, tried: bool) -> tuple[int, int]:
        key = address.host_key + address.port.to_bytes(2, "little")
        if tried:
            spread = self._hash(b"t", key) % BUCKETS_PER_GROUP
            bucket = self._hash(b"T", address.group, bytes([spread])) % TRIED_BUCKETS
        else:
            spread = self._hash(b"n", address.group, source) % BUCKETS_PER_SOURCE
            bucket = self._hash(b"N", source, bytes([spread])) % NEW_BUCKETS
        place = self._hash(b"p", bytes([tried]), bucket.to_bytes(4, "little"), key) % BUCKET_PLACES
        return bucket, place

    def _stale(self, entry: Entry, now: int) -> bool:
        if entry.seen > now + 600 or entry.seen < now - HORIZON_SECONDS:
            return True
        return entry.failures >= MAX_FAILURES and not entry.tried

    def add(self, address: PeerAddress, source: bytes, seen: int, now: int, services: int = 0) -> bool:
        """Note an address that a peer of netgroup `source` named. True if it is new and found a place."""
        known = self._entries.get(address)
        if known is not None:
            known.seen = max(known.seen, min(seen, now))
            return False
        seen = min(seen, now) if seen <= now + 600 else now - 5 * 86_400
        entry = Entry(address, source, seen, services)
        if self._stale(entry, now):
            return False
        place = self._place(address, source, tried=False)
        holder = self._new.places.get(place)
        if holder is not None:
            if not self._stale(self._entries[holder], now):
                return False
            self._forget(holder)
        self._new.places[place] = address
        self._entries[address] = entry
        self._new_list.append(address)
        return True

    def _forget(self, address: PeerAddress) -> None:
        entry = self._entries.pop(address, None)
        if entry is None:
            return
        table, names = (self._tried, self._tried_list) if entry.tried else (self._new, self._new_list)
        place = self._place(address, entry.source, entry.tried)
        if table.places.get(place) == address:
            del table.places[place]
        names.remove(address)

    def good(self, address: PeerAddress, now: int, services: int = 0) -> None:
        """Note that a node answered at an address."""
        entry = self._entries.get(address)
        if entry is None:
            entry = Entry(address, address.group, now)
        else:
            self._forget(address)
        entry.seen, entry.failures, entry.services, entry.last_try = now, 0, services, now
        entry.tried = True
        place = self._place(address, entry.source, tried=True)
        holder = self._tried.places.get(place)
        if holder is not None:
            old = self._entries[holder]
            self._forget(holder)
            if now - old.seen < HORIZON_SECONDS and old.failures == 0:
                self.add(holder, old.source, old.seen, now, old.services)  # back among the new ones
        self._tried.places[place] = address
        self._entries[address] = entry
        self._tried_list.append(address)

    def failed(self, address: PeerAddress, now: int) -> None:
        """Note that nobody answered."""
        entry = self._entries.get(address)
        if entry is not None:
            entry.last_try = now
            entry.failures += 1
            if entry.failures >= 2 * MAX_FAILURES:
                self._forget(address)

    def trying(self, address: PeerAddress, now: int) -> None:
        """Note that an address is being dialled."""
        entry = self._entries.get(address)
        if entry is not None:
            entry.last_try = now

    def pick(self, now: int, avoid: Iterable[bytes] = (), *, only_new: bool = False) -> PeerAddress | None:
        """Choose an address to dial: half the time a tried one. None if nothing fits within 50 draws."""
        avoided = set(avoid)
        for _ in range(50):
            from_tried = (
                not only_new and self._tried_list and (not self._new_list or self._chance.random() < 0.5)
            )
            names = self._tried_list if from_tried else self._new_list
            if not names:
                return None
            address = names[int(self._chance.random() * len(names))]
            entry = self._entries[address]
            waiting = now - entry.last_try < RETRY_SECONDS * (1 + entry.failures) and entry.last_try
            if waiting or address.group in avoided or self._stale(entry, now):
                continue
            return address
        return None

    def share(self, now: int) -> list[Entry]:
        """Return what getaddr is answered with: at most 23 % of what is known, and 1,000."""
        fresh = [entry for entry in self._entries.values() if not self._stale(entry, now)]
        count = min(MAX_SHARED, -(-len(fresh) * SHARE_PERCENT // 100))
        keyed = sorted(fresh, key=lambda _: self._chance.random())
        return keyed[:count]

    # the file ----------------------------------------------------------------------------------------

    def save(self) -> bytes:
        """Return the file's content."""
        entries = [
            SavedEntry(
                entry.address.net, entry.address.raw, entry.address.port, entry.source, entry.seen,
                entry.services, entry.failures, entry.tried,
            )
            for entry in self._entries.values()
        ]  # fmt: skip
        anchors = [(int(one.net), one.raw, one.port) for one in self.anchors]
        return msgspec.msgpack.encode(SavedBook(1, self.salt, entries, anchors))

    @staticmethod
    def load(data: bytes, chance: Chance, now: int) -> AddressBook:
        """Read a file. Raises `ValueError` for anything else (`msgspec`'s errors are `ValueError`s)."""
        saved = msgspec.msgpack.decode(data, type=SavedBook)
        if saved.version != 1 or len(saved.salt) != 32:
            raise ValueError("not an address book of this version")
        book = AddressBook(chance, saved.salt)
        for one in saved.entries:
            address = PeerAddress(Net(one.net), one.raw, one.port)
            if one.tried:
                book.good(address, one.seen, one.services)
            elif book.add(address, one.source, one.seen, now, one.services):
                book._entries[address].failures = one.failures
        book.anchors = tuple(PeerAddress(Net(net), raw, port) for net, raw, port in saved.anchors)
        return book
