"""Two chains, a user, an outage-prone engine: the world that the state machine plays the protocol against.

The chains are ground truth. Their model is small but honest where money is concerned: a lock is spent once,
a refund needs the deadline, a claim needs the preimage, a reorg throws transactions back into the mempool,
and the bridge's transactions and all claims are included within the promised time. Reorgs stay below the
finality depth, and the engine is never down for longer than its outage budget: so the bridge must never lose.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from msgspec.structs import replace

from bridge.protocol import events as ev
from bridge.protocol.effects import (
    AppendReceipt,
    CancelLock,
    Effect,
    Notify,
    ReleaseInventory,
    SendClaim,
    SendCooperativeRefund,
    SendLock,
    SendRefund,
)
from bridge.protocol.rules import may_counterlock, required_effects
from bridge.protocol.timelocks import plan_deadlines
from bridge.protocol.transition import new_swap, transition
from bridge.protocol.types import (
    Address,
    Amount,
    Asset,
    BlockHeight,
    BlockRef,
    ChainTiming,
    LegRole,
    LockId,
    LockTerms,
    Preimage,
    Purpose,
    SwapId,
    SwapPolicy,
    TxId,
    UnixSeconds,
)
from tests import instances
from tests.property.invariants import DESTINATION, SOURCE, check_step, check_swap

PREIMAGE = Preimage(b"the user's well kept secret ....")
START = 100_000
PAYBACK_LOCK = "back"
TIMING = {
    SOURCE: ChainTiming(block_interval=10, finality_depth=3, inclusion_p99=20, clock_skew=8),
    DESTINATION: ChainTiming(block_interval=7, finality_depth=4, inclusion_p99=15, clock_skew=5),
}
OUTAGE = 60
CHAIN = {SOURCE: instances.ETHEREUM, DESTINATION: instances.ZION}


@dataclass(eq=False)
class Tx:
    """A transaction on its way or in a block."""

    kind: Purpose
    lock_id: str
    terms: LockTerms
    by_bridge: bool
    sent_at: int
    id: str
    voided: bool = False


@dataclass
class Block:
    ref: BlockRef
    txs: list[Tx] = field(default_factory=list)


class ChainModel:
    """One chain: blocks, mempool, and the locks as replayed from the blocks."""

    def __init__(self, role: LegRole, offset: int) -> None:
        self.role, self.offset = role, offset
        self.timing = TIMING[role]
        self.fork = 0
        self.blocks = [Block(self._ref(1, START + offset))]
        self.mempool: list[Tx] = []
        self.sent = 0

    def _ref(self, height: int, time: int) -> BlockRef:
        return BlockRef(BlockHeight(height), f"{self.role}-{height}.{self.fork}", "", UnixSeconds(time))

    @property
    def tip(self) -> BlockRef:
        return self.blocks[-1].ref

    def find(self, lock_id: str, *kinds: Purpose) -> tuple[Tx, BlockRef] | None:
        for block in self.blocks:
            for tx in block.txs:
                if tx.lock_id == lock_id and tx.kind in kinds:
                    return tx, block.ref
        return None

    def depth(self, ref: BlockRef) -> int:
        return self.tip.height - ref.height + 1

    def final(self, ref: BlockRef) -> bool:
        return self.depth(ref) >= self.timing.finality_depth

    def is_open(self, lock_id: str) -> bool:
        return self.find(lock_id, Purpose.LOCK) is not None and self.spend(lock_id) is None

    def spend(self, lock_id: str) -> tuple[Tx, BlockRef] | None:
        return self.find(lock_id, Purpose.CLAIM, Purpose.REFUND, Purpose.COOPERATIVE_REFUND)

    def valid(self, tx: Tx, time: int) -> bool:
        if tx.voided:
            return False
        if tx.kind is Purpose.LOCK:
            return self.find(tx.lock_id, Purpose.LOCK) is None
        if not self.is_open(tx.lock_id):
            return False
        if tx.kind is Purpose.REFUND:
            return time >= tx.terms.deadline
        return tx.kind is Purpose.CLAIM or time < tx.terms.deadline

    def send(self, kind: Purpose, lock_id: str, terms: LockTerms, *, by_bridge: bool, now: int) -> Tx:
        self.sent += 1
        tx = Tx(kind, lock_id, terms, by_bridge, now, f"{self.role}-tx{self.sent}")
        self.mempool.append(tx)
        return tx

    def mine(self, time: int, now: int, take: Callable[[Tx], bool], user_first: bool) -> None:
        block = Block(self._ref(self.tip.height + 1, time))
        self.blocks.append(block)
        for tx in sorted(self.mempool, key=lambda tx: tx.by_bridge if user_first else not tx.by_bridge):
            promised = tx.by_bridge or tx.kind is Purpose.CLAIM
            overdue = now + self.timing.block_interval > tx.sent_at + self.timing.inclusion_p99
            if ((promised and overdue) or take(tx)) and self.valid(tx, time):
                block.txs.append(tx)
                self.mempool.remove(tx)

    def catch_up(self, now: int, take: Callable[[Tx], bool], user_first: bool) -> None:
        while self.tip.time - self.offset + self.timing.block_interval <= now:
            time = self.tip.time + self.timing.block_interval
            self.mine(time, time - self.offset, take, user_first)

    def reorg(
        self, depth: int, now: int, drop_user: bool, take: Callable[[Tx], bool], user_first: bool
    ) -> None:
        """Replace the last blocks by as many and one more, which brings the chain's next block forward."""
        depth = min(depth, self.timing.finality_depth - 1, len(self.blocks) - 1)
        if depth == 0:
            return
        removed = self.blocks[-depth:]
        del self.blocks[-depth:]
        self.fork += 1
        for block in removed:
            self.mempool += [tx for tx in block.txs if tx.by_bridge or not drop_user]
        for block in removed:
            self.mine(block.ref.time, block.ref.time - self.offset, take, user_first)
        last = max(self.tip.time + 1, min(now + self.offset, self.tip.time + self.timing.block_interval))
        self.mine(last, last - self.offset, take, user_first)


