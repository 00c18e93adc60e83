"""What accounts paid in fees and what all locks hold, read from blocks: for audits to the last unit."""

from __future__ import annotations

from collections.abc import Mapping

from bridge.chains.family import LOCKS
from bridge.chains.port import ChainPort
from bridge.protocol.types import Asset
from chain.service.client import ZionClient


class ZionLedger:
    """The ZION chain's books: balances from any node, all locks from the node's own sum."""

    def __init__(self, reader: ChainPort, rpc_url: str) -> None:
        self._reader = reader
        self._url = rpc_url

    async def holdings(self, accounts: Mapping[str, str], asset: Asset) -> dict[str, int]:
        """See `Ledger.holdings`."""
        held = {owner: await self._reader.balance(address, asset) for owner, address in accounts.items()}
        return {**held, LOCKS: await locked(self._url)}

    async def fees_paid(self, payers: set[str], first: int, last: int) -> int:
        """See `Ledger.fees_paid`."""
        return await fees_paid(self._url, payers, first, last)

    async def close(self) -> None:
        """The reader is its owner's to close."""


async def fees_paid(rpc_url: str, payers: set[str], first: int, last: int) -> int:
    """Return the fees, smallest units, of transactions sent by `payers` in blocks `first` to `last`, both
    included."""
    async with ZionClient(rpc_url, timeout=30) as client:
        total = 0
        for height in range(first, last + 1):
            block = await client.get_block(height)
            total += sum(tx.fee for tx in block.transactions if tx.sender in payers)
        return total


async def locked(rpc_url: str) -> int:
    """Return what lies in all open locks of the chain, smallest units."""
    async with ZionClient(rpc_url, timeout=30) as client:
        return (await client.get_info()).locked
