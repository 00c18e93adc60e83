"""What accounts paid for gas, read from receipts: for audits that must add up to the last wei."""

from __future__ import annotations

from relayers.evm.rpc import Call, open_rpc, quantity, record


async def fees_paid(rpc_url: str, payers: set[str], first: int, last: int) -> int:
    """Return the wei that `payers` (addresses) paid for gas in blocks `first` to `last`, both included."""
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
        return total
    finally:
        await rpc.close()
