"""Who holds what on ZION and what was paid in fees, read from a node: for audits to the last unit."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from bridge.chains.errors import PortError
from bridge.chains.family import LOCKS
from bridge.protocol.types import Address, Amount, Asset, BlockHeight
from relayers.zion.nodes import Nodes
from relayers.zion.settings import ZionSettings

_TIMEOUT = 30.0
"""Seconds for one request: whole histories are read."""


class ZionLedger:
    """A network as an auditor sees it: balances and the sum of all open locks, as a node gives them."""

    def __init__(self, settings: ZionSettings) -> None:
        self._native = settings.native
        self._nodes = Nodes(settings.rpc_urls, _TIMEOUT)

    async def close(self) -> None:
        """Close the connections."""
        await self._nodes.close()

    async def holdings(self, accounts: Mapping[str, Address], asset: Asset) -> dict[str, Amount]:
        """Return what each account (owner → address) holds and what lies in LOCKS, smallest units.

        Raises `PortError` for anything but the network's coin: it has no other asset.
        """
        if asset.contract or asset.chain != self._native.chain:
            raise PortError(f"{self._native.chain} has no asset {asset.key}", "its one asset is ZION")
        views = await asyncio.gather(
            *(
                self._nodes.ask(lambda node, address=address: node.get_account(address))  # type: ignore[misc]
                for address in accounts.values()
            )
        )
        held = {owner: view.balance for owner, view in zip(accounts, views, strict=True)}
        return {**held, LOCKS: (await self._nodes.ask(lambda node: node.get_info())).locked}

    async def fees_paid(self, payers: set[Address], first: BlockHeight, last: BlockHeight) -> Amount:
        """Return the fees, smallest units, of transactions sent by `payers` (addresses) in blocks `first` to
        `last`, both included."""
        total = 0
        for height in range(first, last + 1):
            block = await self._nodes.ask(lambda node, height=height: node.get_block(height))  # type: ignore[misc]
            total += sum(tx.fee for tx in block.transactions if tx.sender in payers)
        return Amount(total)
