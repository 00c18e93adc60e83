"""A swap in a hostile world, step by step, with the seven invariants of docs/swap-protocol.md after each."""

from __future__ import annotations

import hypothesis.strategies as st
from hypothesis import HealthCheck, settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from bridge.protocol import events as ev
from bridge.protocol.alarms import next_alarm
from bridge.protocol.rules import may_share_secret, required_effects
from bridge.protocol.status import is_terminal
from bridge.protocol.timelocks import may_reveal
from bridge.protocol.transition import transition
from bridge.protocol.types import BlockHeight, LegState, Preimage, Purpose, SwapState, UnixSeconds
from tests.property.invariants import DESTINATION, SOURCE
from tests.property.world import CHAIN, OUTAGE, PREIMAGE, TIMING, SwapWorld

ROLES = st.sampled_from([SOURCE, DESTINATION])


class SwapMachine(RuleBasedStateMachine):
    """Rules are what people, miners and bad luck do; the world's engine answers with the transition."""

    @initialize(
        offset_source=st.integers(-4, 4),
        offset_destination=st.integers(-3, 3),
        repeat=st.integers(1, 2),
        locked=st.booleans(),
    )
    def begin(self, offset_source: int, offset_destination: int, repeat: int, locked: bool) -> None:
        self.world = SwapWorld(offset_source, offset_destination)
        self.world.repeat = repeat
        if locked:
            self.world.user_locks("s")
            self.all_goes_well_for_a_while()
            self.all_goes_well_for_a_while()

    # Time, miners, reorgs, outages

    @rule(seconds=st.integers(1, 50), user=st.booleans(), bridge=st.booleans(), user_first=st.booleans())
    def time_passes(self, seconds: int, user: bool, bridge: bool, user_first: bool) -> None:
        self.world.advance(seconds, lambda tx: bridge if tx.by_bridge else user, user_first)

    @rule(
        role=ROLES, depth=st.integers(1, 3), drop=st.booleans(), take=st.booleans(), user_first=st.booleans()
    )
    def a_reorg_happens(self, role, depth: int, drop: bool, take: bool, user_first: bool) -> None:  # type: ignore[no-untyped-def]
        chain = self.world.chains[role]
        chain.reorg(depth, self.world.now, drop, lambda tx: take, user_first)

    @rule()
    def the_engine_runs(self) -> None:
        self.world.run_engine()

    @rule(pause=st.integers(1, 50))
    def the_engine_is_slow_to_act(self, pause: int) -> None:
        self.world.run_engine(pause=pause)

    @rule(role=ROLES)
    def one_chain_is_scanned_and_the_engine_dies(self, role) -> None:  # type: ignore[no-untyped-def]
        self.world.run_engine(only=role)

    @rule()
    def all_goes_well_for_a_while(self) -> None:
        for _ in range(4):
            self.world.advance(10, lambda tx: True, True)
            self.world.run_engine()

    # The user

    @precondition(lambda self: self.world.chains[SOURCE].find("s", Purpose.LOCK) is None)
    @rule()
    def the_user_locks(self) -> None:
        if not any(tx.lock_id == "s" for tx in self.world.chains[SOURCE].mempool):
            self.world.user_locks("s")

    @rule(change=st.sampled_from([{"amount": 999}, {"amount": 1001}, {"deadline": 10**6}, {"sender": "x"}]))
    def somebody_locks_with_wrong_terms(self, change: dict[str, object]) -> None:
        self.world.user_locks(f"odd-{change}", **change)

    @rule()
    def the_user_locks_a_second_time(self) -> None:
        self.world.user_locks("twin")

    @precondition(lambda self: self.world.chains[DESTINATION].is_open("d"))
    @rule()
    def the_user_claims(self) -> None:
        chain = self.world.chains[DESTINATION]
        found = chain.find("d", Purpose.LOCK)
        assert found is not None
        too_late = may_reveal(TIMING[DESTINATION], found[0].terms.deadline, chain.tip.time)
        if not chain.final(found[1]) or too_late is not None:
            self.world.careless_user = True
        self.world.revealed_late |= too_late is not None and not self.world.public_secret
        chain.send(Purpose.CLAIM, "d", found[0].terms, by_bridge=False, now=self.world.now)
        self.world.public_secret = True

    @rule(right=st.booleans())
    def the_user_shares_a_secret(self, right: bool) -> None:
        preimage = PREIMAGE if right else Preimage(b"guess")
        refused = may_share_secret(self.world.swap, preimage) is not None
        before = self.world.swap
        self.world.deliver(ev.SecretShared(preimage))
        assert right or refused
        if refused:
            assert self.world.swap == before

    @rule()
    def the_user_fails_to_claim_and_shows_the_secret(self) -> None:
        self.world.careless_user = True
        now = self.world.chains[DESTINATION].tip.time
        late = may_reveal(TIMING[DESTINATION], self.world.terms[DESTINATION].deadline, now) is not None
        self.world.revealed_late |= late and not self.world.public_secret
        self.world.public_secret = True
        self.world.deliver(ev.SecretRevealed(PREIMAGE))

    @precondition(lambda self: self.world.public_secret)
    @rule(role=ROLES)
    def a_stranger_claims_for_the_recipient(self, role) -> None:  # type: ignore[no-untyped-def]
        lock_id = self.world.source_lock if role is SOURCE else "d"
        chain = self.world.chains[role]
        chain.send(Purpose.CLAIM, lock_id, self.world.terms[role], by_bridge=False, now=self.world.now)
        if role is SOURCE:
            self.world.careless_user |= not self.world.chains[DESTINATION].is_open("d")

    @rule(lock_id=st.sampled_from(["s", "twin"]))
    def the_user_refunds(self, lock_id: str) -> None:
        chain = self.world.chains[SOURCE]
        if chain.tip.time >= self.world.terms[SOURCE].deadline:
            chain.send(Purpose.REFUND, lock_id, self.world.terms[SOURCE], by_bridge=False, now=self.world.now)

    # The operator and the outbox

    @rule(verb=st.sampled_from(list(ev.OperatorVerb)))
    def an_operator_commands(self, verb: ev.OperatorVerb) -> None:
        self.world.deliver(ev.OperatorCommand(verb, by="op"))

    @rule(role=ROLES, purpose=st.sampled_from([Purpose.CLAIM, Purpose.REFUND, Purpose.COOPERATIVE_REFUND]))
    def a_transaction_fails(self, role, purpose: Purpose) -> None:  # type: ignore[no-untyped-def]
        self.world.deliver(ev.TxFailed(role, purpose, "reverted"))

    @precondition(lambda self: (DESTINATION, Purpose.LOCK, "d") in self.world.intents)
    @rule()
    def the_counterlock_turns_out_impossible(self) -> None:
        self.world.void_lock()

    @precondition(lambda self: self.world.delivered)
    @rule(data=st.data())
    def an_old_event_is_delivered_again(self, data: st.DataObject) -> None:
        event = data.draw(st.sampled_from(self.world.delivered))
        if isinstance(event, (ev.OperatorCommand, ev.TxFailed, ev.SecretShared)):
            return  # a wish made again is a new wish
        canonical = {b.ref.id for known in self.world.known.values() for b in known}
        block_id = getattr(event, "block_id", None) or getattr(getattr(event, "block", None), "id", None)
        is_orphan = type(event).__name__.endswith("Orphaned")
        if block_id is not None and (block_id in canonical) == is_orphan:
            return  # of blocks that left the chain only the loss may be told again
        before = self.world.swap
        assert transition(before, event).swap == before

    # The invariants

    @invariant()
    def a_tick_before_the_alarm_changes_nothing(self) -> None:
        swap = self.world.swap
        for chain in CHAIN.values():
            alarm = next_alarm(swap, chain)
            time = swap.times[chain] + 10**6 if alarm is None else alarm - 1
            if time > swap.times[chain]:
                after = transition(swap, ev.Tick(chain, UnixSeconds(time), BlockHeight(0))).swap
                assert required_effects(after) == required_effects(swap)
                assert (after.abandoned, after.state) == (swap.abandoned, swap.state)

    @invariant()
    def the_bridge_never_loses_both_legs(self) -> None:
        taken = self.world.outcome(DESTINATION, "d") is Purpose.CLAIM
        assert not (taken and self.world.outcome(SOURCE, self.world.source_lock) is Purpose.REFUND)

    @invariant()
    def a_careful_user_never_loses_both_legs(self) -> None:
        if not self.world.careless_user:
            paid = self.world.outcome(SOURCE, self.world.source_lock) is Purpose.CLAIM
            assert not (paid and self.world.outcome(DESTINATION, "d") is Purpose.REFUND)

    @invariant()
    def the_bridge_itself_never_takes_both_legs_of_one_who_revealed_in_time(self) -> None:
        if self.world.revealed_late:
            return
        spend = self.world.chains[SOURCE].spend(self.world.source_lock)
        if spend is not None and spend[0].by_bridge and spend[0].kind is Purpose.CLAIM:
            assert self.world.outcome(DESTINATION, "d") is not Purpose.REFUND

    @invariant()
    def a_terminal_swap_has_no_money_left_on_chain(self) -> None:
        if is_terminal(self.world.swap):
            for role, lock_id in ((SOURCE, self.world.source_lock), (DESTINATION, "d")):
                if self.world.swap.leg(role).state is not LegState.NONE:
                    assert self.world.outcome(role, lock_id) is not None

    def teardown(self) -> None:
        """From wherever it is: if all are quiet from now on, every swap comes to its end."""
        world = getattr(self, "world", None)
        if world is None:
            return
        for rounds in range(80):
            world.advance(15, lambda tx: True, False)
            world.run_engine()
            if rounds > 5 and is_terminal(world.swap):
                break
        swap = world.swap
        if not world.careless_user:
            assert is_terminal(swap), f"{swap.state} {swap.source.state} {swap.destination.state}"
        assert is_terminal(swap) or swap.state is SwapState.ATTENTION, swap
        paid = world.outcome(SOURCE, world.source_lock) is Purpose.CLAIM
        taken = world.outcome(DESTINATION, "d") is Purpose.CLAIM
        assert not (taken and not paid), "the bridge lost"
        if not world.careless_user:
            assert taken == paid, "a careful user lost"
        if swap.state is SwapState.COMPLETED:
            assert paid
            assert taken


SwapMachine.TestCase.settings = settings(
    max_examples=150,
    stateful_step_count=40,
    deadline=None,
    derandomize=True,  # fresh randomness: python -m tests.property.hunt
    suppress_health_check=list(HealthCheck),
)
TestSwapInAHostileWorld = SwapMachine.TestCase

assert OUTAGE > 50, "one step of time must fit into the outage budget"
