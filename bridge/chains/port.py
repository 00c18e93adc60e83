"""ChainPort: all that the bridge knows of a chain.

One adapter per chain implements it; one conformance suite (tests/conformance) holds each to it.
Polling `scan` is the truth, `hints` are only wake-ups. Nothing here keeps swap state: the ring of
recent blocks, sequences and signed bytes are stored by the engine and handed in.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from enum import StrEnum
from typing import Any, Protocol, runtime_checkable

import msgspec

from bridge.chains.actions import Action, ApproveAction
from bridge.chains.traits import Traits
from bridge.protocol.types import (
    Address,
    Amount,
    Asset,
    BlockHeight,
    BlockRef,
    ChainId,
    LockId,
    LockTerms,
    Preimage,
    Purpose,
    TxId,
    UnixSeconds,
)


class Tip(msgspec.Struct, frozen=True):
    """The newest block and the chain's clock.

    `time` is what HTLC deadlines are compared with in the next block (EVM: the head's timestamp,
    ZION: median time past), Unix seconds. `finalized` is the height of the newest block that the chain itself
    calls final, on the branch of `block`; None where it calls none so.
    """

    block: BlockRef
    time: UnixSeconds
    finalized: BlockHeight | None = None


class Locked(msgspec.Struct, frozen=True, tag=True):
    """A lock was included in `block`."""

    block: BlockRef
    tx_id: TxId
    lock_id: LockId
    terms: LockTerms


class Claimed(msgspec.Struct, frozen=True, tag=True):
    """A lock was claimed in `block`."""

    block: BlockRef
    tx_id: TxId
    lock_id: LockId
    preimage: Preimage


class Refunded(msgspec.Struct, frozen=True, tag=True):
    """A lock was refunded (after the deadline or cooperatively) in `block`."""

    block: BlockRef
    tx_id: TxId
    lock_id: LockId


class Spent(msgspec.Struct, frozen=True, tag=True):
    """A lock was spent in `block`, and the reader cannot prove whether it was claimed or refunded.

    A reader reports `Claimed` only with a preimage that opens the lock, and `Refunded` only where it has seen
    the refund itself: everything else that ends a lock is this. `reason` says what was met, for people.
    """

    block: BlockRef
    tx_id: TxId
    lock_id: LockId
    reason: str


class Revealed(msgspec.Struct, frozen=True, tag=True):
    """A transaction in `block` shows `preimage`, whatever else it did and whether or not it succeeded.

    Readers report every byte string that could open a lock (see `bridge.chains.preimages`); the engine keeps
    those that open one of ours.
    """

    block: BlockRef
    tx_id: TxId
    preimage: Preimage


HtlcEvent = Locked | Claimed | Refunded | Spent | Revealed


class SetAside(msgspec.Struct, frozen=True):
    """A transaction (or other item) of `block` that this software cannot read.

    The block counts as read all the same. `lock_ids` are the locks that the item is known to name; empty:
    it could concern any lock of the chain, so each open lock of ours is to be asked for directly. `reason`
    says what could not be read, for people, without secrets.
    """

    block: BlockRef
    item: str
    reason: str
    lock_ids: tuple[LockId, ...] = ()


class Scan(msgspec.Struct, frozen=True):
    """What happened since the known ring.

    `orphaned`: known blocks that left the chain, newest first. `blocks`: the canonical blocks above the
    common ancestor, oldest first, no gaps, at most `max_blocks`. `events`: the HTLC events in `blocks`
    for our contract, in chain order, of all parties (the engine picks its own). `tip`: the chain's head,
    which may lie above the last of `blocks`. `set_aside`: what stands in `blocks` and could not be read.
    """

    orphaned: tuple[BlockRef, ...]
    blocks: tuple[BlockRef, ...]
    events: tuple[HtlcEvent, ...]
    tip: Tip
    set_aside: tuple[SetAside, ...] = ()


class LockStatus(StrEnum):
    """What the chain says of a lock right now."""

    ABSENT = "absent"
    """It does not stand, and no lock with these terms was ever spent in the time asked about."""
    OPEN = "open"
    CLAIMED = "claimed"
    REFUNDED = "refunded"
    SPENT = "spent"
    """Claimed or refunded; this chain cannot tell which without history."""
    UNKNOWN = "unknown"
    """The endpoints cannot tell: their history does not reach back far enough, or they cannot read it."""


class FeeLevel(msgspec.Struct, frozen=True):
    """How much to bid. `attempt` 0 is the ordinary bid; each replacement must bid enough to be accepted over
    `previous` (the adapter's own fee record of the transaction to replace, from `SignedTx.fee`)."""

    attempt: int = 0
    previous: dict[str, int] | None = None


class SignedTx(msgspec.Struct, frozen=True):
    """A signed transaction, to be stored before it is broadcast.

    `sequence` is the account's nonce it uses (None on chains without). `fee` is the adapter's own record of
    what it bid, `max_cost` the most native units it can cost beside the amount. After `valid_until_height`
    (blocks) or `valid_until_time` (Unix seconds) it can never land; None where nothing ends its time.
    `signed_height`: the tip's height when it was signed, below which it cannot have landed; None if nobody
    wrote it down.
    """

    tx_id: TxId
    raw: bytes
    account: Address
    sequence: int | None
    fee: dict[str, int]
    max_cost: Amount
    valid_until_height: BlockHeight | None = None
    valid_until_time: UnixSeconds | None = None
    signed_height: BlockHeight | None = None

    def is_over(self, tip: Tip) -> bool:
        """Tell whether the block after `tip` is too late for it."""
        return (self.valid_until_height is not None and tip.block.height >= self.valid_until_height) or (
            self.valid_until_time is not None and tip.time >= self.valid_until_time
        )

    def __repr__(self) -> str:
        return f"SignedTx({self.tx_id}, account={self.account}, sequence={self.sequence})"


class BroadcastOutcome(StrEnum):
    """What became of a broadcast. Broadcasting the same bytes again is always safe."""

    ACCEPTED = "accepted"
    ALREADY_KNOWN = "already_known"
    SEQUENCE_USED = "sequence_used"
    """The nonce is taken by an included transaction (perhaps this very one): look at `tx_status`."""
    UNDERPRICED = "underpriced"
    LATER = "later"
    """The node does not take it yet, because of other transactions: send it again soon. Nothing is wrong."""
    REJECTED = "rejected"


class BroadcastResult(msgspec.Struct, frozen=True):
    """Outcome and the chain's own words."""

    outcome: BroadcastOutcome
    reason: str = ""


class TxState(StrEnum):
    """Where a transaction of ours is."""

    UNKNOWN = "unknown"
    """Neither in a block since it was signed nor in the mempool: broadcast it again or rebuild it."""
    UNSURE = "unsure"
    """Not found, by endpoints whose history is not known to reach back to its signing. Broadcasting it again
    is safe; nothing else may be concluded."""
    PENDING = "pending"
    INCLUDED = "included"
    FAILED = "failed"
    """Included, but reverted."""
    REPLACED = "replaced"
    """Another transaction with its sequence was included."""


class TxStatus(msgspec.Struct, frozen=True):
    """State, and for INCLUDED and FAILED the block and its confirmations (1 = in the head)."""

    state: TxState
    block: BlockRef | None = None
    confirmations: int = 0
    reason: str = ""


class FeeEstimate(msgspec.Struct, frozen=True):
    """Expected cost in the chain's native smallest unit of each purpose for an asset, at the current bid.

    `minimum` is the least amount, in the asset's own smallest unit, that a lock of it can hold or pay out to
    anybody (rent exemption, minimum ada); 0 where there is none. `claim` is a claim of ours for
    ourselves; `gasless_claim` one for a user, `authorized_claim` one for a user who signed for it, at worst
    (0: the same as `claim`). `deposit` is the
    part of `lock` that comes back to us with the lock's end, whichever it is: set aside, but no cost.
    """

    lock: Amount
    claim: Amount
    refund: Amount
    minimum: Amount = Amount(0)
    gasless_claim: Amount = Amount(0)
    authorized_claim: Amount = Amount(0)
    deposit: Amount = Amount(0)


class UnsignedTx(msgspec.Struct, frozen=True):
    """A transaction for the user's own wallet, ready to sign; `format` names the encoding."""

    format: str
    summary: str
    payload: dict[str, Any]


class Authorizer(Protocol):
    """Claims for a recipient with the recipient's own signature, which says what may be done with them.

    The relayer's side makes a `request`, the recipient's side checks it against the terms it knows and signs
    it, the relayer's side checks what came back and keeps it for `ClaimAction.authorization`.
    """

    required: bool
    """True: nobody can claim for a recipient without (Stellar). False: it lets the relayer take a fee out of
    the amount from a user who did not pay for the claim with the quote (Ethereum)."""

    async def request(self, terms: LockTerms, max_fee: Amount) -> UnsignedTx:
        """Return what the recipient is to sign, for a wallet. `max_fee`: the most that may be taken out of
        the amount, in the asset's smallest unit (0: nothing). Raises `ActionRefusedError`,
        `PortUnavailableError`."""
        ...

    async def sign(self, terms: LockTerms, request: UnsignedTx, max_fee: Amount) -> dict[str, str]:
        """Sign a request with the port's own key, on the recipient's side. Raises `BadAuthorizationError`
        when the request would allow anything but a claim of exactly `terms` for a fee of at most
        `max_fee`."""
        ...

    async def check(self, terms: LockTerms, signed: Mapping[str, str], min_fee: Amount = Amount(0)) -> bytes:
        """Return what `sign` or a wallet gave, checked, for `ClaimAction.authorization`. Raises
        `BadAuthorizationError`, saying what is wrong with it, also when it allows a smaller fee than
        `min_fee`."""
        ...


class ChainPort(Protocol):
    """One chain, seen by the bridge. Methods raise `PortUnavailableError` for anything that may pass by
    itself."""

    chain: ChainId
    traits: Traits
    """What sets this chain apart."""
    max_claims: int
    """How many claims `prepare` puts into one transaction (`ClaimAction.others`); 1: it makes no batches."""
    authorizer: Authorizer | None
    """None where anybody may claim for a recipient and nothing can be taken out of the amount."""
    contract: Address
    """The HTLC contract's address, "" where the chain has HTLCs natively."""
    account: Address
    """The bridge's own address on this chain."""

    async def tip(self) -> Tip:
        """Return head and chain time."""
        ...

    async def scan(self, recent_blocks: Sequence[BlockRef], max_blocks: int) -> Scan:
        """Return what happened since `recent_blocks` (a ring of recent blocks, oldest first, may be empty:
        then start at the head, reporting that block alone). A known block with an empty id stands for
        whichever block the chain has at that height: so one can start below the head. Raises
        `DeepReorgError`."""
        ...

    async def read_lock(
        self, lock_id: LockId, terms: LockTerms, *, since: BlockHeight | None = None, agreed: bool = False
    ) -> LockStatus:
        """Read back from chain whether the lock with exactly these terms stands.

        `since`: a height at or below which it cannot have been made. ABSENT is only answered when the
        endpoint's history is known to reach back to it (None: as far as the lock could ever have been made);
        otherwise the answer is UNKNOWN. `agreed`: two endpoints must give the same answer where two are
        configured, for decisions that move money; UNKNOWN if they do not.
        """
        ...

    async def balance(self, address: Address, asset: Asset) -> Amount:
        """Return the spendable balance in smallest units. Raises `CannotReceiveError` for an asset that the
        address could not be paid in (on chains where that needs the holder's consent)."""
        ...

    async def fees(self, asset: Asset) -> FeeEstimate:
        """Return the expected cost of each purpose at present."""
        ...

    async def next_sequence(self) -> int | None:
        """Return the bridge account's next unused sequence counting confirmed transactions only."""
        ...

    async def prepare(self, action: Action, sequence: int | None, fee: FeeLevel) -> SignedTx:
        """Build and sign; send nothing. Raises `ActionRefusedError` if a simulation shows it would fail,
        `InsufficientFundsError` if the account cannot pay."""
        ...

    async def broadcast(self, tx: SignedTx) -> BroadcastResult:
        """Send stored bytes. Idempotent."""
        ...

    async def tx_status(self, tx: SignedTx, *, agreed: bool = False) -> TxStatus:
        """Tell where a transaction is. UNKNOWN is only answered when the endpoint's history is known to reach
        back to `tx.signed_height`, UNSURE otherwise. `agreed`: as in `read_lock`, UNSURE if two endpoints do
        not say the same."""
        ...

    async def setup_actions(self, assets: Sequence[Asset]) -> tuple[ApproveAction, ...]:
        """Return what the account must do once before it can lock these assets (token approvals)."""
        ...

    def lock_id(self, terms: LockTerms) -> LockId:
        """Return the id the chain gives a lock with these terms, hex. Pure."""
        ...

    def parse_address(self, text: str) -> Address:
        """Return the canonical form of an address. Raises `BadAddressError`. Pure."""
        ...

    def unsigned(self, purpose: Purpose, terms: LockTerms, preimage: Preimage | None = None) -> UnsignedTx:
        """Return a wallet-ready LOCK, CLAIM or REFUND for the user. Pure."""
        ...

    def hints(self) -> AsyncIterator[None]:
        """Yield whenever something may have happened (new head); ends or raises when the line drops."""
        ...

    async def close(self) -> None:
        """Release connections."""
        ...


@runtime_checkable
class ChecksReceivers(Protocol):
    """A port that can tell whether an address could be paid, where that is more than the holder's consent."""

    async def check_receiver(self, address: Address, asset: Asset) -> None:
        """Raise `CannotReceiveError` for an address that a claim of the asset could not pay, or that nobody
        has the key of. Raises `PortUnavailableError` when that cannot be found out now."""
        ...


class WalletBuilder(Protocol):
    """Makes what a user's own wallet signs, after looking at the chain where that is needed."""

    private: frozenset[Purpose]
    """For these it makes a secret that only the user may have: nobody else builds them for the user."""

    async def unsigned(
        self, purpose: Purpose, terms: LockTerms, preimage: Preimage | None = None
    ) -> UnsignedTx:
        """Return a LOCK, CLAIM or REFUND, ready to sign. Raises `ActionRefusedError`,
        `PortUnavailableError`."""
        ...

    async def close(self) -> None:
        """Release connections."""
        ...
