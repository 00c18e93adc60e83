"""The chain: which blocks are valid, which branch is the heaviest, and moving the state between branches."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from chain.consensus.headers import HeadersAccepted, HeaderTree
from chain.rules.block import Block, witness_commitment
from chain.rules.compiled import check_records
from chain.rules.errors import Reason, RuleBrokenError, StoreError
from chain.rules.genesis import genesis_block
from chain.rules.header import Header, work_of
from chain.rules.params import MAX_BLOCK_TRANSACTIONS, NetworkParams
from chain.rules.types import BlockId, UnixSeconds
from chain.state.evaluation import evaluate, write
from chain.state.headers import HeaderRecord, HeaderStatus
from chain.state.signature_cache import SignatureCache
from chain.state.store import StateReader, StateWriter, Store, Tip
from kernels import cosmic_harmony

_NOT_THE_BLOCKS_FAULT = frozenset(
    {Reason.TIME_TOO_NEW, Reason.UNKNOWN_PARENT, Reason.REORG_TOO_DEEP, Reason.TOO_LITTLE_WORK}
)


@dataclass(frozen=True)
class ChainChange:
    """What accepting a block did: blocks that left the main chain (newest first) and joined it (oldest
    first). Both empty: the block was known, is on a lighter branch, or `waits_for` an ancestor's block."""

    block_id: BlockId
    known: bool = False
    disconnected: tuple[Block, ...] = ()
    connected: tuple[Block, ...] = field(default=())
    waits_for: BlockId | None = None


