"""Two fake chains, a real SQLite store, two workers and a user: what the scenarios play on.

Time stands still unless `step` moves it: one step is one block on each chain and one pass of each worker.
"""

from __future__ import annotations

import atexit
import copy
import hashlib
import shutil
import sqlite3
from collections.abc import Awaitable, Callable
from contextlib import closing
from functools import cache
from pathlib import Path
from tempfile import mkdtemp
from typing import Any, TypedDict, Unpack

import msgspec
from prometheus_client import CollectorRegistry
from sqlalchemy import event

from bridge.chains.port import Revealed
from bridge.engine.apply import apply_events
from bridge.engine.metrics import Metrics
from bridge.engine.outbox import OutboxSettings
from bridge.protocol.events import SecretShared
from bridge.protocol.legs import admits
from bridge.protocol.rules import may_share_secret
from bridge.protocol.timelocks import may_reveal, plan_deadlines
from bridge.protocol.transition import new_swap
from bridge.protocol.types import (
    Address,
    Amount,
    Asset,
    ChainId,
    ChainTiming,
    CounterlockRange,
    Leg,
    LegState,
    LockTerms,
    Preimage,
    Swap,
    SwapId,
    SwapPolicy,
    SwapState,
    UnixSeconds,
)
from bridge.store import Store
from bridge.store.records import IntentState, SwapMeta
from relayers.daemon.loop import Job, Worker, WorkerSettings
from relayers.fake import FakeChain, FakePort, FakeWallet
from relayers.fake.authorizing import signature_of
from relayers.fake.chain import GENESIS_TIME
from relayers.fake.ledger import LedgerLockState, lock_id_of
from tests import instances

ETH = Asset(instances.ETHEREUM, "ETH", 18)
ZION = Asset(instances.ZION, "ZION", 8)
NATIVE = {instances.ETHEREUM: ETH, instances.ZION: ZION}
KEY = bytes(32)
INTERVAL = 10
TIMING = ChainTiming(block_interval=INTERVAL, finality_depth=3, inclusion_p99=30, clock_skew=15)
USER_WINDOW, OUTAGE, LOCK_WINDOW = 200, 120, 120
RICH = 10**24
ALL_JOBS = [Job.POLL, Job.SWEEP, Job.VERIFY, Job.INVENTORY]


class Behaviour(TypedDict, total=False):
    """How a user deviates from the careful one (see `User`)."""

    locks: bool
    claims: bool
    refunds: bool
    hurry: bool
    late: bool
    hands_over: bool


class Killed(BaseException):
    """kill -9, as far as one process can play it: nothing catches it on its way out."""


class Fuse:
    """Counts the places where a process could die, and kills it at one of them."""

    def __init__(self, at: int = 0, *, calls: bool = False) -> None:
        """`calls`: every call of a port is such a place too."""
        self.at = at
        self.calls = calls
        self.count = 0
        self.places: list[str] = []

    def reach(self, place: str) -> None:
        self.count += 1
        self.places.append(place)
        if self.count == self.at:
            raise Killed(place)


class FusedStore(Store):
    """Dies before or after a commit."""

    fuse: Fuse

    def _commit(self, commit: Callable[[], None]) -> None:
        self.fuse.reach("before commit")
        commit()
        self.fuse.reach("after commit")


class FusedPort(FakePort):
    """Dies before or after signing and sending."""

    fuse: Fuse

    meanwhile: Callable[[], Awaitable[None]] | None = None
    """What happens while the next transaction is being signed."""

    async def _call(self) -> None:
        if self.fuse.calls:
            self.fuse.reach("call")
        await super()._call()

    async def prepare(self, *args: Any) -> Any:
        self.fuse.reach("before sign")
        signed = await super().prepare(*args)
        if self.meanwhile is not None:
            meanwhile, self.meanwhile = self.meanwhile, None
            await meanwhile()
        self.fuse.reach("after sign")
        return signed

    async def broadcast(self, tx: Any) -> Any:
        self.fuse.reach("before broadcast")
        result = await super().broadcast(tx)
        self.fuse.reach("after broadcast")
        return result


@cache
def _template() -> Path:
    path = Path(mkdtemp(prefix="rainbow-template-")) / "empty.db"
    atexit.register(shutil.rmtree, path.parent, ignore_errors=True)
    Store.open(f"sqlite:///{path}").close()
    return path


