"""The values of the swap protocol: chains, assets, lock terms, legs and swaps.

All values are frozen. Amounts are integers in the asset's smallest unit, times
are Unix seconds, and nothing here reads a clock, a network or a random source.
"""

from __future__ import annotations

import hashlib
from enum import StrEnum
from typing import Any, NewType

import msgspec

HASHLOCK_BYTES = 32
MAX_PREIMAGE_BYTES = 64
"""Stellar's hash(x) signer accepts 0–64 bytes, so every chain of the bridge does."""


ChainId = NewType("ChainId", str)
"""The operator's name of a chain, which is one instance of a family (`[chains.<name>]`)."""

SwapId = NewType("SwapId", str)
"""The bridge's own name of a swap."""

LockId = NewType("LockId", str)
"""What a chain's adapter calls a lock with certain terms (`ChainPort.lock_id`), "" for none."""

TxId = NewType("TxId", str)
"""The id that a chain gives a transaction, in the chain's usual text form, "" for none."""

Address = NewType("Address", str)
"""An account or a contract in the chain's canonical text form, "" for none."""

Amount = NewType("Amount", int)
"""A number of an asset's smallest units."""

UnixSeconds = NewType("UnixSeconds", int)
"""A moment. Durations are plain integers, in seconds."""

BlockHeight = NewType("BlockHeight", int)
"""A block's number on its chain."""


class Preimage:
    """A secret of 0–64 bytes that opens a hashlock; it never shows itself.

    `repr`, `str` and serialisation give no byte of it away; only `reveal()` does.
    """

    __slots__ = ("_value",)

    def __init__(self, value: bytes) -> None:
        if len(value) > MAX_PREIMAGE_BYTES:
            raise ValueError(f"a preimage has at most {MAX_PREIMAGE_BYTES} bytes")
        self._value = bytes(value)

    def reveal(self) -> bytes:
        """Return the secret bytes. Call it only to build a claim or to store it."""
        return self._value

    def hashlock(self) -> bytes:
        """Return SHA-256 of the preimage: the hashlock it opens."""
        return hashlib.sha256(self._value).digest()

    def opens(self, hashlock: bytes) -> bool:
        """Tell whether this preimage opens `hashlock`."""
        return self.hashlock() == hashlock

    def __repr__(self) -> str:
        return "Preimage(<redacted>)"

    __str__ = __repr__

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Preimage) and other._value == self._value

    def __hash__(self) -> int:
        return hash(("Preimage", self._value))

    def __reduce__(self) -> Any:
        raise TypeError("a preimage is not pickled: store it through the secrets repository")


class Asset(msgspec.Struct, frozen=True):
    """Something of value on one chain; `contract` is empty for the native coin."""

    chain: ChainId
    symbol: str
    decimals: int
    contract: str = ""

    @property
    def key(self) -> str:
        """The asset's stable name, as used in the API: `chain:SYMBOL`."""
        return f"{self.chain}:{self.symbol}"


class LockTerms(msgspec.Struct, frozen=True):
    """All the terms of one HTLC; a lock is identified by all of them together.

    `contract` is the HTLC contract or program ("" where the chain has it natively);
    `sender` gets the refund, `recipient` the claim: addresses in the chain's
    canonical text form. `deadline` is Unix seconds: refundable from then on. `lane` is a storage place of the
    sender's that is used again and holds one lock at a time, on chains where that is cheaper; 0: a place of
    its own.
    """

    chain: ChainId
    contract: Address
    sender: Address
    recipient: Address
    asset: Asset
    amount: Amount
    hashlock: bytes
    deadline: UnixSeconds
    lane: int = 0


class LegRole(StrEnum):
    """SOURCE: the user locks, the bridge claims. DESTINATION: the bridge locks, the user claims. PAYBACK: a
    lock of the source's amount by the bridge for the user, where the source was claimed for the bridge though
    the destination could not be locked for it (see `bridge.protocol.payback`)."""

    SOURCE = "source"
    DESTINATION = "destination"
    PAYBACK = "payback"


class LegState(StrEnum):
    """How far a leg has come on its chain; a reorg moves it back."""

    NONE = "none"
    INTENT = "intent"
    SEEN = "seen"
    FINAL = "final"
    CLAIM_SEEN = "claim_seen"
    CLAIM_FINAL = "claim_final"
    REFUND_SEEN = "refund_seen"
    REFUND_FINAL = "refund_final"
    SPENT_UNKNOWN = "spent_unknown"
    """Spent, and nobody can prove whether it was claimed or refunded. It is treated as a claim whose secret
    is not found yet: nothing is locked or given back on the strength of it, and it never ends a swap."""


