"""The powers of an issuer on Stellar, from its account's flags (CAP-35, CAP-46-6). Pure.

One `set_authorized(contract, false)` freezes all locks of an asset at once, and one clawback leaves the
contract unable to pay the last of them.
"""

from __future__ import annotations

from stellar_sdk import xdr

from bridge.chains.issuer_powers import IssuerPower

_FLAGS = {
    xdr.AccountFlags.AUTH_REQUIRED_FLAG: IssuerPower.AUTHORISE,
    xdr.AccountFlags.AUTH_REVOCABLE_FLAG: IssuerPower.FREEZE,
    xdr.AccountFlags.AUTH_CLAWBACK_ENABLED_FLAG: IssuerPower.CLAWBACK,
}


def powers_of(issuer: xdr.AccountEntry) -> frozenset[IssuerPower]:
    """Return the powers that an issuer's account has now. It may take on more at any time, unless its account
    is immutable; what is locked by then stays claimable as long as the issuer does not use them."""
    return frozenset(power for flag, power in _FLAGS.items() if issuer.flags.uint32 & flag.value)
