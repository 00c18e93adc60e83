"""Headers whose blocks have not been checked: in memory, bounded, heaviest branch known.

The ledger holds the headers of stored blocks. Here are those ahead of it. A header is taken only on a branch
with enough work (`threshold`): headers at the easiest target cost next to nothing and would fill the memory.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

from chain.network.codec import Header
from chain.network.core.branch import WINDOW, Branch, TooNewError, check_links
from chain.network.core.rolling import RollingSet
from chain.network.ledger import Ledger, LedgerHeader
from chain.rules.header import work_of
from chain.rules.types import BlockId

MAX_HEADERS_HELD = 100_000
"""About 60 MB. More headers are taken when blocks have caught up."""

SLACK_BLOCKS = 144
"""A branch may have so many blocks' work less than the head, and is taken all the same: honest rivals."""

KEPT_BEHIND = 2_000
"""Headers of branches this far below the head are forgotten."""


class Outcome(Enum):
    """What `HeaderTree.offer` did."""

    TAKEN = "taken"
    UNCONNECTED = "unconnected"
    LOW_WORK = "low_work"
    INVALID = "invalid"
    """On top of a block that broke a rule."""
    FULL = "full"


@dataclass(frozen=True, slots=True)
class Offered:
    """`last` is the last header that is known now, with its work."""

    outcome: Outcome
    last: BlockId | None = None
    work: int = 0
    fresh: tuple[BlockId, ...] = ()


