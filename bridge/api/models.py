"""The values of the REST API: what goes over the wire, and nothing else. Shared by server and client.

Requests refuse unknown fields. Amounts are integers in the asset's smallest unit as strings, beside a
decimal string for people; times are RFC 3339 beside Unix seconds; hashes and keys are lower-case hex.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from enum import StrEnum
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, SecretStr

from bridge.config import to_text
from bridge.desk.assisted_claims import Needed
from bridge.protocol.types import Address, Asset, ChainId, LegState, SwapId, SwapState, UnixSeconds

MAX_AMOUNT_DIGITS = 78

AmountText = Annotated[str, Field(pattern=r"^[1-9][0-9]{0,77}$", examples=["1000000"])]
AssetKey = Annotated[
    str, Field(pattern=r"^[a-z]{2,16}:[A-Za-z0-9]{1,12}$", max_length=29, examples=["ethereum:ETH"])
]
AddressText = Annotated[str, Field(pattern=r"^[!-~]{1,200}$", examples=["zion1…", "0x…"])]
Hex32 = Annotated[str, Field(pattern=r"^(0x)?[0-9a-fA-F]{64}$", examples=["ab" * 32])]
_PREIMAGE = r"^(0x)?([0-9a-fA-F]{2}){0,64}$"


def _is_preimage(value: SecretStr) -> SecretStr:
    if not re.fullmatch(_PREIMAGE, value.get_secret_value()):
        raise ValueError("a preimage is 0 to 64 bytes in hex")
    return value


HexPreimage = Annotated[
    SecretStr,
    AfterValidator(_is_preimage),
    Field(json_schema_extra={"pattern": _PREIMAGE, "maxLength": 130, "writeOnly": True}),
]
"""A secret in a request: redacted wherever the request is shown."""

SignedText = Annotated[str, Field(max_length=8_192, pattern=r"^[ -~]*$")]
"""A part of what a wallet signed: printable ASCII."""

SwapIdPath = Annotated[
    SwapId, Field(pattern=r"^[0-9a-f]{32}$", examples=["0123456789abcdef0123456789abcdef"])
]


class Wire(BaseModel):
    """Base of all answers."""

    model_config = ConfigDict(frozen=True, populate_by_name=True)


class Request(BaseModel):
    """Base of all requests: strict types, no unknown fields."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, populate_by_name=True)


