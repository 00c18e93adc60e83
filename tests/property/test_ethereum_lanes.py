"""Random histories of one locker's lanes through the adapter, on a real node, against a model of three lanes.

Whatever happens, the contract holds the sum of the open locks, a lane holds one lock at a time and is refused
by its number while it does, every lock is seen as what it is, and the scan tells the history and no other.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterator
from itertools import count
from typing import Any

import hypothesis.strategies as st
import msgspec
import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from bridge.chains.actions import Action, ClaimAction, CooperativeRefundAction, LockAction, RefundAction
from bridge.chains.errors import ActionRefusedError
from bridge.chains.port import FeeLevel, Locked, LockStatus, TxState
from bridge.keys.devkeys import devnet_key
from bridge.protocol.types import Amount, Asset, LockTerms, Preimage, UnixSeconds
from relayers.evm.adapter import EvmPort, open_port
from relayers.evm.devnet.anvil import AnvilDevnet
from relayers.evm.settings import ETH
from tests.conformance.rig import Watcher

SECRETS = [Preimage(bytes([letter]) * 32) for letter in b"abc"]
AMOUNTS = [10**15, 10**15 + 1, 3 * 10**15]
LANES = [0, 1, 2]

lanes = st.sampled_from(LANES)
picks = st.integers(0, 10**6)


class LaneNode:
    """One node and one event loop for all examples; each example brings accounts of its own."""

    def __init__(self, devnet: AnvilDevnet) -> None:
        self.runner = asyncio.Runner()
        self.devnet = devnet
        self.names = count()
        self.assets = (ETH, devnet.token)
        self.run(devnet.start())

    def run(self, awaitable: Coroutine[Any, Any, Any]) -> Any:
        return self.runner.run(awaitable)

    def close(self) -> None:
        self.run(self.devnet.stop())
        self.runner.close()


_WORLDS: list[LaneNode] = []


@pytest.fixture(scope="module", autouse=True)
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    _WORLDS.append(LaneNode(AnvilDevnet(tmp_path_factory.mktemp("lanes"))))
    yield
    _WORLDS.pop().close()


class Lanes(RuleBasedStateMachine):
    """A bridge that locks in lanes for one user."""

    @initialize()
    def start(self) -> None:
        self.world = _WORLDS[-1]
        self.run = self.world.run
        name = next(self.world.names)
        self.ours, self.theirs = (
            open_port(self.world.devnet.settings, devnet_key(f"lanes {name}/{who}")) for who in ("us", "user")
        )
        self.watcher = Watcher(self.ours)
        self.made: list[tuple[LockTerms, Preimage]] = []
        self.open: set[LockTerms] = set()
        self.told: list[tuple[str, str]] = []
        self.run(self._prepare())

    async def _prepare(self) -> None:
        for port in (self.ours, self.theirs):
            await self.world.devnet.fund(port.account, ETH, 10**18)
        await self.world.devnet.fund(self.ours.account, self.world.assets[1], 10**18)
        for action in await self.ours.setup_actions(self.world.assets):
            assert await self._attempt(self.ours, action) is None
        self.before = {asset: await self._held(asset) for asset in self.world.assets}
        await self.watcher.look()

    async def _held(self, asset: Asset) -> int:
        return await self.ours.balance(self.ours.contract, asset)

    async def _attempt(self, port: EvmPort, action: Action) -> ActionRefusedError | None:
        try:
            tx = await port.prepare(action, await port.next_sequence(), FeeLevel())
        except ActionRefusedError as refusal:
            return refusal
        await port.broadcast(tx)
        await self.world.devnet.mine(1)
        assert (await port.tx_status(tx)).state is TxState.INCLUDED
        return None

    def attempt(self, port: EvmPort, action: Action) -> ActionRefusedError | None:
        refusal: ActionRefusedError | None = self.run(self._attempt(port, action))
        return refusal

    def any_lock(self, pick: int) -> tuple[LockTerms, Preimage] | None:
        return self.made[pick % len(self.made)] if self.made else None

    def now(self) -> int:
        time: int = self.run(self.ours.tip()).time
        return time

    def spent(self, terms: LockTerms, kind: str) -> None:
        self.open.remove(terms)
        self.told.append((kind, self.ours.lock_id(terms)))

    @rule(lane=lanes, asset=st.integers(0, 1), secret=st.integers(0, 2), pick=picks)
    def lock(self, lane: int, asset: int, secret: int, pick: int) -> None:
        terms = LockTerms(
            chain=self.ours.chain,
            contract=self.ours.contract,
            sender=self.ours.account,
            recipient=self.theirs.account,
            asset=self.world.assets[asset],
            amount=Amount(AMOUNTS[pick % 3]),
            hashlock=SECRETS[secret].hashlock(),
            deadline=UnixSeconds(self.now() // 100 * 100 + 200),
            lane=lane,
        )
        refusal = self.attempt(self.ours, LockAction(terms))
        if lane and any(other.lane == lane for other in self.open):
            assert refusal is not None
            assert f"lane {lane} " in str(refusal)
        elif terms in self.open:
            assert "AlreadyOpen" in str(refusal)
        else:
            assert refusal is None
            self.open.add(terms)
            self.made.append((terms, SECRETS[secret]))
            self.told.append(("Locked", self.ours.lock_id(terms)))

    @rule(pick=picks, by_us=st.booleans())
    def claim(self, pick: int, by_us: bool) -> None:
        if (chosen := self.any_lock(pick)) is None:
            return
        port = self.ours if by_us else self.theirs
        refusal = self.attempt(port, ClaimAction(*chosen))
        assert (refusal is None) == (chosen[0] in self.open)
        if refusal is None:
            self.spent(chosen[0], "Claimed")

    @rule(pick=picks)
    def claim_together(self, pick: int) -> None:
        if (chosen := self.any_lock(pick)) is None:
            return
        same = {terms: secret for terms, secret in self.made if terms.asset == chosen[0].asset}
        others = tuple(ClaimAction(*lock) for lock in same.items() if lock != chosen)
        action = msgspec.structs.replace(ClaimAction(*chosen), others=others[: self.theirs.max_claims])
        expected = [
            terms for terms in (chosen[0], *(other.terms for other in action.others)) if terms in self.open
        ]
        refusal = self.attempt(self.theirs, action)
        assert (refusal is None) == bool(expected)
        for terms in expected:
            assert terms is not None
            self.spent(terms, "Claimed")

    @rule(pick=picks)
    def claim_for_a_fee(self, pick: int) -> None:
        if (chosen := self.any_lock(pick)) is None or chosen[0].deadline < self.now():
            return
        terms, max_fee = chosen[0], Amount(chosen[0].amount // 2)
        ours, theirs = self.ours.authorizer, self.theirs.authorizer
        assert ours is not None
        assert theirs is not None
        answer = self.run(theirs.sign(terms, self.run(ours.request(terms, max_fee)), max_fee))
        signed = self.run(ours.check(terms, answer, Amount(0)))
        action = msgspec.structs.replace(ClaimAction(*chosen), authorization=signed)
        refusal = self.attempt(self.ours, action)
        assert (refusal is None) == (terms in self.open)
        if refusal is None:
            self.spent(terms, "Claimed")

    @rule(pick=picks)
    def refund(self, pick: int) -> None:
        if (chosen := self.any_lock(pick)) is None:
            return
        due = self.now() >= chosen[0].deadline
        refusal = self.attempt(self.ours, RefundAction(chosen[0]))
        assert (refusal is None) == (due and chosen[0] in self.open)
        if refusal is None:
            self.spent(chosen[0], "Refunded")

    @rule(pick=picks)
    def give_back(self, pick: int) -> None:
        if (chosen := self.any_lock(pick)) is None:
            return
        returned = ("Refunded", self.ours.lock_id(chosen[0]))
        refusal = self.attempt(self.theirs, CooperativeRefundAction(chosen[0]))
        if chosen[0] not in self.open:
            assert refusal is not None
        elif refusal is None:
            self.spent(chosen[0], "Refunded")
        else:  # one lock, one cooperative refund: these very terms were given back once
            assert "NonceUsed" in str(refusal)
            assert returned in self.told

    @rule(seconds=st.sampled_from([50, 200]))
    def wait(self, seconds: int) -> None:
        self.run(self.world.devnet.advance_time(seconds))

    @invariant()
    def the_contract_holds_the_sum_of_the_open_locks(self) -> None:
        for asset in self.world.assets:
            owed = sum(terms.amount for terms in self.open if terms.asset == asset)
            assert self.run(self._held(asset)) - self.before[asset] == owed

    @invariant()
    def every_lock_is_seen_as_what_it_is(self) -> None:
        for terms in {terms for terms, _ in self.made[-4:]}:
            status = self.run(self.ours.read_lock(self.ours.lock_id(terms), terms))
            assert (status is LockStatus.OPEN) == (terms in self.open)
            assert status is not LockStatus.ABSENT

    @invariant()
    def the_scan_tells_the_history(self) -> None:
        events = self.run(self.watcher.look()).events
        told = [(type(event).__name__, event.lock_id) for event in events]
        assert sorted(told) == sorted(self.told), "of one block, in any order"
        for event in events:
            if isinstance(event, Locked):
                assert self.ours.lock_id(event.terms) == event.lock_id
        self.told.clear()

    def teardown(self) -> None:
        for port in (self.ours, self.theirs):
            self.run(port.close())


Lanes.TestCase.settings = settings(
    max_examples=8,
    stateful_step_count=30,
    deadline=None,
    derandomize=True,
    suppress_health_check=list(HealthCheck),
)
TestLanes = Lanes.TestCase