def open_store(path: Path, clock: Callable[[], int], fuse: Fuse, url: str = "") -> FusedStore:
    """A real store: on PostgreSQL by its URL, else on SQLite, where only the syncing to disk is left out,
    for no power fails in a test."""
    if url:
        opened = FusedStore.open(url, secrets_key=KEY, clock=clock)
        assert isinstance(opened, FusedStore)
        opened.fuse = fuse
        return opened
    if not path.exists():
        shutil.copy(_template(), path)
    store = FusedStore.open(f"sqlite:///{path}", secrets_key=KEY, clock=clock)
    assert isinstance(store, FusedStore)
    store.fuse = fuse
    event.listen(store._engine, "connect", lambda raw, _: raw.execute("PRAGMA synchronous=OFF"))
    store._engine.dispose()  # so that no connection of before stays
    return store


class BridgeWorld:
    """The stage. `process` starts (again) both workers on the same database, with a fresh memory."""

    store: FusedStore

    def __init__(self, folder: Path, seed: int = 0, *, url: str = "", **chain_options: Any) -> None:
        self.url = url
        folder.mkdir(exist_ok=True)
        self.folder = folder
        self.now_ms = GENESIS_TIME * 1000
        self.clock_error_ms = 0
        """How wrong the clock of the bridge's machine is."""
        self.chains = {
            chain: FakeChain(chain, asset, seed=seed, block_interval=INTERVAL, **chain_options)
            for chain, asset in NATIVE.items()
        }
        for chain, fake in self.chains.items():
            for who in ("bridge", "user"):
                fake.credit(who, NATIVE[chain], RICH)
        self.fuse = Fuse()
        self.ports: dict[ChainId, FusedPort] = {}
        self.workers: dict[ChainId, Worker] = {}
        self.secrets: dict[str, Preimage] = {}
        self.users: dict[str, User] = {}
        self._passes = 0
        self.process()

    # -- the bridge's processes --------------------------------------------------------------

    def clock(self) -> int:
        return self.now_ms + self.clock_error_ms

    def process(self, fuse: Fuse | None = None) -> None:
        """Start the processes again: new store connections, new workers, nothing remembered."""
        if hasattr(self, "store"):
            self.store.close()
        self.fuse = fuse or Fuse()
        self.store = open_store(self.folder / "bridge.db", self.clock, self.fuse, self.url)
        self.workers = {chain: self.make_worker(chain) for chain in NATIVE}

    def make_worker(self, chain: ChainId, owner: str = "") -> Worker:
        faults = self.ports[chain].faults if chain in self.ports else None
        port = FusedPort(self.chains[chain], "bridge")
        port.fuse = self.fuse
        if faults is not None:
            port.faults = faults
        self.ports[chain] = port
        # The sender's lease of a killed process must run out before the next one may send.
        settings = WorkerSettings(outbox=OutboxSettings(lease_ms=15_000, retry_ms=1_000, max_retry_ms=20_000))
        metrics = Metrics(CollectorRegistry())
        return Worker(port, self.store, settings, metrics=metrics, owner=owner)

    async def work(self) -> None:
        """One pass of both workers."""
        self._passes += 1
        for worker in self.workers.values():
            await worker.run_pass(ALL_JOBS if self._passes % 4 == 0 else [Job.POLL])

    def mine(self, blocks: int = 1) -> None:
        """Blocks on both chains; the clocks move with them."""
        for _ in range(blocks):
            self.now_ms += INTERVAL * 1000
            for fake in self.chains.values():
                behind = self.now_ms // 1000 - fake.head.time
                fake.mine(1, interval=max(1, behind))

    async def step(self) -> None:
        """One block on each chain, then the users, then the workers."""
        self.mine()
        for user in self.users.values():
            user.act()
        await self.work()

    async def steps(self, count: int) -> None:
        for _ in range(count):
            await self.step()

    async def until(self, done: Callable[[], bool], limit: int = 150) -> None:
        """Step until something holds; fails after `limit` steps."""
        for _ in range(limit):
            if done():
                return
            await self.step()
        raise AssertionError(f"not reached in {limit} steps: {self.describe()}")

    def pass_time(self, seconds: int) -> None:
        """Time passes, on both chains: one block each."""
        self.now_ms += seconds * 1000
        for fake in self.chains.values():
            fake.mine(1, interval=max(1, self.now_ms // 1000 - fake.head.time))

    def fork(self, folder: Path, fuse: Fuse) -> BridgeWorld:
        """Return a copy of the whole world at this moment, its processes started again on a copy of the
        database with that fuse."""
        folder.mkdir()
        copy_database(self.folder / "bridge.db", folder / "bridge.db")
        twin = copy.copy(self)
        del twin.store
        twin.folder = folder
        twin.chains = {chain: fake.fork() for chain, fake in self.chains.items()}
        twin.ports = {}
        twin.users = {}
        for swap_id, user in self.users.items():
            twin.users[swap_id] = copy.copy(user)
            twin.users[swap_id].world = twin
        twin.process(fuse)
        return twin

    # -- swaps -------------------------------------------------------------------------------

    def swap(
        self,
        number: int = 1,
        source: ChainId = instances.ETHEREUM,
        amount: int = 10**19,
        halt_budget: int = 0,
        timing: ChainTiming = TIMING,
        **behaviour: Unpack[Behaviour],
    ) -> str:
        """Sell a swap and let its user play: honest unless `behaviour` says otherwise (see `User`)."""
        destination = instances.ZION if source == instances.ETHEREUM else instances.ETHEREUM
        secret = Preimage(hashlib.sha256(b"secret %d" % number).digest())
        deadlines = plan_deadlines(
            self.chains[source].head.time,
            self.chains[destination].head.time,
            source=timing,
            destination=TIMING,
            user_window=USER_WINDOW,
            outage_budget=OUTAGE,
            lock_window=LOCK_WINDOW,
            halt_budget=halt_budget,
        )

        def terms(chain: ChainId, sender: str, recipient: str, size: int, deadline: int) -> LockTerms:
            return LockTerms(
                chain,
                Address("htlc"),
                Address(sender),
                Address(recipient),
                NATIVE[chain],
                Amount(size),
                secret.hashlock(),
                UnixSeconds(deadline),
            )

        swap_id = f"swap{number}"
        swap = new_swap(
            SwapId(swap_id),
            source=terms(source, "user", "bridge", amount, deadlines.source),
            destination=terms(destination, "bridge", "user", amount // 10, deadlines.destination),
            policy=SwapPolicy(timing, TIMING, USER_WINDOW, OUTAGE, deadlines.lock_by, halt_budget),
            accepted=True,
        )
        with self.store.transaction() as tx:
            tx.reservations.hold(NATIVE[destination].key, amount // 10, f"quote{number}", None)
            tx.swaps.add(swap, SwapMeta(quote_id=f"quote{number}"))
            tx.reservations.assign(f"quote{number}", SwapId(swap_id))
        self.secrets[swap_id] = secret
        self.users[swap_id] = User(self, swap, secret, **behaviour)
        return swap_id

    def get(self, swap_id: str = "swap1") -> Swap:
        with self.store.reading() as tx:
            stored = tx.swaps.get(SwapId(swap_id))
        assert stored is not None
        return stored.swap

    def state(self, swap_id: str = "swap1") -> SwapState:
        return self.get(swap_id).state

    def is_over(self, swap_id: str = "swap1") -> bool:
        return self.state(swap_id) in {
            SwapState.COMPLETED,
            SwapState.REFUNDED,
            SwapState.EXPIRED_UNFUNDED,
        }

    def lock_state(self, leg: Leg) -> LedgerLockState | None:
        """What the chain itself says of a leg's lock."""
        found = self.chains[leg.terms.chain].ledger.locks.get(lock_id_of(leg.terms))
        return found[1] if found else None

    def wallet(self, chain: ChainId) -> FakeWallet:
        return FakeWallet(self.chains[chain], "user")

    def locks_sent(self, swap_id: str = "swap1") -> int:
        """How many destination locks of a swap are on its chain, whatever was decided of them."""
        terms = self.get(swap_id).destination.terms
        any_like = CounterlockRange(terms.amount, Amount(0), Amount(RICH), UnixSeconds(2**40), 0)
        return sum(
            1
            for block in self.chains[terms.chain].blocks
            for outcome in block.outcomes
            if outcome.reason is None
            and outcome.tx.terms is not None
            and admits(any_like, terms, outcome.tx.terms)
        )

    def transactions_signed(self, swap_id: str = "swap1") -> int:
        """How many transactions were ever signed for a swap."""
        with self.store.reading() as tx:
            return len(tx.transactions.of_swap(SwapId(swap_id)))

    # -- what must hold whatever happens -----------------------------------------------------

    def check(self) -> None:
        """Nobody lost, no coin was made or lost, and the store agrees with the chains about what is over."""
        for chain, fake in self.chains.items():
            assert fake.ledger.supply(NATIVE[chain]) == 2 * RICH, f"coins of {chain} appeared or vanished"
        with self.store.reading() as tx:
            swaps = [tx.swaps.get(SwapId(swap_id)) for swap_id in self.users]
            held = {swap_id: tx.reservations.of_swap(SwapId(swap_id)) for swap_id in self.users}
            seen = {chain: tx.chains.get(chain) for chain in self.chains}
        for stored in swaps:
            assert stored is not None
            swap = stored.swap
            source, destination = self.lock_state(swap.source), self.lock_state(swap.destination)
            lost = (destination, source) == (LedgerLockState.CLAIMED, LedgerLockState.REFUNDED)
            assert not lost, f"{swap.id}: the bridge lost"
            robbed = (source, destination) == (LedgerLockState.CLAIMED, LedgerLockState.REFUNDED)
            repaid = swap.payback is not None and self.lock_state(swap.payback) is LedgerLockState.CLAIMED
            assert not robbed or repaid, f"{swap.id}: the user lost"
            taken = destination is LedgerLockState.CLAIMED
            assert not (repaid and taken), f"{swap.id}: the user was paid twice"
            assert self.locks_sent(swap.id) <= 1, f"{swap.id}: locked twice"
            if self.is_over(swap.id):
                for leg, state in ((swap.source, source), (swap.destination, destination)):
                    status, head = seen[leg.terms.chain], self.chains[leg.terms.chain].head
                    # What has come since the relayer looked may yet open the swap again.
                    tip = None if status is None else status.tip
                    knows = status is not None and status.scanned == head.height
                    knows = knows and tip is not None and tip.block == head
                    ended = not knows or state is not LedgerLockState.OPEN
                    assert ended, f"{swap.id} ended with an open lock"
                assert not any(reserved.live for reserved in held[swap.id]), f"{swap.id} keeps inventory"

    def describe(self) -> str:
        lines = []
        with self.store.reading() as tx:
            for swap_id in self.users:
                stored = tx.swaps.get(SwapId(swap_id))
                assert stored is not None
                swap = stored.swap
                lines.append(
                    f"{swap_id}: {swap.state.value}, source {swap.source.state.value} "
                    f"({self.lock_state(swap.source)}), destination {swap.destination.state.value} "
                    f"({self.lock_state(swap.destination)}), abandoned {swap.abandoned}, {swap.attention}"
                )
                for intent in tx.intents.of_swap(SwapId(swap_id)):
                    txs = tx.transactions.of_intent(intent.id)
                    sent = [
                        (stored.sequence, stored.state.value, stored.cancels, stored.reason) for stored in txs
                    ]
                    lines.append(
                        f"  {intent.leg} {intent.purpose.value} {intent.state.value} cancel={intent.cancel} "
                        f"{intent.reason} {sent}"
                    )
        return "\n".join(lines)

    def unfinished_intents(self) -> list[Any]:
        with self.store.reading() as tx:
            return [
                intent
                for chain in NATIVE
                for intent in tx.intents.live(chain)
                if intent.state is not IntentState.FINAL
            ]

    def close(self) -> None:
        self.store.close()


class User:
    """A careful user: locks, claims once the bridge's lock is final, refunds after the deadline.

    `locks=False` never funds; `claims=False` walks away after the bridge has locked; `hurry` claims as soon
    as the lock is seen; `late` funds after the window; `hands_over` gives the preimage to the bridge, signed
    for where the chain wants that, and lets it claim.
    """

    def __init__(
        self,
        world: BridgeWorld,
        swap: Swap,
        secret: Preimage,
        *,
        locks: bool = True,
        claims: bool = True,
        refunds: bool = True,
        hurry: bool = False,
        late: bool = False,
        hands_over: bool = False,
    ) -> None:
        self.world = world
        self.swap = swap
        self.secret = secret
        self.locks, self.claims, self.refunds = locks, claims, refunds
        self.hurry, self.late = hurry, late
        self.hands_over = hands_over
        self.terms = swap.source.terms

    def act(self) -> None:
        if self.swap.policy.counterlock is not None and not self.swap.terms_fixed:
            self.swap = self.world.get(self.swap.id)  # what the bridge says it locks with
        source, destination = self.swap.source.terms, self.swap.destination.terms
        self._fund()
        if self.hands_over and self.world.lock_state(self.swap.source) is not LedgerLockState.CLAIMED:
            self._hand_over(destination)
        else:
            self._claim(destination)
        self._refund(source)

    def _waits(self, chain: ChainId, tx_id: str) -> bool:
        return bool(tx_id) and tx_id in self.world.chains[chain].mempool

    def _fund(self) -> None:
        fake = self.world.chains[self.terms.chain]
        late = fake.head.time >= self.swap.policy.lock_by - (0 if self.late else 2 * INTERVAL)
        wanted = self.locks and (
            late if self.late else not late or fake.ledger.locks.get(lock_id_of(self.terms))
        )
        if not wanted or lock_id_of(self.terms) in fake.ledger.locks or self._in_mempool(fake):
            return
        self.world.wallet(self.terms.chain).lock(self.terms)

    def _in_mempool(self, fake: FakeChain, lock_id: str = "") -> bool:
        return any(
            pending.tx.account == "user"
            and (pending.tx.lock_id == lock_id if lock_id else pending.tx.terms == self.terms)
            for pending in fake.mempool.values()
        )

    odd = False
    """Claims in a way that no reader understands for a while."""

    def _claim(self, terms: LockTerms) -> None:
        fake = self.world.chains[terms.chain]
        lock_id = lock_id_of(terms)
        found = fake.ledger.locks.get(lock_id)
        if not self.claims or found is None or found[1] is not LedgerLockState.OPEN:
            return
        depth = self._depth(fake, lock_id)
        if not self.hurry and depth < self.swap.policy.destination.finality_depth:
            return
        late = may_reveal(self.swap.policy.destination, terms.deadline, fake.head.time) is not None
        if late and self.world.lock_state(self.swap.source) is not LedgerLockState.CLAIMED:
            return
        if not self._in_mempool(fake, lock_id):
            tx_id = self.world.wallet(terms.chain).claim(lock_id, self.secret)
            if self.odd:
                fake.odd.add(tx_id)

    def _hand_over(self, terms: LockTerms) -> None:
        now = self.world.chains[terms.chain].head.time
        swap = self.world.get(self.swap.id)
        late = may_reveal(swap.policy.destination, terms.deadline, now) is not None
        if not self.claims or swap.secret_shared or late or may_share_secret(swap, self.secret) is not None:
            return
        signature = signature_of(terms.recipient, lock_id_of(terms), Amount(0))
        with self.world.store.transaction() as tx:
            if self.world.chains[terms.chain].signed_claims is not None:
                tx.authorizations.put(swap.id, f"0 {signature}".encode())
            apply_events(tx, swap.id, (SecretShared(self.secret),))

    def _depth(self, fake: FakeChain, lock_id: str) -> int:
        for block in reversed(fake.blocks):
            for happened in block.events:
                if not isinstance(happened, Revealed) and happened.lock_id == lock_id:
                    return fake.head.height - block.ref.height + 1
        return 0

    def _refund(self, terms: LockTerms) -> None:
        fake = self.world.chains[terms.chain]
        lock_id = lock_id_of(terms)
        found = fake.ledger.locks.get(lock_id)
        if not self.refunds or found is None or found[1] is not LedgerLockState.OPEN:
            return
        if fake.head.time >= terms.deadline and not self._in_mempool(fake, lock_id):
            self.world.wallet(terms.chain).refund(lock_id)


def copy_database(source: Path, target: Path) -> None:
    """Copy a SQLite database that is in use."""
    with closing(sqlite3.connect(source)) as mine, closing(sqlite3.connect(target)) as copied:
        mine.backup(copied)


def with_amount(terms: LockTerms, amount: int) -> LockTerms:
    return msgspec.structs.replace(terms, amount=amount)


SPENT = {LegState.CLAIM_FINAL, LegState.REFUND_FINAL}
