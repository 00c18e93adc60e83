"""Our own transactions: what a node says about sending one, and where it is afterwards."""

from __future__ import annotations

from typing import Any

from bridge.chains.errors import PortUnavailableError
from bridge.chains.port import BroadcastOutcome, BroadcastResult, SignedTx, TxState, TxStatus
from bridge.protocol.types import TxId
from relayers.evm.blocks import read_header
from relayers.evm.rpc import Call, Rpc, RpcError, quantity

# The words of go-ethereum, erigon, nethermind, besu, reth and anvil, in lower case. There are no codes.
_KNOWN = ("already known", "alreadyknown", "already imported", "known transaction")
_SEQUENCE_USED = ("nonce too low", "oldnonce", "nonce is too low", "nonce_too_low")
_UNDERPRICED = (
    "underpriced",
    "replacementnotallowed",
    "replacement not allowed",
    "feetoolow",
    "fee too low",
    "max fee per gas less than block base fee",
    "gas price below configured minimum",
    "gas price is too low",
)
_BUSY = ("txpool is full", "pool is full", "too many requests", "timeout", "timed out", "nonce too far")


def read_broadcast(result: Any, tx_id: TxId) -> BroadcastResult:
    """Classify the answer to eth_sendRawTransaction."""
    if not isinstance(result, RpcError):
        if result != tx_id:
            raise PortUnavailableError("the RPC accepted some other transaction", "use another endpoint")
        return BroadcastResult(BroadcastOutcome.ACCEPTED)
    words = result.message.lower()
    # "replacement transaction underpriced" and the like come before the shorter phrases they contain.
    for phrases, outcome in (
        (_UNDERPRICED, BroadcastOutcome.UNDERPRICED),
        (_KNOWN, BroadcastOutcome.ALREADY_KNOWN),
        (_SEQUENCE_USED, BroadcastOutcome.SEQUENCE_USED),
    ):
        if any(phrase in words for phrase in phrases):
            return BroadcastResult(outcome, result.message)
    if any(phrase in words for phrase in _BUSY):
        raise PortUnavailableError(f"the RPC takes no transactions now: {result.message}", "it is retried")
    return BroadcastResult(BroadcastOutcome.REJECTED, result.message)


async def read_status(rpc: Rpc, tx: SignedTx) -> TxStatus:
    """Tell where a transaction is: REPLACED only when its nonce is used and a later look finds no receipt."""
    receipt, pending, nonce, head = await rpc.all(
        Call("eth_getTransactionReceipt", (tx.tx_id,)),
        Call("eth_getTransactionByHash", (tx.tx_id,)),
        Call("eth_getTransactionCount", (tx.account, "latest")),
        Call("eth_blockNumber"),
    )
    used = tx.sequence is not None and quantity(nonce) > tx.sequence
    if receipt is None and used:
        # The calls of a batch see different moments: the transaction may have been mined between the two.
        receipt, head = await rpc.all(Call("eth_getTransactionReceipt", (tx.tx_id,)), Call("eth_blockNumber"))
    if receipt is not None:
        return await _included(rpc, receipt, quantity(head))
    if used:
        return TxStatus(TxState.REPLACED, reason=f"nonce {tx.sequence} was used by another transaction")
    if pending is not None:
        return TxStatus(TxState.PENDING)
    return TxStatus(TxState.UNKNOWN)


async def _included(rpc: Rpc, receipt: Any, head: int) -> TxStatus:
    block = await rpc.call("eth_getBlockByHash", receipt["blockHash"], False)
    if block is None:
        raise PortUnavailableError("the chain moved while it was read", "try again")
    ref = read_header(block).ref
    return TxStatus(
        state=TxState.INCLUDED if quantity(receipt["status"]) == 1 else TxState.FAILED,
        block=ref,
        confirmations=max(1, head - ref.height + 1),
        reason="" if quantity(receipt["status"]) == 1 else "reverted",
    )