class SwapState(StrEnum):
    """Where a swap stands; derived from its legs and from whether the secret is known."""

    QUOTED = "quoted"
    AWAIT_LOCK = "await_lock"
    COUNTERLOCKING = "counterlocking"
    AWAIT_CLAIM = "await_claim"
    CLAIMING = "claiming"
    COMPLETED = "completed"
    INVALID_LOCK = "invalid_lock"
    REFUNDING = "refunding"
    REFUNDED = "refunded"
    EXPIRED_UNFUNDED = "expired_unfunded"
    ATTENTION = "attention"


class Purpose(StrEnum):
    """Why a transaction is sent. At most one live intent exists per (swap, leg, purpose)."""

    LOCK = "lock"
    CLAIM = "claim"
    REFUND = "refund"
    COOPERATIVE_REFUND = "cooperative_refund"
    APPROVE = "approve"
    ANCHOR = "anchor"
    CLOSE = "close"
    """Bring in what a spent lock leaves behind on chains where it still holds a deposit."""
    CANCEL = "cancel"
    """Use up a sequence without doing anything (a transfer of nothing to oneself)."""


class Abandonment(StrEnum):
    """Why the bridge decided, permanently, not to lock the destination of a swap."""

    EXPIRED = "expired"
    """Nothing was locked in the window."""
    LATE = "late"
    """The source lock was included after its window."""
    TIMELOCK = "timelock"
    """Too little time is left on one of the chains."""
    SPENT = "spent"
    """The source went back to the user, is being given back, or was spent in a way that nobody can prove."""
    PRICE = "price"
    """The price moved against the bridge by more than the quote allows."""
    FAILED = "failed"
    """Our lock transaction can never land."""
    OPERATOR = "operator"
    """An operator, or the user through the API, asked for it."""


class BlockRef(msgspec.Struct, frozen=True):
    """One block of one chain: height, id (hex), parent id (hex), and its time in Unix seconds."""

    height: BlockHeight
    id: str
    parent: str
    time: UnixSeconds


class StrayLock(msgspec.Struct, frozen=True):
    """A lock with this swap's hashlock, to the bridge or (destination) of the bridge, that is not the swap's.

    Its terms are wrong, or the right lock stands already. It never moves the leg and is never adopted later:
    it is only given back, or refunded to the bridge. `state` follows its chain as a leg's does.
    """

    lock_id: LockId
    terms: LockTerms
    state: LegState = LegState.SEEN
    lock_tx: TxId = TxId("")
    lock_block: BlockRef | None = None
    lock_final: bool = False
    spend_tx: TxId = TxId("")
    spend_block: BlockRef | None = None
    give_back: bool = False
    """The bridge has agreed to give it back before its deadline."""


class Leg(msgspec.Struct, frozen=True):
    """One side of a swap: the terms expected of it and what its chain has shown so far.

    The leg follows one lock, the one with exactly these terms. After a reorg `lock_id` and `lock_tx` keep
    naming the lock that left the chain (it may return) and `lock_block` is None. INTENT (destination only)
    means that a lock transaction of ours may exist and may land at any time.
    """

    role: LegRole
    terms: LockTerms
    state: LegState = LegState.NONE
    lock_id: LockId = LockId("")
    lock_tx: TxId = TxId("")
    lock_block: BlockRef | None = None
    spend_tx: TxId = TxId("")
    spend_block: BlockRef | None = None
    lock_final: bool = False
    """The lock itself is final, also while a spend of it is not."""
    strays: tuple[StrayLock, ...] = ()
    trouble: str = ""
    """The last failure of a transaction of ours on this leg; empty once the leg is spent."""

    def lock_terms(self, lock_id: LockId = LockId("")) -> LockTerms:
        """Return the terms of a lock by its id: the leg's own for "", else the stray's as read from chain."""
        for stray in self.strays:
            if lock_id == stray.lock_id:
                return stray.terms
        return self.terms


class ChainTiming(msgspec.Struct, frozen=True):
    """What the timelock computation needs to know of a chain; all in seconds but `finality_depth`.

    `finality_depth` is in blocks and already grown to the amount at stake; `value_per_block` and
    `depth_steps` say how it grows when other swaps are at stake, too. `finalized_after` above 0 means
    that the chain's own finality is demanded too (`Tip.finalized`), and how long it takes at most in ordinary
    times.
    """

    block_interval: int
    finality_depth: int
    inclusion_p99: int
    clock_skew: int
    finalized_after: int = 0
    value_per_block: int = 0
    """Smallest units of the asset: so much more at stake needs one block more; 0: the depth does not grow
    so.
    """
    depth_steps: tuple[tuple[int, int], ...] = ()
    """From this many smallest units at stake on, at least so many blocks."""

    @property
    def finality(self) -> int:
        """Seconds from inclusion to finality."""
        return max(self.block_interval * self.finality_depth, self.finalized_after)

    @property
    def needs_finalized(self) -> bool:
        """Whether depth alone is not enough: the chain must call the block final itself."""
        return self.finalized_after > 0


