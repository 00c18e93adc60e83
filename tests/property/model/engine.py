"""The engine of the model: it feeds the real `transition` and does what the real rules require.

What it may not do is checked against the chains themselves, not against what the swap believes.
"""

from __future__ import annotations

import msgspec

from bridge.protocol import events as ev
from bridge.protocol import rules
from bridge.protocol.alarms import next_alarm
from bridge.protocol.counterlock import decide, is_open
from bridge.protocol.effects import CancelLock, Effect, SendClaim, SendCooperativeRefund, SendLock, SendRefund
from bridge.protocol.payback import may_pay_back
from bridge.protocol.transition import new_swap, transition
from bridge.protocol.types import (
    BlockHeight,
    ChainId,
    LegRole,
    LegState,
    LockId,
    LockTerms,
    PriceSeen,
    Purpose,
    Swap,
    SwapId,
    TxId,
    UnixSeconds,
)
from tests.property.invariants import check_step, check_swap
from tests.property.model.chain import Block, Party, Tx
from tests.property.model.terms import Terms
from tests.property.model.world import (
    CHAINS,
    DESTINATION,
    PAYBACK,
    PREIMAGE,
    SOURCE,
    STRAY,
    Bounds,
    Phase,
    World,
    require,
)


class Engine:
    """Watches both chains and acts. Swaps are interned: a world holds the number of its swap."""

    def __init__(self, bounds: Bounds, terms: Terms) -> None:
        self._bounds = bounds
        self._terms = terms
        self.trace: list[ev.Event] | None = None
        self._swaps: list[Swap] = []
        self._numbers: dict[bytes, int] = {}
        self._folded: dict[tuple[int, ev.Event], int] = {}

    def accepted_swap(self) -> int:
        """Return the swap that the user has just accepted."""
        swap = new_swap(
            SwapId("model"),
            source=self._terms.of[SOURCE],
            destination=self._terms.of[DESTINATION],
            policy=self._terms.policy,
            accepted=True,
        )
        return self._intern(swap)

    def swap(self, world: World) -> Swap:
        return self._swaps[world.swap]

    def run(self, world: World) -> World:
        """Look at both chains and do what is required; the next slot begins."""
        world = world._replace(slot=world.slot + 1, phase=Phase.PEOPLE)
        for role in CHAINS:
            world = self.scan(world, role)
        return self.act(world)

    def has_unread(self, world: World) -> bool:
        found = world.destination.find("d", Purpose.CLAIM)
        return found is not None and found[0].odd and not self._reads_odd(world)

    def _reads_odd(self, world: World) -> bool:
        return "the odd claim is understood" in world.done

    def scan(self, world: World, role: LegRole) -> World:
        chain = world.chain(role)
        there = [block for block in chain.blocks if block.txs]
        for block in reversed(world.known(role)):
            if block not in there:
                for tx in reversed(block.txs):
                    world = self._feed_all(world, self._orphaned(role, tx, block))
        for block in there:
            fresh = block not in world.known(role)
            for tx in block.txs:
                if fresh or tx.odd:
                    world = self._feed_all(world, self._seen(world, role, tx, block))
        if "the secret is shown" in world.done and role is DESTINATION:
            world = self.feed(world, ev.SecretRevealed(PREIMAGE))
        world = self.tick(world, role)
        for block in there:
            if chain.is_final(block):
                for tx in block.txs:
                    world = self._feed_all(world, self._final(world, role, tx, block))
        return world.with_known(role, tuple(there))

    def tick(self, world: World, role: LegRole) -> World:
        """Tell the time if it matters: a tick before the alarm changes nothing that must be done, which
        test_swap_machine shows. So worlds that only differ in what the engine last heard are one."""
        tip = world.chain(role).tip
        alarm = next_alarm(self.swap(world), CHAINS[role])
        if alarm is None or tip.time < alarm:
            return world
        return self.feed(world, ev.Tick(CHAINS[role], UnixSeconds(tip.time), BlockHeight(tip.height)))

    def _feed_all(self, world: World, events: list[ev.Event]) -> World:
        for event in events:
            world = self.feed(world, event)
        return world

    def feed(self, world: World, event: ev.Event) -> World:
        key = world.swap, event
        number = self._folded.get(key)
        if number is None:
            number = self._folded[key] = self._fold(world.swap, event)
        if self.trace is not None and number != world.swap:
            self.trace.append(event)
        return world._replace(swap=number)

    def _fold(self, number: int, event: ev.Event) -> int:
        before = self._swaps[number]
        after = transition(before, event).swap
        if after is before:
            return number
        check_step(before, after)
        return self._intern(after)

    def _intern(self, swap: Swap) -> int:
        key = msgspec.msgpack.encode(swap)
        number = self._numbers.setdefault(key, len(self._swaps))
        if number == len(self._swaps):
            check_swap(swap)
            self._swaps.append(swap)
        return number

    def _seen(self, world: World, role: LegRole, tx: Tx, block: Block) -> list[ev.Event]:
        role = _leg(role, tx)
        lock, tx_id = LockId(tx.lock), TxId(f"{tx.by.value}-{tx.kind.value}")
        match tx.kind:
            case Purpose.LOCK:
                special = {STRAY: self._terms.stray, PAYBACK: self._terms.payback}
                own = self._terms.of[role] if role is SOURCE else self.swap(world).destination.terms
                terms = special.get(tx.lock, own)
                return [ev.LockSeen(role, lock, terms, tx_id, block.ref)]
            case Purpose.CLAIM if tx.odd and not self._reads_odd(world):
                return [ev.SpendSeen(role, lock, tx_id, block.ref)]
            case Purpose.CLAIM:
                return [ev.ClaimSeen(role, lock, tx_id, block.ref, PREIMAGE)]
            case Purpose.REFUND | Purpose.COOPERATIVE_REFUND:
                return [ev.RefundSeen(role, lock, tx_id, block.ref)]
        return []

    def _orphaned(self, role: LegRole, tx: Tx, block: Block) -> list[ev.Event]:
        role = _leg(role, tx)
        lock, block_id = LockId(tx.lock), block.ref.id
        match tx.kind:
            case Purpose.LOCK:
                return [ev.LockOrphaned(role, lock, block_id)]
            case Purpose.CLAIM:
                unproven: list[ev.Event] = [ev.SpendOrphaned(role, lock, block_id)] if tx.odd else []
                return [*unproven, ev.ClaimOrphaned(role, lock, block_id)]
            case Purpose.REFUND | Purpose.COOPERATIVE_REFUND:
                return [ev.RefundOrphaned(role, lock, block_id)]
        return []

    def _final(self, world: World, role: LegRole, tx: Tx, block: Block) -> list[ev.Event]:
        role = _leg(role, tx)
        lock, block_id = LockId(tx.lock), block.ref.id
        match tx.kind:
            case Purpose.LOCK:
                return [ev.LockFinal(role, lock, block_id)]
            case Purpose.CLAIM:
                return [] if tx.odd and not self._reads_odd(world) else [ev.ClaimFinal(role, lock, block_id)]
            case Purpose.REFUND | Purpose.COOPERATIVE_REFUND:
                return [ev.RefundFinal(role, lock, block_id)]
            case Purpose.CANCEL:
                return [ev.TxFailed(role, Purpose.LOCK, "its sequence was used")]
        return []

    def act(self, world: World) -> World:
        swap = self.swap(world)
        refusal = rules.may_counterlock(swap)
        if (
            swap.destination.state is LegState.INTENT
            and refusal is not None
            and rules.withdraws_counterlock(refusal)
        ):
            world = self._cancel(world)  # so does the outbox, whatever the swap requires
        for effect in rules.required_effects(self.swap(world)):
            world = self._carry_out(world, effect)
        return world

    def _carry_out(self, world: World, effect: Effect) -> World:
        match effect:
            case SendLock(leg=LegRole.PAYBACK):
                return self._pay_back(world)
            case SendLock():
                return self._counterlock(world)
            case SendClaim(leg=LegRole.PAYBACK):
                return self._bridge_sends(world, SOURCE, Purpose.CLAIM, PAYBACK)
            case SendClaim(leg=leg):
                require(self.swap(world).secret_known, "a claim without the secret")
                return self._bridge_sends(world, leg, Purpose.CLAIM, self.swap(world).leg(leg).lock_id)
            case SendRefund(leg=leg, lock_id=lock):
                return self._bridge_sends(
                    world, leg, Purpose.REFUND, lock or self.swap(world).leg(leg).lock_id
                )
            case SendCooperativeRefund(lock_id=lock):
                if not lock:
                    self._check_give_back(world)
                own = self.swap(world).source.lock_id
                return self._bridge_sends(world, SOURCE, Purpose.COOPERATIVE_REFUND, lock or own)
            case CancelLock():
                return self._cancel(world)
        return world

    def _bridge_sends(self, world: World, role: LegRole, kind: Purpose, lock: str) -> World:
        tx = Tx(kind, lock, Party.BRIDGE, world.slot + self._bounds.inclusion - 1)
        return world.with_chain(role, world.chain(role).sent(tx))

    def _counterlock(self, world: World) -> World:
        now = {CHAINS[role]: UnixSeconds(world.chain(role).tip.time) for role in CHAINS}
        swap = self.swap(world)
        if rules.may_counterlock(swap, now) or rules.check_source_lock(swap, self._evidence(world)):
            return world
        if is_open(swap):
            world = self._decide(world, now)
            swap = self.swap(world)
            require(not is_open(swap), "the terms cannot be decided")
            if rules.may_counterlock(swap, now):
                return world
        self._check_counterlock(world)
        return self._bridge_sends(world, DESTINATION, Purpose.LOCK, "d")

    def _decide(self, world: World, now: dict[ChainId, UnixSeconds]) -> World:
        terms = decide(self.swap(world), self._terms.rate, now)
        assert isinstance(terms, LockTerms), terms
        seen = PriceSeen("1", "1", 0, 0)
        return self.feed(world, ev.PriceChecked(seen, go=True, amount=terms.amount, deadline=terms.deadline))

    def deadlines(self, world: World) -> dict[str, int]:
        """Return every lock's deadline."""
        if not self._bounds.floating:
            return self._terms.deadlines
        return {**self._terms.deadlines, "d": int(self.swap(world).destination.terms.deadline)}

    def _pay_back(self, world: World) -> World:
        if may_pay_back(self.swap(world)):
            return world
        require(world.source.outcome("s") is Purpose.CLAIM, "paid back what was not received")
        self._check_give_back(world)
        return self._bridge_sends(world, SOURCE, Purpose.LOCK, PAYBACK)

    def _evidence(self, world: World) -> rules.SourceLockEvidence:
        """Return what reading the source lock back from its chain shows."""
        found, spend = world.source.find("s", Purpose.LOCK), world.source.spend("s")
        if found is None:
            return rules.SourceLockEvidence(None)
        return rules.SourceLockEvidence(
            self._terms.of[SOURCE],
            world.source.tip.height - found[1].height + 1,
            finalized=True,
            spent=spend[0].kind.value if spend else "",
            claimed=spend is not None and spend[0].kind is Purpose.CLAIM,
        )

    def _cancel(self, world: World) -> World:
        lock = Tx(Purpose.LOCK, "d", Party.BRIDGE)
        if not world.destination.has(lock):
            return self.feed(world, ev.TxFailed(DESTINATION, Purpose.LOCK, "it was never sent"))
        if world.destination.find("d", Purpose.LOCK) is not None:
            return world
        return self._bridge_sends(world, DESTINATION, Purpose.CANCEL, "d")

    def _check_counterlock(self, world: World) -> None:
        found = world.source.find("s", Purpose.LOCK)
        require(found is not None, "locked without a source lock on its chain")
        assert found is not None
        require(world.source.is_final(found[1]), "locked before the source lock is final")
        require(found[1].time <= self._terms.policy.lock_by, "locked for a late lock")
        spend = world.source.spend("s")
        require(spend is None or spend[0].kind is Purpose.CLAIM, "locked for a source that was given back")

    def _check_give_back(self, world: World) -> None:
        lock = Tx(Purpose.LOCK, "d", Party.BRIDGE)
        if not world.destination.has(lock):
            return
        cancelled = world.destination.find("d", Purpose.CANCEL)
        if cancelled is not None and world.destination.is_final(cancelled[1]):
            return
        require(
            world.destination.outcome("d") is Purpose.REFUND,
            "the source is given back while the destination may be taken",
        )


def _leg(role: LegRole, tx: Tx) -> LegRole:
    """Return the leg that a transaction on a leg's chain is about."""
    return LegRole.PAYBACK if tx.lock == PAYBACK else role
