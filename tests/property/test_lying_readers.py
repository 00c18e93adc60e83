"""No sequence of lying events makes the bridge give a leg back or lock again without a proof.

The chains are the truth; a reader in between reports spends as claims, refunds, spends without proof or not
at all, orphans what stands and repeats what is gone. It cannot forge a preimage, since none opens a hashlock
by accident, and it cannot get a refund confirmed that did not happen: `RefundFinal` is sent by the engine
only after the chain itself, asked directly, calls the lock refunded (see `relayers/daemon/confirmer.py`).
"""

from __future__ import annotations

import hypothesis.strategies as st
from hypothesis import HealthCheck, given, settings

from bridge.protocol import events as ev
from bridge.protocol.effects import SendCooperativeRefund, SendLock, SendRefund
from bridge.protocol.rules import required_effects
from bridge.protocol.status import is_terminal
from bridge.protocol.types import BlockHeight, BlockRef, LegRole, LockId, Preimage, TxId, UnixSeconds
from tests import instances
from tests.property.invariants import check_step, check_swap
from tests.unit.protocol.factory import DESTINATION, PLAN, PREIMAGE, SOURCE, Player

BEFORE, AFTER = PLAN.destination - 1, PLAN.source
LEGS = st.sampled_from([SOURCE, DESTINATION])
BLOCKS = st.builds(
    lambda height, fork, time: BlockRef(BlockHeight(height), f"{fork}{height}", "", UnixSeconds(time)),
    st.integers(25, 60),
    st.sampled_from(["", "b"]),
    st.sampled_from([BEFORE, AFTER]),
)
FORGED = st.sampled_from([Preimage(b""), Preimage(b"\x01" * 32), Preimage(b"x" * 64)])


def lock_id(leg: LegRole) -> LockId:
    return LockId("s" if leg is SOURCE else "d")


def lies(legs: st.SearchStrategy[LegRole]) -> st.SearchStrategy[ev.Event]:
    """What a reader without the secret can report of spends, true or not, in any order."""

    def of_leg(leg: LegRole) -> st.SearchStrategy[ev.Event]:
        lock, tx = lock_id(leg), TxId("lie")
        ids = st.sampled_from(["", "30", "b30", "40"])
        return st.one_of(
            BLOCKS.map(lambda block: ev.SpendSeen(leg, lock, tx, block)),
            BLOCKS.map(lambda block: ev.RefundSeen(leg, lock, tx, block)),
            st.builds(lambda block, forged: ev.ClaimSeen(leg, lock, tx, block, forged), BLOCKS, FORGED),
            FORGED.map(ev.SecretRevealed),
            ids.map(lambda block_id: ev.SpendOrphaned(leg, lock, block_id)),
            ids.map(lambda block_id: ev.RefundOrphaned(leg, lock, block_id)),
            ids.map(lambda block_id: ev.ClaimOrphaned(leg, lock, block_id)),
            st.just(ev.ClaimFinal(leg, lock)),
            st.just(ev.LockFinal(leg, lock)),
        )

    return legs.flatmap(of_leg)


TICKS = st.sampled_from(
    [
        ev.Tick(chain, UnixSeconds(time), BlockHeight(99))
        for chain in (instances.ETHEREUM, instances.ZION)
        for time in (BEFORE, PLAN.destination, AFTER)
    ]
)
COMMANDS = st.sampled_from([ev.OperatorCommand(verb, by="op") for verb in ev.OperatorVerb])
LIES = settings(max_examples=150, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))


@LIES
@given(st.lists(st.one_of(lies(LEGS), TICKS, COMMANDS), max_size=25))
def test_the_source_is_not_given_back_while_no_refund_of_the_destination_is_confirmed(
    events: list[ev.Event],
) -> None:
    p = Player().awaiting_claim()
    for event in events:
        before = p.swap
        p.feed(event)
        check_step(before, p.swap)
        check_swap(p.swap)
        assert not {SendCooperativeRefund(), SendRefund(SOURCE)} & set(p.required)
        assert SendLock() not in p.required
        assert not is_terminal(p.swap)


@LIES
@given(st.lists(st.one_of(lies(LEGS), TICKS), max_size=20))
def test_however_it_was_lied_to_the_true_claim_still_earns_the_source(events: list[ev.Event]) -> None:
    p = Player().awaiting_claim()
    for event in events:
        p.feed(event)
    truth = BlockRef(BlockHeight(100), "true", "", UnixSeconds(BEFORE))
    p.feed(
        ev.RefundOrphaned(DESTINATION, lock_id(DESTINATION)),
        ev.SpendOrphaned(DESTINATION, lock_id(DESTINATION)),
        ev.RefundOrphaned(SOURCE, lock_id(SOURCE)),
        ev.SpendOrphaned(SOURCE, lock_id(SOURCE)),
    )
    p.feed(ev.ClaimSeen(DESTINATION, lock_id(DESTINATION), TxId("true"), truth, PREIMAGE))
    assert [effect for effect in required_effects(p.swap) if getattr(effect, "leg", None) is SOURCE], p.swap


@LIES
@given(st.lists(st.one_of(lies(st.just(SOURCE)), TICKS, COMMANDS), max_size=25))
def test_a_source_that_was_ever_reported_spent_is_never_counter_locked(events: list[ev.Event]) -> None:
    p = Player().accepted().source_locked()
    doubted = False
    for event in events:
        doubted |= isinstance(event, ev.SpendSeen | ev.RefundSeen)
        p.feed(event)
        check_swap(p.swap)
        if doubted:
            assert SendLock() not in p.required
