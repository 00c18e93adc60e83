"""The pending transactions of a node: one per source account, the best payers first.

Rules of stellar-core 19: at most one pending transaction per source; a fee bump replaces it for ten times
its fee rate; the pool holds two ledgers' worth of operations and evicts the cheapest; what was applied,
evicted or found invalid is banned for ten ledgers; what was passed over four times is dropped.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from enum import Enum

from relayers.stellar.devnet import reserves
from relayers.stellar.devnet.entries import INT64_MAX
from relayers.stellar.devnet.fee_bump import Frame
from relayers.stellar.devnet.frames import AT_CLOSE, CloseTimes, ceil_div
from relayers.stellar.devnet.ledger import LedgerTxn, with_sequence
from relayers.stellar.devnet.results import TxCode, TxResult

BAN_LEDGERS = 10
PENDING_LEDGERS = 4
POOL_LEDGERS = 2
FEE_MULTIPLIER = 10
"""A replacement must bid at least this many times the fee rate of what it replaces."""
EXPECTED_CLOSE_MARGIN = 10
"""Seconds after the last close that a transaction's upper time bound must reach: two ledgers."""


class Submitted(Enum):
    """What the node says to a submission."""

    PENDING = "PENDING"
    DUPLICATE = "DUPLICATE"
    ERROR = "ERROR"
    TRY_AGAIN_LATER = "TRY_AGAIN_LATER"


@dataclass
class _Account:
    """What the queue holds for one account: its pending transaction, its age, and fees it owes for any."""

    pending: Frame | None = None
    age: int = 0
    fees: int = 0


