"""The quote as it is signed: the bridge and its client both work out the terms of the locks from it."""

from __future__ import annotations

import msgspec

from bridge.protocol.lock_fee import LockFee
from bridge.protocol.pricing import Price, SpreadItems
from bridge.protocol.timelocks import reveal_deadline
from bridge.protocol.types import Address, Amount, Asset, LockTerms, SwapPolicy, UnixSeconds


class QuoteBody(msgspec.Struct, frozen=True):
    """The whole of a quote, as it is signed: JSON of these fields in this order. Times are Unix seconds."""

    id: str
    source: Asset
    destination: Asset
    price: Price
    rate: str
    price_at: UnixSeconds
    gasless: bool
    policy: SwapPolicy
    source_deadline: UnixSeconds
    destination_deadline: UnixSeconds
    source_contract: Address
    destination_contract: Address
    source_account: Address
    destination_account: Address
    created: UnixSeconds
    expires: UnixSeconds
    spread: SpreadItems | None = None
    """Of what the spread is made; None in quotes of older versions."""
    lock_fee: LockFee | None = None
    """What the client stakes on finishing; None where that is nothing."""

    @property
    def least(self) -> Amount:
        """The least that the bridge may lock for the user, smallest units of the destination."""
        left_open = self.policy.counterlock
        return self.price.destination if left_open is None else left_open.minimum

    @property
    def most(self) -> Amount:
        """The most that the bridge may lock for the user, smallest units of the destination."""
        left_open = self.policy.counterlock
        return self.price.destination if left_open is None else left_open.maximum

    @property
    def reveal_by(self) -> UnixSeconds:
        """Destination chain time after which the secret must not be revealed, if the bridge's lock gets the
        latest deadline that the quote allows."""
        return reveal_deadline(self.policy.destination, self.destination_deadline)

    def terms(
        self, hashlock: bytes, *, refund_address: Address, recipient: Address
    ) -> tuple[LockTerms, LockTerms]:
        """Return the terms of the source lock and of the destination lock: the quote with what the user adds.
        The destination's amount and deadline may change within `policy.counterlock` when it is locked.

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
