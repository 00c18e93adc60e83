"""Serving blocks to peers."""

from __future__ import annotations

from chain.network.core.events import AwaitDrain, Fault
from chain.network.core.peers import Peer, Shared
from chain.network.messages import BlockMessage, NotFound, Type
from chain.rules.records import RAW_BYTES
from chain.rules.types import BlockId


class Server:
    """Serves blocks that peers ask for, a megabyte at a time, as fast as their connection takes them."""

    MAX_QUEUE = 512
    BYTES_AT_ONCE = 2**20

    def __init__(self, shared: Shared) -> None:
        self._shared = shared

    def on_get_blocks(self, peer: Peer, ids: tuple[BlockId, ...]) -> None:
        """Queue blocks for a peer."""
        if len(peer.to_serve) + len(ids) > self.MAX_QUEUE:
            self._shared.drop(peer, Fault.OVER_BUDGET)
            return
        peer.to_serve.extend(ids)
        if not peer.draining:
            self.serve(peer)

    def serve(self, peer: Peer) -> None:
        """Send what fits now."""
        sent, missing = 0, []
        while peer.to_serve and sent < self.BYTES_AT_ONCE:
            block_id = peer.to_serve.popleft()
            block = self._shared.ledger.block(block_id)
            if block is None:
                missing.append(block_id)
                continue
            peer.shown.add(block_id)
            self._shared.send(peer, BlockMessage(block))
            sent += len(block) * RAW_BYTES
        if missing:
            self._shared.send(peer, NotFound(Type.GET_BLOCKS, tuple(dict.fromkeys(missing))))
        peer.draining = bool(peer.to_serve)
        if peer.draining:
            self._shared.effects.append(AwaitDrain(peer.id))
