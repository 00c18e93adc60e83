"""What becomes of transactions that we signed, as one service shows it: sending them, and where they are."""

from __future__ import annotations

from pycardano import Transaction

from bridge.chains.endpoints.answers import Answer, EndpointError
from bridge.chains.port import BroadcastOutcome, BroadcastResult, SignedTx, TxState, TxStatus
from relayers.cardano.chain_view import ChainView, TxRefusedError


async def send(view: ChainView, tx: SignedTx) -> BroadcastResult:
    """Send stored bytes. A refusal is explained by what became of the transaction, or of what it spends.

    Raises `ChainMovedError`: sending them again is harmless.
    """
    if await _is_known(view, tx):
        return BroadcastResult(BroadcastOutcome.ALREADY_KNOWN)
    try:
        sent = await view.submit(tx.raw)
    except TxRefusedError as error:
        if await _is_known(view, tx):
            return BroadcastResult(BroadcastOutcome.ALREADY_KNOWN)
        if await _rival(view, tx) is not None:
            return BroadcastResult(BroadcastOutcome.SEQUENCE_USED, str(error))
        return BroadcastResult(BroadcastOutcome.REJECTED, str(error))
    if sent != tx.tx_id:
        raise EndpointError(
            "the service took some other transaction", "use another service", kind=Answer.WRONG
        )
    return BroadcastResult(BroadcastOutcome.ACCEPTED)


async def status(view: ChainView, tx: SignedTx, account: str) -> TxStatus:
    """Tell where a transaction of `account` is. Raises `ChainMovedError`."""
    # In this order: what leaves the mempool for a block in between is found there.
    if await view.is_waiting(tx.tx_id):
        return TxStatus(TxState.PENDING)
    found = await view.inclusion(tx.tx_id)
    if found is not None:
        head = await view.head()
        if head.height < found.block.height:
            return TxStatus(TxState.PENDING)  # in a block that `scan` does not show yet
        confirmations = head.height - found.block.height + 1
        if found.valid:
            return TxStatus(TxState.INCLUDED, found.block, confirmations)
        return TxStatus(TxState.FAILED, found.block, confirmations, "the validator refused; collateral lost")
    rival = await _rival(view, tx)
    if rival is not None:
        return TxStatus(TxState.REPLACED, reason=f"{rival} spends the same output")
    known = await view.knows_transactions(tx.signed_height, account)
    return TxStatus(TxState.UNKNOWN if known else TxState.UNSURE)


async def _is_known(view: ChainView, tx: SignedTx) -> bool:
    return await view.is_waiting(tx.tx_id) or await view.inclusion(tx.tx_id) is not None


async def _rival(view: ChainView, tx: SignedTx) -> str | None:
    """Return the included transaction that spends one of this one's inputs, if any does."""
    for spent in Transaction.from_cbor(tx.raw).transaction_body.inputs:
        used_by = await view.spender((spent.transaction_id.payload.hex(), spent.index))
        if used_by not in {None, tx.tx_id}:
            return used_by
    return None
