"""How much gas each purpose is expected to use: for estimates and for wallets, never for our own limits.

Measured on anvil, rounded up; a claim is cheapest from the recipient, a refund from the sender.
"""

from __future__ import annotations

import msgspec

from bridge.protocol.types import Asset


class Gas(msgspec.Struct, frozen=True):
    """Expected gas of one lock, claim and refund."""

    lock: int
    claim: int
    refund: int


_NATIVE = Gas(lock=46_500, claim=31_500, refund=33_500)
_TOKEN = Gas(lock=66_500, claim=41_500, refund=41_500)
APPROVE = 46_500


def expected(asset: Asset) -> Gas:
    """Return the expected gas for ether or a token."""
    return _TOKEN if asset.contract else _NATIVE
