"""Our own transactions: how they are sent, what a node says to that, and where they are afterwards."""

from __future__ import annotations

from typing import Any

from eth_account.typed_transactions import TypedTransaction
from hexbytes import HexBytes

from bridge.chains.endpoints.answers import EndpointError
from bridge.chains.errors import PortUnavailableError
from bridge.chains.port import BroadcastOutcome, BroadcastResult, SignedTx, TxState, TxStatus
from bridge.protocol.types import TxId
from relayers.evm import htlc
from relayers.evm.blocks import ChainMovedError, read_header
from relayers.evm.history import reaches
from relayers.evm.rpc import Call, Calls, OneEndpoint, Rpc, RpcError, quantity, record

ATTEMPT = "attempt"
"""The entry of a transaction's fee record that says how often it was outbid."""

_PRIVATE_ATTEMPTS = 2
"""Bids for which a claim stays private."""

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
_REJECTED = (
    "insufficient funds",
    "insufficient balance",
    "insufficientfunds",
    "intrinsic gas",
    "gas too low",
    "exceeds block gas limit",
    "gas limit",
    "invalid sender",
    "invalid signature",
    "invalid chain id",
    "incorrect chain id",
    "wrong chain id",
    "oversized data",
    "exceeds maximum",
    "exceeds the configured cap",
    "cap exceeded",
    "not supported",
    "in-flight transaction limit",
    "banned",
    "blocked",
)
"""Verdicts on these very bytes, which the same node will not take later either, or only after a change of the
account. Anything else (an internal error, a full pool, a limit of requests) says nothing about them: they are
sent again as they are. Only `_UNDERPRICED` ever raises a bid."""


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
    if any(phrase in words for phrase in _REJECTED):
        return BroadcastResult(BroadcastOutcome.REJECTED, result.message)
    raise EndpointError(f"the RPC takes no transactions now: {result.message}", "it is sent again as it is")


async def read_status(rpc: Calls, tx: SignedTx) -> TxStatus:
    """Tell where a transaction is. The account's state proves that it is in no block (its nonce is unused);
    that another one took its place is concluded only from a history that reaches back to its signing. Raises
    `ChainMovedError`."""
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
        return await _included(rpc, receipt, tx, quantity(head))
    signed = tx.signed_height
    if used:
        # Nobody wrote the height down for what was signed before heights were: then the receipt has to do.
        if signed is not None and not await reaches(rpc, signed, quantity(head)):
            return TxStatus(TxState.UNSURE, reason=f"nonce {tx.sequence} is used, and history is missing")
        return TxStatus(TxState.REPLACED, reason=f"nonce {tx.sequence} was used by another transaction")
    if pending is not None:
        return TxStatus(TxState.PENDING)
    if signed is not None and quantity(head) < signed:
        return TxStatus(TxState.UNSURE, reason="the node is behind the block at which it was signed")
    return TxStatus(TxState.UNKNOWN)


async def _included(rpc: Calls, receipt: Any, tx: SignedTx, head: int) -> TxStatus:
    if record(receipt).get("transactionHash") != tx.tx_id:
        raise EndpointError("the RPC sent another transaction's receipt", "use another endpoint")
    block = await rpc.call("eth_getBlockByHash", receipt["blockHash"], False)
    if block is None:
        raise ChainMovedError
    ref = read_header(block).ref
    return TxStatus(
        state=TxState.INCLUDED if quantity(receipt["status"]) == 1 else TxState.FAILED,
        block=ref,
        confirmations=max(1, head - ref.height + 1),
        reason="" if quantity(receipt["status"]) == 1 else "reverted",
    )


class Sender:
    """Sends signed bytes: claims through the private endpoints, if there are any, all else to all endpoints.

    A claim shows its preimage to everybody who reads the public pool, and anybody may send it first: we would
    pay for a claim that reverts, and lose the fee that its recipient signed for. A claim that private
    endpoints did not bring into a block in time goes to all endpoints, like anything else: it must land.
    """

    def __init__(self, rpc: Rpc, private: Rpc | None, contract: str) -> None:
        self._rpc = rpc
        self._private = private
        self._contract = contract.lower()

    async def broadcast(self, tx: SignedTx) -> BroadcastResult:
        """Send stored bytes; sending them again is harmless."""

        async def send(endpoint: OneEndpoint) -> BroadcastResult:
            (result,) = await endpoint.batch([Call("eth_sendRawTransaction", ("0x" + tx.raw.hex(),))])
            return read_broadcast(result, tx.tx_id)

        private = self._private
        if private is not None and tx.fee.get(ATTEMPT, 0) < _PRIVATE_ATTEMPTS and self._is_claim(tx):
            return await private.broadcast(send)
        return await self._rpc.broadcast(send)

    def _is_claim(self, tx: SignedTx) -> bool:
        fields = TypedTransaction.from_bytes(HexBytes(tx.raw)).as_dict()
        to, data = HexBytes(fields["to"]).hex(), bytes(HexBytes(fields["data"]))
        return to.removeprefix("0x") == self._contract[2:] and data[:4] in htlc.CLAIM_SELECTORS

    async def close(self) -> None:
        """Close the connections of the private endpoints."""
        if self._private is not None:
            await self._private.close()