class SwapWorld:
    """The chains, the user's moves, and an engine that feeds the transition and executes its effects."""

    def __init__(self, offset_source: int = 0, offset_destination: int = 0) -> None:
        self.now = START
        self.chains = {
            SOURCE: ChainModel(SOURCE, offset_source),
            DESTINATION: ChainModel(DESTINATION, offset_destination),
        }
        plan = plan_deadlines(
            self.chains[SOURCE].tip.time,
            self.chains[DESTINATION].tip.time,
            source=TIMING[SOURCE],
            destination=TIMING[DESTINATION],
            user_window=40,
            outage_budget=OUTAGE,
            lock_window=30,
        )
        policy = SwapPolicy(TIMING[SOURCE], TIMING[DESTINATION], 40, OUTAGE, plan.lock_by)
        hashlock = PREIMAGE.hashlock()
        eth, zion = Asset(instances.ETHEREUM, "ETH", 18), Asset(instances.ZION, "ZION", 8)
        self.terms = {
            SOURCE: LockTerms(
                instances.ETHEREUM,
                Address("0xc"),
                Address("user"),
                Address("bridge"),
                eth,
                Amount(1000),
                hashlock,
                plan.source,
            ),
            DESTINATION: LockTerms(
                instances.ZION,
                Address(""),
                Address("bridge"),
                Address("user"),
                zion,
                Amount(2000),
                hashlock,
                plan.destination,
            ),
        }
        self.swap = new_swap(
            SwapId("w"), source=self.terms[SOURCE], destination=self.terms[DESTINATION], policy=policy
        )
        self.intents: dict[tuple[LegRole, Purpose, str], Tx] = {}
        self.known: dict[LegRole, list[Block]] = {SOURCE: [], DESTINATION: []}
        self.delivered: list[ev.Event] = []
        self.receipts: list[AppendReceipt] = []
        self.last_run = self.now
        self.public_secret = False
        self.careless_user = False
        self.revealed_late = False
        self.repeat = 1
        self.deliver(ev.Accepted())
        self.run_engine()

    # The engine

    def deliver(self, event: ev.Event) -> None:
        """Feed an event, perhaps several times, and check invariant 7: repeats change nothing."""
        result = transition(self.swap, event)
        before, self.swap = self.swap, result.swap
        check_swap(self.swap)
        check_step(before, self.swap)
        self.receipts += [e for e in result.effects if isinstance(e, AppendReceipt)]
        state_changed = before.state is not self.swap.state or before.attention != self.swap.attention
        assert any(isinstance(e, Notify) for e in result.effects) == state_changed
        for _ in range(self.repeat):
            again = transition(self.swap, event)
            assert again.swap == self.swap, f"a repeated {type(event).__name__} changed the swap"
            assert again.effects == required_effects(self.swap), "a repeated event told news"
        self.delivered.append(event)

    def run_engine(self, only: LegRole | None = None, pause: int = 0) -> None:
        """Scan, feed, act: as an engine does that was away since it last ran, and that may be slow to act."""
        for role in (SOURCE, DESTINATION):
            if only in (None, role):
                self.scan(role)
        if only is None:
            self.last_run = self.now
            if pause:
                self.advance(pause, lambda tx: True, True)
            self.act()

    def scan(self, role: LegRole) -> None:
        chain = self.chains[role]
        known = self.known[role]
        ids = {block.ref.id for block in chain.blocks}
        while known and known[-1].ref.id not in ids:
            block = known.pop()
            for tx in reversed(block.txs):
                self.deliver(_orphaned(_leg(role, tx), tx, block.ref))
        seen = len(known)
        for block in chain.blocks[seen:]:
            # The engine's own copy: a block never changes.
            known.append(Block(block.ref, list(block.txs)))
            for tx in block.txs:
                self.deliver(_seen(_leg(role, tx), tx, block.ref))
                if tx.kind is Purpose.CLAIM:
                    self.public_secret = True
        self.deliver(ev.Tick(CHAIN[role], chain.tip.time, chain.tip.height))
        for block in chain.blocks:
            if chain.final(block.ref):
                for tx in block.txs:
                    event = _final(_leg(role, tx), tx, block.ref)
                    if event not in self.delivered:
                        self.deliver(event)

    def act(self) -> None:
        effects = required_effects(self.swap)
        keys = [(type(e), getattr(e, "leg", None)) for e in effects]
        assert len(keys) == len(set(keys)), "two effects of one kind for one leg"
        for effect in effects:
            self.execute(effect)

    def execute(self, effect: Effect) -> None:
        match effect:
            case SendLock(leg=LegRole.PAYBACK):
                self.check_payback_against_truth()
                self.send(LegRole.PAYBACK, Purpose.LOCK, PAYBACK_LOCK)
            case SendLock():
                now = {CHAIN[r]: c.tip.time for r, c in self.chains.items()}
                if may_counterlock(self.swap, now) is None:
                    self.check_counterlock_against_truth()
                    self.send(DESTINATION, Purpose.LOCK, "d")
            case SendClaim(leg=leg):
                assert self.swap.secret_known
                self.send(leg, Purpose.CLAIM, self.swap.leg(leg).lock_id)
            case SendRefund(leg=leg, lock_id=lock_id):
                self.send(leg, Purpose.REFUND, lock_id or self.swap.leg(leg).lock_id)
            case SendCooperativeRefund(lock_id=lock_id):
                if not lock_id:
                    self.check_give_back_against_truth()
                self.send(SOURCE, Purpose.COOPERATIVE_REFUND, lock_id or self.swap.source.lock_id)
            case CancelLock():
                self.void_lock()
            case ReleaseInventory() | Notify() | AppendReceipt():
                pass

    def send(self, role: LegRole, kind: Purpose, lock_id: str) -> None:
        """Store an intent once; send it again if it was lost from the mempool."""
        chain = self.chains[SOURCE if role is LegRole.PAYBACK else role]
        terms = self.swap.leg(role).lock_terms(LockId(lock_id))
        tx = self.intents.get((role, kind, lock_id))
        if tx is None:
            self.intents[role, kind, lock_id] = chain.send(kind, lock_id, terms, by_bridge=True, now=self.now)
        elif tx not in chain.mempool and not any(tx in block.txs for block in chain.blocks):
            chain.mempool.append(tx)

    def void_lock(self) -> bool:
        """Make our lock transaction impossible, if it is in no block, and say so."""
        chain = self.chains[DESTINATION]
        tx = self.intents.get((DESTINATION, Purpose.LOCK, "d"))
        if tx is not None and any(tx in block.txs for block in chain.blocks):
            return False
        if tx is not None:
            tx.voided = True
        self.deliver(ev.TxFailed(DESTINATION, Purpose.LOCK, "void"))
        return True

    # Ground truth

    def check_counterlock_against_truth(self) -> None:
        """Invariant 1, from what stands on the chains rather than from what the swap believes."""
        source = self.chains[SOURCE]
        found = source.find(self.swap.source.lock_id, Purpose.LOCK)
        assert found is not None, "counter-lock without a source lock on chain"
        tx, ref = found
        assert tx.terms == self.terms[SOURCE], "counter-lock for a lock with other terms"
        assert source.final(ref), "counter-lock before the source is final"
        assert ref.time <= self.swap.policy.lock_by, "counter-lock for a late lock"
        spend = source.spend(self.swap.source.lock_id)
        assert spend is None or spend[0].kind is Purpose.CLAIM, "counter-lock for a refunded source"
        timing = TIMING[DESTINATION]
        needed = timing.inclusion_p99 + timing.finality + 40 + timing.clock_skew
        assert self.terms[DESTINATION].deadline - self.chains[DESTINATION].tip.time >= needed

    def check_payback_against_truth(self) -> None:
        """What is paid back was taken for good, and the user has nothing for it."""
        assert self.outcome(SOURCE, self.source_lock) is Purpose.CLAIM, "paid back though not paid"
        lock = self.intents.get((DESTINATION, Purpose.LOCK, "d"))
        if lock is not None and not lock.voided:
            assert self.outcome(DESTINATION, "d") is Purpose.REFUND, "paid back beside the destination"

    def check_give_back_against_truth(self) -> None:
        """Invariant 4, from what stands on the chains."""
        lock = self.intents.get((DESTINATION, Purpose.LOCK, "d"))
        if lock is None or lock.voided:
            return
        spend = self.chains[DESTINATION].spend("d")
        assert spend is not None, "source given back under a destination that may land or stands"
        tx, ref = spend
        assert tx.kind is not Purpose.CLAIM, "source given back though the destination was claimed"
        assert self.chains[DESTINATION].final(ref), "source given back before the refund is final"

    def outcome(self, role: LegRole, lock_id: str) -> Purpose | None:
        """How a lock was finally spent; None if it was not, or not finally."""
        spend = self.chains[role].spend(lock_id)
        if spend is None or not self.chains[role].final(spend[1]):
            return None
        return Purpose.CLAIM if spend[0].kind is Purpose.CLAIM else Purpose.REFUND

    @property
    def source_lock(self) -> str:
        """The source lock that the swap relies on, or the first if it relies on none."""
        return self.swap.source.lock_id or "s"

    # The passing of time

    def advance(self, seconds: int, take: Callable[[Tx], bool], user_first: bool) -> None:
        if self.now + seconds - self.last_run > OUTAGE:
            self.run_engine()
        self.now += seconds
        for chain in self.chains.values():
            chain.catch_up(self.now, take, user_first)

    # The user

    def user_locks(self, lock_id: str, **changes: object) -> None:
        chain = self.chains[SOURCE]
        terms = replace(self.terms[SOURCE], **changes)
        chain.send(Purpose.LOCK, lock_id, terms, by_bridge=False, now=self.now)