@dataclass
class TransactionQueue:
    """Pending transactions by source account."""

    _accounts: dict[bytes, _Account] = field(default_factory=dict)
    _banned: deque[set[bytes]] = field(default_factory=lambda: deque(set() for _ in range(BAN_LEDGERS)))
    _evicted: tuple[int, int] | None = None
    """Fee and operations of the best transaction evicted since the last ledger: newcomers must beat it."""

    def pending(self) -> list[Frame]:
        """Return the pending transactions."""
        return [each.pending for each in self._accounts.values() if each.pending is not None]

    def find(self, contents_hash: bytes) -> Frame | None:
        """Return the pending transaction of that id (its own, or its inner one's)."""
        ids = ((each, {each.contents_hash, each.inner.contents_hash}) for each in self.pending())
        return next((frame for frame, own in ids if contents_hash in own), None)

    def submit(self, root: LedgerTxn, frame: Frame) -> Submitted:
        """Accept or refuse a transaction; after ERROR `frame.result` says why."""
        if self._is_banned(frame):
            return Submitted.TRY_AGAIN_LATER
        held = self._accounts.get(frame.source)
        replaced = held.pending if held is not None else None
        if replaced is not None:
            verdict = self._may_replace(frame, replaced)
            if verdict is not None:
                return verdict
        if not self._make_room(root, frame, replaced):
            self._banned[0].add(frame.full_hash)
            return (
                Submitted.ERROR
                if frame.result.code is TxCode.txINSUFFICIENT_FEE
                else Submitted.TRY_AGAIN_LATER
            )
        view = root.child(with_sequence(root.header, root.header.sequence + 1))
        if not frame.check_valid(view, 0, CloseTimes(0, EXPECTED_CLOSE_MARGIN)):
            return Submitted.ERROR
        if not self._can_pay(view, frame, replaced):
            # Of a fee bump's inner result, which was good, nothing is told any more.
            frame.result = TxResult(TxCode.txINSUFFICIENT_BALANCE, frame.result.fee_charged)
            return Submitted.ERROR
        victims = self._victims(root, frame, replaced)
        age = held.age if held is not None else 0
        if replaced is not None:
            self._drop(replaced)
        self._evict_for(root, frame, victims)
        source = self._accounts.setdefault(frame.source, _Account())
        source.pending = frame
        # A replacement does not wait longer than what it replaces would have.
        source.age = age
        self._accounts.setdefault(frame.fee_source, _Account()).fees += frame.fee_bid
        return Submitted.PENDING

    def _is_banned(self, frame: Frame) -> bool:
        return any(frame.full_hash in generation for generation in self._banned)

    def _may_replace(self, frame: Frame, old: Frame) -> Submitted | None:
        """Say what stands against `frame` taking the place of `old` of the same source, if anything."""
        if _is_duplicate(old, frame):
            return Submitted.DUPLICATE
        if not frame.is_fee_bump:
            return Submitted.TRY_AGAIN_LATER
        if frame.sequence != old.sequence:
            follows = frame.sequence > old.sequence and (
                frame.sequence == old.sequence + 1
                if frame.preconditions.min_sequence is None
                else frame.preconditions.min_sequence <= old.sequence
            )
            if follows:
                return Submitted.TRY_AGAIN_LATER
            frame.result = TxResult(TxCode.txBAD_SEQ)
            return Submitted.ERROR
        needed = FEE_MULTIPLIER * old.inclusion_bid * frame.operation_count
        if frame.inclusion_bid * old.operation_count < needed:
            fee = min(INT64_MAX, frame.resource_fee + ceil_div(needed, old.operation_count))
            frame.result = TxResult(TxCode.txINSUFFICIENT_FEE, fee)
            return Submitted.ERROR
        return None

    # Room in the pool

    def _capacity(self, root: LedgerTxn) -> int:
        return root.header.max_tx_set_size * POOL_LEDGERS

    def _victims(self, root: LedgerTxn, frame: Frame, replaced: Frame | None) -> list[Frame]:
        size = sum(each.operation_count for each in self.pending())
        added = frame.operation_count
        if replaced is not None:
            added -= frame.operation_count - replaced.operation_count
        surplus = size + added - self._capacity(root)
        victims = []
        for each in sorted(self.pending(), key=_fee_rate):
            if surplus <= 0:
                break
            victims.append(each)
            surplus -= each.operation_count
        return victims

    def _make_room(self, root: LedgerTxn, frame: Frame, replaced: Frame | None) -> bool:
        """Tell whether the frame fits, if need be by evicting cheaper ones; else set its result."""
        if self._evicted is not None and not _beats(frame, *self._evicted):
            return False
        for victim in self._victims(root, frame, replaced):
            if not _beats(frame, victim.inclusion_bid, victim.operation_count):
                return False
            if victim.source == frame.source:
                return False
        return True

    def _evict_for(self, root: LedgerTxn, frame: Frame, victims: list[Frame]) -> None:
        # What was replaced is gone by now, so fewer may have to go than were looked at.
        for victim in victims:
            self._evicted = (victim.inclusion_bid, victim.operation_count)
            self._ban(victim)
            size = sum(each.operation_count for each in self.pending())
            if size + frame.operation_count <= self._capacity(root):
                break

    def _can_pay(self, txn: LedgerTxn, frame: Frame, replaced: Frame | None) -> bool:
        owed = self._accounts[frame.fee_source].fees if frame.fee_source in self._accounts else 0
        fee = frame.fee_bid
        if replaced is not None and replaced.fee_source == frame.fee_source:
            fee -= replaced.fee_bid
        return reserves.available(txn.header, txn.child().existing_account(frame.fee_source)) - fee >= owed

    # Ledgers

    def candidates(self, root: LedgerTxn, close_time: int) -> list[Frame]:
        """Return what the next ledger, closed at `close_time`, may contain; ban what has become invalid."""
        header = with_sequence(root.header, root.header.sequence + 1)
        frames = [each for each in self.pending() if each.sequence != header.starting_sequence]
        offset = close_time - root.header.close_time
        return self._without_invalid(root.child(header), frames, CloseTimes(offset, offset))

    def ledger_closed(self, root: LedgerTxn, applied: list[Frame]) -> None:
        """Forget what was applied, age the rest, and drop what has become invalid."""
        highest: dict[bytes, int] = {}
        for frame in applied:
            highest[frame.source] = max(highest.get(frame.source, 0), frame.sequence)
            self._banned[0].add(frame.full_hash)
        for source, sequence in highest.items():
            held = self._accounts.get(source)
            if held is not None and held.pending is not None and held.pending.sequence <= sequence:
                self._drop(held.pending)
        self._banned.pop()
        self._banned.appendleft(set())
        for frame in self.pending():
            held = self._accounts[frame.source]
            held.age += 1
            if held.age == PENDING_LEDGERS:
                self._ban(frame)
        self._evicted = None
        header = with_sequence(root.header, root.header.sequence + 1)
        frames = [each for each in self.pending() if each.sequence != header.starting_sequence]
        self._without_invalid(root.child(header), frames, CloseTimes(0, EXPECTED_CLOSE_MARGIN))

    def _without_invalid(
        self, txn: LedgerTxn, frames: list[Frame], times: CloseTimes = AT_CLOSE
    ) -> list[Frame]:
        valid = []
        fees: dict[bytes, int] = {}
        for frame in frames:
            if frame.check_valid(txn, 0, times):
                valid.append(frame)
                fees[frame.fee_source] = fees.get(frame.fee_source, 0) + frame.fee_bid
            else:
                self._ban(frame)
        affordable = []
        for frame in valid:
            payer = txn.child().existing_account(frame.fee_source)
            if reserves.available(txn.header, payer) < fees[frame.fee_source]:
                self._ban(frame)
            else:
                affordable.append(frame)
        return affordable

    def _ban(self, frame: Frame) -> None:
        self._banned[0].add(frame.full_hash)
        self._drop(frame)

    def _drop(self, frame: Frame) -> None:
        held = self._accounts.get(frame.source)
        if held is None or held.pending is not frame:
            return
        held.pending = None
        held.age = 0
        self._accounts[frame.fee_source].fees -= frame.fee_bid
        for key in {frame.source, frame.fee_source}:
            if self._accounts[key].pending is None and self._accounts[key].fees == 0:
                del self._accounts[key]


def _beats(frame: Frame, fee: int, operations: int) -> bool:
    """Tell whether the frame bids a higher rate; if not, its result says what would do."""
    if frame.inclusion_bid * operations > fee * frame.operation_count:
        return True
    enough = frame.resource_fee + fee * frame.operation_count // operations + 1
    frame.result = TxResult(TxCode.txINSUFFICIENT_FEE, min(INT64_MAX, enough))
    return False


def _fee_rate(frame: Frame) -> float:
    return frame.inclusion_bid / frame.operation_count


def _is_duplicate(old: Frame, new: Frame) -> bool:
    if old.is_fee_bump == new.is_fee_bump:
        return old.full_hash == new.full_hash
    return old.is_fee_bump and old.inner.full_hash == new.full_hash
