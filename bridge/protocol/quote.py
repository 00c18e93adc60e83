"""The quote as it is signed: the bridge and its client both work out the terms of the locks from it."""

from __future__ import annotations

import msgspec

from bridge.protocol.pricing import Price
from bridge.protocol.timelocks import reveal_deadline
from bridge.protocol.types import Asset, LockTerms, SwapPolicy


class QuoteBody(msgspec.Struct, frozen=True):
    """The whole of a quote, as it is signed: JSON of these fields in this order. Times are Unix seconds."""

    id: str
    source: Asset
    destination: Asset
    price: Price
    rate: str
    price_at: int
    gasless: bool
    policy: SwapPolicy
    source_deadline: int
    destination_deadline: int
    source_contract: str
    destination_contract: str
    source_account: str
    destination_account: str
    created: int
    expires: int

    @property
    def reveal_by(self) -> int:
        """Destination chain time after which the secret must not be revealed."""
        return reveal_deadline(self.policy.destination, self.destination_deadline)

    def terms(self, hashlock: bytes, *, refund_address: str, recipient: str) -> tuple[LockTerms, LockTerms]:
        """Return the terms of the source lock and of the destination lock: the quote with what the user adds.

        The bridge and its client both work them out of the signed quote, and compare.
        """
        source = LockTerms(
            chain=self.source.chain,
            contract=self.source_contract,
            sender=refund_address,
            recipient=self.source_account,
            asset=self.source,
            amount=self.price.source,
            hashlock=hashlock,
            deadline=self.source_deadline,
        )
        destination = LockTerms(
            chain=self.destination.chain,
            contract=self.destination_contract,
            sender=self.destination_account,
            recipient=recipient,
            asset=self.destination,
            amount=self.price.destination,
            hashlock=hashlock,
            deadline=self.destination_deadline,
        )
        return source, destination
