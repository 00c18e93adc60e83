"""What an asset's issuer may do with other people's money, and which of it an operator accepts. Pure.

It is one policy for all chains that show it.
"""

from __future__ import annotations

from collections.abc import Collection
from enum import StrEnum


class IssuerPower(StrEnum):
    """A power over all holders, our contract among them."""

    AUTHORISE = "authorise"
    """Nobody can hold the asset whom the issuer has not authorised."""
    FREEZE = "freeze"
    """The issuer can freeze what any holder has. Our contract's frozen, nothing is paid out: no lock of the
    asset can be claimed or refunded until the issuer undoes it."""
    CLAWBACK = "clawback"
    """The issuer can take back what any holder has. After that our contract cannot pay all its locks."""


_WORDS = {
    IssuerPower.AUTHORISE: "must authorise each holder",
    IssuerPower.FREEZE: "can freeze all its locks at once",
    IssuerPower.CLAWBACK: "can take locked money back",
}


def refusal(symbol: str, has: Collection[IssuerPower], accepted: Collection[IssuerPower]) -> str:
    """Return why nothing new is locked in an asset, "" if its issuer has no power but the accepted ones."""
    refused = [power for power in IssuerPower if power in has and power not in accepted]
    if not refused:
        return ""
    words = " and ".join(f"{_WORDS[power]} ({power.value})" for power in refused)
    return f"the issuer of {symbol} {words}"
