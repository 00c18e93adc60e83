"""Requests: strict types and no unknown fields. Only the server imports this module, and pydantic with it."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, SecretStr

from bridge.protocol.events import Verdict
from bridge.protocol.types import SwapId
from bridge.wire.market import FeeChoice, Side
from bridge.wire.swaps import WalletPurpose

AmountText = Annotated[str, Field(pattern=r"^[1-9][0-9]{0,77}$", examples=["1000000"])]
AssetKey = Annotated[
    str, Field(pattern=r"^[a-z][a-z0-9]{1,15}:[A-Za-z0-9]{1,12}$", max_length=29, examples=["base:ETH"])
]
AddressText = Annotated[str, Field(pattern=r"^[!-~]{1,200}$", examples=["0x…"])]
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


class Request(BaseModel):
    """Base of all requests: strict types, no unknown fields."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, populate_by_name=True)


class QuoteRequest(Request):
    """What the client wants. `amount` counts on `side`: what is paid (`from`) or what arrives (`to`)."""

    source: AssetKey = Field(alias="from")
    destination: AssetKey = Field(alias="to")
    amount: AmountText
    side: Annotated[Side, Field(strict=False)] = Side.SOURCE
    gasless: bool = Field(
        False, description="The relayer claims the destination and its cost is in the price."
    )
    firm: bool = Field(
        False,
        description="What arrives is fixed now, at a higher price. Otherwise it follows the price until the "
        "bridge locks, within the limits that the quote shows. Always so where `side` is `to`.",
    )
    lock_fee: Annotated[FeeChoice | None, Field(strict=False)] = Field(
        None,
        description="What you stake of your credit on finishing, for a smaller spread. Without it: `low` if "
        "your credit is enough.",
    )


class SwapRequest(Request):
    """Take a quote. The preimage stays with the client: only its SHA-256 is sent."""

    quote_id: Annotated[str, Field(pattern=r"^[0-9a-f]{32}$")]
    hashlock: Hex32
    refund_address: AddressText = Field(description="Locks the source and gets its refund.")
    recipient: AddressText = Field(description="Receives the destination.")


class ClaimRequest(Request):
    """Give the bridge the preimage: it stores it encrypted and claims the destination to your recipient.

    GET the same path first: it says whether your signature is needed too, and what to sign. To claim
    with your own wallet you do not need this service: build the transaction where your preimage is
    (`rainbow swap claim`).
    """

    preimage: HexPreimage
    authorization: (
        Annotated[dict[Annotated[str, Field(max_length=40)], SignedText], Field(max_length=12)] | None
    ) = Field(None, description="What you or your wallet signed: see `request` of the claim's terms.")


class TransactionRequest(Request):
    """Ask for a fresh transaction to sign: on some chains one goes stale within minutes.

    A claim contains the preimage, so it is made only once the bridge's lock is final. The bridge does not
    keep the preimage. To show it to nobody, build the claim yourself (`rainbow swap claim`).
    """

    purpose: Annotated[WalletPurpose, Field(strict=False)]
    preimage: HexPreimage | None = Field(None, description="For a claim only.")


class RefundRequest(Request):
    """Ask for the source back. `cooperative`: before the deadline, if the bridge can agree to it."""

    cooperative: Annotated[bool, Field(strict=True)] = True


class RestoreRequest(Request):
    """Hand in the receipt of a swap that the bridge no longer knows, exactly as it was given."""

    receipt: Annotated[str, Field(min_length=2, max_length=12_000)]
    signature: Annotated[str, Field(pattern=r"^[0-9a-f]{128}$")]


class WitnessRequest(Request):
    """A signed tree head that a witness saw, exactly as it was given."""

    note: Annotated[str, Field(min_length=2, max_length=1_000)]


class NoteRequest(Request):
    """Why an operator does it; kept in the audit trail."""

    note: Annotated[str, Field(max_length=500)] = ""


class SettleRequest(Request):
    """How a lock was spent, as an operator has found out: it is taken for proved. A claim needs the preimage
    that stands in its transaction, unless the bridge knows it. Who asked and the note are kept."""

    lock_id: Annotated[str, Field(min_length=1, max_length=200)]
    verdict: Annotated[Verdict, Field(strict=False)]
    preimage: HexPreimage | None = Field(None, description="For a claim.")
    tx_id: Annotated[str, Field(max_length=200)] = ""
    note: Annotated[str, Field(min_length=8, max_length=500)]


class DismissRequest(Request):
    """Why an item that could not be read concerns no lock of the bridge's; kept in the audit trail."""

    note: Annotated[str, Field(min_length=8, max_length=500)]
