"""The values that repositories take and return: frozen, typed, without any SQL.

Wall-clock times are Unix milliseconds (`…_ms`), amounts integers in the asset's smallest unit.
"""

from __future__ import annotations

from enum import StrEnum

import msgspec

from bridge.chains.port import FeeEstimate, SignedTx, Tip
from bridge.protocol.types import (
    Address,
    Amount,
    BlockHeight,
    BlockRef,
    ChainId,
    LegRole,
    LegState,
    LockId,
    LockTerms,
    Purpose,
    Swap,
    SwapId,
    SwapState,
    TxId,
    UnixSeconds,
)


class QuoteState(StrEnum):
    """OPEN can be taken until it expires; TAKEN belongs to a swap."""

    OPEN = "open"
    TAKEN = "taken"
    EXPIRED = "expired"


class Quote(msgspec.Struct, frozen=True):
    """An offer. `body` is the whole quote as JSON text, as the API made it."""

    id: str
    client: str
    source_asset: str
    destination_asset: str
    source_amount: Amount
    destination_amount: Amount
    body: str
    created_ms: int
    expires_ms: int
    state: QuoteState = QuoteState.OPEN


CLOCK_SKEW_MS = 60_000
"""How far the clocks of two workers may be apart."""


class MarketPrice(msgspec.Struct, frozen=True):
    """What one whole coin of an asset (by its key) is worth in the unit of all prices, as the desk agreed on
    it: `numerator/denominator`, the least and the most that a source which counts said, and the Unix second
    of the oldest of them. `wait`: why it may not be used now, "" if it may. After `max_age` seconds it is
    too old. `left_out`: the sources that were not believed, with the reason."""

    asset: str
    numerator: int
    denominator: int
    low: tuple[int, int]
    high: tuple[int, int]
    at: int
    max_age: int
    wait: str = ""
    sources: tuple[str, ...] = ()
    left_out: dict[str, str] = {}

    def trouble(self, now: int) -> str:
        """Return why it may not be used at a time, Unix seconds, "" if it may."""
        if self.wait:
            return f"{self.asset} is not sold now: {self.wait}"
        age = now - self.at
        if age > self.max_age:
            return f"the price of {self.asset} is {age} s old, {self.max_age} s are allowed"
        if -age * 1000 > CLOCK_SKEW_MS:
            return f"the price of {self.asset} is from {-age} s later than now: was a clock set back?"
        return ""


class Reservation(msgspec.Struct, frozen=True):
    """An amount of an asset (by its key) that is promised. `expires_ms` None: until released."""

    id: int
    asset: str
    amount: Amount
    quote_id: str
    swap_id: SwapId
    after_lock: bool
    live: bool
    created_ms: int
    expires_ms: int | None
    firm_ms: int | None = None
    """Since when it counts, None while it does not."""


class SwapMeta(msgspec.Struct, frozen=True):
    """What the API knows of a swap in addition to the protocol's value."""

    quote_id: str | None = None
    client: str = ""
    refund_address: str = ""
    recipient: str = ""
    idempotency_key: str = ""


class StoredSwap(msgspec.Struct, frozen=True):
    """A swap with its version (for compare and swap), its client-facing columns and its times."""

    swap: Swap
    version: int
    meta: SwapMeta
    created_ms: int
    updated_ms: int
    finished_ms: int | None

    @property
    def id(self) -> SwapId:
        """The swap's id."""
        return self.swap.id


class SwapEvent(msgspec.Struct, frozen=True):
    """One line of the event log; `body` is redacted JSON; the states are those after the event."""

    seq: int
    swap_id: SwapId
    swap_seq: int
    kind: str
    body: str
    state: SwapState
    source_state: LegState
    destination_state: LegState
    at_ms: int


class IntentState(StrEnum):
    """SIGNED is not BROADCAST is not INCLUDED is not FINAL."""

    PLANNED = "planned"
    SIGNED = "signed"
    BROADCAST = "broadcast"
    INCLUDED = "included"
    FINAL = "final"
    FAILED = "failed"
    CANCELLED = "cancelled"
    GIVEN_UP = "given_up"
    """It pays somebody else and failed or cost too much: nothing is sent for it until an operator asks for
    it. It still stands, so that it is not planned again."""


LIVE_INTENT_STATES = (IntentState.PLANNED, IntentState.SIGNED, IntentState.BROADCAST, IntentState.INCLUDED)
"""The states in which the outbox still has something to do."""


class PlannedIntent(msgspec.Struct, frozen=True):
    """An intent to be stored. `action` is JSON of what to do for intents that belong to no swap."""

    subject: str
    purpose: Purpose
    chain: ChainId
    leg: str = ""
    swap_id: SwapId = SwapId("")
    action: str = ""
    lock_id: LockId = LockId("")
    """One of the leg's stray locks; "" is the leg's own."""
    pays: Address = Address("")
    """The account that it pays where that is not ours."""


class Intent(msgspec.Struct, frozen=True):
    """A stored intent. `cancel`: it must no longer happen; its sequence has to be used up."""

    id: int
    subject: str
    swap_id: SwapId
    leg: str
    purpose: Purpose
    lock_id: LockId
    chain: ChainId
    action: str
    state: IntentState
    attempt: int
    cancel: bool
    owner: str
    fence: int
    lease_until_ms: int
    not_before_ms: int
    batch_leader: int | None
    """The batch leader: the intent whose transactions make this claim too; None while it is on its own."""
    reason: str
    pays: Address
    """The account that it pays where that is not ours, "" otherwise."""
    counted_from: int
    """Its transactions up to this row id do not count against the limits any more."""
    created_ms: int
    updated_ms: int

    @property
    def role(self) -> LegRole:
        """The leg it acts on; only swap intents have one."""
        return LegRole(self.leg)