class Chain:
    """Consensus over one store. Not safe for use from several threads at once."""

    def __init__(
        self,
        params: NetworkParams,
        directory: Path,
        *,
        clock: Callable[[], int] = lambda: int(time.time()),
        sync: bool = True,
    ) -> None:
        """Open the chain in `directory`, writing genesis if it is new. `clock` returns Unix seconds."""
        self.params = params
        self.clock = clock
        self.signatures = SignatureCache()
        genesis = genesis_block(params)
        self.genesis_id = genesis.id
        self.store = Store(directory, params.network.encode() + genesis.id, sync=sync)
        with self.store.batch() as batch:
            tip = batch.tip()
            if tip is None:
                record = HeaderRecord(genesis.header, work_of(genesis.header.target), len(genesis))
                batch.put_block(genesis, record)
                fees = check_records(genesis.bodies, genesis.witnesses, params.chain_id, 0)
                change = evaluate(batch, params, genesis, record, fees, UnixSeconds(0), self.signatures)
                write(batch, change)
                tip = change.tip
        self.tip: Tip = tip
        """The head, as last committed."""
        self.headers = HeaderTree(params, self.store, self._now, lambda: self.tip)
        self._waiting: dict[BlockId, set[BlockId]] = {}
        """Blocks that are stored, by the ancestor whose block is not."""
        self._find_waiting()
        self._median_time = self.median_time_after(self.tip.id)

    @property
    def median_time(self) -> UnixSeconds:
        """Median time past at the head: what deadlines of the next block are compared with."""
        return self._median_time

    def _now(self) -> int:
        return self.clock()

    def _find_waiting(self) -> None:
        with self.store.view() as view:
            for block_id in view.sides():
                missing = self._missing_ancestor(self._record(block_id, view).header)
                if missing is not None:
                    self._waiting.setdefault(missing, set()).add(block_id)

    def _record(self, block_id: BlockId, view: StateReader | None = None) -> HeaderRecord:
        return self.headers.require(block_id, view)

    def close(self) -> None:
        """Close the store."""
        self.store.close()

    # headers -----------------------------------------------------------------------------------------

    def header(self, block_id: BlockId, view: StateReader | None = None) -> HeaderRecord | None:
        """Return a known header of any branch."""
        return self.headers.get(block_id, view)

    def ancestors(self, block_id: BlockId, count: int) -> list[Header]:
        """Return up to `count` headers ending with `block_id`, oldest first."""
        return self.headers.ancestors(block_id, count)

    def median_time_after(self, block_id: BlockId) -> UnixSeconds:
        """Return the median time past of a block."""
        return self.headers.median_time_after(block_id)

    def target_after(self, block_id: BlockId) -> int:
        """Return the compact target that the next block on `block_id` must have."""
        return self.headers.target_after(block_id)

    def check_header(self, header: Header) -> HeaderRecord:
        """Check a header on a known parent, work included. Returns the parent's record.

        Raises `RuleBrokenError`.
        """
        return self.headers.check(header)

    def accept_headers(self, headers: Sequence[Header], *, work_behind: int = 0) -> HeadersAccepted:
        """Check and store headers apart from blocks: see `HeaderTree.accept`. Raises `RuleBrokenError`."""
        return self.headers.accept(headers, work_behind=work_behind)

    def missing_bodies(self, limit: int) -> list[BlockId]:
        """Return up to `limit` blocks to fetch, oldest first: those that lead to the heaviest header."""
        return self.headers.missing_bodies(limit)

    # accepting ---------------------------------------------------------------------------------------

    def check_body(self, block: Block) -> int:
        """Check all of a block that needs no state. Returns the sum of fees. Raises `RuleBrokenError`."""
        if len(block) == 0:
            raise RuleBrokenError(Reason.EMPTY_BLOCK, "a block begins with a coinbase")
        if len(block) > MAX_BLOCK_TRANSACTIONS:
            raise RuleBrokenError(
                Reason.TOO_MANY_TRANSACTIONS, f"a block holds at most {MAX_BLOCK_TRANSACTIONS}"
            )
        if cosmic_harmony.merkle_root(block.txids) != block.header.merkle_root:
            raise RuleBrokenError(Reason.BAD_MERKLE_ROOT)
        fees = check_records(block.bodies, block.witnesses, self.params.chain_id, block.header.height)
        if witness_commitment(block.witnesses) != block.bodies[0, 9:13].tobytes():
            raise RuleBrokenError(Reason.BAD_WITNESS_COMMITMENT, index=0)
        return fees

    def accept_block(self, block: Block) -> ChainChange:
        """Validate and store a block; follow its branch if that is the heaviest.

        One commit, or none. A block whose ancestors are known by their headers alone waits for them. Raises
        `RuleBrokenError`; a block at fault is remembered as invalid.
        """
        known = self.header(block.id)
        if known is not None and known.invalid:
            raise RuleBrokenError(Reason.KNOWN_INVALID, "the block was found invalid before")
        if known is not None and known.has_body:
            return ChainChange(block.id, known=True)
        if known is None:
            parent = self.check_header(block.header)
            work = parent.work + work_of(block.header.target)
            self.headers.check_work(work)
        else:
            work = known.work
            self.headers.check_depth(block.header.previous)
        record = HeaderRecord(block.header, work, len(block))
        fees = self.check_body(block)
        missing = self._missing_ancestor(block.header)
        if missing is None and block.id not in self._waiting:
            if record.work > self.tip.work:
                return self._follow(block, record, fees)
            self._keep_side(block, record)
            return ChainChange(block.id)
        self._keep_side(block, record)
        if missing is not None:
            self._waiting.setdefault(missing, set()).add(block.id)
            return ChainChange(block.id, waits_for=missing)
        return self._follow_waiting(block.id, record)

    def _follow_waiting(self, block_id: BlockId, record: HeaderRecord) -> ChainChange:
        """Follow the heaviest of the stored blocks that a block, stored now, was missing for."""
        candidates, complete = [(record.work, block_id)], [block_id]
        while complete:
            for waiting in self._waiting.pop(complete.pop(), ()):
                known = self.header(waiting)
                if known is None or not known.has_body:
                    continue
                missing = self._missing_ancestor(known.header)
                if missing is not None:
                    self._waiting.setdefault(missing, set()).add(waiting)
                    continue
                candidates.append((known.work, waiting))
                complete.append(waiting)
        for work, candidate in sorted(candidates, reverse=True):
            if work <= self.tip.work:
                break
            with self.store.view() as view:
                stored = view.get_block(candidate)
            if stored is None:
                continue
            try:
                return self._follow(stored, self._record(candidate), int(stored.bodies[:, 3].sum()))
            except RuleBrokenError:
                if candidate == block_id:
                    raise
        return ChainChange(block_id)

    def _missing_ancestor(self, header: Header) -> BlockId | None:
        """Return the nearest ancestor off the main chain whose block is not stored."""
        block_id = header.previous
        if block_id == self.tip.id:
            return None
        with self.store.view() as view:
            while True:
                record = self._record(block_id, view)
                if view.id_at(record.header.height) == block_id:
                    return None
                if record.invalid:
                    return None  # nothing is worth waiting for; following the branch will say why
                if not record.has_body:
                    return block_id
                block_id = record.header.previous

    def _keep_side(self, block: Block, record: HeaderRecord) -> None:
        """Store a block that is not followed, and no more of them than the network's limit.

        Those that lead to the heaviest header are kept beside the limit: they are wanted.
        """
        try:
            with self.store.batch() as batch:
                batch.put_block(block, record)
                batch.add_side(block.id, record)
                self.headers.remember(block.id, record)
                self.headers.weigh(block.id, record)
                self._prune_sides(batch)
        except BaseException:
            self.headers.forget_all()
            raise

    def _prune_sides(self, batch: StateWriter) -> None:
        """Delete the blocks of lighter branches beyond the limit, those with the least work first."""
        excess = batch.side_count() - self.params.side_blocks
        if excess <= 0:
            return
        for block_id in batch.sides():
            if excess <= 0:
                return
            record = self._record(block_id, batch)
            if not self.headers.on_path(block_id, record.header.height):
                self.headers.remember(block_id, batch.forget_body(block_id, record))
                excess -= 1

    def _follow(self, block: Block, record: HeaderRecord, fees: int) -> ChainChange:
        failing = block.id
        try:
            with self.store.batch() as batch:
                batch.put_block(block, record)
                branch, fork = self._branch(batch, block.header)
                disconnected = self._disconnect_to(batch, fork)
                connected: list[Block] = []
                for block_id in branch:
                    failing = block_id
                    stored = batch.get_block(block_id)
                    if stored is None:
                        raise StoreError(f"block {block_id.hex()} is missing", hint="sync again")
                    self._connect(batch, stored, self._record(block_id, batch))
                    batch.end_side(block_id, self._record(block_id, batch))
                    connected.append(stored)
                failing = block.id
                tip = self._connect(batch, block, record, fees)
                batch.end_side(block.id, record)
                connected.append(block)
                for gone in disconnected:
                    batch.add_side(gone.id, self._record(gone.id, batch))
                batch.drop_undo(tip.height - self.params.finality_window - 1)
                if disconnected:
                    self._prune_sides(batch)
        except RuleBrokenError as error:
            self.headers.forget(block.id)
            self._mark_invalid(failing, block, record, error)
            raise
        except BaseException:
            self.headers.forget_all()  # what the aborted commit would have stored is not stored
            raise
        self.tip = tip
        self.headers.remember(block.id, record)
        self.headers.moved(reorganised=bool(disconnected))
        self._median_time = self.median_time_after(tip.id)
        return ChainChange(block.id, False, tuple(disconnected), tuple(connected))

    def _branch(self, view: StateReader, header: Header) -> tuple[list[BlockId], BlockId]:
        """Return the stored blocks between the main chain and `header` (oldest first), and the fork point."""
        branch: list[BlockId] = []
        block_id = header.previous
        while True:
            record = self._record(block_id, view)
            if view.id_at(record.header.height) == block_id:
                return branch[::-1], block_id
            if record.invalid:
                raise RuleBrokenError(Reason.INVALID_ANCESTOR, f"block {block_id.hex()} is invalid")
            branch.append(block_id)
            block_id = record.header.previous

    def _disconnect_to(self, batch: StateWriter, fork: BlockId) -> list[Block]:
        disconnected: list[Block] = []
        while (tip := batch.tip()) is not None and tip.id != fork:
            block = batch.get_block(tip.id)
            if block is None:
                raise StoreError(f"block {tip.id.hex()} is missing", hint="sync again")
            batch.undo_block(tip.id)
            disconnected.append(block)
        return disconnected

    def _connect(
        self, batch: StateWriter, block: Block, record: HeaderRecord, fees: int | None = None
    ) -> Tip:
        if fees is None:
            fees = int(block.bodies[:, 3].sum())
        median = self.median_time_after(block.header.previous)
        change = evaluate(batch, self.params, block, record, fees, median, self.signatures)
        write(batch, change)
        return change.tip

    def _mark_invalid(
        self, failing: BlockId, block: Block, record: HeaderRecord, error: RuleBrokenError
    ) -> None:
        """Remember that a block broke a rule: the id commits to everything the rules read."""
        if error.reason in _NOT_THE_BLOCKS_FAULT:
            return
        with self.store.batch() as batch:
            bad = {block.id: record}
            if failing != block.id:
                bad[failing] = self._record(failing, batch)
            for block_id, known in bad.items():
                if batch.get_header(block_id) is not None:
                    batch.forget_body(block_id, known.marked(HeaderStatus.INVALID))
                batch.put_header(block_id, known.marked(HeaderStatus.INVALID))
                self.headers.forget(block_id)
        self.headers.reject_above(failing)

    # trials ------------------------------------------------------------------------------------------

    def try_connect(self, batch: StateWriter, block: Block) -> Tip:
        """Check an unmined block on the head of a batch: templates and dev forks. Raises `RuleBrokenError`.

        Work, root and commitment are not checked: they were made just now. Nothing is written.
        """
        tip = batch.tip()
        work = (tip.work if tip else 0) + work_of(block.header.target)
        fees = check_records(block.bodies, block.witnesses, self.params.chain_id, block.header.height)
        record = HeaderRecord(block.header, work, len(block))
        median = self.median_time_after(block.header.previous)
        return evaluate(batch, self.params, block, record, fees, median, self.signatures).tip

    @contextmanager
    def scratch_at(self, block_id: BlockId) -> Iterator[StateWriter]:
        """Give a scratch batch whose head is a stored block of any branch: for building on it."""
        with self.store.scratch() as batch:
            branch, fork = [], block_id
            while batch.id_at(self._record(fork).header.height) != fork:
                branch.append(fork)
                fork = self._record(fork).header.previous
            self._disconnect_to(batch, fork)
            for branch_id in reversed(branch):
                block = batch.get_block(branch_id)
                if block is None:
                    raise StoreError(f"block {branch_id.hex()} is missing", hint="sync again")
                self._connect(batch, block, self._record(branch_id))
            yield batch

    def main_block(self, height: int) -> Block | None:
        """Return the main chain's block at a height."""
        with self.store.view() as view:
            block_id = view.id_at(height)
            return view.get_block(block_id) if block_id else None

    def ids_between(self, low: int, high: int) -> Sequence[BlockId]:
        """Return main-chain ids of heights low … high (inclusive), as far as they exist."""
        with self.store.view() as view:
            found = (view.id_at(height) for height in range(max(low, 0), high + 1))
            return [block_id for block_id in found if block_id is not None]
