"""The chain: which blocks are valid, which branch is the heaviest, and moving the state between branches."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from chain.rules.block import Block, witness_commitment
from chain.rules.compiled import check_records
from chain.rules.difficulty import median_time_past, next_target
from chain.rules.errors import Reason, RuleBrokenError, StoreError
from chain.rules.genesis import genesis_block
from chain.rules.header import HEADER_VERSION, MAX_TIME, Header, compact_to_target, work_of
from chain.rules.params import (
    FUTURE_LIMIT,
    LWMA_WINDOW,
    MAX_BLOCK_TRANSACTIONS,
    MEDIAN_WINDOW,
    NetworkParams,
)
from chain.rules.types import BlockId, UnixSeconds
from chain.state.evaluation import evaluate, write
from chain.state.signature_cache import SignatureCache
from chain.state.store import HeaderRecord, StateReader, StateWriter, Store, Tip
from kernels import cosmic_harmony

_HEADER_CACHE = 4096
_NOT_THE_BLOCKS_FAULT = frozenset({Reason.TIME_TOO_NEW, Reason.UNKNOWN_PARENT})


@dataclass(frozen=True)
class ChainChange:
    """What accepting a block did: blocks that left the main chain (newest first) and joined it (oldest
    first). Both empty: the block was known, or is on a lighter branch."""

    block_id: BlockId
    known: bool = False
    disconnected: tuple[Block, ...] = ()
    connected: tuple[Block, ...] = field(default=())


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
        self._headers: OrderedDict[BlockId, HeaderRecord] = OrderedDict()
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
        self._median_time = self.median_time_after(self.tip.id)

    @property
    def median_time(self) -> UnixSeconds:
        """Median time past at the head: what deadlines of the next block are compared with."""
        return self._median_time

    def close(self) -> None:
        """Close the store."""
        self.store.close()

    # headers -----------------------------------------------------------------------------------------

    def header(self, block_id: BlockId, view: StateReader | None = None) -> HeaderRecord | None:
        """Return a known header of any branch."""
        cached = self._headers.get(block_id)
        if cached is not None:
            return cached
        if view is None:
            with self.store.view() as fresh:
                record = fresh.get_header(block_id)
        else:
            record = view.get_header(block_id)
        if record is not None:
            self._remember(block_id, record)
        return record

    def _remember(self, block_id: BlockId, record: HeaderRecord) -> None:
        self._headers[block_id] = record
        if len(self._headers) > _HEADER_CACHE:
            self._headers.popitem(last=False)

    def _record(self, block_id: BlockId, view: StateReader | None = None) -> HeaderRecord:
        record = self.header(block_id, view)
        if record is None:
            raise StoreError(
                f"the header {block_id.hex()} is missing", hint="the data directory is damaged: sync again"
            )
        return record

    def ancestors(self, block_id: BlockId, count: int) -> list[Header]:
        """Return up to `count` headers ending with `block_id`, oldest first."""
        headers: list[Header] = []
        while len(headers) < count:
            header = self._record(block_id).header
            headers.append(header)
            if header.height == 0:
                break
            block_id = header.previous
        return headers[::-1]

    def median_time_after(self, block_id: BlockId) -> UnixSeconds:
        """Return the median time past of a block."""
        return median_time_past([header.time for header in self.ancestors(block_id, MEDIAN_WINDOW)])

    def target_after(self, block_id: BlockId) -> int:
        """Return the compact target that the next block on `block_id` must have."""
        if not self.params.retarget:
            return self.params.pow_limit
        return next_target(self.params, self.ancestors(block_id, LWMA_WINDOW + 1))

    # accepting ---------------------------------------------------------------------------------------

    def check_header(self, header: Header) -> HeaderRecord:
        """Check a header on a known parent, work included. Returns the parent's record.

        Raises `RuleBrokenError`.
        """
        parent = self.header(header.previous)
        if parent is None:
            raise RuleBrokenError(
                Reason.UNKNOWN_PARENT,
                f"the parent {header.previous.hex()} is unknown",
                hint="send the parent first",
            )
        if parent.invalid:
            raise RuleBrokenError(Reason.INVALID_ANCESTOR, f"the parent {header.previous.hex()} is invalid")
        if header.version != HEADER_VERSION:
            raise RuleBrokenError(Reason.BAD_BLOCK_VERSION, f"version {header.version} is unknown")
        if header.height != parent.header.height + 1:
            raise RuleBrokenError(Reason.BAD_HEIGHT, f"the parent has height {parent.header.height}")
        expected = self.target_after(header.previous)
        if header.target != expected:
            raise RuleBrokenError(
                Reason.BAD_TARGET, f"the target is 0x{header.target:08x}, not 0x{expected:08x}"
            )
        median = self.median_time_after(header.previous)
        if header.time <= median:
            raise RuleBrokenError(
                Reason.TIME_TOO_OLD, f"the time {header.time} is not after the median time past {median}"
            )
        if header.time > min(self.clock() + FUTURE_LIMIT, MAX_TIME):
            raise RuleBrokenError(
                Reason.TIME_TOO_NEW, f"the time {header.time} is too far ahead", hint="check the clock"
            )
        if not cosmic_harmony.verify(header.raw, header.nonce, compact_to_target(header.target)):
            raise RuleBrokenError(Reason.BAD_WORK, "the work hash is above the target")
        return parent

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
        """Validate and store a block; follow it if its branch is the heaviest.

        One commit, or none. Raises `RuleBrokenError`; a block at fault is remembered as invalid.
        """
        known = self.header(block.id)
        if known is not None:
            if known.invalid:
                raise RuleBrokenError(Reason.KNOWN_INVALID, "the block was found invalid before")
            return ChainChange(block.id, known=True)
        parent = self.check_header(block.header)
        record = HeaderRecord(block.header, parent.work + work_of(block.header.target), len(block))
        fees = self.check_body(block)
        if record.work <= self.tip.work:
            with self.store.batch() as batch:
                batch.put_block(block, record)
            return ChainChange(block.id)
        return self._follow(block, record, fees)

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
                    connected.append(stored)
                failing = block.id
                tip = self._connect(batch, block, record, fees)
                connected.append(block)
        except RuleBrokenError as error:
            self._headers.pop(block.id, None)
            self._mark_invalid(failing, block, record, error)
            raise
        self.tip = tip
        self._remember(block.id, record)
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
                marked = HeaderRecord(known.header, known.work, known.transactions, invalid=True)
                batch.put_header(block_id, marked)
                self._headers.pop(block_id, None)

    # trials ------------------------------------------------------------------------------------------

    def try_connect(self, batch: StateWriter, block: Block) -> Tip:
        """Connect an unmined block in a scratch batch: templates and dev forks. Raises `RuleBrokenError`."""
        tip = batch.tip()
        work = (tip.work if tip else 0) + work_of(block.header.target)
        fees = self.check_body(block)
        record = HeaderRecord(block.header, work, len(block))
        return self._connect(batch, block, record, fees)

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
