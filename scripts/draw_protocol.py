"""Draw the public states of a swap from the transition itself; `scripts.write_reference` puts it into
docs/swap-protocol.md.

The drawing follows every path that a swap can take without reorgs: it asks the transition, and nothing is
drawn by hand. Reorgs lead back from every state and would only clutter the picture.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

import msgspec
from msgspec.structs import replace

from bridge.protocol import events as ev
from bridge.protocol.effects import SendClaim, SendCooperativeRefund, SendLock, SendRefund
from bridge.protocol.legs import CLAIMED, OPEN, UNLOCKED
from bridge.protocol.rules import may_share_secret, required_effects
from bridge.protocol.status import TERMINAL_STATES
from bridge.protocol.timelocks import expiry_time, latest_counterlock
from bridge.protocol.transition import transition
from bridge.protocol.types import (
    BlockHeight,
    BlockRef,
    LegRole,
    LegState,
    LockId,
    Purpose,
    Swap,
    SwapState,
    TxId,
    UnixSeconds,
)
from scripts.sample_swap import PREIMAGE, START, block, sample_swap
from tests import instances

SOURCE, DESTINATION = LegRole.SOURCE, LegRole.DESTINATION


def possible_events(swap: Swap) -> Iterator[tuple[str, ev.Event]]:
    """What can happen next on chains that do not reorganise, with an engine that does what is required."""
    source, destination = swap.source, swap.destination
    required = required_effects(swap)
    if not swap.accepted:
        yield "quote accepted", ev.Accepted()
    yield from _locks(swap)
    for leg in (source, destination):
        name = leg.role.value
        if leg.state is LegState.SEEN:
            yield f"{name} lock final", ev.LockFinal(leg.role, leg.lock_id)
        if leg.state is LegState.CLAIM_SEEN:
            yield f"{name} claim final", ev.ClaimFinal(leg.role, leg.lock_id)
        if leg.state is LegState.REFUND_SEEN:
            yield f"{name} refund final", ev.RefundFinal(leg.role, leg.lock_id)
    if destination.state is LegState.FINAL and not swap.secret_known:
        yield "unproven spend", ev.SpendSeen(DESTINATION, LockId("d"), TxId(""), block(30))
    if destination.state in {LegState.FINAL, LegState.SPENT_UNKNOWN}:
        yield "destination claimed", ev.ClaimSeen(DESTINATION, LockId("d"), TxId(""), block(30), PREIMAGE)
        if not swap.secret_shared and may_share_secret(swap, PREIMAGE) is None:
            yield "secret shared", ev.SecretShared(PREIMAGE)
    if SendClaim(SOURCE) in required:
        yield "source claimed", ev.ClaimSeen(SOURCE, LockId("s"), TxId(""), block(40), PREIMAGE)
    if SendRefund(DESTINATION) in required:
        late = BlockRef(BlockHeight(50), "late", "", destination.terms.deadline)
        yield "destination refunded", ev.RefundSeen(DESTINATION, LockId("d"), TxId(""), late)
    if SendCooperativeRefund() in required:
        yield "source given back", ev.RefundSeen(SOURCE, LockId("s"), TxId(""), block(60))
    if destination.state is LegState.INTENT:
        yield "counter-lock failed", ev.TxFailed(DESTINATION, Purpose.LOCK, "")
    yield from _time(swap)


def _locks(swap: Swap) -> Iterator[tuple[str, ev.Event]]:
    source = swap.source
    if source.state is LegState.NONE and source.lock_id == "" and swap.accepted:
        yield "source locked", ev.LockSeen(SOURCE, LockId("s"), source.terms, TxId(""), block(10))
        late = BlockRef(BlockHeight(11), "late", "", UnixSeconds(swap.policy.lock_by + 1))
        yield "source locked late", ev.LockSeen(SOURCE, LockId("s"), source.terms, TxId(""), late)
        if not source.strays:
            wrong = replace(source.terms, amount=source.terms.amount - 1)
            yield "wrong lock", ev.LockSeen(SOURCE, LockId("w"), wrong, TxId(""), block(9))
    for stray in source.strays:
        if stray.state in OPEN:
            yield "wrong lock given back", ev.RefundSeen(SOURCE, LockId("w"), TxId(""), block(12))
        if stray.state is LegState.REFUND_SEEN:
            yield "wrong lock refund final", ev.RefundFinal(SOURCE, LockId("w"))
    if SendLock() in required_effects(swap):
        yield (
            "destination locked",
            ev.LockSeen(DESTINATION, LockId("d"), swap.destination.terms, TxId(""), block(20)),
        )


def _time(swap: Swap) -> Iterator[tuple[str, ev.Event]]:
    source, destination = swap.source, swap.destination
    if source.state is LegState.NONE and source.lock_id == "":
        yield (
            "window over",
            ev.Tick(instances.ETHEREUM, UnixSeconds(expiry_time(swap.policy) + 1), BlockHeight(9)),
        )
    if source.state in OPEN and destination.state in UNLOCKED:
        last = latest_counterlock(swap.policy, destination.terms.deadline)
        yield "too late to counter-lock", ev.Tick(instances.ZION, UnixSeconds(last + 1), BlockHeight(9))
    if destination.state in OPEN:
        yield "destination deadline", ev.Tick(instances.ZION, destination.terms.deadline, BlockHeight(9))
    if destination.state in CLAIMED and source.state in OPEN:
        yield "source vanishes", ev.LockOrphaned(SOURCE, LockId("s"))
    if destination.state in CLAIMED and source.state is LegState.NONE:
        yield "source vanished for good", ev.Tick(instances.ETHEREUM, source.terms.deadline, BlockHeight(9))


def edges() -> dict[tuple[SwapState, SwapState], set[str]]:
    """Return the changes of the public state, each with the events that bring it about."""
    start = sample_swap()
    for chain in (instances.ETHEREUM, instances.ZION):
        start = transition(start, ev.Tick(chain, UnixSeconds(START), BlockHeight(1))).swap
    found: dict[tuple[SwapState, SwapState], set[str]] = defaultdict(set)
    seen, frontier = {msgspec.msgpack.encode(start)}, [start]
    while frontier:
        swap = frontier.pop()
        for label, event in possible_events(swap):
            after = transition(swap, event).swap
            if after.state is not swap.state:
                found[swap.state, after.state].add(label)
            key = msgspec.msgpack.encode(after)
            if key not in seen:
                seen.add(key)
                frontier.append(after)
    return found


def drawing() -> str:
    """Return the state diagram in Mermaid."""
    lines = ["```mermaid", "stateDiagram-v2", "    [*] --> quoted"]
    for (before, after), labels in sorted(edges().items()):
        lines.append(f"    {before.value} --> {after.value}: {', '.join(sorted(labels))}")
    lines += [f"    {state.value} --> [*]" for state in sorted(TERMINAL_STATES)]
    return "\n".join([*lines, "```"])
