"""A standalone network of one node: genesis, submission, ledger close, history, and (for tests) going back.

It starts as stellar-core does with its testing upgrades: ledger 1 is the genesis, ledger 2 has protocol 19,
base fee 100, base reserve 0.5 XLM and at most 1000 operations a ledger. All lumens belong to the root
account, whose key is derived from the network id.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from fractions import Fraction

from stellar_sdk import Keypair, Network, xdr

from relayers.stellar.devnet.entries import Account, Entry, Key, account
from relayers.stellar.devnet.fee_bump import Frame, make_frame
from relayers.stellar.devnet.frames import SOROBAN_SETTINGS, ceil_div, refund
from relayers.stellar.devnet.ledger import MAX_SEQUENCE, Header, LedgerTxn
from relayers.stellar.devnet.queue import Submitted, TransactionQueue
from relayers.stellar.devnet.results import TxResult
from relayers.stellar.devnet.soroban.settings import Settings

TOTAL_COINS = 1_000_000_000_000_000_000
"""Stroops in the genesis: 100 billion XLM."""
MAX_OPERATIONS_PER_TX = 100


@dataclass(frozen=True)
class Applied:
    """One transaction in the history."""

    frame: Frame
    result: TxResult
    ledger: int
    index: int
    """Position in its ledger, from 1."""
    accounts: frozenset[bytes]
    """The accounts that it names or touched."""
    balances: frozenset[bytes] = frozenset()
    """The claimable balances that it created or removed."""


@dataclass(frozen=True)
class ClosedLedger:
    """A closed ledger."""

    header: Header
    transactions: tuple[Applied, ...] = ()
    operation_count: int = 0


@dataclass
class StandaloneNetwork:
    """The node."""

    passphrase: str = Network.STANDALONE_NETWORK_PASSPHRASE
    genesis_time: int = 0
    max_operations: int = 1000
    """Operations that a ledger takes."""
    settings: Settings = SOROBAN_SETTINGS
    """What Soroban allows and costs."""
    queue: TransactionQueue = field(default_factory=TransactionQueue)
    ledgers: list[ClosedLedger] = field(default_factory=list)
    """All closed ledgers; the one of sequence n at index n - 1."""

    def __post_init__(self) -> None:
        self.network_id = hashlib.sha256(self.passphrase.encode()).digest()
        self.root_key = Keypair.from_raw_ed25519_seed(self.network_id)
        first = Header(1, 0, _header_hash(b"", 1, 0, b""), bytes(32))
        second_hash = _header_hash(first.hash, 2, self.genesis_time, b"")
        header = Header(2, self.genesis_time, second_hash, first.hash, max_tx_set_size=self.max_operations)
        self.ledgers = [ClosedLedger(first), ClosedLedger(header)]
        root = Account(self.root_key.raw_public_key(), TOTAL_COINS, 0)
        self._state: dict[Key, Entry] = {account(root.id): root}
        self._root = LedgerTxn.root(header, self._state)
        self._snapshots: dict[int, dict[Key, Entry]] = {2: self._root.snapshot()}
        self._by_hash: dict[bytes, Applied] = {}
        self._branch = 0

    @property
    def header(self) -> Header:
        """The newest ledger's header."""
        return self._root.header

    @property
    def state(self) -> LedgerTxn:
        """The ledger as it stands, to look at."""
        return self._root

    def transaction(self, contents_hash: bytes) -> Applied | None:
        """Return an applied transaction by its id or by its inner transaction's."""
        return self._by_hash.get(contents_hash)

    def submit(self, envelope: xdr.TransactionEnvelope) -> tuple[Submitted, Frame]:
        """Give the node a transaction, as its `tx` command does."""
        frame = make_frame(self.network_id, envelope, self.settings)
        return self.queue.submit(self._root, frame), frame

    def close(self, close_time: int, order: Sequence[bytes] = ()) -> ClosedLedger:
        """Close a ledger at that time (Unix seconds, later than the last one).

        `order` gives transaction ids in the order of application where it is known from elsewhere;
        otherwise it follows from the hash of the transaction set.
        """
        last = self.header
        if close_time <= last.close_time:
            raise ValueError(f"a ledger must close after {last.close_time}, not at {close_time}")
        candidates = self.queue.candidates(self._root, close_time)
        frames, base_fee = _within_limits(candidates, last, self.settings)
        set_hash = _set_hash(last.hash, frames)
        frames = _in_order(frames, set_hash, order)
        sequence = last.sequence + 1
        header_hash = _header_hash(last.hash, sequence, close_time, set_hash, self._branch)
        header = Header(
            sequence,
            close_time,
            header_hash,
            last.hash,
            last.base_fee,
            last.base_reserve,
            last.max_tx_set_size,
            last.protocol,
        )
        ledger = self._apply(header, frames, base_fee)
        self.ledgers.append(ledger)
        self._snapshots[sequence] = self._root.snapshot()
        self.queue.ledger_closed(self._root, frames)
        return ledger

    def _apply(self, header: Header, frames: list[Frame], base_fee: int) -> ClosedLedger:
        self._root.header = header
        txn = self._root.child()
        payers = {}
        for frame in frames:
            fees = txn.child()
            frame.charge_fee(fees, base_fee)
            payers[frame.full_hash] = fees.changed("account")
            fees.commit()
        if any(frame.merges_account for frame in frames):
            for frame in frames:
                known = txn.peek((MAX_SEQUENCE, frame.source)) or 0
                txn.mark((MAX_SEQUENCE, frame.source), max(known, frame.sequence))
        applied = []
        for index, frame in enumerate(frames, start=1):
            single = txn.child()
            frame.apply(single)
            touched = single.changed("account") | payers[frame.full_hash] | named_accounts(frame)
            balances = single.changed("balance")
            single.commit()
            place = (header.sequence, index)
            entry = Applied(frame, frame.result, *place, frozenset(touched), frozenset(balances))
            applied.append(entry)
            self._by_hash[frame.contents_hash] = entry
            self._by_hash[frame.inner.contents_hash] = entry
        _give_refunds(txn, frames)
        txn.commit()
        return ClosedLedger(header, tuple(applied), sum(len(frame.inner.tx.operations) for frame in frames))

    def rewind(self, depth: int) -> list[ClosedLedger]:
        """Forget the newest `depth` ledgers and return them, oldest first. Real Stellar never does this."""
        if not 0 < depth < len(self.ledgers) - 1:
            raise ValueError(f"cannot go back {depth} of {len(self.ledgers)} ledgers")
        undone = self.ledgers[-depth:]
        del self.ledgers[-depth:]
        for ledger in undone:
            del self._snapshots[ledger.header.sequence]
            for entry in ledger.transactions:
                self._by_hash.pop(entry.frame.contents_hash, None)
                self._by_hash.pop(entry.frame.inner.contents_hash, None)
        header = self.ledgers[-1].header
        self._root = LedgerTxn.root(header, self._snapshots[header.sequence])
        self.queue = TransactionQueue()
        self._branch += 1
        return undone


