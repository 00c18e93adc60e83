"""What it takes for the relayer to claim the destination for a user."""

from __future__ import annotations

from enum import StrEnum


class Needed(StrEnum):
    """What the relayer needs besides the preimage to claim for a user."""

    NOTHING = "nothing"
    """It claims with the preimage alone: its cost is in the price."""
    SIGNATURE = "signature"
    """Nobody can claim without the recipient's signature; the cost is in the price."""
    FEE = "fee"
    """The quote did not pay for it: the recipient signs how much may be taken out of the amount."""
    UNAVAILABLE = "unavailable"
    """The relayer does not claim this one: the recipient claims with their own wallet."""