class Moment(Wire):
    """A point in time."""

    rfc3339: str = Field(examples=["2026-01-31T12:00:00Z"])
    unix: UnixSeconds

    @classmethod
    def at(cls, seconds: int) -> Moment:
        """Make one from Unix seconds."""
        text = datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
        return cls(rfc3339=text, unix=UnixSeconds(seconds))

    @classmethod
    def at_ms(cls, milliseconds: int) -> Moment:
        """Make one from Unix milliseconds, rounded down."""
        return cls.at(milliseconds // 1000)


class Money(Wire):
    """An amount of an asset: `amount` in smallest units counts, `display` is for people."""

    asset: str
    amount: str
    display: str
    decimals: int

    @classmethod
    def of(cls, asset: Asset, units: int) -> Money:
        """Make one from smallest units."""
        return cls(
            asset=asset.key,
            amount=str(units),
            display=to_text(units, asset.decimals),
            decimals=asset.decimals,
        )


class FieldProblem(Wire):
    """One thing wrong with a request; `pointer` is a JSON pointer into the body or names the parameter."""

    pointer: str
    message: str


class Problem(Wire):
    """An error as RFC 9457 has it (application/problem+json), with a `hint` that says what to do.

    `type` is stable: programs may depend on it. `detail` is for people and may change.
    """

    type: str = Field(examples=["urn:rainbow:problem:quote-expired"])
    title: str
    status: int
    detail: str
    hint: str
    instance: str = Field("", description="The request's id, as in the X-Request-Id header.")
    errors: list[FieldProblem] | None = None


class ChainView(Wire):
    """A chain as its relayer last saw it."""

    chain: ChainId
    network: str
    healthy: bool
    paused: bool
    detail: str = Field(description="Why it is not healthy; empty when all is well.")
    height: int | None
    block: str | None
    chain_time: Moment | None = Field(description="The clock that deadlines are compared with.")
    scanned: int | None = Field(description="Height up to which lock events were taken in.")
    lag_blocks: int | None
    seen: Moment | None = Field(description="When the chain's RPC last answered.")
    contract: str
    bridge_address: str
    block_interval: int
    finality_base: int = Field(description="Confirmations that the smallest amount needs.")


class ChainList(Wire):
    """All chains."""

    chains: list[ChainView]


class AssetView(Wire):
    """An asset."""

    asset: str
    chain: ChainId
    symbol: str
    decimals: int
    contract: str

    @classmethod
    def of(cls, asset: Asset) -> AssetView:
        """Make one."""
        return cls(
            asset=asset.key,
            chain=asset.chain,
            symbol=asset.symbol,
            decimals=asset.decimals,
            contract=asset.contract,
        )


class PairTiming(Wire):
    """How long a swap of the smallest amount takes and is allowed to take, in seconds from now."""

    lock_window: int = Field(description="Time until the user's lock must have been included.")
    source_finality: int
    destination_finality: int
    destination_deadline: int
    source_deadline: int


class PairView(Wire):
    """A direction on offer. `rate` is destination coins for one source coin, before spread and fees."""

    source: AssetView = Field(alias="from")
    destination: AssetView = Field(alias="to")
    available: bool
    reason: str = Field(description="Why it is not available; empty when it is.")
    rate: str | None
    price_time: Moment | None
    spread_ppm: int
    minimum: Money = Field(alias="min")
    maximum: Money = Field(alias="max")
    gasless_claim: bool
    timing: PairTiming | None


class PairList(Wire):
    """All pairs."""

    pairs: list[PairView]


class Side(StrEnum):
    """Which side of the swap an amount is on."""

    SOURCE = "from"
    DESTINATION = "to"


class QuoteRequest(Request):
    """What the client wants. `amount` counts on `side`: what is paid (`from`) or what arrives (`to`)."""

    source: AssetKey = Field(alias="from")
    destination: AssetKey = Field(alias="to")
    amount: AmountText
    side: Annotated[Side, Field(strict=False)] = Side.SOURCE
    gasless: bool = Field(
        False, description="The relayer claims the destination and its cost is in the price."
    )


class FeeLine(Wire):
    """One part of the price, in the destination asset."""

    name: str = Field(examples=["spread", "source_claim", "destination_lock"])
    money: Money
    note: str = ""


class QuoteView(Wire):
    """An offer, good until `expires`. `signature` is the bridge's, over `signed_text` (see docs/api.md)."""

    id: str
    source: Money = Field(alias="from")
    destination: Money = Field(alias="to")
    rate: str = Field(description="Destination coins for one source coin, before spread and fees.")
    price_time: Moment
    fees: list[FeeLine]
    gasless: bool
    source_deadline: Moment
    destination_deadline: Moment
    lock_by: Moment
    reveal_by: Moment = Field(
        description="Destination chain time after which the secret must not be revealed."
    )
    source_confirmations: int
    destination_confirmations: int
    bridge_source_address: str
    bridge_destination_address: str
    source_contract: str
    destination_contract: str
    created: Moment
    expires: Moment
    public_key: str
    signature: str
    signed_text: str


class SwapRequest(Request):
    """Take a quote. The preimage stays with the client: only its SHA-256 is sent."""

    quote_id: Annotated[str, Field(pattern=r"^[0-9a-f]{32}$")]
    hashlock: Hex32
    refund_address: AddressText = Field(description="Locks the source and gets its refund.")
    recipient: AddressText = Field(description="Receives the destination.")


class UnsignedTxView(Wire):
    """A transaction for the user's own wallet. `format` names the encoding of `payload`."""

    purpose: str
    chain: ChainId
    format: str
    summary: str
    payload: dict[str, Any]


class TermsView(Wire):
    """All the terms of a lock; a lock with any other terms is not this lock."""

    chain: ChainId
    contract: Address
    sender: Address
    recipient: Address
    money: Money
    asset_contract: str
    hashlock: str
    deadline: Moment
    lane: int = Field(
        0, description="The storage place of the sender's that the lock uses (Ethereum); 0: one of its own."
    )


class LegView(Wire):
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
    needs_finalized: bool = Field(
        False, description="The chain itself must call the block final, too: the amount is not small."
    )


class NextStep(StrEnum):
    """Whose turn it is, for the user."""

    LOCK = "lock"
    WAIT = "wait"
    CLAIM = "claim"
    REFUND = "refund"
    NONE = "none"


class SwapView(Wire):
    """A swap. `next` tells the user what is to be done; `detail` says why in words."""

    id: SwapId
    status: SwapState
    next: NextStep
    detail: str
    hashlock: str
    source: LegView
    destination: LegView
    gasless: bool
    secret_shared: bool
    lock_by: Moment
    reveal_by: Moment
    created: Moment
    updated: Moment
    finished: Moment | None
    last_event: int = Field(description="Sequence number of the newest event, to follow the stream from.")


class SwapCreated(SwapView):
    """A new swap and what the user's wallet signs to fund it."""

    transaction: UnsignedTxView


class SwapList(Wire):
    """A page of swaps, newest first; `next_cursor` is null on the last page."""

    swaps: list[SwapView]
    next_cursor: str | None


class ClaimRequest(Request):
    """Hand the preimage over: the bridge stores it sealed and claims the destination to your recipient.

    GET the same path first: it says whether your signature is needed too, and gives what to sign. To claim
    with your own wallet you need nothing of this service: build the transaction where your preimage is
    (`rainbow swap claim`).
    """

    preimage: HexPreimage
    authorization: (
        Annotated[dict[Annotated[str, Field(max_length=40)], SignedText], Field(max_length=12)] | None
    ) = Field(None, description="What you or your wallet signed: see `request` of the claim's terms.")


class ClaimTermsView(Wire):
    """On what terms the relayer claims for you. `needed` names what it needs beside the preimage."""

    needed: Needed
    max_fee: Money = Field(description="The most that your signature allows to be taken out of the amount.")
    request: UnsignedTxView | None = Field(
        description="What you sign, for `authorization`; null where nothing is, or not yet: see `detail`."
    )
    detail: str
    reveal_by: Moment


class WalletPurpose(StrEnum):
    """What a user's wallet may want to do."""

    LOCK = "lock"
    CLAIM = "claim"
    REFUND = "refund"


class TransactionRequest(Request):
    """Ask for a fresh transaction to sign: on some chains one goes stale within minutes.

    A claim contains the preimage, so it is made only once the bridge's lock is final. The bridge does not
    keep the preimage; whoever wants to show it to nobody builds the claim alone (`rainbow swap claim`).
    """

    purpose: Annotated[WalletPurpose, Field(strict=False)]
    preimage: HexPreimage | None = Field(None, description="For a claim only.")


class RefundRequest(Request):
    """Ask for the source back. `cooperative`: before the deadline, if the bridge can agree to it."""

    cooperative: Annotated[bool, Field(strict=True)] = True


class RefundView(Wire):
    """The swap, whether the bridge agreed to refund cooperatively, and refunds that the user may sign.

    `transactions` has one for each lock of the user's that stands: the swap's own and stray ones.
    """

    swap: SwapView
    cooperative: bool = Field(description="The bridge gives the source back itself; nothing needs signing.")
    not_before: Moment = Field(description="Source chain time from which the unsigned refunds are valid.")
    transactions: list[UnsignedTxView]


class EventView(Wire):
    """One thing that happened to a swap. `seq` grows over all swaps; replay by asking for what came after."""

    seq: int
    swap_id: SwapId
    kind: str = Field(examples=["LockFinal"])
    status: SwapState
    source_state: LegState
    destination_state: LegState
    at: Moment


class KeyView(Wire):
    """The bridge's ed25519 key that signs quotes, hex."""

    algorithm: str
    public_key: str


class InventoryLine(Wire):
    """What the bridge holds of an asset."""

    asset: str
    balance: Money | None
    reserved: Money
    kept: Money
    available: Money
    seen: Moment | None


class InventoryView(Wire):
    """All assets."""

    assets: list[InventoryLine]


class AuditLine(Wire):
    """What an operator did."""

    seq: int
    by: str
    verb: str
    subject: str
    detail: str
    at: Moment


class AuditView(Wire):
    """A page of the audit trail, newest first."""

    entries: list[AuditLine]
    next_cursor: str | None


class PauseView(Wire):
    """The operators' switches."""

    paused: list[str]


class NoteRequest(Request):
    """Why an operator does it; kept in the audit trail."""

    note: Annotated[str, Field(max_length=500)] = ""


class DependencyView(Wire):
    """One thing the API needs."""

    name: str
    ready: bool
    detail: str


class ReadyView(Wire):
    """Readiness, one line for each dependency."""

    ready: bool
    dependencies: list[DependencyView]


class HealthView(Wire):
    """Liveness."""

    status: str
    version: str
