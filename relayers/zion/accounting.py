"""What accounts paid in fees and what all locks hold, read from blocks: for audits to the last unit."""

from __future__ import annotations

from chain.service.client import ZionClient


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
