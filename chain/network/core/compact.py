"""New blocks as short ids: a neighbour that has the transactions needs 6 bytes for each.

Short id = the first 6 bytes of keccak256(key 16 ‖ wtxid 32 ‖ zeros to 128 bytes), with a key that follows
from the block id and 16 random bytes of the sender: nobody can prepare transactions that collide. A collision
is nobody's fault: the whole block is asked for then.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from chain.network.codec import (
    Block,
    Header,
    RuleBrokenError,
    WtxId,
    block_of_raws,
    block_wtxids,
    raw_transactions,
    rows_of,
)
from chain.network.core.branch import HeaderFaultError, TooNewError
from chain.network.core.downloads import Downloads
from chain.network.core.events import Fault, PeerId
from chain.network.core.header_tree import HeaderTree, Outcome
from chain.network.core.peers import Peer, Shared
from chain.network.core.rolling import RollingSet
from chain.network.messages import (
    SHORT_ID_BYTES,
    BlockTransactions,
    CompactBlock,
    GetBlockTransactions,
    SendCompact,
)
from chain.rules.hashing import sha256
from chain.rules.types import BlockId
from kernels import cosmic_harmony

HIGH_BANDWIDTH_PEERS = 3
MAX_PARALLEL = 3
"""Compact blocks of one block that may be in the works, from different peers."""
MAX_DEPTH = 10
"""Blocks further below the head are not served in parts."""
EXTRA_TRANSACTIONS = 100
WAIT_SECONDS = 2.0


def compact_key(block_id: BlockId, salt: bytes) -> bytes:
    """Return the key of a block's short ids."""
    return sha256(block_id + salt)[:16]


def short_ids(key: bytes, wtxids: Sequence[WtxId]) -> list[bytes]:
    """Return the short ids of transactions."""
    if not wtxids:
        return []
    hashes = cosmic_harmony.keccak256_batch_128(rows_of(key, list(wtxids)))
    data = hashes[:, :SHORT_ID_BYTES].tobytes()
    return [data[i : i + SHORT_ID_BYTES] for i in range(0, len(data), SHORT_ID_BYTES)]


def compact_of(block: Block, salt: bytes) -> CompactBlock:
    """Return a block's compact form, the coinbase prefilled."""
    ids = short_ids(compact_key(block.id, salt), block_wtxids(block)[1:])
    coinbase = block.bodies[0].tobytes() + block.witness(0)
    return CompactBlock(block.header, salt, tuple(ids), ((0, coinbase),))


@dataclass(slots=True)
class Puzzle:
    """A block being put together. `raws` has None where a transaction is missing."""

    header: Header
    raws: list[bytes | None]
    peer: PeerId
    since: float
    missing: tuple[int, ...] = field(default=())


def solve_compact(
    message: CompactBlock, waiting: Sequence[WtxId], raw_of: Callable[[WtxId], bytes | None]
) -> list[bytes | None] | None:
    """Fill in a compact block from known transactions; None when its own ids collide.

    `raw_of(wtxid)` returns a transaction's bytes or None. Two known transactions with one short id count as
    missing.
    """
    total = len(message.short_ids) + len(message.prefilled)
    raws: list[bytes | None] = [None] * total
    for index, raw in message.prefilled:
        raws[index] = raw
    wanted: dict[bytes, int] = {}
    free = iter(index for index in range(total) if raws[index] is None)
    for short in message.short_ids:
        if short in wanted:
            return None
        wanted[short] = next(free)
    found: dict[int, WtxId | None] = {}
    for wtxid, short in zip(
        waiting, short_ids(compact_key(message.header.id, message.key), waiting), strict=True
    ):
        place = wanted.get(short)
        if place is not None:
            found[place] = None if place in found and found[place] != wtxid else wtxid
    for place, hit in found.items():
        if hit is not None:
            raws[place] = raw_of(hit)
    return raws


