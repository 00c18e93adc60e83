"""Transactions that wait for another one: few, with a quota for each peer and sender, and a lifetime."""

from __future__ import annotations

from dataclasses import dataclass

from chain.network.codec import WtxId
from chain.network.core.events import PeerId
from chain.network.core.peers import Shared
from chain.network.ledger import TransactionVerdict

MAX_ORPHANS = 1_024
MAX_PER_PEER = 100
MAX_PER_SENDER = 64
LIFETIME_SECONDS = 1_200.0
RETRIED_AT_ONCE = 64


@dataclass(frozen=True, slots=True)
class Orphan:
    """A waiting transaction, and when it leaves."""

    raw: bytes
    peer: PeerId | None
    sender: bytes
    nonce: int
    until: float


class Orphans:
    """Indexed by (sender, nonce): nothing is searched when a transaction comes."""

    def __init__(self, shared: Shared) -> None:
        self._shared = shared
        self._all: dict[WtxId, Orphan] = {}
        self._by_nonce: dict[bytes, dict[int, WtxId]] = {}
        self._per_peer: dict[PeerId | None, int] = {}

    def __contains__(self, wtxid: WtxId) -> bool:
        return wtxid in self._all

    def __len__(self) -> int:
        return len(self._all)

    def add(self, peer: PeerId | None, raw: bytes, verdict: TransactionVerdict) -> None:
        """Keep a transaction, if the quotas allow. A full pool loses a random one."""
        nonces = self._by_nonce.setdefault(verdict.sender, {})
        refused = (
            verdict.wtxid in self._all
            or verdict.nonce in nonces
            or len(nonces) >= MAX_PER_SENDER
            or self._per_peer.get(peer, 0) >= MAX_PER_PEER
        )
        if refused:
            if not nonces:
                del self._by_nonce[verdict.sender]
            return
        if len(self._all) >= MAX_ORPHANS:
            victims = list(self._all)
            self._remove(victims[int(self._shared.chance.random() * len(victims))])
            nonces = self._by_nonce.setdefault(verdict.sender, {})
        self._all[verdict.wtxid] = Orphan(
            raw, peer, verdict.sender, verdict.nonce, self._shared.now + LIFETIME_SECONDS
        )
        nonces[verdict.nonce] = verdict.wtxid
        self._per_peer[peer] = self._per_peer.get(peer, 0) + 1

    def _remove(self, wtxid: WtxId) -> Orphan | None:
        orphan = self._all.pop(wtxid, None)
        if orphan is None:
            return None
        nonces = self._by_nonce[orphan.sender]
        del nonces[orphan.nonce]
        if not nonces:
            del self._by_nonce[orphan.sender]
        left = self._per_peer[orphan.peer] - 1
        if left:
            self._per_peer[orphan.peer] = left
        else:
            del self._per_peer[orphan.peer]
        return orphan

    def released_by(self, sender: bytes, nonce: int) -> list[bytes]:
        """Return (and forget) the sender's next transaction, now that this one was taken."""
        following = self._by_nonce.get(sender, {}).get(nonce + 1)
        orphan = self._remove(following) if following is not None else None
        return [orphan.raw] if orphan is not None else []

    def retry(self) -> list[bytes]:
        """Return (and forget) the oldest ones: a new block may have brought what they wait for."""
        found = [self._remove(wtxid) for wtxid in list(self._all)[:RETRIED_AT_ONCE]]
        return [orphan.raw for orphan in found if orphan is not None]

    def forget(self, peer: PeerId) -> None:
        """Forget what came from a peer."""
        if peer in self._per_peer:
            for wtxid in [one for one, orphan in self._all.items() if orphan.peer == peer]:
                self._remove(wtxid)

    def expire(self) -> None:
        """Forget those whose time is over. They leave in the order in which they came."""
        while self._all:
            wtxid, oldest = next(iter(self._all.items()))
            if oldest.until > self._shared.now:
                return
            self._remove(wtxid)