class HeaderTree:
    """All headers that the node knows: the ledger's, and those ahead of it."""

    def __init__(self, ledger: Ledger, minimum_work: int = 0) -> None:
        self._ledger = ledger
        self._minimum_work = minimum_work
        self._ahead: dict[BlockId, LedgerHeader] = {}
        self._invalid = RollingSet(10_000)
        tip = ledger.tip()
        self.best: BlockId = tip.id
        self.best_work = tip.work

    def __len__(self) -> int:
        return len(self._ahead)

    def get(self, block_id: BlockId) -> LedgerHeader | None:
        """Return a known header."""
        return self._ahead.get(block_id) or self._ledger.header(block_id)

    def stored(self, block_id: BlockId) -> bool:
        """Tell whether the ledger has the block."""
        return self._ledger.header(block_id) is not None

    def threshold(self) -> int:
        """Return the least work of a branch that is stored without a presync."""
        tip = self._ledger.tip()
        record = self._ledger.header(tip.id)
        slack = SLACK_BLOCKS * work_of(record.header.target) if record else 0
        return max(self._minimum_work, tip.work - slack)

    def branch_on(self, block_id: BlockId) -> Branch | None:
        """Return an empty branch on a known header."""
        record = self.get(block_id)
        if record is None:
            return None
        return Branch(self._ledger.params, self._ancestors(record.header), record.work)

    def _ancestors(self, header: Header) -> list[Header]:
        found = [header]
        while len(found) < WINDOW and header.height > 0:
            record = self.get(header.previous)
            if record is None:
                break
            header = record.header
            found.append(header)
        return found[::-1]

    def offer(self, headers: Sequence[Header], *, proven: bool = False) -> Offered:
        """Check headers in a row and take them. `proven`: a presync has shown the branch's work.

        Raises `HeaderFaultError`.
        """
        check_links(headers[0].previous, headers[0].height - 1, headers)
        skipped = 0
        for header in headers:
            if self.get(header.id) is None:
                break
            skipped += 1
        if any(header.id in self._invalid or header.previous in self._invalid for header in headers):
            return Offered(Outcome.INVALID)
        known = self.get(headers[skipped - 1].id) if skipped else None
        if skipped == len(headers) and known is not None:
            outcome = Outcome.INVALID if known.invalid else Outcome.TAKEN
            return Offered(outcome, headers[-1].id, known.work)
        rest = headers[skipped:]
        parent = self.get(rest[0].previous)
        if parent is None:
            return Offered(Outcome.UNCONNECTED)
        if parent.invalid:
            return Offered(Outcome.INVALID)
        branch = self.branch_on(rest[0].previous)
        if branch is None:
            return Offered(Outcome.UNCONNECTED)
        now = self._ledger.now()
        try:
            taken = branch.extend(rest, now)
        except TooNewError as error:
            if error.at == 0:
                return Offered(Outcome.TAKEN, rest[0].previous, parent.work)
            branch = Branch(self._ledger.params, self._ancestors(parent.header), parent.work)
            taken = branch.extend(rest[: error.at], now)
        if not proven and branch.work < self.threshold():
            return Offered(Outcome.LOW_WORK)
        if len(self._ahead) + len(taken) > MAX_HEADERS_HELD:
            return Offered(Outcome.FULL, rest[0].previous, parent.work)
        if not self._ledger.note_headers([header for header, _ in taken]):
            return Offered(Outcome.LOW_WORK)
        for header, work in taken:
            self._ahead[header.id] = LedgerHeader(header, work)
        if branch.work > self.best_work:
            self.best, self.best_work = branch.tip, branch.work
        return Offered(Outcome.TAKEN, branch.tip, branch.work, tuple(header.id for header, _ in taken))

    def locator(self, start: BlockId | None = None) -> tuple[BlockId, ...]:
        """Return ids from `start` (or the best header) back: ten, then ever wider apart, and genesis."""
        ids: list[BlockId] = []
        block_id, step = start or self.best, 1
        record = self.get(block_id)
        while record is not None and record.header.height > 0 and len(ids) < 31:
            ids.append(block_id)
            if len(ids) > 9:
                step *= 2
            target = record.header.height - step
            while record is not None and record.header.height > max(target, 0):
                if self._ledger.id_at(record.header.height) == block_id:
                    main = self._ledger.id_at(max(target, 0))
                    block_id = main if main is not None else self._ledger.genesis_id
                else:
                    block_id = record.header.previous
                record = self.get(block_id)
        return (*ids, self._ledger.genesis_id)

    def path_to_best(self, known: dict[BlockId, int]) -> tuple[list[BlockId], BlockId]:
        """Return the ids from a stored block, or one of `known`, up to the best header, oldest first.

        The second value is that stored or known block.
        """
        path: list[BlockId] = []
        block_id = self.best
        while block_id not in known and not self.stored(block_id):
            path.append(block_id)
            block_id = self._ahead[block_id].header.previous
        return path[::-1], block_id

    def descends(self, block_id: BlockId, ancestor: BlockId) -> bool:
        """Tell whether `ancestor` is on the branch of `block_id` (or is that block)."""
        low = self.get(ancestor)
        record = self.get(block_id)
        while low is not None and record is not None and record.header.height >= low.header.height:
            if block_id == ancestor:
                return True
            if block_id not in self._ahead:
                return self._ledger.id_at(low.header.height) == ancestor and (
                    self._ledger.id_at(record.header.height) == block_id
                )
            block_id = record.header.previous
            record = self.get(block_id)
        return False

    def mark_invalid(self, block_id: BlockId) -> None:
        """Forget a header whose block broke a rule, and all on top of it; never take them again."""
        bad = {block_id}
        for one in sorted(self._ahead.items(), key=lambda item: item[1].header.height):
            if one[1].header.previous in bad:
                bad.add(one[0])
        for one_id in bad:
            self._invalid.add(one_id)
            self._ahead.pop(one_id, None)
        self._choose_best()

    def is_invalid(self, block_id: BlockId) -> bool:
        """Tell whether the block broke a rule, or stands on one that did."""
        record = self._ledger.header(block_id)
        return block_id in self._invalid or (record is not None and record.invalid)

    def _choose_best(self) -> None:
        tip = self._ledger.tip()
        self.best, self.best_work = tip.id, tip.work
        for block_id, record in self._ahead.items():
            if record.work > self.best_work:
                self.best, self.best_work = block_id, record.work

    def follow(self) -> None:
        """Forget what the ledger holds now, and branches far below its head."""
        tip = self._ledger.tip()
        if tip.work > self.best_work:
            self.best, self.best_work = tip.id, tip.work
        if not self._ahead:
            return
        block_id = tip.id
        while self._ahead.pop(block_id, None) is not None:
            record = self._ledger.header(block_id)
            if record is None:
                break
            block_id = record.header.previous
        if tip.height % 500 == 0:
            floor = tip.height - KEPT_BEHIND
            kept = set(self.path_to_best({})[0])
            self._ahead = {
                one: record
                for one, record in self._ahead.items()
                if one in kept or record.header.height > floor
            }
