"""A seeded, deterministic chain in memory: blocks, a mempool with replacement, reorgs and faults."""

from __future__ import annotations

import asyncio
import copy
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field

import msgspec

from bridge.chains.port import BroadcastOutcome, BroadcastResult, Claimed, HtlcEvent, LockStatus
from bridge.chains.preimages import revealed
from bridge.protocol.types import Asset, BlockHeight, BlockRef, ChainId, Purpose, TxId, UnixSeconds
from relayers.fake.ledger import FakeLedger, FakeTx, InvalidTxError, shown_by

GENESIS_TIME = 1_800_000_000
REPLACEMENT_PERCENT = 110
"""A replacement must bid at least this much of the price it replaces."""
KEPT_SNAPSHOTS = 64
"""How deep a reorg can go."""
MAX_BLOCK_TXS = 200


@dataclass(frozen=True)
class Outcome:
    """How a transaction ended in a block: None as reason means it worked."""

    tx: FakeTx
    reason: str | None


@dataclass(frozen=True)
class FakeBlock:
    """A block: its reference, its transactions and the HTLC events they made."""

    ref: BlockRef
    outcomes: tuple[Outcome, ...]
    events: tuple[HtlcEvent, ...]


@dataclass
class ChainFaults:
    """What the network does to transactions and blocks."""

    halted: bool = False
    """No block is made, whatever is asked."""
    drop_broadcasts: int = 0
    """This many of the next broadcasts are accepted and then forgotten."""
    hold_blocks: int = 0
    """Transactions wait this many blocks before they can be included."""
    revert: int = 0
    """This many of the next transactions revert when they are included: they ran out of gas, say."""
    traps: frozenset[str] = frozenset()
    """Contracts that take payments in every simulation, and revert and burn the whole fee in a block."""


@dataclass(frozen=True)
class _Pending:
    tx: FakeTx
    since: int


