"""What the bridge promises when it accepts a swap: enough to make the swap again without its database.

The user keeps it, signed by the bridge, in the recovery file; the bridge keeps it in its journal. It holds no
secret.
"""

from __future__ import annotations

import msgspec

from bridge.protocol.quote import QuoteBody
from bridge.protocol.refusals import ProtocolError
from bridge.protocol.transition import new_swap
from bridge.protocol.types import BlockHeight, ChainId, LockTerms, Swap, SwapId, UnixSeconds

ACCEPTANCE_VERSION = 1


class Acceptance(msgspec.Struct, frozen=True):
    """An accepted swap: the quote as it was signed, and what the user and the bridge added to it.

    `heights` are the chains' heights when it was accepted (0: unknown): nothing of the swap lies below them.
    `refund_address` and `recipient` are as the user wrote them, `source` and `destination` are canonical.
    """

    version: int
    swap_id: SwapId
    accepted: UnixSeconds
    quote: QuoteBody
    source: LockTerms
    destination: LockTerms
    refund_address: str
    recipient: str
    heights: dict[ChainId, BlockHeight]

    @property
    def hashlock(self) -> bytes:
        """The hashlock of both locks."""
        return self.source.hashlock

    def swap(self) -> Swap:
        """Return the swap as it was when it was accepted, with nothing of its locks. Raises
        `ProtocolError`."""
        return new_swap(
            self.swap_id,
            source=self.source,
            destination=self.destination,
            policy=self.quote.policy,
            accepted=True,
        )


_decoder = msgspec.json.Decoder(Acceptance)


def write_acceptance(acceptance: Acceptance) -> str:
    """Return the text that is signed: JSON of the fields in their order."""
    return msgspec.json.encode(acceptance).decode()


def read_acceptance(text: str) -> Acceptance:
    """Read the text back. Raises `ProtocolError` if it is not one, or of a later version."""
    try:
        found = _decoder.decode(text)
    except msgspec.DecodeError:
        raise ProtocolError("this is not a swap's receipt", hint="hand it in exactly as it was") from None
    if found.version != ACCEPTANCE_VERSION:
        raise ProtocolError(
            f"a receipt of version {found.version} is not known here",
            hint="use a newer version of the bridge",
        )
    return found
