"""Headers of every branch: their rules, their work, and which of them is the heaviest.

A header costs work to make and 133 bytes to keep; a block costs nothing more to make and 1.3 MB to keep. So
headers are checked and kept first, and blocks are asked for by those that lead to the heaviest header.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from chain.rules.difficulty import median_time_past, next_target
from chain.rules.errors import Reason, RuleBrokenError, StoreError
from chain.rules.header import HEADER_BYTES, HEADER_VERSION, MAX_TIME, Header, compact_to_target, work_of
from chain.rules.params import FUTURE_LIMIT, LWMA_WINDOW, MEDIAN_WINDOW, NetworkParams
from chain.rules.types import BlockId, UnixSeconds
from chain.state.headers import HeaderRecord, HeaderStatus
from chain.state.store import StateReader, Store, Tip
from kernels import cosmic_harmony

_HEADER_CACHE = 4096
_FORK_CACHE = 1024
MAX_HEADERS = 2_000
"""Headers taken at once; fewer than are kept at hand."""


@dataclass(frozen=True)
class HeadersAccepted:
    """What accepting headers did: how many were new, and the heaviest header known now."""

    new: int
    best: BlockId
    best_work: int


class HeaderTree:
    """The known headers of one store. `tip` is the main chain's head, kept up to date by `Chain`."""

    def __init__(
        self, params: NetworkParams, store: Store, clock: Callable[[], int], tip: Callable[[], Tip]
    ) -> None:
        self._params = params
        self._store = store
        self._clock = clock
        self._tip = tip
        self._cache: OrderedDict[BlockId, HeaderRecord] = OrderedDict()
        self._forks: OrderedDict[BlockId, int] = OrderedDict()
        self._best: tuple[BlockId, HeaderRecord] | None = None
        self._path: list[BlockId] = []
        """From the first header that is not on the main chain to the heaviest one."""

    # looking up --------------------------------------------------------------------------------------

    def get(self, block_id: BlockId, view: StateReader | None = None) -> HeaderRecord | None:
        """Return a known header of any branch."""
        cached = self._cache.get(block_id)
        if cached is not None:
            return cached
        if view is None:
            with self._store.view() as fresh:
                record = fresh.get_header(block_id)
        else:
            record = view.get_header(block_id)
        if record is not None:
            self.remember(block_id, record)
        return record

    def require(self, block_id: BlockId, view: StateReader | None = None) -> HeaderRecord:
        """Return a header that must be there. Raises `StoreError`."""
        record = self.get(block_id, view)
        if record is None:
            raise StoreError(
                f"the header {block_id.hex()} is missing", hint="the data directory is damaged: sync again"
            )
        return record

    def remember(self, block_id: BlockId, record: HeaderRecord) -> None:
        """Keep a record at hand, as it is stored now."""
        self._cache[block_id] = record
        if len(self._cache) > _HEADER_CACHE:
            self._cache.popitem(last=False)

    def forget(self, block_id: BlockId) -> None:
        """Read a record from the store the next time."""
        self._cache.pop(block_id, None)

    def forget_all(self) -> None:
        """Read every record from the store the next time: a commit was given up."""
        self._cache.clear()
        self._best, self._path = None, []

    def ancestors(self, block_id: BlockId, count: int) -> list[Header]:
        """Return up to `count` headers ending with `block_id`, oldest first."""
        headers: list[Header] = []
        while len(headers) < count:
            header = self.require(block_id).header
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
        if not self._params.retarget:
            return self._params.pow_limit
        return next_target(self._params, self.ancestors(block_id, LWMA_WINDOW + 1))

    # checking ----------------------------------------------------------------------------------------

    def check(self, header: Header, *, work_shown: bool = False) -> HeaderRecord:
        """Check a header on a known parent, work included unless it was. Returns the parent's record.

        Raises `RuleBrokenError`.
        """
        parent = self.get(header.previous)
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
        self.check_depth(header.previous)
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
        if header.time > min(self._clock() + FUTURE_LIMIT, MAX_TIME):
            raise RuleBrokenError(
                Reason.TIME_TOO_NEW, f"the time {header.time} is too far ahead", hint="check the clock"
            )
        if not work_shown and not cosmic_harmony.verify(
            header.raw, header.nonce, compact_to_target(header.target)
        ):
            raise RuleBrokenError(Reason.BAD_WORK, "the work hash is above the target")
        return parent

    def check_depth(self, parent: BlockId) -> None:
        """Refuse a branch that leaves the main chain below the finality window. Raises `RuleBrokenError`."""
        lowest = self._tip().height - self._params.finality_window
        if lowest <= 0 or self._fork_height(parent) >= lowest:
            return
        raise RuleBrokenError(
            Reason.REORG_TOO_DEEP,
            f"the branch forks more than {self._params.finality_window} blocks below the head",
            hint="if it is the honest one, the operator must decide: see docs/zion-protocol.md",
        )

    def _fork_height(self, block_id: BlockId) -> int:
        """Return the height at which the branch of `block_id` leaves the main chain, or one lower than it.

        What is kept is a lower bound, for the main chain may have followed the branch since; before it
        refuses anything it is looked up again.
        """
        lowest = self._tip().height - self._params.finality_window
        kept = self._forks.get(block_id)
        if kept is not None and kept >= lowest:
            return kept
        at, steps = block_id, [block_id]
        with self._store.view() as view:
            while True:
                record = self.require(at, view)
                height = record.header.height
                if view.id_at(height) == at or height < lowest:
                    break
                known = self._forks.get(at)
                if known is not None and known >= lowest:
                    height = known
                    break
                at = record.header.previous
                steps.append(at)
        self._forks[block_id] = height
        if len(self._forks) > _FORK_CACHE:
            self._forks.popitem(last=False)
        return height

    # accepting ---------------------------------------------------------------------------------------

    def accept(self, headers: Sequence[Header], *, work_behind: int = 0) -> HeadersAccepted:
        """Check and store headers, each the child of the one before, in one commit or none.

        `work_behind` is the total work of the chain that they are shown to be part of (low-work presync);
        a chain with less than the network's minimum is not stored. Raises `RuleBrokenError` with `index`.
        """
        if len(headers) > MAX_HEADERS:
            raise RuleBrokenError(Reason.TOO_LARGE, f"at most {MAX_HEADERS} headers at once")
        new: dict[BlockId, HeaderRecord] = {}
        first_new = next((i for i, header in enumerate(headers) if self.get(header.id) is None), len(headers))
        unknown = headers[first_new:]
        shown = _show_work(unknown)
        try:
            for index, header in enumerate(headers):
                if index and header.previous != headers[index - 1].id:
                    raise RuleBrokenError(
                        Reason.UNKNOWN_PARENT, "the headers do not follow each other", index=index
                    )
                known = self.get(header.id)
                if known is not None and known.invalid:
                    raise RuleBrokenError(Reason.KNOWN_INVALID, "the block was found invalid before")
                if known is not None:
                    continue
                parent = self.check(header, work_shown=bool(shown[index - first_new]))
                record = HeaderRecord(header, parent.work + work_of(header.target), 0, HeaderStatus.HEADER)
                new[header.id] = record
                self.remember(header.id, record)
            if new:
                self.check_work(max(record.work for record in new.values()), work_behind)
                with self._store.batch() as batch:
                    for block_id, record in new.items():
                        batch.put_header(block_id, record)
        except BaseException as error:
            for block_id in new:
                self.forget(block_id)
            if isinstance(error, RuleBrokenError) and error.index is None:
                error.index = index
            raise
        for header in headers[-1:]:
            self.weigh(header.id, self.require(header.id))
        best_id, best = self.best
        return HeadersAccepted(len(new), best_id, best.work)

    def check_work(self, work: int, work_behind: int = 0) -> None:
        """Refuse a chain with less work than the network's minimum. Raises `RuleBrokenError`."""
        if max(work, work_behind) < self._params.minimum_work:
            raise RuleBrokenError(
                Reason.TOO_LITTLE_WORK,
                f"the chain has {work} hashes of work, the least is {self._params.minimum_work}",
                hint="show more of its headers first",
            )

    # the heaviest header -----------------------------------------------------------------------------

    @property
    def best(self) -> tuple[BlockId, HeaderRecord]:
        """The header with the most work that is not known to be invalid; the head unless one is heavier."""
        tip = self._tip()
        if self._best is None or self._best[1].work < tip.work:
            self._best, self._path = (tip.id, self.require(tip.id)), []
        return self._best

    def weigh(self, block_id: BlockId, record: HeaderRecord) -> None:
        """Take a header as the heaviest if it is."""
        best_id, best = self.best
        if record.work <= best.work or record.invalid:
            return
        if record.header.previous == best_id and self._path:
            self._path.append(block_id)
        else:
            self._path = []
        self._best = (block_id, record)

    def path(self) -> list[BlockId]:
        """Return the ids between the main chain and the heaviest header, oldest first."""
        best_id, _ = self.best
        with self._store.view() as view:
            if not self._path or self._path[-1] != best_id:
                self._path = self._walk(view, best_id)
            joined = 0
            while joined < len(self._path) and self._on_main(view, self._path[joined]):
                joined += 1
            del self._path[:joined]
            if self._path and not self._on_main(view, self.require(self._path[0], view).header.previous):
                self._path = self._walk(view, best_id)  # the main chain left the path
        return self._path

    def _on_main(self, view: StateReader, block_id: BlockId) -> bool:
        return view.id_at(self.require(block_id, view).header.height) == block_id

    def _walk(self, view: StateReader, block_id: BlockId) -> list[BlockId]:
        found: list[BlockId] = []
        while not self._on_main(view, block_id):
            found.append(block_id)
            block_id = self.require(block_id, view).header.previous
        return found[::-1]

    def missing_bodies(self, limit: int) -> list[BlockId]:
        """Return up to `limit` ids on the way to the heaviest header whose blocks are not stored."""
        found: list[BlockId] = []
        for block_id in self.path():
            if len(found) >= limit:
                break
            if not self.require(block_id).has_body:
                found.append(block_id)
        return found

    def on_path(self, block_id: BlockId, height: int) -> bool:
        """Tell whether a block lies on the way to the heaviest header."""
        path = self.path()
        if not path:
            return False
        index = height - self.require(path[0]).header.height
        return 0 <= index < len(path) and path[index] == block_id

    def reject_above(self, invalid: BlockId) -> None:
        """Mark what stands on an invalid block, on the way to the heaviest header, and look elsewhere."""
        path = self.path()
        if invalid in path:
            with self._store.batch() as batch:
                for block_id in path[path.index(invalid) :]:
                    record = self.require(block_id, batch).marked(HeaderStatus.INVALID)
                    batch.put_header(block_id, record)
                    self.forget(block_id)
        self._best, self._path = None, []

    def moved(self, *, reorganised: bool) -> None:
        """Follow a change of the head."""
        if reorganised:
            self._forks.clear()


def _show_work(headers: Sequence[Header]) -> list[bool]:
    """Check the work of headers in one call; a target that is none counts as not shown."""
    if not headers:
        return []
    raw = np.frombuffer(b"".join([header.raw for header in headers]), np.uint8)
    nonces = np.array([header.nonce for header in headers], np.uint64)
    targets = b"".join([_target_bytes(header.target) for header in headers])
    shown = cosmic_harmony.verify_batch(
        raw.reshape(len(headers), HEADER_BYTES), nonces, np.frombuffer(targets, np.uint8).reshape(-1, 32)
    )
    return [bool(value) for value in shown]


def _target_bytes(compact: int) -> bytes:
    try:
        return cosmic_harmony.target_bytes(compact_to_target(compact))
    except RuleBrokenError:
        return bytes(32)
