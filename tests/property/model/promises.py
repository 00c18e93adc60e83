"""What must hold at every moment and at the end, judged by the chains."""

from __future__ import annotations

from bridge.protocol.legs import OPEN
from bridge.protocol.status import is_terminal
from bridge.protocol.types import LegState, Purpose, Swap, SwapState
from tests.property.model.world import OWN_LOCK, PAYBACK, World, require


def check_moment(world: World, swap: Swap, *, careful: bool) -> None:
    """Check what holds at every moment. Raises `BrokenPromiseError`."""
    taken, paid = world.destination.outcome("d"), world.source.outcome("s")
    given_back = paid in {Purpose.REFUND, Purpose.COOPERATIVE_REFUND}
    require(not (taken is Purpose.CLAIM and given_back), "the bridge lost: both legs went to the user")
    paid_back = world.source.outcome(PAYBACK) is Purpose.CLAIM
    require(not (paid_back and taken is Purpose.CLAIM), "the bridge lost: the destination, and paid back")
    require(not (paid_back and paid is not Purpose.CLAIM), "the bridge lost: paid back what it never got")
    robbed = paid is Purpose.CLAIM and taken is Purpose.REFUND
    if careful:
        require(not robbed, "a user who kept to the protocol lost: both legs went to the bridge")
    if is_terminal(swap):
        for role, lock in OWN_LOCK.items():
            stands = swap.leg(role).state is not LegState.NONE
            require(not stands or world.chain(role).outcome(lock) is not None, "ended with money on chain")
        out = world.source.find(PAYBACK, Purpose.LOCK) is not None
        require(not out or paid_back, "ended with a payback on chain")


def check_end(world: World, swap: Swap, *, careful: bool) -> None:
    """Check where a fair continuation has led. Raises `BrokenPromiseError`."""
    paid, taken = world.source.outcome("s"), world.destination.outcome("d")
    require(not (taken is Purpose.CLAIM and paid is not Purpose.CLAIM), "the bridge gave and was not paid")
    if careful:
        require(is_terminal(swap), f"no end: {swap.state.value}, {swap.attention}")
        paid_back = world.source.outcome(PAYBACK) is Purpose.CLAIM
        has_either = taken is Purpose.CLAIM or paid_back
        require(not (paid is Purpose.CLAIM and not has_either), "a careful user was not paid")
    known = is_terminal(swap) or swap.state is SwapState.ATTENTION
    require(known, f"no end and no alarm: {swap.state.value}")
    idle = not (swap.source.state in OPEN and swap.destination.state not in OPEN)
    require(is_terminal(swap) or idle, "a source lock is left on its chain")
