"""Relay of transactions, all by wtxid: inventories, requests, refusals remembered, those that must wait."""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Iterable
from dataclasses import dataclass, field

from chain.network.codec import WtxId, wtxid_of
from chain.network.core.events import CheckTransactions, Fault, PeerId
from chain.network.core.orphans import Orphans
from chain.network.core.peers import Peer, Shared
from chain.network.core.rolling import RollingSet
from chain.network.ledger import TransactionFault, TransactionVerdict
from chain.network.messages import (
    MAX_GET_TRANSACTIONS,
    MAX_INVENTORY,
    FeeFilter,
    GetTransactions,
    Inventory,
    NotFound,
    Transactions,
    Type,
)

INBOUND_SECONDS, OUTBOUND_SECONDS = 5.0, 2.0
"""Mean time between inventories to a peer (Poisson): a stranger cannot tell where a transaction came from."""
MAX_LOG = 20_000
"""Accepted transactions that are kept for announcing; a peer that is further behind misses the oldest."""
MAX_WANTED = 20_000
MAX_WANTED_PER_PEER = 5_000
MAX_IN_FLIGHT = 100
REQUEST_SECONDS = 20.0
INBOUND_DELAY = 2.0
"""Outbound peers are asked first: they are harder to have been placed by somebody."""
REFUSED = 50_000
FEE_FILTER_SECONDS = 60.0


@dataclass(slots=True)
class Wanted:
    """An announced transaction that is not here, the peers that have it, whom it was asked of and when."""

    peers: deque[PeerId] = field(default_factory=deque)
    asked: PeerId | None = None
    since: float = 0.0
    not_before: float = 0.0


