"""Our own transactions on Stellar: what nodes say to them, and where they are afterwards."""

from __future__ import annotations

import base64

import msgspec
from stellar_sdk import StrKey, xdr

from bridge.chains.endpoints.answers import Answer
from bridge.chains.endpoints.json_rpc import OneEndpoint, RpcError
from bridge.chains.port import BroadcastOutcome, BroadcastResult, SignedTx, TxState, TxStatus
from bridge.protocol.types import BlockRef
from relayers.stellar.accounts import read_holder
from relayers.stellar.ledgers import (
    UNREADABLE,
    ChainMovedError,
    history_of,
    read_ledgers,
    read_tip,
)
from relayers.stellar.reading import inner_envelope
from relayers.stellar.rpc import ask

QUEUE_LEDGERS = 4
"""Ledgers after which a node forgets what it passed over (TRANSACTION_QUEUE_TIMEOUT_LEDGERS)."""


class _Acceptance(msgspec.Struct, frozen=True):
    """The newest ledger when a node took a transaction, and until when it can land."""

    block: BlockRef
    valid_until: int


class Transactions:
    """Sends signed transactions and follows them.

    Nobody shows what is pending. What a node took from us is therefore remembered here, for as long as it
    may hold it; after a restart such a transaction is UNKNOWN until it is sent again, and the node says that
    it knows it.
    """

    def __init__(self) -> None:
        self._accepted: dict[str, _Acceptance] = {}

    async def send(self, one: OneEndpoint, tx: SignedTx) -> BroadcastResult:
        """Hand stored bytes to one node. Safe to repeat."""
        try:
            answer = await ask(one, "sendTransaction", transaction=base64.b64encode(tx.raw).decode())
        except RpcError as error:
            if error.kind is Answer.REFUSED:
                return BroadcastResult(BroadcastOutcome.REJECTED, "the node cannot read it")
            raise
        status = str(answer["status"])
        if status == "PENDING":
            await self._remember(one, tx)
            return BroadcastResult(BroadcastOutcome.ACCEPTED)
        if status == "DUPLICATE":
            if tx.tx_id not in self._accepted:
                await self._remember(one, tx)
            return BroadcastResult(BroadcastOutcome.ALREADY_KNOWN)
        found = await ask(one, "getTransaction", hash=tx.tx_id)
        if found["status"] in {"SUCCESS", "FAILED"}:
            return BroadcastResult(BroadcastOutcome.ALREADY_KNOWN, "it is in a ledger")
        source, sequence = source_of(tx)
        used = (await read_holder(one, source)).sequence
        if used is not None and used >= sequence:
            return BroadcastResult(BroadcastOutcome.SEQUENCE_USED, "another transaction used its sequence")
        tip, _ = await read_tip(one)
        if tx.valid_until_time is not None and tip.time > tx.valid_until_time:
            return BroadcastResult(BroadcastOutcome.REJECTED, "its time is over, it can never land")
        if status == "TRY_AGAIN_LATER":
            return BroadcastResult(BroadcastOutcome.LATER, "the node does not take it yet")
        code = _code(answer.get("errorResultXdr"))
        match code:
            case "txINSUFFICIENT_FEE":
                return BroadcastResult(BroadcastOutcome.UNDERPRICED, code)
            case "txBAD_SEQ":
                return BroadcastResult(BroadcastOutcome.LATER, "an earlier sequence has not landed yet")
        return BroadcastResult(BroadcastOutcome.REJECTED, code)

    async def status(self, one: OneEndpoint, tx: SignedTx) -> TxStatus:
        """Tell where a transaction is."""
        # First the sequence, then the transaction: one that lands in between is seen, not taken for replaced.
        source, sequence = source_of(tx)
        holder = await read_holder(one, source)
        used = holder.sequence is not None and holder.sequence >= sequence
        answer = await ask(one, "getTransaction", hash=tx.tx_id)
        history = history_of(answer)
        tip, _ = await read_tip(one)
        if answer["status"] in {"SUCCESS", "FAILED"}:
            (ledger,) = await read_ledgers(one, int(answer["ledger"]), int(answer["ledger"]))
            block = ledger.block
            if tip.block.height < block.height:
                raise ChainMovedError
            self._accepted.pop(tx.tx_id, None)
            code = _code(answer.get("resultXdr"))
            succeeded = answer["status"] == "SUCCESS"
            return TxStatus(
                TxState.INCLUDED if succeeded else TxState.FAILED,
                block,
                tip.block.height - block.height + 1,
                "" if succeeded else code,
            )
        if not used and await self._is_pending(one, tx, tip.block):
            return TxStatus(TxState.PENDING)
        if history.latest < holder.modified:
            # State comes from the ledger, transactions from the RPC's own store, which may be one behind.
            raise ChainMovedError
        self._accepted.pop(tx.tx_id, None)
        if not history.covers(2 if tx.signed_height is None else tx.signed_height + 1):
            return TxStatus(
                TxState.UNSURE, reason=f"this endpoint's history begins with ledger {history.oldest}"
            )
        if used:
            return TxStatus(
                TxState.REPLACED, reason=f"sequence {tx.sequence} was used by another transaction"
            )
        expired = tx.valid_until_time is not None and tip.time > tx.valid_until_time
        return TxStatus(TxState.UNKNOWN, reason="its time is over, it can never land" if expired else "")

    async def _remember(self, one: OneEndpoint, tx: SignedTx) -> None:
        tip, _ = await read_tip(one)
        for tx_id, noted in list(self._accepted.items()):
            if tip.time > noted.valid_until:
                del self._accepted[tx_id]
        self._accepted[tx.tx_id] = _Acceptance(tip.block, tx.valid_until_time or tip.time)

    async def _is_pending(self, one: OneEndpoint, tx: SignedTx, head: BlockRef) -> bool:
        noted = self._accepted.get(tx.tx_id)
        if (
            noted is None
            or head.time > noted.valid_until
            or not noted.block.height <= head.height < noted.block.height + QUEUE_LEDGERS
        ):
            return False
        (then,) = await read_ledgers(one, noted.block.height, noted.block.height)
        return then.block.id == noted.block.id


def source_of(tx: SignedTx) -> tuple[str, int]:
    """Return the account whose sequence a signed transaction uses, and that sequence."""
    inner = inner_envelope(xdr.TransactionEnvelope.from_xdr_bytes(tx.raw))
    if inner is None or inner.tx.source_account.ed25519 is None:
        raise ValueError("not a transaction of ours")
    source = StrKey.encode_ed25519_public_key(inner.tx.source_account.ed25519.uint256)
    return source, int(inner.tx.seq_num.sequence_number.int64)


def _code(result: object) -> str:
    """Return the ledger's words for a result: of the transaction, else of its operation."""
    if not isinstance(result, str) or not result:
        return "no reason given"
    try:
        read = xdr.TransactionResult.from_xdr(result)
    except UNREADABLE:
        return "a result that this software does not know"
    outcome = read.result
    code, results = outcome.code, outcome.results
    if outcome.inner_result_pair is not None:
        inner = outcome.inner_result_pair.result.result
        code, results = inner.code, inner.results
    for each in results or ():
        invoked = each.tr.invoke_host_function_result if each.tr is not None else None
        if invoked is not None:
            return f"{code.name} {invoked.code.name}"
    return str(code.name)
