"""What can happen to a swap. Time, heights, balances and fees arrive as events; so does the chain.

The name says who caused it: `Lock…`, `Claim…`, `Refund…`, `Spend…` and `SecretRevealed` are facts of a chain,
`Tick` is a chain's clock, `TxFailed` is our own outbox, the rest are people.

Facts of one chain are to arrive in chain order (within a reorg: orphaned first); repeats and replays are
harmless. `block_id` of `…Final` and `…Orphaned` names the block of the fact that became final or vanished: an
event about another inclusion than the recorded one is old news and ignored. Empty means "the recorded one".
"""

from __future__ import annotations

from enum import StrEnum
from typing import Any

import msgspec

from bridge.protocol.types import (
    Amount,
    BlockHeight,
    BlockRef,
    ChainId,
    LegRole,
    LockId,
    LockTerms,
    Preimage,
    PriceSeen,
    Purpose,
    TxId,
    UnixSeconds,
)


class Accepted(msgspec.Struct, frozen=True, tag=True):
    """The user took the quote: the swap waits for the lock."""


class LockSeen(msgspec.Struct, frozen=True, tag=True):
    """A lock with this swap's hashlock was included; its terms may or may not be the expected ones."""

    leg: LegRole
    lock_id: LockId
    terms: LockTerms
    tx_id: TxId
    block: BlockRef


class LockFinal(msgspec.Struct, frozen=True, tag=True):
    """The lock is as deep as its amount demands."""

    leg: LegRole
    lock_id: LockId
    block_id: str = ""


class LockOrphaned(msgspec.Struct, frozen=True, tag=True):
    """A reorg removed the block of the lock."""

    leg: LegRole
    lock_id: LockId
    block_id: str = ""


class ClaimSeen(msgspec.Struct, frozen=True, tag=True):
    """The lock was claimed, which revealed the preimage (checked against the hashlock on receipt)."""

    leg: LegRole
    lock_id: LockId
    tx_id: TxId
    block: BlockRef
    preimage: Preimage


class ClaimFinal(msgspec.Struct, frozen=True, tag=True):
    """The claim is final."""

    leg: LegRole
    lock_id: LockId
    block_id: str = ""


class ClaimOrphaned(msgspec.Struct, frozen=True, tag=True):
    """A reorg removed the claim; the preimage stays known."""

    leg: LegRole
    lock_id: LockId
    block_id: str = ""


class RefundSeen(msgspec.Struct, frozen=True, tag=True):
    """The lock went back to its sender (after the deadline or cooperatively).

    Before the deadline it needs the recipient's consent. Where that cannot have been given, the report is
    taken for an unproven spend.
    """

    leg: LegRole
    lock_id: LockId
    tx_id: TxId
    block: BlockRef


class RefundFinal(msgspec.Struct, frozen=True, tag=True):
    """The refund is final."""

    leg: LegRole
    lock_id: LockId
    block_id: str = ""


class RefundOrphaned(msgspec.Struct, frozen=True, tag=True):
    """A reorg removed the refund."""

    leg: LegRole
    lock_id: LockId
    block_id: str = ""


class SpendSeen(msgspec.Struct, frozen=True, tag=True):
    """The lock was spent, and what was seen proves neither a claim nor a refund."""

    leg: LegRole
    lock_id: LockId
    tx_id: TxId
    block: BlockRef


class SpendOrphaned(msgspec.Struct, frozen=True, tag=True):
    """A reorg removed the unproven spend, or the chain itself has shown that the lock stands."""

    leg: LegRole
    lock_id: LockId
    block_id: str = ""


class Tick(msgspec.Struct, frozen=True, tag=True):
    """A chain's clock and height moved on. `time` is the clock that its deadlines are compared with."""

    chain: ChainId
    time: UnixSeconds
    height: BlockHeight


class SecretShared(msgspec.Struct, frozen=True, tag=True):
    """The user handed the preimage over and asks the bridge to claim the destination for them."""

    preimage: Preimage


class SecretRevealed(msgspec.Struct, frozen=True, tag=True):
    """The preimage was seen on a chain outside an included claim: in a failed claim or in the mempool."""

    preimage: Preimage


class TxFailed(msgspec.Struct, frozen=True, tag=True):
    """A transaction of ours can never land any more as it is (final failure, not a retry).

    For (DESTINATION, LOCK) this is a promise that money depends on: no lock transaction of this swap was
    ever signed, or each one that was signed can never be included any more (its nonce is used, finally, by
    another, or it has expired). The source is given back on the strength of it. It also answers `CancelLock`.
    """

    leg: LegRole
    purpose: Purpose
    reason: str


class PriceChecked(msgspec.Struct, frozen=True, tag=True):
    """The price was looked at before the destination's lock was signed or sent: `go` says what follows. A
    yes is noted, a no calls the swap off for good. A yes may fix what the quote left open of the lock: its
    amount (smallest units) and deadline (Unix seconds), 0 and 0 if it fixes nothing."""

    seen: PriceSeen
    go: bool
    amount: Amount = Amount(0)
    deadline: UnixSeconds = UnixSeconds(0)


class OperatorVerb(StrEnum):
    """What an operator may ask of a swap."""

    RETRY = "retry"
    ABANDON = "abandon"
    COOPERATIVE_REFUND = "cooperative_refund"


class Verdict(StrEnum):
    """How a lock was spent, as an operator has found out where nobody can prove it."""

    CLAIMED = "claimed"
    REFUNDED = "refunded"


class OperatorCommand(msgspec.Struct, frozen=True, tag=True):
    """An operator's wish; it can never override an invariant."""

    verb: OperatorVerb
    by: str
    note: str = ""


Event = (
    Accepted
    | LockSeen
    | LockFinal
    | LockOrphaned
    | ClaimSeen
    | ClaimFinal
    | ClaimOrphaned
    | RefundSeen
    | RefundFinal
    | RefundOrphaned
    | SpendSeen
    | SpendOrphaned
    | Tick
    | SecretShared
    | SecretRevealed
    | TxFailed
    | PriceChecked
    | OperatorCommand
)


def redacted_json(event: Event) -> bytes:
    """Encode an event for the event log; preimages become `"<redacted>"`."""

    def hook(value: Any) -> Any:
        if isinstance(value, Preimage):
            return "<redacted>"
        raise NotImplementedError(f"cannot encode {type(value).__name__}")

    return msgspec.json.encode(event, enc_hook=hook)
