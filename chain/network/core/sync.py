"""Learning headers from peers and telling peers of new blocks."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from chain.network.codec import Header
from chain.network.core.branch import HeaderFaultError, TooNewError
from chain.network.core.events import TICK_SECONDS, Fault, Kind, PeerId
from chain.network.core.header_tree import HeaderTree, Outcome
from chain.network.core.peers import Peer, Shared
from chain.network.core.presync import MAX_PRESYNCS, MAX_SECONDS, Presync
from chain.network.messages import MAX_HEADERS, GetHeaders, Headers
from chain.rules.types import BlockId

HEADERS_TIMEOUT = 20.0
"""Seconds that a peer has to answer getheaders."""

MAX_ANNOUNCED = 8
MAX_UNCONNECTED = 10
NEAR_TIP_SECONDS = 86_400
BEHIND_SECONDS = 1_200
"""An outbound peer whose chain has less work than ours for so long is replaced (20 min, as Bitcoin Core)."""

LAST_QUESTION_SECONDS = BEHIND_SECONDS - 2 * HEADERS_TIMEOUT
"""Before that it is asked once more."""


class HeaderSync:
    """Headers first: one peer is asked for the whole chain, the others when that is done."""

    def __init__(self, shared: Shared, tree: HeaderTree, changed: Callable[[], None]) -> None:
        """`changed` is called when the best header may be another."""
        self._shared, self._tree, self._changed = shared, tree, changed
        self._leader: PeerId | None = None
        self._presyncs: dict[PeerId, Presync] = {}
        shared.on_gone.append(self._gone)

    def _gone(self, peer: Peer, _: Fault | None) -> None:
        self._presyncs.pop(peer.id, None)
        if self._leader == peer.id:
            self._leader = None
            self._choose_leader()

    # asking ------------------------------------------------------------------------------------------

    def near_tip(self) -> bool:
        """Tell whether the best header is of the last day."""
        record = self._tree.get(self._tree.best)
        return record is not None and record.header.time > self._shared.ledger.now() - NEAR_TIP_SECONDS

    def on_ready(self, peer: Peer) -> None:
        """Begin with a new peer."""
        if self.near_tip():
            self.ask(peer)
        else:
            self._choose_leader()

    def _choose_leader(self) -> None:
        if self._leader is not None:
            return
        waiting = [
            peer for peer in self._shared.ready() if not peer.headers_done and peer.headers_asked is None
        ]
        waiting.sort(key=lambda peer: (peer.inbound, peer.id))
        if waiting:
            self._leader = waiting[0].id
            self.ask(waiting[0])

    def ask(self, peer: Peer, after: BlockId | None = None) -> None:
        """Ask for headers after a block, or after what both sides surely have."""
        if peer.headers_asked is not None:
            return
        peer.headers_asked = self._shared.now
        start = after
        if start is None:
            record = self._tree.get(self._tree.best)
            # one below the best: the answer is then never empty, and shows that the peer has our best
            start = record.header.previous if record is not None and record.header.height > 1 else None
        self._shared.send(peer, GetHeaders(self._tree.locator(start)))

    # answers -----------------------------------------------------------------------------------------

    def on_headers(self, peer: Peer, headers: Sequence[Header]) -> None:
        """Take an answer or an announcement."""
        asked, peer.headers_asked = peer.headers_asked is not None, None
        if not headers:
            self._finished(peer)
            return
        presync = self._presyncs.get(peer.id)
        full = len(headers) == MAX_HEADERS
        try:
            if presync is not None and asked:
                self._on_presync(peer, presync, headers, full)
                return
            offered = self._tree.offer(headers)
        except HeaderFaultError as error:
            self._shared.drop(peer, error.fault)
            return
        except TooNewError:
            self._presyncs.pop(peer.id, None)
            return
        match offered.outcome:
            case Outcome.UNCONNECTED:
                self._unconnected(peer)
            case Outcome.INVALID:
                # others may not have checked that block yet, or run rules that were changed: leave, no blame
                self._shared.drop(peer, Fault.BEHIND)
            case Outcome.LOW_WORK:
                if full and asked:
                    self._start_presync(peer, headers)
                else:
                    self._finished(peer)
            case Outcome.FULL:
                self._note(peer, offered.last, offered.work)
                self._finished(peer)
            case Outcome.TAKEN:
                peer.unconnected = 0
                self._note(peer, offered.last, offered.work)
                if full:
                    self.ask(peer, headers[-1].id)
                else:
                    self._finished(peer)
                self._changed()

    def _note(self, peer: Peer, block_id: BlockId | None, work: int) -> None:
        if block_id is not None and work >= peer.best_work:
            peer.best, peer.best_work = block_id, work
            peer.shown.add(block_id)

    def _finished(self, peer: Peer) -> None:
        peer.headers_done = True
        if self._leader == peer.id:
            self._leader = None
        for other in self._shared.ready():
            if not other.headers_done and other.headers_asked is None:
                self.ask(other)

    def _unconnected(self, peer: Peer) -> None:
        peer.unconnected += 1
        if peer.unconnected > MAX_UNCONNECTED:
            self._shared.drop(peer, Fault.UNCONNECTED)
        else:
            self.ask(peer)

    # presync -----------------------------------------------------------------------------------------

    def _start_presync(self, peer: Peer, headers: Sequence[Header]) -> None:
        if len(self._presyncs) >= MAX_PRESYNCS or peer.id in self._presyncs:
            self._finished(peer)
            return
        fork = headers[0].previous
        first, second = self._tree.branch_on(fork), self._tree.branch_on(fork)
        if first is None or second is None:
            return
        salt = self._shared.chance.getrandbits(128).to_bytes(16, "little")
        presync = Presync(fork, first, second, self._tree.threshold(), salt, self._shared.now)
        self._presyncs[peer.id] = presync
        self._on_presync(peer, presync, headers, full=True)

    def _on_presync(self, peer: Peer, presync: Presync, headers: Sequence[Header], full: bool) -> None:
        progress = presync.on_headers(headers, self._shared.ledger.now(), full=full)
        if progress.taken:
            offered = self._tree.offer(progress.taken, proven=True)
            self._note(peer, offered.last, offered.work)
            self._changed()
        if progress.done or not self._shared.alive(peer):
            self._presyncs.pop(peer.id, None)
            if progress.taken and full:
                self.ask(peer, headers[-1].id)
            else:
                self._finished(peer)
        elif progress.ask_after is not None:
            self.ask(peer, progress.ask_after)

    # serving and announcing --------------------------------------------------------------------------

    def serve(self, peer: Peer, request: GetHeaders) -> None:
        """Answer getheaders from the main chain."""
        ledger = self._shared.ledger
        start = 0
        for block_id in request.locator:
            record = ledger.header(block_id)
            if record is not None and ledger.id_at(record.header.height) == block_id:
                start = record.header.height
                break
        headers = list(ledger.headers_from(start + 1, MAX_HEADERS))
        for position, header in enumerate(headers):
            if header.id == request.stop:
                headers = headers[: position + 1]
                break
        if headers:
            peer.shown.add(headers[-1].id)
        self._shared.send(peer, Headers(tuple(headers)))

    def announce(self, peer: Peer) -> None:
        """Tell a peer of the head, with the headers that it may lack."""
        ledger = self._shared.ledger
        tip = ledger.tip()
        if tip.id in peer.shown or (peer.best is not None and self._tree.descends(peer.best, tip.id)):
            return
        headers: list[Header] = []
        block_id = tip.id
        while len(headers) < MAX_ANNOUNCED and block_id not in peer.shown:
            record = ledger.header(block_id)
            if record is None or record.header.height == 0:
                break
            headers.append(record.header)
            block_id = record.header.previous
        peer.shown.add(tip.id)
        if headers:
            self._shared.send(peer, Headers(tuple(reversed(headers))))

    # time --------------------------------------------------------------------------------------------

    def tick(self) -> None:
        """Leave peers that do not answer, and outbound ones that stay behind."""
        shared = self._shared
        tip = shared.ledger.tip()
        for peer in list(shared.ready()):
            if peer.headers_asked is not None and shared.now - peer.headers_asked > HEADERS_TIMEOUT:
                shared.drop(peer, Fault.NO_HEADERS)
                continue
            presync = self._presyncs.get(peer.id)
            if presync is not None and shared.now - presync.started > MAX_SECONDS:
                shared.drop(peer, Fault.NO_HEADERS)
                continue
            if peer.kind in (Kind.INBOUND, Kind.MANUAL):
                continue
            if peer.best_work >= tip.work:
                peer.behind_since = None
            elif peer.behind_since is None:
                peer.behind_since = shared.now
            elif shared.now - peer.behind_since > BEHIND_SECONDS:
                shared.drop(peer, Fault.BEHIND)
            elif 0 <= shared.now - peer.behind_since - LAST_QUESTION_SECONDS < 2 * TICK_SECONDS:
                self.ask(peer)
