"""Fetching the blocks of the heaviest headers: from several peers at once, checked in order.

Blocks are asked for on the best header chain alone, so an unasked block is never stored. A peer that delivers
nothing for the timeout is left, and its blocks are asked of others. The timeout doubles when that happens and
falls slowly with every block, so a slow line of our own does not cost us all peers.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable
from dataclasses import dataclass

from chain.network.codec import Block
from chain.network.core.events import CheckBlock, Fault, PeerId
from chain.network.core.header_tree import HeaderTree
from chain.network.core.peers import Peer, Shared
from chain.network.core.rolling import RollingSet
from chain.network.ledger import BlockFault, BlockVerdict
from chain.network.messages import MAX_GET_BLOCKS, GetBlocks, NotFound, Type
from chain.rules.records import RAW_BYTES
from chain.rules.types import BlockId

WINDOW = 1_024
"""Blocks above the checked ones that may be asked for."""
BUFFER_BYTES = 32 * 2**20
"""Blocks that came before their turn; beyond it only the next one is asked for."""
FIRST_TIMEOUT, LAST_TIMEOUT = 2.0, 64.0
ONLY_PEER_TIMEOUT = 60.0
"""When nobody else has the block."""
OLDEST_FACTOR = 8
"""A single block that takes so many timeouts is a stall, though others come."""
RETRY_SECONDS = 5.0
"""A block that was refused without being at fault (too new for our clock) is tried again."""


@dataclass(frozen=True, slots=True)
class Request:
    """A block asked of a peer."""

    peer: PeerId
    since: float


class Downloads:
    """The blocks between the checked chain and the best header."""

    def __init__(
        self, shared: Shared, tree: HeaderTree, connected: Callable[[Peer | None, Block], None]
    ) -> None:
        """`connected(peer, block)` is called when the chain has taken a block."""
        self._shared, self._tree, self._connected = shared, tree, connected
        self._path: list[BlockId] = []
        self._place: dict[BlockId, int] = {}
        self._done = 0
        self._frontier = 0
        self._again: list[int] = []
        self._asked: dict[BlockId, Request] = {}
        self._arrived: dict[BlockId, tuple[Block, PeerId]] = {}
        self._buffered = 0
        self._checking: BlockId | None = None
        self._retry_at: float | None = None
        self._slow = RollingSet(1_000)
        self.busy: Callable[[BlockId], bool] = lambda _: False
        """Tells whether a block is being put together from a compact one: not asked for meanwhile."""
        self.timeout = FIRST_TIMEOUT
        shared.on_gone.append(self._gone)

    @property
    def left(self) -> int:
        """Blocks of the best header chain that have not been checked."""
        return len(self._path) - self._done

    def wants(self, block_id: BlockId) -> bool:
        """Tell whether the block is the next one, or will be."""
        return block_id in self._place and block_id not in self._arrived and block_id != self._checking

    def asked_of(self, peer: Peer, block_id: BlockId) -> bool:
        """Tell whether the block was asked of this peer."""
        request = self._asked.get(block_id)
        return request is not None and request.peer == peer.id

    # the path ----------------------------------------------------------------------------------------

    def retarget(self) -> None:
        """Follow the best header; called when it may have changed."""
        tree = self._tree
        if tree.best_work <= self._shared.ledger.tip().work:
            self._reset([])
            return
        known = self._place
        fresh, base = tree.path_to_best(known)
        if base in known:
            place = known[base]
            if place + 1 == len(self._path):
                if fresh:
                    self._extend(fresh)
                self.work()
                return
            self._reset([*self._path[self._done : place + 1], *fresh])
        else:
            self._reset(fresh)
        self.work()

    def _extend(self, fresh: list[BlockId]) -> None:
        for block_id in fresh:
            self._place[block_id] = len(self._path)
            self._path.append(block_id)

    def _reset(self, path: list[BlockId]) -> None:
        kept = set(path)
        self._path, self._place = [], {}
        self._extend(path)
        self._done = self._frontier = 0
        self._again = []
        for block_id in [one for one in self._arrived if one not in kept]:
            self._discard(block_id)
        for block_id in [one for one in self._asked if one not in kept]:
            self._release(block_id)

    def _discard(self, block_id: BlockId) -> None:
        block, _ = self._arrived.pop(block_id)
        self._buffered -= len(block) * RAW_BYTES

    def _release(self, block_id: BlockId) -> None:
        """Let others be asked. The peer still owes the block: it is not unasked when it comes late."""
        if self._asked.pop(block_id, None) is None:
            return
        place = self._place.get(block_id)
        if place is not None and place >= self._done:
            heapq.heappush(self._again, place)

    # asking ------------------------------------------------------------------------------------------

    def work(self) -> None:
        """Give the chain the next block, and ask for more."""
        self._check_next()
        self._ask_for_more()

    def _check_next(self) -> None:
        while self._done < len(self._path) and self._tree.stored(self._path[self._done]):
            self._advance()
        if self._checking is not None or self._retry_at is not None or self._done >= len(self._path):
            return
        block_id = self._path[self._done]
        found = self._arrived.get(block_id)
        if found is not None:
            self._checking = block_id
            self._discard(block_id)
            self._shared.effects.append(CheckBlock(found[1], found[0]))

    def _advance(self) -> None:
        block_id = self._path[self._done]
        self._done += 1
        self._place.pop(block_id, None)
        if block_id in self._arrived:
            self._discard(block_id)
        self._release(block_id)
        self._frontier = max(self._frontier, self._done)

    def _ask_for_more(self) -> None:
        free = [peer for peer in self._shared.ready() if len(peer.in_flight) < MAX_GET_BLOCKS and peer.best]
        if not free or self._done >= len(self._path):
            return
        reach = {peer.id: self._reach(peer) for peer in free}
        orders: dict[PeerId, list[BlockId]] = {}
        skipped: list[int] = []
        while free:
            place = self._next_place()
            if place is None:
                break
            if self.busy(self._path[place]):
                skipped.append(place)
                continue
            able = [peer for peer in free if reach[peer.id] >= place]
            quick = [peer for peer in able if peer.address.host_key not in self._slow]
            if not able:
                skipped.append(place)
                if len(skipped) > MAX_GET_BLOCKS:
                    break
                continue
            chosen = min(quick or able, key=lambda peer: (len(peer.in_flight), peer.inbound, peer.id))
            self._order(chosen, self._path[place], orders)
            if len(chosen.in_flight) >= MAX_GET_BLOCKS:
                free.remove(chosen)
        for place in skipped:
            heapq.heappush(self._again, place)
        for peer_id, ids in orders.items():
            self._shared.send(self._shared.peers[peer_id], GetBlocks(tuple(ids)))

    def _next_place(self) -> int | None:
        """Return the lowest place of the path that nobody was asked for and that is in the window."""
        while self._again:
            place = heapq.heappop(self._again)
            if self._is_missing(place):
                return place
        while self._frontier < min(len(self._path), self._done + WINDOW):
            place = self._frontier
            if self._buffered > BUFFER_BYTES and place > self._done:
                return None
            self._frontier += 1
            if self._is_missing(place):
                return place
        return None

    def _is_missing(self, place: int) -> bool:
        if not self._done <= place < len(self._path):
            return False
        block_id = self._path[place]
        return block_id not in self._asked and block_id not in self._arrived and block_id != self._checking

    def _reach(self, peer: Peer) -> int:
        """Return the highest place of the path that the peer has, −1 if none."""
        if peer.best is None or not self._path:
            return -1
        place = self._place.get(peer.best)
        if place is not None:
            return place
        last = self._path[-1]
        if self._tree.descends(peer.best, last):
            return len(self._path) - 1
        block_id: BlockId = peer.best
        record = self._tree.get(block_id)
        while record is not None and not self._tree.stored(block_id):
            place = self._place.get(block_id)
            if place is not None:
                return place
            block_id = record.header.previous
            record = self._tree.get(block_id)
        return -1

    def _order(self, peer: Peer, block_id: BlockId, orders: dict[PeerId, list[BlockId]]) -> None:
        if not peer.in_flight:
            peer.last_block = self._shared.now
        peer.in_flight.add(block_id)
        self._asked[block_id] = Request(peer.id, self._shared.now)
        orders.setdefault(peer.id, []).append(block_id)

    # answers -----------------------------------------------------------------------------------------

    def on_block(self, peer: Peer, block: Block) -> None:
        """Take a block that a peer delivers. One that was never asked of it costs the connection."""
        block_id = block.id
        if block_id not in peer.in_flight:
            self._shared.drop(peer, Fault.UNASKED)
            return
        peer.in_flight.discard(block_id)
        peer.last_block = self._shared.now
        peer.blocks_given += 1
        self.timeout = max(FIRST_TIMEOUT, self.timeout * 0.95)
        if self.wants(block_id):
            self._keep(peer, block)
        self.work()

    def _keep(self, peer: Peer, block: Block) -> None:
        self._asked.pop(block.id, None)
        self._arrived[block.id] = (block, peer.id)
        self._buffered += len(block) * RAW_BYTES

    def take_early(self, peer: Peer, block: Block) -> None:
        """Take a block, put together from a compact one, whose header is in the tree."""
        if block.id not in self._arrived and block.id != self._checking and not self._tree.stored(block.id):
            self._keep(peer, block)
        self.retarget()

    def on_not_found(self, peer: Peer, message: NotFound) -> None:
        """Ask somebody else for blocks that a peer does not have after all."""
        if message.kind != Type.GET_BLOCKS:
            return
        for block_id in message.ids:
            if block_id in peer.in_flight:
                peer.in_flight.discard(BlockId(block_id))
                if self.asked_of(peer, BlockId(block_id)):
                    self._release(BlockId(block_id))
        peer.best, peer.best_work = None, 0
        self.work()

    def on_checked(self, peer: Peer | None, block: Block, verdict: BlockVerdict) -> None:
        """Go on after the chain's verdict."""
        block_id = block.id
        self._checking = None
        if verdict.accepted:
            self._tree.follow()
            self._connected(peer, block)
            self.retarget()
            return
        if verdict.fault is BlockFault.NONE:
            self._retry_at = self._shared.now + RETRY_SECONDS
            place = self._place.get(block_id)
            if place is not None:
                heapq.heappush(self._again, place)
            return
        if verdict.fault is BlockFault.BLOCK:
            self._tree.mark_invalid(block_id)
        else:
            place = self._place.get(block_id)
            if place is not None:
                heapq.heappush(self._again, place)
        if peer is not None:
            self._shared.drop(peer, Fault.BAD_BLOCK)
        for other in self._shared.ready():
            if other.best is not None and self._tree.is_invalid(other.best):
                other.best, other.best_work = None, 0
        self.retarget()

    def _gone(self, peer: Peer, _: Fault | None) -> None:
        for block_id in list(peer.in_flight):
            if self.asked_of(peer, block_id):
                self._release(block_id)
        self.work()

    # time --------------------------------------------------------------------------------------------

    def tick(self) -> None:
        """Leave peers that stall."""
        now = self._shared.now
        if self._retry_at is not None and now >= self._retry_at:
            self._retry_at = None
        for peer in list(self._shared.ready()):
            if not peer.in_flight:
                continue
            silent = now - peer.last_block
            mine = [self._asked[one].since for one in peer.in_flight if self.asked_of(peer, one)]
            oldest = now - min(mine, default=now)
            if silent <= self.timeout and oldest <= OLDEST_FACTOR * self.timeout:
                continue
            if not self._others(peer) and silent <= ONLY_PEER_TIMEOUT:
                continue
            self._slow.add(peer.address.host_key)
            self.timeout = min(LAST_TIMEOUT, 2 * self.timeout)
            self._shared.drop(peer, Fault.STALLING)
        self.work()

    def _others(self, peer: Peer) -> bool:
        """Tell whether somebody else has the next block that this peer holds back."""
        places = [self._place[one] for one in peer.in_flight if one in self._place]
        low = min(places, default=0)
        return any(
            other is not peer and self._reach(other) >= low for other in self._shared.ready() if other.best
        )
