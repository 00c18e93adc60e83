"""A small swap, and a player that feeds it events: ETH on Ethereum for ZION, the user locks on Ethereum."""

from __future__ import annotations

from msgspec.structs import replace

from bridge.protocol import events as ev
from bridge.protocol.effects import Effect
from bridge.protocol.rules import required_effects
from bridge.protocol.timelocks import Deadlines, plan_deadlines
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
    Swap,
    SwapId,
    SwapPolicy,
    TxId,
    UnixSeconds,
)
from tests import instances

SOURCE, DESTINATION = LegRole.SOURCE, LegRole.DESTINATION
ETH = Asset(instances.ETHEREUM, "ETH", 18)
USDC = Asset(instances.ETHEREUM, "USDC", 6, contract="0x00000000000000000000000000000000000000cc")
ZION = Asset(instances.ZION, "ZION", 8)

PREIMAGE = Preimage(bytes(range(32)))
WRONG_PREIMAGE = Preimage(b"\x01" * 32)

ETHEREUM_TIMING = ChainTiming(block_interval=12, finality_depth=10, inclusion_p99=60, clock_skew=30)
ZION_TIMING = ChainTiming(block_interval=60, finality_depth=5, inclusion_p99=180, clock_skew=400)
START = 1_000_000


def deadlines() -> Deadlines:
    return plan_deadlines(
        UnixSeconds(START),
        UnixSeconds(START),
        source=ETHEREUM_TIMING,
        destination=ZION_TIMING,
        user_window=3600,
        outage_budget=1800,
        lock_window=600,
    )


PLAN = deadlines()
POLICY = SwapPolicy(
    source=ETHEREUM_TIMING,
    destination=ZION_TIMING,
    user_window=3600,
    outage_budget=1800,
    lock_by=PLAN.lock_by,
)
SOURCE_TERMS = LockTerms(
    chain=instances.ETHEREUM,
    contract=Address("0xhtlc"),
    sender=Address("0xuser"),
    recipient=Address("0xbridge"),
    asset=ETH,
    amount=Amount(10**15),
    hashlock=PREIMAGE.hashlock(),
    deadline=PLAN.source,
)
DESTINATION_TERMS = LockTerms(
    chain=instances.ZION,
    contract=Address(""),
    sender=Address("zion1bridge"),
    recipient=Address("zion1user"),
    asset=ZION,
    amount=Amount(5 * 10**8),
    hashlock=PREIMAGE.hashlock(),
    deadline=PLAN.destination,
)


def block(height: int, time: int = START + 60, fork: str = "") -> BlockRef:
    return BlockRef(
        height=BlockHeight(height), id=f"{fork}{height}", parent=f"{fork}{height - 1}", time=UnixSeconds(time)
    )


def quoted_swap() -> Swap:
    return new_swap(SwapId("swap-1"), source=SOURCE_TERMS, destination=DESTINATION_TERMS, policy=POLICY)


class Player:
    """Feeds events to one swap and remembers what it asked for."""

    def __init__(self, swap: Swap | None = None) -> None:
        self.swap = swap or quoted_swap()
        self.last: tuple[Effect, ...] = ()

    def feed(self, *events: ev.Event) -> Player:
        for event in events:
            result = transition(self.swap, event)
            self.swap, self.last = result.swap, result.effects
        return self

    @property
    def required(self) -> tuple[Effect, ...]:
        return required_effects(self.swap)

    # What people and chains do, in words.

    def accepted(self) -> Player:
        return self.feed(
            ev.Accepted(),
            ev.Tick(instances.ETHEREUM, UnixSeconds(START), BlockHeight(1)),
            ev.Tick(instances.ZION, UnixSeconds(START), BlockHeight(1)),
        )

    def source_time(self, time: int) -> Player:
        return self.feed(ev.Tick(instances.ETHEREUM, UnixSeconds(time), BlockHeight(time // 12)))

    def destination_time(self, time: int) -> Player:
        return self.feed(ev.Tick(instances.ZION, UnixSeconds(time), BlockHeight(time // 60)))

    def source_locked(self, lock_id: str = "s", at: BlockRef | None = None, **changes: object) -> Player:
        terms = replace(SOURCE_TERMS, **changes)
        return self.feed(ev.LockSeen(SOURCE, LockId(lock_id), terms, TxId(f"tx-{lock_id}"), at or block(10)))

    def source_final(self, lock_id: str = "s") -> Player:
        return self.feed(ev.LockFinal(SOURCE, LockId(lock_id)))

    def destination_locked(self, lock_id: str = "d", at: BlockRef | None = None) -> Player:
        return self.feed(
            ev.LockSeen(DESTINATION, LockId(lock_id), DESTINATION_TERMS, TxId("tx-d"), at or block(20))
        )

    def destination_final(self) -> Player:
        return self.feed(ev.LockFinal(DESTINATION, LockId("d")))

    def claimed(self, leg: LegRole, at: BlockRef | None = None) -> Player:
        lock_id = "s" if leg is SOURCE else "d"
        return self.feed(
            ev.ClaimSeen(leg, LockId(lock_id), TxId(f"claim-{lock_id}"), at or block(30), PREIMAGE)
        )

    def claim_final(self, leg: LegRole) -> Player:
        return self.feed(ev.ClaimFinal(leg, LockId("s" if leg is SOURCE else "d")))

    def refunded(self, leg: LegRole, at: BlockRef | None = None, lock_id: str = "") -> Player:
        lock_id = lock_id or ("s" if leg is SOURCE else "d")
        at = at or block(40, time=PLAN.source)  # after both deadlines
        return self.feed(ev.RefundSeen(leg, LockId(lock_id), TxId(f"refund-{lock_id}"), at))

    def refund_final(self, leg: LegRole, lock_id: str = "") -> Player:
        return self.feed(ev.RefundFinal(leg, LockId(lock_id or ("s" if leg is SOURCE else "d"))))

    def spent(self, leg: LegRole, at: BlockRef | None = None, lock_id: str = "") -> Player:
        """A spend that proves neither a claim nor a refund."""
        lock_id = lock_id or ("s" if leg is SOURCE else "d")
        return self.feed(ev.SpendSeen(leg, LockId(lock_id), TxId(f"spend-{lock_id}"), at or block(40)))

    def shared(self, preimage: Preimage = PREIMAGE) -> Player:
        return self.feed(ev.SecretShared(preimage))

    def lock_failed(self) -> Player:
        return self.feed(ev.TxFailed(DESTINATION, Purpose.LOCK, "nonce used by another transaction"))

    def operator(self, verb: ev.OperatorVerb) -> Player:
        return self.feed(ev.OperatorCommand(verb, by="op"))

    # Where most stories begin.

    def counterlocking(self) -> Player:
        return self.accepted().source_locked().source_final()

    def awaiting_claim(self) -> Player:
        return self.counterlocking().destination_locked().destination_final()
