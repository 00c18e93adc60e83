"""Chains, pairs and quotes."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import msgspec

from bridge.protocol.types import Asset, ChainId
from bridge.wire.base import Moment, Money, Wire


class ChainView(Wire, frozen=True):
    """A chain as its relayer last saw it."""

    chain: ChainId
    network: str
    healthy: bool
    paused: bool
    detail: Annotated[str, msgspec.Meta(description="Why it is not healthy; empty when all is well.")]
    height: int | None
    block: str | None
    chain_time: Annotated[
        Moment | None, msgspec.Meta(description="The clock that deadlines are compared with.")
    ]
    scanned: Annotated[int | None, msgspec.Meta(description="Height up to which lock events were taken in.")]
    lag_blocks: int | None
    seen: Annotated[Moment | None, msgspec.Meta(description="When the chain's RPC last answered.")]
    contract: str
    bridge_address: str
    block_interval: int
    finality_base: Annotated[int, msgspec.Meta(description="Confirmations that the smallest amount needs.")]


class ChainList(Wire, frozen=True):
    """All chains."""

    chains: list[ChainView]


class AssetView(Wire, frozen=True):
    """An asset."""

    asset: str
    chain: ChainId
    symbol: str
    decimals: int
    contract: str

    @classmethod
    def of(cls, asset: Asset) -> AssetView:
        """Make one from the protocol's value."""
        return cls(
            asset=asset.key,
            chain=asset.chain,
            symbol=asset.symbol,
            decimals=asset.decimals,
            contract=asset.contract,
        )


class PairTiming(Wire, frozen=True):
    """How long a swap of the smallest amount takes and is allowed to take, in seconds from now."""

    lock_window: Annotated[
        int, msgspec.Meta(description="Time until the user's lock must have been included.")
    ]
    source_finality: int
    destination_finality: int
    destination_deadline: int
    source_deadline: int


class PairView(
    Wire, frozen=True, rename={"source": "from", "destination": "to", "minimum": "min", "maximum": "max"}
):
    """A direction on offer. `rate` is destination coins for one source coin, before spread and fees."""

    source: AssetView
    destination: AssetView
    available: bool
    reason: Annotated[str, msgspec.Meta(description="Why it is not available; empty when it is.")]
    rate: str | None
    price_time: Moment | None
    spread_ppm: Annotated[
        int,
        msgspec.Meta(
            description="What a quote for the smallest amount takes now beside network fees, parts per "
            "million; while there is none, the operator's own part of it. A quote shows it by item."
        ),
    ]
    minimum: Money
    maximum: Money
    gasless_claim: bool
    timing: PairTiming | None


class PairList(Wire, frozen=True):
    """All pairs."""

    pairs: list[PairView]


class Side(StrEnum):
    """Which side of the swap an amount is on."""

    SOURCE = "from"
    DESTINATION = "to"


class FeeLine(Wire, frozen=True):
    """One part of the price, in the destination asset."""

    name: Annotated[str, msgspec.Meta(examples=["base", "option", "source_claim"])]
    money: Money
    note: str = ""


class FeeChoice(StrEnum):
    """The lock fee that a client wishes."""

    NONE = "none"
    LOW = "low"
    EVEN = "even"
    BOND = "bond"


class LockFeeView(Wire, frozen=True):
    """What is held of your credit while the swap lasts. You lose it only if you leave the bridge's lock."""

    point: FeeChoice
    value: Annotated[str, msgspec.Meta(description="In the unit of prices, six decimals.")]


class CreditView(Wire, frozen=True):
    """What you have staked on finishing, in the unit of prices with six decimals. `client` names you to the
    operator."""

    client: str
    available: str
    held: str
    kept: str


class QuoteView(
    Wire,
    frozen=True,
    rename={
        "source": "from",
        "destination": "to",
        "destination_min": "to_min",
        "destination_max": "to_max",
    },
):
    """An offer, valid until `expires`. `signature` is the bridge's, over `signed_text` (see docs/api.md)."""

    id: str
    source: Money
    destination: Money
    destination_min: Annotated[
        Money,
        msgspec.Meta(
            description="The least that the bridge locks for you. Between quote and lock the amount follows "
            "the price; below this, or above `to_max`, your lock is given back at once."
        ),
    ]
    destination_max: Money
    rate: Annotated[
        str, msgspec.Meta(description="Destination coins for one source coin, before spread and fees.")
    ]
    price_time: Moment
    fees: list[FeeLine]
    gasless: bool
    source_deadline: Moment
    destination_deadline: Moment
    lock_by: Moment
    reveal_by: Annotated[
        Moment,
        msgspec.Meta(
            description="Destination chain time after which the secret must not be revealed, at the latest: "
            "the swap shows a nearer one once the bridge has locked."
        ),
    ]
    lock_fee: LockFeeView | None
    tolerance_ppm: Annotated[
        int | None,
        msgspec.Meta(
            description="Where the amount is fixed: how far the price may move against the bridge before it "
            "locks, parts per million; beyond it your lock is given back at once. Else null."
        ),
    ]
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


class KeyView(Wire, frozen=True):
    """The bridge's ed25519 key that signs quotes, hex."""

    algorithm: str
    public_key: str