@dataclass
class FakeChain:
    """The chain itself; `FakePort` looks at it as the bridge does, `FakeWallet` as users do.

    `block_interval` in seconds; `price` is the least a transaction must bid to be included;
    `sequences=False` makes a chain without account sequences; `expiry_blocks` makes transactions of the
    bridge expire that many blocks after signing; `max_claims` may be made in one transaction, `atomic_claims`
    all or none; with `signed_claims` a claim needs the recipient's signature (False: it may have one; None:
    there are none); of the accounts in `one_at_a_time` one transaction waits at a time.
    """

    chain: ChainId
    native: Asset
    seed: int = 0
    block_interval: int = 10
    price: int = 10
    sequences: bool = True
    expiry_blocks: int | None = None
    max_claims: int = 1
    atomic_claims: bool = False
    signed_claims: bool | None = None
    one_at_a_time: frozenset[str] = frozenset()
    faults: ChainFaults = field(default_factory=ChainFaults)

    def __post_init__(self) -> None:
        self._branch = 0
        genesis = BlockRef(BlockHeight(0), self._block_id(0, "", ()), "", UnixSeconds(GENESIS_TIME))
        self.blocks: list[FakeBlock] = [FakeBlock(genesis, (), ())]
        self.ledger = FakeLedger(self.native, atomic_claims=self.atomic_claims)
        self._snapshots: dict[int, FakeLedger] = {0: self.ledger.snapshot()}
        self.mempool: dict[str, _Pending] = {}
        self._included: dict[str, int] = {}
        self._listeners: set[asyncio.Event] = set()
        self.odd: set[str] = set()
        """Transactions whose claims no reader understands for the time being."""

    def fork(self) -> FakeChain:
        """Return an independent copy of the chain as it is now, without its listeners."""
        twin = copy.copy(self)
        twin.faults = copy.copy(self.faults)
        twin.blocks = list(self.blocks)
        twin.ledger = self.ledger.snapshot()
        twin._snapshots = {height: ledger.snapshot() for height, ledger in self._snapshots.items()}
        twin.mempool = dict(self.mempool)
        twin._included = dict(self._included)
        twin._listeners = set()
        twin.odd = set(self.odd)
        return twin

    # -- looking -----------------------------------------------------------------------------

    @property
    def head(self) -> BlockRef:
        """The newest block."""
        return self.blocks[-1].ref

    def included(self, tx_id: TxId) -> tuple[FakeBlock, Outcome] | None:
        """Return the block that holds a transaction, and how it ended there."""
        height = self._included.get(tx_id)
        if height is None:
            return None
        block = self.blocks[height]
        return block, next(outcome for outcome in block.outcomes if outcome.tx.tx_id == tx_id)

    def sequence_user(self, account: str, sequence: int) -> str | None:
        """Return the included transaction that used a sequence."""
        for block in reversed(self.blocks):
            for outcome in block.outcomes:
                if (outcome.tx.account, outcome.tx.sequence) == (account, sequence):
                    return outcome.tx.tx_id
        return None

    def subscribe(self) -> asyncio.Event:
        """Return an event that is set at every new block and every accepted transaction."""
        event = asyncio.Event()
        self._listeners.add(event)
        return event

    def unsubscribe(self, event: asyncio.Event) -> None:
        """Forget a listener."""
        self._listeners.discard(event)

    # -- changing ----------------------------------------------------------------------------

    def submit(self, tx: FakeTx) -> BroadcastResult:
        """Take a transaction into the mempool, as a node would."""
        tx_id = tx.tx_id
        if tx_id in self._included or tx_id in self.mempool:
            return BroadcastResult(BroadcastOutcome.ALREADY_KNOWN)
        if tx.valid_until is not None and self.head.height > tx.valid_until:
            return BroadcastResult(BroadcastOutcome.REJECTED, "expired")
        if tx.sequence is not None and tx.sequence < self.ledger.sequences.get(tx.account, 0):
            return BroadcastResult(BroadcastOutcome.SEQUENCE_USED, "nonce too low")
        if self.ledger.balance(tx.account, self.native) < tx.cost:
            return BroadcastResult(BroadcastOutcome.REJECTED, "insufficient funds for gas")
        if tx.account in self.one_at_a_time and self._must_wait(tx):
            return BroadcastResult(BroadcastOutcome.LATER, "another one of its account comes first")
        if self._spends_what_is_spent(tx):
            return BroadcastResult(BroadcastOutcome.REJECTED, "it spends what is spent")
        rival, since = self._rival(tx), self.head.height
        if rival is not None:
            if tx.price * 100 < rival.price * REPLACEMENT_PERCENT:
                return BroadcastResult(BroadcastOutcome.UNDERPRICED, "replacement transaction underpriced")
            since = BlockHeight(
                self.mempool.pop(rival.tx_id).since
            )  # a higher bid waits no longer than the lower one did
        if self.faults.drop_broadcasts > 0:
            self.faults.drop_broadcasts -= 1
            return BroadcastResult(BroadcastOutcome.ACCEPTED, "")
        self.mempool[tx_id] = _Pending(tx, since)
        return BroadcastResult(BroadcastOutcome.ACCEPTED)

    def mine(self, blocks: int = 1, interval: int | None = None) -> None:
        """Make blocks; nothing happens while the chain is halted."""
        if self.faults.halted:
            return
        for _ in range(blocks):
            time = self.head.time + (self.block_interval if interval is None else interval)
            self._make_block(time, self._choose())
        self._announce()

    def reorg(self, depth: int, drop: Sequence[str] = (), *, again: bool = True) -> None:
        """Replace the last `depth` blocks by `depth` + 1 others without the transactions `drop`.

        With `again=False` the other transactions wait in the mempool instead of being included at once.
        """
        if not 0 < depth < min(len(self.blocks), KEPT_SNAPSHOTS):
            raise ValueError(f"cannot replace {depth} of {len(self.blocks)} blocks")
        self._branch += 1
        removed = self.blocks[-depth:]
        del self.blocks[-depth:]
        self.ledger = self._snapshots[self.head.height].snapshot()
        survivors: list[FakeTx] = []
        for block in removed:
            for outcome in block.outcomes:
                self._included.pop(outcome.tx.tx_id, None)
                if outcome.tx.tx_id not in drop:
                    survivors.append(outcome.tx)
        for tx_id in drop:
            self.mempool.pop(tx_id, None)
        if not again:
            for tx in survivors:
                self.mempool.setdefault(tx.tx_id, _Pending(tx, self.head.height))
            survivors = []
        times = [block.ref.time for block in removed]
        for index, time in enumerate([*times, times[-1] + self.block_interval]):
            self._make_block(time, survivors if index == 0 else [])
        self._announce()

    def credit(self, address: str, asset: Asset, amount: int) -> None:
        """Give an address money, also as seen from every block a reorg may go back to."""
        self.ledger.credit(address, asset, amount)
        for snapshot in self._snapshots.values():
            snapshot.credit(address, asset, amount)

    # -- within ------------------------------------------------------------------------------

    def _rival(self, tx: FakeTx) -> FakeTx | None:
        if tx.sequence is None:
            return None
        for pending in self.mempool.values():
            if (pending.tx.account, pending.tx.sequence) == (tx.account, tx.sequence):
                return pending.tx
        return None

    def _choose(self) -> list[FakeTx]:
        """Pick what the next block includes: by price, an account's transactions in sequence."""
        height = self.head.height
        expired = [
            tx_id
            for tx_id, pending in self.mempool.items()
            if pending.tx.valid_until is not None and height >= pending.tx.valid_until
        ]
        for tx_id in expired:
            del self.mempool[tx_id]
        ready = sorted(
            (
                pending.tx
                for pending in self.mempool.values()
                if pending.tx.price >= self.price and height - pending.since >= self.faults.hold_blocks
            ),
            key=lambda tx: (-tx.price, tx.tx_id),
        )
        chosen: list[FakeTx] = []
        following = dict(self.ledger.sequences)
        progress = True
        while progress and len(chosen) < MAX_BLOCK_TXS:
            progress = False
            for tx in list(ready):
                if tx.sequence is None or tx.sequence == following.get(tx.account, 0):
                    ready.remove(tx)
                    chosen.append(tx)
                    if tx.sequence is not None:
                        following[tx.account] = tx.sequence + 1
                    progress = True
        return chosen

    def _make_block(self, time: int, txs: Sequence[FakeTx]) -> None:
        height = self.head.height + 1
        parent = self.head.id
        ref = BlockRef(BlockHeight(height), self._block_id(height, parent, txs), parent, UnixSeconds(time))
        outcomes: list[Outcome] = []
        events: list[HtlcEvent] = []
        for tx in txs:
            current = self.ledger.sequences.get(tx.account, 0)
            if tx.sequence is not None and tx.sequence != current:
                if tx.sequence > current:
                    self.mempool[tx.tx_id] = _Pending(tx, height)
                continue
            if self._spends_what_is_spent(tx):
                self.mempool.pop(tx.tx_id, None)
                continue
            try:
                self.ledger.pay_fee(tx)
            except InvalidTxError:
                continue
            reason, made = None, tuple[HtlcEvent, ...]()
            try:
                self._revert_if_told(tx)
                made = self.ledger.execute(tx, ref)
            except InvalidTxError as error:
                reason = str(error)
            claimed = {event.preimage for event in made if isinstance(event, Claimed)}
            shown = revealed(ref, tx.tx_id, filter(None, shown_by(tx)))
            events += [*made, *(each for each in shown if each.preimage not in claimed)]
            outcomes.append(Outcome(tx, reason))
            self._included[tx.tx_id] = height
            self.mempool.pop(tx.tx_id, None)
        for tx_id, pending in list(self.mempool.items()):
            used = self.ledger.sequences.get(pending.tx.account, 0)
            if pending.tx.sequence is not None and pending.tx.sequence < used:
                del self.mempool[tx_id]
        self.blocks.append(FakeBlock(ref, tuple(outcomes), tuple(events)))
        self._snapshots[height] = self.ledger.snapshot()
        self._snapshots.pop(height - KEPT_SNAPSHOTS, None)

    def _revert_if_told(self, tx: FakeTx) -> None:
        found = self.ledger.locks.get(tx.lock_id)
        if found is not None and tx.purpose is not Purpose.CLAIM and found[0].sender in self.faults.traps:
            raise InvalidTxError("the contract reverted")
        if found is not None and tx.purpose is Purpose.CLAIM and found[0].recipient in self.faults.traps:
            raise InvalidTxError("the contract reverted")
        if self.faults.revert > 0:
            self.faults.revert -= 1
            raise InvalidTxError("out of gas")

    def _must_wait(self, tx: FakeTx) -> bool:
        """Whether another sequence of the account has to land first, or is waiting to. One that a reorg has
        left in the mempool before its turn does not block the others."""
        turn = self.ledger.sequences.get(tx.account, 0)
        waiting = any(
            pending.tx.account == tx.account and pending.tx.sequence == turn != tx.sequence
            for pending in self.mempool.values()
        )
        return tx.sequence is not None and (waiting or tx.sequence > turn)

    def _spends_what_is_spent(self, tx: FakeTx) -> bool:
        """Where a batch is all or none, one with a spent lock is in no block, as on chains of outputs."""
        claims = (tx.lock_id, *(lock_id for lock_id, _ in tx.others)) if tx.others else ()
        return self.atomic_claims and any(
            self.ledger.lock_status(lock_id) is not LockStatus.OPEN for lock_id in claims
        )

    def _block_id(self, height: int, parent: str, txs: Sequence[FakeTx]) -> str:
        content = [self.chain, self.seed, self._branch, height, parent, [tx.tx_id for tx in txs]]
        return hashlib.sha256(msgspec.json.encode(content)).hexdigest()

    def _announce(self) -> None:
        for event in self._listeners:
            event.set()
