"""What accounts paid for gas, read from receipts: for audits that must add up to the last wei."""

from __future__ import annotations

from collections.abc import Mapping

from bridge.chains.family import LOCKS
from bridge.chains.port import ChainPort
from bridge.protocol.types import Address, Amount, Asset, BlockHeight
from relayers.evm.rpc import Call, open_rpc, quantity, record


class EvmLedger:
    """An EVM chain's books: all locks are what the HTLC contract holds."""

    def __init__(self, reader: ChainPort, rpc_url: str) -> None:
        self._reader = reader
        self._url = rpc_url

    async def holdings(self, accounts: Mapping[str, Address], asset: Asset) -> dict[str, Amount]:
        """See `Ledger.holdings`."""
        watched = {**accounts, LOCKS: self._reader.contract}
        return {owner: await self._reader.balance(address, asset) for owner, address in watched.items()}

    async def fees_paid(self, payers: set[Address], first: BlockHeight, last: BlockHeight) -> Amount:
        """See `Ledger.fees_paid`."""
        return Amount(await fees_paid(self._url, payers, first, last))

    async def close(self) -> None:
        """The reader is its owner's to close."""


async def fees_paid(rpc_url: str, payers: set[Address], first: BlockHeight, last: BlockHeight) -> int:
    """Return the wei that `payers` (addresses) paid for their transactions in blocks `first` to `last`, both
    included: for gas, and on the OP stack for data, which receipts there have as `l1Fee`."""
    rpc = open_rpc([rpc_url], timeout=30)
    wanted = {payer.lower() for payer in payers}
    calls = [Call("eth_getBlockReceipts", (hex(height),)) for height in range(first, last + 1)]
    try:
        total = 0
        for receipts in await rpc.all(*calls):
            for item in receipts or ():
                receipt = record(item)
                if str(receipt["from"]).lower() in wanted:
                    total += quantity(receipt["gasUsed"]) * quantity(receipt["effectiveGasPrice"])
                    total += quantity(receipt.get("l1Fee") or "0x0")
        return total
    finally:
        await rpc.close()
