"""One run of the simulator: many swaps, users of all kinds, an adversary, virtual time, one seed.

What must hold at every step: no coin appears or vanishes, no swap pays one side twice, the bridge locks
nothing twice. In the end, with the faults gone, every swap is over and the books are audited.
"""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from bridge.chains.port import BroadcastOutcome, LockStatus
from bridge.protocol.types import ChainId, Leg, Swap, SwapId, payback_terms
from relayers.daemon.loop import Job
from relayers.fake import FakeChain, FakeWallet
from relayers.fake.ledger import LedgerLockState, lock_id_of
from tests.scenario import adversary
from tests.scenario.world import NATIVE, RICH, Behaviour, BridgeWorld, FusedPort, Killed

T = TypeVar("T")

KINDS: dict[str, Behaviour] = {
    "honest": {},
    "hands over": {"hands_over": True},
    "hasty": {"hurry": True},
    "walks away": {"claims": False},
    "gone for good": {"claims": False, "refunds": False},
    "never funds": {"locks": False},
    "late": {"late": True},
}
LIKELY = (*KINDS, "honest", "honest", "honest", "hasty", "hands over")
TROUBLE_STEPS = 70
CALM_STEPS = 200
CALM_MS = 10_000
"""How much longer than usual blocks take in the end, when most swaps only wait for a deadline."""
ODD_FOR_STEPS = 4
"""So long no reader understands an odd claim: well within the outage budget."""