class TransactionRelay:
    """What peers announce, what is fetched, and what is announced to them."""

    def __init__(self, shared: Shared) -> None:
        self._shared = shared
        self._log: deque[tuple[WtxId, int]] = deque(maxlen=MAX_LOG)
        self._logged = 0
        """Entries ever logged: the last one's number."""
        self._wanted: OrderedDict[WtxId, Wanted] = OrderedDict()
        self._invalid = RollingSet(REFUSED)
        self._refused = RollingSet(REFUSED)
        """Refused by policy; forgotten when the head moves."""
        self.orphans = Orphans(shared)
        shared.on_gone.append(self._gone)

    def on_ready(self, peer: Peer) -> None:
        """Begin with a new peer: it hears of transactions from now on."""
        peer.cursor = self._logged
        peer.next_inventory = self._shared.now + self._shared.chance.expovariate(1 / self._mean(peer))
        self._send_fee(peer)

    @staticmethod
    def _mean(peer: Peer) -> float:
        return INBOUND_SECONDS if peer.inbound else OUTBOUND_SECONDS

    # announcing --------------------------------------------------------------------------------------

    def log(self, wtxid: WtxId, fee: int) -> None:
        """Note a transaction that the mempool took: it will be announced."""
        self._log.append((wtxid, fee))
        self._logged += 1

    def _announce(self, peer: Peer) -> None:
        behind = min(self._logged - peer.cursor, len(self._log))
        first = len(self._log) - behind
        ids: list[WtxId] = []
        taken = 0
        for position in range(first, len(self._log)):
            if len(ids) == MAX_INVENTORY:
                break
            taken += 1
            wtxid, fee = self._log[position]
            if fee < peer.fee_filter or wtxid in peer.known:
                continue
            if self._shared.ledger.transaction(wtxid) is None:
                continue
            peer.known.add(wtxid)
            ids.append(wtxid)
        peer.cursor = self._logged - behind + taken
        if ids:
            self._shared.send(peer, Inventory(tuple(dict.fromkeys(ids))))

    def _send_fee(self, peer: Peer) -> None:
        fee = self._shared.ledger.least_fee()
        if fee != peer.sent_fee:
            peer.sent_fee = fee
            self._shared.send(peer, FeeFilter(fee))

    # fetching ----------------------------------------------------------------------------------------

    def on_inventory(self, peer: Peer, wtxids: tuple[WtxId, ...]) -> None:
        """Note what a peer has."""
        for wtxid in wtxids:
            peer.known.add(wtxid)
            if self._is_known(wtxid):
                continue
            wanted = self._wanted.get(wtxid)
            if wanted is None:
                if len(self._wanted) >= MAX_WANTED:
                    break
                wanted = self._wanted[wtxid] = Wanted(
                    not_before=self._shared.now + (INBOUND_DELAY if peer.inbound else 0.0)
                )
            elif not peer.inbound:
                wanted.not_before = min(wanted.not_before, self._shared.now)
            if peer.id not in wanted.peers and peer.announced < MAX_WANTED_PER_PEER and len(wanted.peers) < 8:
                peer.announced += 1
                wanted.peers.append(peer.id)
        self._request(wtxids)

    def _is_known(self, wtxid: WtxId) -> bool:
        return (
            wtxid in self._invalid
            or wtxid in self._refused
            or wtxid in self.orphans
            or self._shared.ledger.transaction(wtxid) is not None
        )

    def _request(self, among: Iterable[WtxId]) -> None:
        orders: dict[PeerId, list[WtxId]] = {}
        now, peers = self._shared.now, self._shared.peers
        for wtxid in among:
            wanted = self._wanted.get(wtxid)
            if wanted is None or wanted.asked is not None or now < wanted.not_before:
                continue
            for _ in range(len(wanted.peers)):
                peer = peers.get(wanted.peers[0])
                if peer is None:
                    wanted.peers.popleft()
                    continue
                if len(peer.asked_transactions) >= MAX_IN_FLIGHT:
                    wanted.peers.rotate(-1)
                    continue
                wanted.peers.popleft()
                peer.announced -= 1
                peer.asked_transactions.add(wtxid)
                wanted.asked, wanted.since = peer.id, now
                orders.setdefault(peer.id, []).append(wtxid)
                break
            if wanted.asked is None and not wanted.peers:
                del self._wanted[wtxid]
        for peer_id, ids in orders.items():
            for start in range(0, len(ids), MAX_GET_TRANSACTIONS):
                batch = tuple(ids[start : start + MAX_GET_TRANSACTIONS])
                self._shared.send(peers[peer_id], GetTransactions(batch))

    def on_get(self, peer: Peer, wtxids: tuple[WtxId, ...]) -> None:
        """Serve transactions that were announced to this peer."""
        raws, missing = [], []
        for wtxid in wtxids:
            raw = self._shared.ledger.transaction(wtxid) if wtxid in peer.known else None
            if raw is None:
                missing.append(wtxid)
            else:
                raws.append(raw)
        if raws:
            self._shared.send(peer, Transactions(tuple(raws)))
        if missing:
            self._shared.send(peer, NotFound(Type.GET_TRANSACTIONS, tuple(missing)))

    def on_transactions(self, peer: Peer, raws: tuple[bytes, ...]) -> None:
        """Take transactions. Those not asked of this peer are ignored: the request may have timed out."""
        wanted = []
        for raw in raws:
            wtxid = wtxid_of(raw)
            if wtxid in peer.asked_transactions:
                peer.asked_transactions.discard(wtxid)
                self._unwant(wtxid)
                wanted.append(raw)
        if wanted:
            self._shared.effects.append(CheckTransactions(peer.id, tuple(wanted)))
            if not peer.asked_transactions and peer.announced:
                self._request(list(self._wanted))

    def _unwant(self, wtxid: WtxId) -> None:
        """Forget that a transaction is wanted, and that others announced it."""
        wanted = self._wanted.pop(wtxid, None)
        for peer_id in wanted.peers if wanted is not None else ():
            if (peer := self._shared.peers.get(peer_id)) is not None:
                peer.announced -= 1

    def on_not_found(self, peer: Peer, message: NotFound) -> None:
        """Ask somebody else."""
        if message.kind != Type.GET_TRANSACTIONS:
            return
        for wtxid in message.ids:
            self._give_up(peer, WtxId(wtxid))
        self._request([WtxId(wtxid) for wtxid in message.ids])

    def _give_up(self, peer: Peer, wtxid: WtxId) -> None:
        peer.asked_transactions.discard(wtxid)
        wanted = self._wanted.get(wtxid)
        if wanted is not None and wanted.asked == peer.id:
            wanted.asked = None

    def on_checked(
        self, peer: Peer | None, raws: tuple[bytes, ...], verdicts: tuple[TransactionVerdict, ...]
    ) -> None:
        """Go on after the mempool's verdicts."""
        again: list[bytes] = []
        for raw, verdict in zip(raws, verdicts, strict=True):
            if verdict.accepted:
                self.log(verdict.wtxid, verdict.fee)
                if peer is not None:
                    peer.transactions_given = self._shared.now
                again += self.orphans.released_by(verdict.sender, verdict.nonce)
            elif verdict.fault is TransactionFault.INVALID:
                self._invalid.add(verdict.wtxid)
                if peer is not None:
                    self._shared.drop(peer, Fault.BAD_TRANSACTION)
            elif verdict.fault is TransactionFault.WAITS:
                self.orphans.add(peer.id if peer else None, raw, verdict)
            else:
                self._refused.add(verdict.wtxid)
        if again:
            origin = peer.id if peer is not None else PeerId(-1)
            self._shared.effects.append(CheckTransactions(origin, tuple(again)))

    def on_tip(self) -> None:
        """The head moved: what was refused may be valid now."""
        self._refused.clear()
        retried = self.orphans.retry()
        if retried:
            self._shared.effects.append(CheckTransactions(PeerId(-1), tuple(retried)))

    def _gone(self, peer: Peer, _: Fault | None) -> None:
        for wtxid in list(peer.asked_transactions):
            self._give_up(peer, wtxid)
        self.orphans.forget(peer.id)

    # time --------------------------------------------------------------------------------------------

    def tick(self) -> None:
        """Announce what is due, ask again what did not come."""
        now = self._shared.now
        for peer in self._shared.ready():
            if not peer.relays:
                continue
            if now >= peer.next_inventory:
                self._announce(peer)
                peer.next_inventory = now + self._shared.chance.expovariate(1 / self._mean(peer))
            self._send_fee(peer)
        for wtxid, wanted in list(self._wanted.items()):
            if wanted.asked is not None and now - wanted.since > REQUEST_SECONDS:
                peer_asked = self._shared.peers.get(wanted.asked)
                wanted.asked = None
                if peer_asked is not None:
                    peer_asked.asked_transactions.discard(wtxid)
        self.orphans.expire()
        self._request(list(self._wanted))