class StoredTxState(StrEnum):
    """What is known of a signed transaction. DEAD: it can no longer be included."""

    SIGNED = "signed"
    BROADCAST = "broadcast"
    INCLUDED = "included"
    FINAL = "final"
    FAILED = "failed"
    DEAD = "dead"


class StoredTx(msgspec.Struct, frozen=True):
    """A signed transaction of ours and what is known of it. `cancels`: it only uses up the sequence."""

    id: int
    intent_id: int
    chain: ChainId
    signed: SignedTx
    attempt: int
    cancels: bool
    state: StoredTxState
    block_height: BlockHeight | None
    block_id: str
    replaced_by: str
    reason: str
    signed_ms: int
    sent_ms: int | None

    @property
    def signed_height(self) -> BlockHeight:
        """The tip's height when it was signed."""
        return self.signed.signed_height or BlockHeight(0)

    @property
    def tx_id(self) -> TxId:
        """The id its chain gives it."""
        return self.signed.tx_id

    @property
    def sequence(self) -> int | None:
        """The account's nonce it uses, None on chains without."""
        return self.signed.sequence

    def __repr__(self) -> str:
        return f"StoredTx({self.tx_id}, sequence={self.sequence}, state={self.state})"


class ObservedKind(StrEnum):
    """What was seen of a lock."""

    LOCKED = "locked"
    CLAIMED = "claimed"
    REFUNDED = "refunded"
    SPENT = "spent"
    """Spent, and it is not proved how. It settles when it is deep enough, but is never final for its swap."""


class Observation(msgspec.Struct, frozen=True):
    """An HTLC event of one of our swaps. `canonical` until its block is orphaned, `settled` once final.

    `depth`: the confirmations that make it final; with `needs_finalized` the chain must call its block final,
    too.
    """

    id: int
    chain: ChainId
    kind: ObservedKind
    swap_id: SwapId
    leg: LegRole
    lock_id: LockId
    tx_id: TxId
    block: BlockRef
    depth: int
    needs_finalized: bool
    terms: LockTerms | None
    canonical: bool
    settled: bool


class StoredSetAside(msgspec.Struct, frozen=True):
    """An item of a block that could not be read when `software` last tried. `lock_ids`: the locks it is known
    to name; empty: it could concern any."""

    id: int
    chain: ChainId
    block: BlockRef
    item: str
    reason: str
    lock_ids: tuple[LockId, ...]
    software: str
    resolved: bool
    first_seen_ms: int


class ChainStatus(msgspec.Struct, frozen=True):
    """A chain as its relayer last saw it. `balances` and `fees` are by asset key.

    `scanned` is the height up to which HTLC events were stored; `healthy` false with a `detail` when the RPC
    cannot be reached or its answers make no sense.
    """

    chain: ChainId
    account: Address = Address("")
    contract: Address = Address("")
    tip: Tip | None = None
    proves_sender: bool = True
    """Only the key of its sender can have made a lock of this chain."""
    scanned: BlockHeight = BlockHeight(0)
    set_aside: int = 0
    """How many items of scanned blocks could not be read so far."""
    healthy: bool = False
    detail: str = ""
    balances: dict[str, Amount] = msgspec.field(default_factory=dict)
    fees: dict[str, FeeEstimate] = msgspec.field(default_factory=dict)
    updated_ms: int = 0
    seen_ms: int = 0
    """When the RPC last answered."""
    tip_ms: int = 0
    """When the tip was first seen: its clock has moved on by the time since then."""
    resumed_ms: int = 0
    """When the chain went on after it had stood still for ten minutes or more, as far as it was watched."""

    @property
    def time(self) -> UnixSeconds:
        """The clock of the chain's deadlines at its tip, Unix seconds; 0 before there is one."""
        return self.tip.time if self.tip is not None else UnixSeconds(0)

    def tip_age(self, now_ms: int) -> int:
        """Return for how long no new block was seen, seconds."""
        return max(0, now_ms - self.tip_ms) // 1000

    def is_ahead(self, now_ms: int) -> bool:
        """Tell whether it is from later than now: a clock was set back since, so its age is not known."""
        return max(self.seen_ms, self.tip_ms) > now_ms + CLOCK_SKEW_MS


class Lease(msgspec.Struct, frozen=True):
    """A lease that is held: pass it to everything that writes under it."""

    name: str
    owner: str
    fence: int
    until_ms: int


class Notification(msgspec.Struct, frozen=True):
    """A public status change."""

    seq: int
    swap_id: SwapId
    state: SwapState
    detail: str
    at_ms: int


class Receipt(msgspec.Struct, frozen=True):
    """A leaf of the transparency log; `body` is canonical JSON."""

    index: int
    swap_id: SwapId
    body: str
    created_ms: int


class LogAnchor(msgspec.Struct, frozen=True):
    """A tree head (`root`: hex) for which an anchor was planned on `chain`."""

    size: int
    root: str
    chain: ChainId
    planned_ms: int

    @property
    def subject(self) -> str:
        """The subject of its intent."""
        return f"anchor:{self.root}:{self.size}"


class IdempotentAnswer(msgspec.Struct, frozen=True):
    """The answer that a request key got, and the digest of the request it belongs to."""

    client: str
    key: str
    request_digest: str
    response: str
    created_ms: int


class AuditEntry(msgspec.Struct, frozen=True):
    """What an operator did."""

    seq: int
    by: str
    verb: str
    subject: str
    detail: str
    at_ms: int


class Control(msgspec.Struct, frozen=True):
    """An operator's switch."""

    name: str
    value: str
    by: str
    at_ms: int
