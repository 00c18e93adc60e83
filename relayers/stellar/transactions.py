"""Our own transactions on Stellar: what the node says to them, and where they are afterwards."""

from __future__ import annotations

import base64

import msgspec
from stellar_sdk import StrKey, xdr

from bridge.chains.errors import PortUnavailableError
from bridge.chains.port import BroadcastOutcome, BroadcastResult, SignedTx, TxState, TxStatus
from bridge.protocol.types import BlockRef
from relayers.stellar import recognition
from relayers.stellar.horizon import Horizon, NodeStatus, codes

QUEUE_LEDGERS = 4
"""Ledgers after which a node forgets what it passed over (TRANSACTION_QUEUE_TIMEOUT_LEDGERS)."""

_FIRST_LEDGERS = 2
"""A Horizon whose history begins with this ledger or the one before it has all of it: 1 is genesis."""


class _Acceptance(msgspec.Struct, frozen=True):
    """The newest ledger when a node took a transaction, and until when it can land."""

    block: BlockRef
    valid_until: int


class Transactions:
    """Sends signed transactions and follows them.

    Horizon does not show what is pending. What a node took from us is therefore remembered here, for as
    long as it may hold it; after a restart such a transaction is UNKNOWN until it is sent again, and the
    node says that it knows it.
    """

    def __init__(self, horizon: Horizon) -> None:
        self._horizon = horizon
        self._accepted: dict[str, _Acceptance] = {}

    async def broadcast(self, tx: SignedTx) -> BroadcastResult:
        """Hand stored bytes to the node. Safe to repeat."""
        submission = await self._horizon.submit(base64.b64encode(tx.raw).decode())
        if submission.status is NodeStatus.PENDING:
            await self._remember_accepted(tx)
            return BroadcastResult(BroadcastOutcome.ACCEPTED)
        if submission.status is NodeStatus.DUPLICATE:
            if tx.tx_id not in self._accepted:
                await self._remember_accepted(tx)
            return BroadcastResult(BroadcastOutcome.ALREADY_KNOWN)
        if await self._horizon.transaction(tx.tx_id) is not None:
            return BroadcastResult(BroadcastOutcome.ALREADY_KNOWN, "it is in a ledger")
        if await self._sequence_used(tx):
            return BroadcastResult(BroadcastOutcome.SEQUENCE_USED, "another transaction used its sequence")
        if tx.valid_until_time is not None and (await self._horizon.tip()).time > tx.valid_until_time:
            return BroadcastResult(BroadcastOutcome.REJECTED, "its time is over, it can never land")
        if submission.status is NodeStatus.TRY_AGAIN_LATER:
            return BroadcastResult(BroadcastOutcome.LATER, "its account has another one pending")
        reason = " ".join(submission.codes)
        if "txINSUFFICIENT_FEE" in submission.codes:
            return BroadcastResult(BroadcastOutcome.UNDERPRICED, reason)
        if "txBAD_SEQ" in submission.codes:
            return BroadcastResult(BroadcastOutcome.LATER, "an earlier sequence has not landed yet")
        return BroadcastResult(BroadcastOutcome.REJECTED, reason)

    async def status(self, tx: SignedTx) -> TxStatus:
        """Tell where a transaction is."""
        # First the sequence, then the transaction: one that lands in between is seen, not taken for replaced.
        used = await self._sequence_used(tx)
        record = await self._horizon.transaction(tx.tx_id)
        tip = await self._horizon.tip()
        if record is not None:
            block = await self._horizon.ledger(record["ledger"])
            if block is None or tip.block.height < block.height:
                raise PortUnavailableError("Horizon moved while it was read", "try again")
            self._accepted.pop(tx.tx_id, None)
            state = TxState.INCLUDED if record["successful"] else TxState.FAILED
            reason = "" if record["successful"] else " ".join(codes(record["result_xdr"]))
            return TxStatus(state, block, tip.block.height - block.height + 1, reason)
        if not used and await self._is_pending(tx, tip.block):
            return TxStatus(TxState.PENDING)
        self._accepted.pop(tx.tx_id, None)
        elder = await self._horizon.elder_ledger()
        if elder > (_FIRST_LEDGERS if tx.signed_height is None else tx.signed_height + 1):
            return TxStatus(TxState.UNSURE, reason=f"this Horizon's history begins with ledger {elder}")
        if used:
            return TxStatus(
                TxState.REPLACED, reason=f"sequence {tx.sequence} was used by another transaction"
            )
        expired = tx.valid_until_time is not None and tip.time > tx.valid_until_time
        return TxStatus(TxState.UNKNOWN, reason="its time is over, it can never land" if expired else "")

    async def _remember_accepted(self, tx: SignedTx) -> None:
        tip = await self._horizon.tip()
        for tx_id, noted in list(self._accepted.items()):
            if tip.time > noted.valid_until:
                del self._accepted[tx_id]
        self._accepted[tx.tx_id] = _Acceptance(tip.block, tx.valid_until_time or tip.time)

    async def _is_pending(self, tx: SignedTx, head: BlockRef) -> bool:
        noted = self._accepted.get(tx.tx_id)
        if (
            noted is None
            or head.time > noted.valid_until
            or head.height >= noted.block.height + QUEUE_LEDGERS
        ):
            return False
        then = await self._horizon.ledger(noted.block.height)
        return then is not None and then.id == noted.block.id

    async def _sequence_used(self, tx: SignedTx) -> bool:
        source, sequence = source_of(tx)
        account = await self._horizon.account(source)
        if account is None:
            # A gate that is gone was closed by another transaction; our own accounts are never gone.
            return tx.sequence is None
        return int(account["sequence"]) >= sequence


def source_of(tx: SignedTx) -> tuple[str, int]:
    """Return the account whose sequence a signed transaction uses, and that sequence."""
    inner = recognition.inner_transaction(xdr.TransactionEnvelope.from_xdr_bytes(tx.raw))
    if not isinstance(inner, xdr.Transaction) or inner.source_account.ed25519 is None:
        raise ValueError("not a transaction of ours")
    source = StrKey.encode_ed25519_public_key(inner.source_account.ed25519.uint256)
    return source, inner.seq_num.sequence_number.int64
