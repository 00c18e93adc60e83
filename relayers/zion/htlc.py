"""ZION's native HTLC: lock terms as transactions and transactions as events. Pure."""

from __future__ import annotations

from typing import Any

from bridge.chains.actions import (
    ClaimAction,
    CooperativeRefundAction,
    LockAction,
    RefundAction,
    SwapAction,
    action_of,
)
from bridge.chains.errors import ActionRefusedError
from bridge.chains.port import Claimed, HtlcEvent, Locked, Refunded, UnsignedTx
from bridge.protocol.types import (
    Address,
    Amount,
    Asset,
    BlockRef,
    LockId,
    LockTerms,
    Preimage,
    Purpose,
    TxId,
    UnixSeconds,
)
from chain.rules.address import decode_address, encode_address
from chain.rules.errors import AddressError
from chain.rules.params import MAX_AMOUNT
from chain.rules.records import Kind, Transaction, Witness, lock_id
from chain.rules.types import KeyHash
from relayers.zion.settings import ZionSettings

WALLET_FORMAT = "zion-transaction"
"""Adds sender, nonce and fee, signs and sends it, as `rainbow swap` does."""

_MAX_DEADLINE = 2**64 - 1


def id_of(terms: LockTerms, settings: ZionSettings) -> bytes:
    """Return the id the chain gives a lock with these terms. Raises `ActionRefusedError` for impossible
    terms."""
    check(terms, settings)
    return lock_id(
        settings.chain_id,
        decode_address(terms.sender),
        decode_address(terms.recipient),
        terms.amount,
        terms.hashlock,
        terms.deadline,
    )


def check(terms: LockTerms, settings: ZionSettings) -> None:
    """Raise `ActionRefusedError` if no lock on this network can have these terms."""
    problem = ""
    if terms.chain != settings.chain or terms.asset.chain != settings.chain:
        problem = f"they are of {terms.chain} and {terms.asset.key}"
    elif terms.contract or terms.asset.contract:
        problem = "ZION has one asset and its HTLCs are native: no contract"
    elif not 0 < terms.amount <= MAX_AMOUNT:
        problem = f"the amount must be 1 … {MAX_AMOUNT} smallest units"
    elif len(terms.hashlock) != 32:
        problem = "a hashlock has 32 bytes"
    elif not 0 < terms.deadline <= _MAX_DEADLINE:
        problem = "the deadline must be Unix seconds"
    else:
        try:
            decode_address(terms.sender)
            decode_address(terms.recipient)
        except AddressError as error:
            problem = error.with_hint
    if problem:
        raise ActionRefusedError(
            f"no lock on {settings.chain} can have these terms: {problem}", "correct the terms"
        )


def transaction(
    action: SwapAction, settings: ZionSettings, *, sender: KeyHash, nonce: int, fee: int
) -> Transaction:
    """Return the transaction of an action, unsigned, with the preimage in the witness of a claim.

    `sender` is the key hash of who sends and pays the fee. Raises `ActionRefusedError` for a wrong preimage
    and for a lock by another than its sender.
    """
    terms = action.terms
    lock = id_of(terms, settings)
    payer, payee = decode_address(terms.sender), decode_address(terms.recipient)
    aux, hashed, deadline = b"", lock, 0
    match action:
        case LockAction():
            if sender != payer:
                raise ActionRefusedError("the lock names another sender", "a lock is made by its sender")
            kind, recipient, hashed, deadline = Kind.HTLC_LOCK, payee, terms.hashlock, terms.deadline
        case ClaimAction(preimage=preimage):
            if not preimage.opens(terms.hashlock):
                raise ActionRefusedError(
                    "the preimage does not open this lock", "use the swap's own preimage"
                )
            kind, recipient, aux = Kind.HTLC_CLAIM, payee, preimage.reveal()
        case RefundAction():
            kind, recipient = Kind.HTLC_REFUND, payer
        case CooperativeRefundAction():
            if sender != payee:
                raise ActionRefusedError("only the recipient can give a lock back", "wait for the deadline")
            kind, recipient = Kind.HTLC_COOPERATIVE_REFUND, payer
    body = Transaction(kind, settings.chain_id, nonce, terms.amount, fee, sender, recipient, hashed, deadline)
    return body.with_witness(Witness(aux=aux))


def for_wallet(
    purpose: Purpose, terms: LockTerms, preimage: Preimage | None, settings: ZionSettings, fee: int
) -> UnsignedTx:
    """Return a transaction for the user's wallet: everything but nonce and signature.

    `payload` holds kind, chain_id, amount (text), fee (text, a proposal), sender (only for a lock: any
    account may claim and refund), recipient, hash and aux (hex) and deadline; `from_payload` reads it.
    """
    if purpose not in {Purpose.LOCK, Purpose.CLAIM, Purpose.REFUND}:
        raise ActionRefusedError(f"a wallet has nothing to sign for {purpose}", "ask for another purpose")
    sender = decode_address(terms.sender)
    action = action_of(purpose, terms, preimage)
    tx = transaction(action, settings, sender=sender, nonce=0, fee=fee)
    payload: dict[str, Any] = {
        "kind": Kind(tx.kind).name.lower(),
        "chain_id": settings.chain_id,
        "amount": str(tx.amount),
        "fee": str(fee),
        "recipient": encode_address(tx.recipient),
        "hash": tx.hash.hex(),
        "deadline": tx.deadline,
        "aux": tx.witness.aux.hex(),
    }
    if purpose is Purpose.LOCK:
        payload["sender"] = terms.sender
    who = terms.sender if purpose is Purpose.REFUND else terms.recipient
    summary = f"{purpose.value} {tx.amount} × 10^-{terms.asset.decimals} {terms.asset.symbol} for {who}"
    return UnsignedTx(WALLET_FORMAT, summary, payload)


def from_payload(payload: dict[str, Any], *, sender: KeyHash, nonce: int) -> Transaction:
    """Return the transaction of a `for_wallet` payload for the account `sender` (key hash), to be signed
    with `chain.wallet.transactions.sign(key, tx, tx.witness.aux)`."""
    return Transaction(
        kind=Kind[payload["kind"].upper()],
        chain_id=payload["chain_id"],
        nonce=nonce,
        amount=int(payload["amount"]),
        fee=int(payload["fee"]),
        sender=sender,
        recipient=decode_address(payload["recipient"]),
        hash=bytes.fromhex(payload["hash"]),
        deadline=payload["deadline"],
        witness=Witness(aux=bytes.fromhex(payload["aux"])),
    )


def read_event(tx: Transaction, block: BlockRef, native: Asset) -> HtlcEvent | None:
    """Return what a transaction did to a lock of the network whose coin is `native`, None if nothing."""
    tx_id, lock = TxId(tx.txid.hex()), LockId(tx.lock_id.hex())
    match tx.kind:
        case Kind.HTLC_LOCK:
            terms = LockTerms(
                chain=native.chain,
                contract=Address(""),
                sender=Address(encode_address(tx.sender)),
                recipient=Address(encode_address(tx.recipient)),
                asset=native,
                amount=Amount(tx.amount),
                hashlock=tx.hash,
                deadline=UnixSeconds(tx.deadline),
            )
            return Locked(block, tx_id, lock, terms)
        case Kind.HTLC_CLAIM:
            # The node takes no other claim into a block; whether it opens a lock of ours is checked again.
            return Claimed(block, tx_id, lock, Preimage(tx.witness.aux))
        case Kind.HTLC_REFUND | Kind.HTLC_COOPERATIVE_REFUND:
            return Refunded(block, tx_id, lock)
    return None