class PriceTerms(msgspec.Struct, frozen=True):
    """At what price a swap was sold: `numerator/denominator` whole destination coins for one of the source.
    Before the destination is locked, it may have become worth more by `tolerance_ppb` (parts per billion)."""

    numerator: int
    denominator: int
    tolerance_ppb: int


class CounterlockRange(msgspec.Struct, frozen=True):
    """What a quote leaves open until the destination is locked: an amount from `minimum` to `maximum`
    (smallest units), which is `quoted` at the quote's own price, and a deadline, `latest` (Unix seconds) or
    earlier. `slack`: for how many seconds a lock with the deadline that was chosen may still be sent."""

    quoted: Amount
    minimum: Amount
    maximum: Amount
    latest: UnixSeconds
    slack: int


class SwapPolicy(msgspec.Struct, frozen=True):
    """The constants a swap was sold under, frozen with it at acceptance; seconds."""

    source: ChainTiming
    destination: ChainTiming
    user_window: int
    outage_budget: int
    lock_by: UnixSeconds
    """Source chain time until which the user's lock must have been included."""
    halt_budget: int = 0
    """For how long a chain may stand still after the destination is locked without costing the bridge both
    legs.
    """
    price: PriceTerms | None = None
    """None for swaps sold by a version that did not look at the price again."""
    counterlock: CounterlockRange | None = None
    """None where the quote itself fixed the destination's amount and deadline."""


class PriceSeen(msgspec.Struct, frozen=True):
    """What was looked at when the destination was locked or called off: the prices of one whole coin of the
    source and of the destination as decimals, the Unix second of the older one, the sources that counted,
    and how much more the destination was worth than when it was quoted, ppb."""

    source: str
    destination: str
    at: int
    loss_ppb: int
    sources: tuple[str, ...] = ()


PAYBACK_WINDOW = 7 * 86_400
"""Seconds after the source's deadline for which a lock that pays its amount back keeps for the user alone."""


def payback_terms(source: LockTerms) -> LockTerms:
    """Return the terms of the lock that pays a source's amount back: the same money, the other way round.

    They depend on the source's terms alone, so that two tries, or a database that forgot the first one, mean
    the same lock, and its chain can be asked whether it was made.
    """
    return LockTerms(
        chain=source.chain,
        contract=source.contract,
        sender=source.recipient,
        recipient=source.sender,
        asset=source.asset,
        amount=source.amount,
        hashlock=source.hashlock,
        deadline=UnixSeconds(source.deadline + PAYBACK_WINDOW),
    )


def pays_back(source: LockTerms, found: LockTerms) -> bool:
    """Tell whether a lock on a source's chain goes the other way round, from the bridge to the user."""
    return (found.sender, found.recipient) == (source.recipient, source.sender)


class Swap(msgspec.Struct, frozen=True):
    """One swap. `times` holds the newest chain time and `heights` the newest height heard of each chain.

    `secret_known` is true once the preimage is stored; the preimage itself is never part of a swap.
    """

    id: SwapId
    hashlock: bytes
    source: Leg
    destination: Leg
    policy: SwapPolicy
    state: SwapState = SwapState.QUOTED
    accepted: bool = False
    secret_known: bool = False
    secret_shared: bool = False
    """The user handed the preimage over and asked the bridge to claim for them."""
    secret_public: bool = False
    """The preimage was seen on a chain, perhaps in a claim that failed or was orphaned since."""
    refund_begun: bool = False
    """A refund of the destination was asked for: a transaction of ours may be on its way."""
    abandoned: Abandonment | None = None
    """The destination is not to be locked (any more); never undone."""
    cooperative_refund: bool = False
    """The bridge has agreed to give the source back before its deadline."""
    price_seen: PriceSeen | None = None
    """At what price the destination was locked, or why not; None while nothing was decided."""
    terms_fixed: bool = False
    """What the policy left open of the destination's lock (`SwapPolicy.counterlock`) is decided, for good."""
    payback: Leg | None = None
    """The lock that pays the source's amount back, None as long as none was needed."""
    attention: str = ""
    """Why an operator should look; empty when all is well."""
    destination_since: BlockHeight | None = None
    """The first height heard of the destination's chain: no lock of ours can be older. None where an older
    version heard of it."""
    times: dict[ChainId, UnixSeconds] = msgspec.field(default_factory=dict)
    heights: dict[ChainId, BlockHeight] = msgspec.field(default_factory=dict)

    def leg(self, role: LegRole) -> Leg:
        """Return the leg of that role; PAYBACK as it would begin, where there is none yet."""
        match role:
            case LegRole.SOURCE:
                return self.source
            case LegRole.DESTINATION:
                return self.destination
            case LegRole.PAYBACK:
                return self.payback or Leg(role=role, terms=payback_terms(self.source.terms))

    @property
    def legs(self) -> tuple[Leg, ...]:
        """All legs that there are."""
        return (self.source, self.destination, *((self.payback,) if self.payback else ()))
