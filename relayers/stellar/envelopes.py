"""Decoding recorded transactions: what the library cannot decode is told apart, and keeps its bytes."""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass

from stellar_sdk import xdr
from stellar_sdk.exceptions import SdkError
from xdrlib3 import Error as PackingError

from kernels.errors import RainbowError
from relayers.stellar.horizon import Record
from relayers.stellar.spends import sources_in


@dataclass(frozen=True)
class Envelope:
    """A transaction with its signatures, decoded and as its bytes."""

    envelope: xdr.TransactionEnvelope
    raw: bytes


class UnreadableError(RainbowError):
    """An envelope that this software cannot decode, such as one of a newer protocol; `raw` are its bytes."""

    def __init__(self, reason: str, raw: bytes) -> None:
        super().__init__(reason)
        self.raw = raw


def read_envelope(record: Record) -> Envelope:
    """Decode a recorded transaction (Horizon's JSON). Raises `UnreadableError`."""
    text = str(record["envelope_xdr"])
    try:
        raw = base64.b64decode(text, validate=True)
    except binascii.Error as error:
        raise UnreadableError("its envelope is not base64", b"") from error
    try:
        envelope = xdr.TransactionEnvelope.from_xdr_bytes(raw)
        sources_in(envelope)  # kinds of accounts and transactions that we do not know show here
    except (ValueError, TypeError, LookupError, EOFError, RecursionError, SdkError, PackingError) as error:
        raise UnreadableError(
            f"this software cannot decode its envelope ({type(error).__name__}: {str(error)[:80]})", raw
        ) from error
    return Envelope(envelope, raw)