class Run:
    """One seed's game. `fake` and `port` are the chain whose turn it is."""

    def __init__(self, seed: int, folder: Path, swaps: int) -> None:
        self.seed, self.rng = seed, random.Random(seed)
        rng = self.rng
        sequences = rng.random() < 0.7
        self.world = BridgeWorld(
            folder,
            seed,
            max_claims=rng.choice([1, 2, 10]),
            atomic_claims=rng.random() < 0.3,
            signed_claims=rng.choice([None, None, False]),
            sequences=sequences,
            expiry_blocks=rng.choice([None, 6] if sequences else [4, 12]),
            one_at_a_time=frozenset({"bridge"} if sequences and rng.random() < 0.3 else ()),
        )
        for chain, fake in self.world.chains.items():
            fake.credit("mallory", NATIVE[chain], RICH)
        names = sorted(adversary.FAULTS)
        self.on = rng.sample(names, rng.randint(1, len(names) if rng.random() < 0.3 else 6))
        self.waiting = list(range(1, swaps + 1))
        self.chain: ChainId = next(iter(NATIVE))
        self.rivals = False
        self.halted_until: dict[ChainId, int] = {}
        """The steps up to which chains stand still whatever else happens."""
        self.backed_up = False
        self.happened: dict[str, set[str]] = {}
        """Per swap, the faults that happened while it was open."""
        self.deaths = 0
        self.step_number = 0
        self.timeline: list[tuple[int, str]] = []
        self.ends: dict[str, str] = {}
        """Per swap, the state it ended in."""
        self.batched = 0
        """How many claims were made in the transactions of others."""
        self._odd_since: dict[str, int] = {}
        self._over: set[str] = set()

    # -- what the adversary uses -------------------------------------------------------------

    @property
    def fake(self) -> FakeChain:
        return self.world.chains[self.chain]

    @property
    def port(self) -> FusedPort:
        return self.world.ports[self.chain]

    def say(self, text: str, swap_id: str = "") -> bool:
        """Put something that happened on the timeline; always True."""
        self.timeline.append((self.step_number, f"{swap_id + ': ' if swap_id else ''}{text}"))
        return True

    def open_swaps(self) -> list[Swap]:
        """The swaps that are not over, in a fixed order."""
        return [self.world.get(swap_id) for swap_id in self.world.users if swap_id not in self._over]

    def shuffled_swaps(self) -> list[Swap]:
        swaps = self.open_swaps()
        self.rng.shuffle(swaps)
        return swaps

    def is_open(self, leg: Leg) -> bool:
        return self.world.lock_state(leg) is LedgerLockState.OPEN

    def mallory(self) -> FakeWallet:
        return FakeWallet(self.fake, "mallory")

    # -- the game ----------------------------------------------------------------------------

    async def play(self) -> None:
        """Play to the end. Raises AssertionError."""
        for _ in range(TROUBLE_STEPS + 2 * len(self.waiting)):
            if not self.waiting and len(self._over) == len(self.world.users):
                break
            self._sell()
            if self.rng.random() < 0.7:
                self._trouble()
            await self._step()
        adversary.calm(self)
        self.say("all faults end")
        for _ in range(CALM_STEPS):
            if len(self._over) == len(self.world.users):
                break
            self._sell(all_at_once=True)
            self.world.now_ms += CALM_MS
            await self._step()
        self._audit_end()

    def _sell(self, *, all_at_once: bool = False) -> None:
        if not self.waiting or not (all_at_once or self.rng.random() < 0.4):
            return
        source = self.rng.choice(list(NATIVE))
        count = len(self.waiting) if all_at_once else self.rng.choice([1, 1, 4, 12])
        for number in self.waiting[:count]:
            kind = self.rng.choice(LIKELY)
            swap_id = self.world.swap(number, source, self.rng.randint(100, 10**20), **KINDS[kind])
            self.happened[swap_id] = set()
            self.say(f"sold, source {source}, a user who is {kind}", swap_id)
        del self.waiting[:count]
        self.backed_up = False  # a backup would not know them

    def _trouble(self) -> None:
        self.chain = self.rng.choice(list(NATIVE))
        if self.rng.random() < 0.2:
            adversary.calm(self)
            return
        name = self.rng.choice(self.on)
        if adversary.FAULTS[name](self):
            for swap_id, faults in self.happened.items():
                if swap_id not in self._over:
                    faults.add(name)

    async def _step(self) -> None:
        """One step; sometimes a process dies in it and starts again."""
        self.step_number += 1
        self._understand_odd_claims()
        self._users_outbid()
        for chain, last in list(self.halted_until.items()):
            self.world.chains[chain].faults.halted = self.step_number < last
            if self.step_number >= last:
                del self.halted_until[chain]
            self.world.now_ms += 2 * CALM_MS
        try:
            self.world.mine()
            for swap_id, user in self.world.users.items():
                if swap_id not in self._over or self.step_number % 16 == 0:
                    user.act()
            await self.world.work()
            if self.rivals:
                await self._rivals_work()
        except Killed as death:
            self.deaths += 1
            self.say(f"a process dies: {death}")
            self.world.process()
        else:
            self.world.fuse.at = 0
        self._audit()

    async def _rivals_work(self) -> None:
        """Others with the same accounts have their turn once the lease has run out."""
        self.world.now_ms += 16_000
        ports = dict(self.world.ports)
        for chain in NATIVE:
            await self.world.make_worker(chain, owner="rival").run_pass([Job.POLL, Job.SWEEP])
        self.world.ports.update(ports)
        self.world.now_ms += 16_000

    def _users_outbid(self) -> None:
        """A careful user's wallet bids enough for a claim to be included in time."""
        for fake in self.world.chains.values():
            for tx_id, pending in list(fake.mempool.items()):
                tx = pending.tx
                if tx.account == "user" and tx.price < fake.price:
                    better = msgspec.structs.replace(tx, price=2 * fake.price)
                    if fake.submit(better).outcome is BroadcastOutcome.ACCEPTED:
                        fake.mempool.pop(tx_id, None)
                        if tx_id in fake.odd:
                            fake.odd.add(better.tx_id)

    def _understand_odd_claims(self) -> None:
        for fake in self.world.chains.values():
            for tx_id in sorted(fake.odd):
                since = self._odd_since.setdefault(tx_id, self.step_number)
                if fake.included(tx_id) and self.step_number - since >= ODD_FOR_STEPS:  # type: ignore[arg-type]
                    fake.odd.discard(tx_id)

    # -- the books ---------------------------------------------------------------------------

    def _audit(self) -> None:
        """What must hold at every step, from the chains alone; then note which swaps have ended."""
        for chain, fake in self.world.chains.items():
            supply = fake.ledger.supply(NATIVE[chain])
            assert supply == 3 * RICH, f"coins of {chain} appeared or vanished"
            locked = Counter(
                terms.hashlock for terms, _ in fake.ledger.locks.values() if terms.sender == "bridge"
            )
            assert not [n for n in locked.values() if n > 1], f"the bridge locked twice on {chain}"
        for swap_id, user in self.world.users.items():
            source = self._outcome(user.swap.source)
            destination = self._outcome(user.swap.destination)
            taken = destination is LockStatus.CLAIMED
            assert not (taken and source is LockStatus.REFUNDED), f"{swap_id}: the bridge lost"
            repaid = self._is_paid_back(user.swap)
            assert not (taken and repaid), f"{swap_id}: the user was paid twice"
            assert not repaid or source is LockStatus.CLAIMED, f"{swap_id}: paid back what was not received"
            robbed = source is LockStatus.CLAIMED and destination is LockStatus.REFUNDED and not repaid
            # What was not paid back when the swap was called over is lost; before, it is still owed.
            lost = robbed and swap_id in self._over
            assert not lost, f"{swap_id}: the user lost"
        with self.world.store.reading() as tx:
            still_open = set(tx.swaps.open_ids())
        self._over = set(self.world.users) - still_open

    def _is_paid_back(self, swap: Swap) -> bool:
        back = payback_terms(swap.source.terms)
        return self.world.chains[back.chain].ledger.lock_status(lock_id_of(back)) is LockStatus.CLAIMED

    def _outcome(self, leg: Leg) -> LockStatus:
        chain = self.world.chains[leg.terms.chain]
        return chain.ledger.lock_status(lock_id_of(leg.terms))

    def _audit_end(self) -> None:
        """With the faults gone: every swap has ended, nothing is left on a chain or reserved, and each side
        got what the other gave."""
        for swap_id, user in self.world.users.items():
            swap = self.world.get(swap_id)
            self.ends[swap_id] = swap.state.value
            source, destination = self._outcome(user.swap.source), self._outcome(user.swap.destination)
            # What is sent for a user who does nothing has limits; the user can still refund.
            left = not user.refunds and source is LockStatus.OPEN and destination is not LockStatus.CLAIMED
            assert swap_id in self._over or left, f"{swap_id} has not ended: {swap.state.value}"
            if left:
                continue
            assert LockStatus.OPEN not in (source, destination), f"{swap_id} ended with an open lock"
            paid, taken = source is LockStatus.CLAIMED, destination is LockStatus.CLAIMED
            taken |= self._is_paid_back(user.swap)
            assert paid == taken, f"{swap_id}: one side got both, source {source}, destination {destination}"
            with self.world.store.reading() as tx:
                held = tx.reservations.of_swap(SwapId(swap_id))
                intents = tx.intents.of_swap(SwapId(swap_id))
            self.batched += sum(intent.batch_leader is not None for intent in intents)
            assert not any(each.live for each in held), f"{swap_id} keeps inventory"

    def describe(self) -> str:
        """The timeline and every swap, for people."""
        lines = [f"step {step:3}  {text}" for step, text in self.timeline]
        return "\n".join([f"faults on: {', '.join(self.on)}", *lines, self.world.describe()])


@contextmanager
def virtual_time() -> Iterator[None]:
    """Let what would go to a thread happen at once: the same order each time, and faster."""

    async def at_once(job: Callable[..., T], /, *args: Any, **options: Any) -> T:
        return job(*args, **options)

    real = asyncio.to_thread
    asyncio.to_thread = at_once
    try:
        yield
    finally:
        asyncio.to_thread = real


async def play(seed: int, folder: Path, swaps: int = 0) -> Run:
    """Play one seed; returns the finished run. Raises AssertionError with the seed and the timeline in it.
    `swaps`: how many, 0 to draw that too."""
    run = Run(seed, folder, swaps or 2 + random.Random(seed).randint(1, 6))
    try:
        with virtual_time():
            await run.play()
        return run
    except AssertionError as error:
        raise AssertionError(f"seed {seed}: {error}\n{run.describe()}") from error
    finally:
        run.world.close()