def _leg(role: LegRole, tx: Tx) -> LegRole:
    return LegRole.PAYBACK if tx.lock_id == PAYBACK_LOCK else role


def _seen(role: LegRole, tx: Tx, ref: BlockRef) -> ev.Event:
    match tx.kind:
        case Purpose.LOCK:
            return ev.LockSeen(role, LockId(tx.lock_id), tx.terms, TxId(tx.id), ref)
        case Purpose.CLAIM:
            return ev.ClaimSeen(role, LockId(tx.lock_id), TxId(tx.id), ref, PREIMAGE)
        case _:
            return ev.RefundSeen(role, LockId(tx.lock_id), TxId(tx.id), ref)


def _orphaned(role: LegRole, tx: Tx, ref: BlockRef) -> ev.Event:
    match tx.kind:
        case Purpose.LOCK:
            return ev.LockOrphaned(role, LockId(tx.lock_id), ref.id)
        case Purpose.CLAIM:
            return ev.ClaimOrphaned(role, LockId(tx.lock_id), ref.id)
        case _:
            return ev.RefundOrphaned(role, LockId(tx.lock_id), ref.id)


def _final(role: LegRole, tx: Tx, ref: BlockRef) -> ev.Event:
    match tx.kind:
        case Purpose.LOCK:
            return ev.LockFinal(role, LockId(tx.lock_id), ref.id)
        case Purpose.CLAIM:
            return ev.ClaimFinal(role, LockId(tx.lock_id), ref.id)
        case _:
            return ev.RefundFinal(role, LockId(tx.lock_id), ref.id)
