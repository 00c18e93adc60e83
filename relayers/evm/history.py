"""Whether an endpoint's history is known to reach back to a height: nothing is absent where nobody kept
it."""

from __future__ import annotations

from collections.abc import Mapping

from relayers.evm.rpc import Call, Calls, quantity

_NEXT = 16
"""Blocks in which a transaction is looked for whose receipt shows that receipts are kept."""


async def reaches(rpc: Calls, height: int, head: int) -> bool:
    """Tell whether the endpoint still has the block at `height`, and the receipts of it or of the next block
    that has transactions. go-ethereum drops both together (`--history.chain`), others receipts alone."""
    if height > head:
        return False
    heights = range(height, min(height + _NEXT, head + 1))
    blocks = await rpc.batch([Call("eth_getBlockByNumber", (hex(at), False)) for at in heights])
    if not all(
        isinstance(block, Mapping) and quantity(block.get("number")) == at
        for at, block in zip(heights, blocks, strict=True)
    ):
        return False
    tx_id = next((block["transactions"][0] for block in blocks if block.get("transactions")), None)
    if tx_id is None:
        return True
    (receipt,) = await rpc.batch([Call("eth_getTransactionReceipt", (tx_id,))])
    return isinstance(receipt, Mapping) and receipt.get("transactionHash") == tx_id
