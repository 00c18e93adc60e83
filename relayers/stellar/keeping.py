"""Keeping what our contract needs from being archived: its code, its instance, what it holds of each asset.

Anybody may extend them. Nobody's lock pays for it: after quiet weeks that would be several XLM
(docs/decisions/0147). Archived, they come back with the next claim, which then pays for that.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
from stellar_sdk import xdr

from bridge.chains.endpoints.json_rpc import OneEndpoint
from bridge.chains.upkeep import Kept
from relayers.stellar import assets, contract
from relayers.stellar.accounts import read_entries
from relayers.stellar.settings import StellarSettings

EXTEND = b"extend:"
"""The payload of an APPROVE action: extend what is due. A day's number follows: an action is done once."""

SECONDS = 5
"""Of one ledger, about."""
DAY = 86_400 // SECONDS
"""Ledgers."""

MONTH = 30 * DAY
LOCKED = "the locked"
KEEP = 4 * MONTH
"""For how long entries are extended: about what a new one gets on the public network (120 days); networks
with a shorter longest life cut it."""
LOW = 2 * MONTH
"""With less than that left they are extended."""
ALARMING = MONTH
"""With less than that left, extending has not worked for a month."""


class Ending(msgspec.Struct, frozen=True):
    """An entry that is kept: what it is, its key, and how many ledgers it has left (None: it is not there, or
    archived). `optional`: it need not be there, before the first lock of an asset."""

    what: str
    key: xdr.LedgerKey
    left: int | None
    optional: bool = False

    def told(self) -> Kept | None:
        """Return it as `rainbow check` and the metrics tell of it; None for what was never there."""
        if self.left is None or self.left < 0:
            if self.optional and self.left is None:
                return None
            return Kept(self.what, None, "it is archived: the next claim pays several XLM to restore it")
        late = "" if self.left >= ALARMING else "nobody extends it: is max_keeping_per_day too low?"
        return Kept(self.what, self.left * SECONDS, late)


async def look(one: OneEndpoint, settings: StellarSettings) -> list[Ending]:
    """Return what is kept, and how long it lives yet."""
    passphrase = settings.passphrase
    kept = [
        ("the contract's instance", contract.instance_key(settings.contract)),
        ("the contract's code", contract.code_key(contract.code_hash())),
    ]
    for asset in settings.kept:
        if assets.is_token(asset):
            continue  # its entries are its own affair; a claim restores what was archived of them
        token = assets.token_address(asset.contract, passphrase)
        kept.append((f"the asset contract of {asset.symbol}", contract.instance_key(token)))
        kept.append((f"{LOCKED} {asset.symbol}", contract.token_balance_key(token, settings.contract)))
    entries = await read_entries(one, [key for _, key in kept])
    found = []
    for (what, key), entry in zip(kept, entries.found, strict=True):
        left = None if entry is None or entry.live_until is None else entry.live_until - entries.ledger
        found.append(Ending(what, key, left, optional=what.startswith(LOCKED)))
    return found


def due(endings: list[Ending], low: int = LOW) -> list[Ending]:
    """Return what is to be extended now. What is archived cannot be: the next lock or claim restores it."""
    return [each for each in endings if each.left is not None and 0 <= each.left < low]


def parts(endings: Sequence[Ending]) -> list[tuple[Ending, ...]]:
    """Return what to extend at once, and what instead where that costs too much: all but the code, whose rent
    is nearly all of it."""
    cheap = tuple(each for each in endings if each.key.contract_code is None)
    return [tuple(endings), cheap] if 0 < len(cheap) < len(endings) else [tuple(endings)]


def payload(height: int) -> bytes:
    """Return the APPROVE action's payload for the day of a ledger."""
    return EXTEND + str(height // DAY).encode()


def footprint(endings: Sequence[Ending]) -> xdr.SorobanTransactionData:
    """Return the resources that name these entries and nothing else, to be simulated."""
    read = [each.key for each in endings]
    resources = xdr.SorobanResources(
        xdr.LedgerFootprint(read, []), xdr.Uint32(0), xdr.Uint32(0), xdr.Uint32(0)
    )
    return xdr.SorobanTransactionData(xdr.SorobanTransactionDataExt(0), resources, xdr.Int64(0))