class CompactRelay:
    """Sends and takes compact blocks."""

    def __init__(self, shared: Shared, tree: HeaderTree, downloads: Downloads) -> None:
        self._shared, self._tree, self._downloads = shared, tree, downloads
        self._puzzles: dict[tuple[BlockId, PeerId], Puzzle] = {}
        self._high: list[PeerId] = []
        self._failed = RollingSet(64)
        self._last: tuple[BlockId, CompactBlock] | None = None
        downloads.busy = self.busy_with
        shared.on_gone.append(self._gone)

    def _gone(self, peer: Peer, _: Fault | None) -> None:
        if peer.id in self._high:
            self._high.remove(peer.id)
        for key in [one for one in self._puzzles if one[1] == peer.id]:
            del self._puzzles[key]

    def prefer(self, peer: Peer) -> None:
        """Ask a peer that gave a new block to send the next at once; three do so, one of them outbound."""
        if peer.id in self._high or not self._shared.alive(peer):
            return
        if len(self._high) >= HIGH_BANDWIDTH_PEERS:
            outbound = [one for one in self._high if not self._shared.peers[one].inbound]
            oldest = next(
                (one for one in self._high if not (peer.inbound and outbound == [one])), self._high[0]
            )
            self._high.remove(oldest)
            self._shared.peers[oldest].asked_compact = False
            self._shared.send(self._shared.peers[oldest], SendCompact(enabled=False))
        self._high.append(peer.id)
        peer.asked_compact = True
        self._shared.send(peer, SendCompact(enabled=True))

    # sending -----------------------------------------------------------------------------------------

    def announce(self, peer: Peer, block: Block) -> bool:
        """Send a new head as a compact block, if the peer wants that and has the parent."""
        parent = block.header.previous
        if not peer.compact or block.id in peer.shown:
            return False
        has_parent = parent in peer.shown or parent == self._shared.ledger.genesis_id
        if not has_parent and (peer.best is None or not self._tree.descends(peer.best, parent)):
            return False
        if self._last is None or self._last[0] != block.id:
            salt = self._shared.chance.getrandbits(128).to_bytes(16, "little")
            self._last = (block.id, compact_of(block, salt))
        peer.shown.add(block.id)
        self._shared.send(peer, self._last[1])
        return True

    def serve(self, peer: Peer, request: GetBlockTransactions) -> None:
        """Send the transactions of a recent block that a peer lacks."""
        ledger = self._shared.ledger
        block = ledger.block(request.block_id)
        if block is None or block.header.height + MAX_DEPTH < ledger.tip().height:
            return
        if request.indexes[-1] >= len(block):
            self._shared.drop(peer, Fault.MALFORMED)
            return
        raws = raw_transactions(block)
        self._shared.send(peer, BlockTransactions(request.block_id, tuple(raws[i] for i in request.indexes)))

    # taking ------------------------------------------------------------------------------------------

    def on_compact(self, peer: Peer, message: CompactBlock) -> None:
        """Take a compact block: the header first, as any other; then the transactions."""
        block_id = message.header.id
        try:
            offered = self._tree.offer([message.header])
        except HeaderFaultError as error:
            self._shared.drop(peer, error.fault)
            return
        except TooNewError:
            return
        if offered.outcome is not Outcome.TAKEN or offered.last != block_id:
            return  # the caller asks for headers
        peer.shown.add(block_id)
        if offered.work >= peer.best_work:
            peer.best, peer.best_work = block_id, offered.work
        parent_known = self._tree.stored(message.header.previous)
        parallel = sum(1 for one in self._puzzles if one[0] == block_id)
        useless = self._tree.stored(block_id) or (block_id, peer.id) in self._puzzles
        if useless or not parent_known or parallel >= MAX_PARALLEL or block_id in self._failed:
            self._downloads.retarget()
            return
        raws = solve_compact(message, self._shared.ledger.waiting(), self._shared.ledger.transaction)
        if raws is None:
            self._failed.add(block_id)
            self._downloads.retarget()
            return
        puzzle = Puzzle(message.header, raws, peer.id, self._shared.now)
        puzzle.missing = tuple(index for index, raw in enumerate(raws) if raw is None)
        if not puzzle.missing:
            self._finish(peer, puzzle)
            return
        self._puzzles[block_id, peer.id] = puzzle
        self._downloads.retarget()
        self._shared.send(peer, GetBlockTransactions(block_id, puzzle.missing))

    def on_transactions(self, peer: Peer, message: BlockTransactions) -> None:
        """Take the missing transactions: exactly those asked for."""
        puzzle = self._puzzles.pop((message.block_id, peer.id), None)  # erased before it is filled
        if puzzle is None:
            return
        if len(message.raws) != len(puzzle.missing):
            self._shared.drop(peer, Fault.MALFORMED)
            return
        for index, raw in zip(puzzle.missing, message.raws, strict=True):
            puzzle.raws[index] = raw
        self._finish(peer, puzzle)

    def _finish(self, peer: Peer, puzzle: Puzzle) -> None:
        raws = [raw for raw in puzzle.raws if raw is not None]
        try:
            block = block_of_raws(puzzle.header, raws)
            right = cosmic_harmony.merkle_root(block.txids) == puzzle.header.merkle_root
        except RuleBrokenError:
            right = False
        if not right:  # a short id that met the wrong transaction: nobody's fault
            self._failed.add(puzzle.header.id)
            self._downloads.retarget()
            return
        peer.last_block = self._shared.now
        peer.blocks_given += 1
        self._downloads.take_early(peer, block)

    def tick(self) -> None:
        """Give up waiting for missing transactions; the block is asked for whole."""
        late = [
            key for key, puzzle in self._puzzles.items() if self._shared.now - puzzle.since > WAIT_SECONDS
        ]
        for key in late:
            del self._puzzles[key]
        if late:
            self._downloads.retarget()

    def busy_with(self, block_id: BlockId) -> bool:
        """Tell whether the block is being put together."""
        return any(one[0] == block_id for one in self._puzzles)