def _give_refunds(txn: LedgerTxn, frames: list[Frame]) -> None:
    """After all transactions: what Soroban ones did not use goes back to who paid (CAP-67)."""
    for frame in frames:
        if frame.soroban is not None:
            frame.refunded = refund(txn, frame.fee_source, frame.soroban.refund)
            frame.result.fee_charged -= frame.refunded


def named_accounts(frame: Frame) -> set[bytes]:
    """Return the accounts that a transaction's sources name."""
    inner = frame.inner
    sources = {inner._context(index).source for index in range(len(inner.tx.operations))}
    return sources | {frame.source, frame.fee_source}


def _within_limits(frames: list[Frame], header: Header, settings: Settings) -> tuple[list[Frame], int]:
    """Choose the best payers that fit, and the ledger's base fee: raised only when space runs short."""
    chosen = []
    room = header.max_tx_set_size
    instructions, contracts = settings.ledger_instructions, settings.ledger_transactions
    for frame in sorted(frames, key=lambda each: -Fraction(each.inclusion_bid, each.operation_count)):
        if frame.operation_count > room:
            continue
        if frame.soroban is not None:
            wanted = frame.soroban.resources.instructions.uint32
            if wanted > instructions or not contracts:
                continue
            instructions -= wanted
            contracts -= 1
        chosen.append(frame)
        room -= frame.operation_count
    used = header.max_tx_set_size - room
    if used <= max(0, header.max_tx_set_size - MAX_OPERATIONS_PER_TX):
        return chosen, header.base_fee
    return chosen, min(ceil_div(frame.inclusion_bid, frame.operation_count) for frame in chosen)


def _set_hash(previous: bytes, frames: list[Frame]) -> bytes:
    ordered = sorted(frames, key=lambda each: each.full_hash)
    return hashlib.sha256(previous + b"".join(each.envelope.to_xdr_bytes() for each in ordered)).digest()


def _in_order(frames: list[Frame], set_hash: bytes, order: Sequence[bytes]) -> list[Frame]:
    position = {contents_hash: index for index, contents_hash in enumerate(order)}
    mask = int.from_bytes(set_hash)

    def rank(frame: Frame) -> tuple[int, int]:
        known = position.get(frame.contents_hash, len(position))
        return known, int.from_bytes(frame.full_hash) ^ mask

    return sorted(frames, key=rank)


def _header_hash(previous: bytes, sequence: int, close_time: int, set_hash: bytes, branch: int = 0) -> bytes:
    # The real header also commits to the bucket list, which only stellar-core keeps; `branch` tells apart
    # ledgers that are closed again after a rewind.
    numbers = sequence.to_bytes(4, "big") + close_time.to_bytes(8, "big") + branch.to_bytes(4, "big")
    return hashlib.sha256(previous + numbers + set_hash).digest()
