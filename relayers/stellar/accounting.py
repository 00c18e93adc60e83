"""Who holds what on Stellar and what was paid in fees, read from Horizon: for audits to the last stroop."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from bridge.chains.family import LOCKS
from bridge.protocol.types import Address, Amount, Asset, BlockHeight
from relayers.stellar.assets import stroops, to_stellar
from relayers.stellar.holdings import line_of
from relayers.stellar.horizon import Horizon, Record
from relayers.stellar.settings import StellarSettings
from relayers.stellar.watch import Watch

_TIMEOUT = 30.0
"""Seconds for one request: whole histories are read."""

GATES = "gate deposits"
"""Owner of what lies on gates: the deposits of open locks, and of spent ones whose gates still stand."""


class StellarLedger:
    """A network as an auditor sees it. Only for networks small enough to be read whole."""

    def __init__(self, settings: StellarSettings) -> None:
        self._horizon = Horizon(settings.horizon_url, _TIMEOUT)
        self._watch = Watch(self._horizon, settings)

    async def close(self) -> None:
        """Close the connections."""
        await self._horizon.close()

    async def holdings(self, accounts: Mapping[str, Address], asset: Asset) -> dict[str, Amount]:
        """Return what each account (owner → address) holds of an asset, its reserves included, and what lies
        in LOCKS and GATES; stroops."""
        gates = await self._gates()
        records, standing, locked = await asyncio.gather(
            asyncio.gather(*(self._horizon.account(address) for address in accounts.values())),
            asyncio.gather(*(self._horizon.account(address) for address in gates)),
            self._horizon.balances_of(to_stellar(asset)),
        )
        held = {owner: Amount(_holds(record, asset)) for owner, record in zip(accounts, records, strict=True)}
        held[LOCKS] = Amount(sum(stroops(each["amount"]) for each in locked))
        held[GATES] = Amount(sum(_holds(record, asset) for record in standing))
        return held

    async def fees_paid(self, payers: set[Address], first: BlockHeight, last: BlockHeight) -> Amount:
        """Return the stroops that `payers` paid in fees in ledgers `first` to `last`, both included; failed
        transactions pay too."""
        records = await self._horizon.transactions(first, last)
        return Amount(sum(int(each["fee_charged"]) for each in records if each["fee_account"] in payers))

    async def _gates(self) -> list[str]:
        newest = await self._horizon.newest_ledger()
        records = await self._horizon.transactions(1, int(newest["sequence"]))
        return [gate.address for each in records if (gate := self._watch.gate_in(each)) is not None]


def _holds(account: Record | None, asset: Asset) -> int:
    if account is None:
        return 0
    if asset.contract:
        line = line_of(account, asset)
        return 0 if line is None else stroops(line["balance"])
    return next(stroops(each["balance"]) for each in account["balances"] if each["asset_type"] == "native")
