"""Swaps, what users sign for them, and what happens to them."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any

import msgspec

from bridge.protocol.assisted_claim import Needed
from bridge.protocol.types import Address, Amount, Asset, ChainId, LegState, LockTerms, SwapId, SwapState
from bridge.wire.base import Moment, Money, Wire


class UnsignedTxView(Wire, frozen=True):
    """A transaction for the user's own wallet. `format` names the encoding of `payload`."""

    purpose: str
    chain: ChainId
    format: str
    summary: str
    payload: dict[str, Any]


class TermsView(Wire, frozen=True):
    """All the terms of a lock; a lock with any other terms is not this lock."""

    chain: ChainId
    contract: Address
    sender: Address
    recipient: Address
    money: Money
    asset_contract: str
    hashlock: str
    deadline: Moment
    lane: Annotated[
        int,
        msgspec.Meta(description="The place in the sender's storage that the lock reuses; 0: a new one."),
    ] = 0

    @classmethod
    def of(cls, terms: LockTerms) -> TermsView:
        """Show the terms of a lock."""
        return cls(
            chain=terms.chain,
            contract=terms.contract,
            sender=terms.sender,
            recipient=terms.recipient,
            money=Money.of(terms.asset, terms.amount),
            asset_contract=terms.asset.contract,
            hashlock=terms.hashlock.hex(),
            deadline=Moment.at(terms.deadline),
            lane=terms.lane,
        )

    def terms(self) -> LockTerms:
        """Read the terms back: the inverse of `of`. Raises ValueError for broken numbers or hex."""
        symbol = self.money.asset.partition(":")[2]
        return LockTerms(
            chain=self.chain,
            contract=self.contract,
            sender=self.sender,
            recipient=self.recipient,
            asset=Asset(self.chain, symbol, self.money.decimals, self.asset_contract),
            amount=Amount(int(self.money.amount)),
            hashlock=bytes.fromhex(self.hashlock),
            deadline=self.deadline.unix,
            lane=self.lane,
        )


class LegView(Wire, frozen=True):
    """One side of a swap: what is expected, and what its chain has shown."""

    state: LegState
    terms: TermsView
    lock_id: str
    lock_tx: str
    lock_height: int | None
    spend_tx: str
    spend_height: int | None
    confirmations: int
    required_confirmations: int
    needs_finalized: Annotated[
        bool,
        msgspec.Meta(description="The chain itself must call the block final, too: the amount is not small."),
    ] = False


class NextStep(StrEnum):
    """Whose turn it is, for the user."""

    LOCK = "lock"
    WAIT = "wait"
    CLAIM = "claim"
    REFUND = "refund"
    NONE = "none"


class PriceSeenView(Wire, frozen=True):
    """The prices of one whole coin at which the bridge decided, in a common unit, when they were true, and
    who named them."""

    source: str
    destination: str
    at: Moment
    sources: list[str]


class CounterlockView(Wire, frozen=True):
    """What the quote left open of the bridge's lock. Once it is `fixed`, `destination.terms` are final, with
    an amount from `minimum` to `maximum` and a deadline of `latest_deadline` or earlier: check that before
    the secret is revealed."""

    fixed: bool
    minimum: Money
    maximum: Money
    latest_deadline: Moment
    price: PriceSeenView | None


class SwapView(Wire, frozen=True):
    """A swap. `next` says what the user has to do; `detail` says why."""

    id: SwapId
    status: SwapState
    next: NextStep
    detail: str
    hashlock: str
    source: LegView
    destination: LegView
    counterlock: CounterlockView | None
    gasless: bool
    secret_shared: bool
    lock_by: Moment
    reveal_by: Moment
    created: Moment
    updated: Moment
    finished: Moment | None
    last_event: Annotated[
        int, msgspec.Meta(description="Sequence number of the newest event, to follow the stream from.")
    ]
    payback: Annotated[
        LegView | None,
        msgspec.Meta(
            description="The lock that gives you the source's amount back, where the bridge was paid and "
            "could not give you the destination; null where there is none."
        ),
    ] = None


class ReceiptView(Wire, frozen=True):
    """What the bridge promised when it accepted a swap. Keep it: it brings the swap back if the bridge ever
    loses its database."""

    text: Annotated[str, msgspec.Meta(description="JSON, exactly as it was signed.")]
    signature: Annotated[
        str,
        msgspec.Meta(description='ed25519 over "rainbow-receipt-v1\\n" and the text, by `public_key`; hex.'),
    ]
    public_key: str


class SwapCreated(SwapView, frozen=True, kw_only=True):
    """A new swap and what the user's wallet signs to fund it."""

    transaction: UnsignedTxView
    receipt: ReceiptView | None = None


class RestoreState(StrEnum):
    """What became of a receipt that was handed in."""

    KNOWN = "known"
    """The bridge has the swap."""
    READING = "reading"
    """Both chains are being read again; then the swap is there."""
    HELD = "held"
    """A lock of the bridge's may still appear: nothing happens until it does."""


class RestoreView(Wire, frozen=True):
    """What became of a receipt that was handed in."""

    id: SwapId
    state: RestoreState
    detail: str


class SwapList(Wire, frozen=True):
    """A page of swaps, newest first; `next_cursor` is null on the last page."""

    swaps: list[SwapView]
    next_cursor: str | None


class ClaimTermsView(Wire, frozen=True):
    """The terms on which the relayer claims for you. `needed` names what it needs besides the preimage."""

    needed: Needed
    max_fee: Annotated[
        Money, msgspec.Meta(description="The most that your signature allows to be taken out of the amount.")
    ]
    request: Annotated[
        UnsignedTxView | None,
        msgspec.Meta(
            description="What you sign, for `authorization`; null where nothing is, or not yet: see `detail`."
        ),
    ]
    detail: str
    reveal_by: Moment


class WalletPurpose(StrEnum):
    """What a user's wallet may want to do."""

    LOCK = "lock"
    CLAIM = "claim"
    REFUND = "refund"


class RefundView(Wire, frozen=True):
    """The swap, whether the bridge agreed to refund cooperatively, and refunds that the user may sign.

    `transactions` has one for each lock of the user's that stands: the swap's own and stray ones.
    """

    swap: SwapView
    cooperative: Annotated[
        bool, msgspec.Meta(description="The bridge gives the source back itself; nothing needs signing.")
    ]
    not_before: Annotated[
        Moment, msgspec.Meta(description="Source chain time from which the unsigned refunds are valid.")
    ]
    transactions: list[UnsignedTxView]


class EventView(Wire, frozen=True):
    """One thing that happened to a swap. `seq` grows over all swaps; replay by asking for what came after."""

    seq: int
    swap_id: SwapId
    kind: Annotated[str, msgspec.Meta(examples=["LockFinal"])]
    status: SwapState
    source_state: LegState
    destination_state: LegState
    at: Moment
