"""ZION's native HTLC: lock terms as transactions and transactions as events. Pure."""

from __future__ import annotations

from typing import Any

from bridge.chains.port import ActionRefused, Claimed, HtlcEvent, Locked, Refunded, UnsignedTx
from bridge.protocol import instances
from bridge.protocol.types import BlockRef, LockTerms, Preimage, Purpose
from chain.rules.address import decode_address, encode_address
from chain.rules.errors import AddressError
from chain.rules.params import MAX_AMOUNT
from chain.rules.records import Kind, Transaction, Witness, lock_id
from relayers.zion.settings import ZION

WALLET_FORMAT = "zion-transaction"

_MAX_DEADLINE = 2**64 - 1


def id_of(terms: LockTerms, chain_id: int) -> bytes:
    """Return the id the chain gives a lock with these terms. Raises `ActionRefused` for impossible terms."""
    check(terms)
    return lock_id(
        chain_id,
        decode_address(terms.sender),
        decode_address(terms.recipient),
        terms.amount,
        terms.hashlock,
        terms.deadline,
    )


def check(terms: LockTerms) -> None:
    """Raise `ActionRefused` if no lock on ZION can have these terms."""
    problem = ""
    if terms.chain != instances.ZION or terms.contract or terms.asset.contract:
        problem = "ZION has one asset and its HTLCs are native: chain zion, no contract"
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
        raise ActionRefused(f"no lock on ZION can have these terms: {problem}", "correct the terms")


def transaction(
    purpose: Purpose,
    terms: LockTerms,
    preimage: Preimage | None,
    *,
    chain_id: int,
    sender: bytes,
    nonce: int,
    fee: int,
) -> Transaction:
    """Return the transaction of `purpose`, unsigned, with the preimage in the witness of a claim.

    `sender` is the key hash of who sends and pays the fee. Raises `ActionRefused` for a wrong preimage, a
    purpose that is none of the HTLC's, and a lock by another than its sender.
    """
    lock = id_of(terms, chain_id)
    payer, payee = decode_address(terms.sender), decode_address(terms.recipient)
    aux, hashed, deadline = b"", lock, 0
    match purpose:
        case Purpose.LOCK:
            if sender != payer:
                raise ActionRefused("the lock names another sender", "a lock is made by its sender")
            kind, recipient, hashed, deadline = Kind.HTLC_LOCK, payee, terms.hashlock, terms.deadline
        case Purpose.CLAIM:
            if preimage is None or not preimage.opens(terms.hashlock):
                raise ActionRefused("the preimage does not open this lock", "use the swap's own preimage")
            kind, recipient, aux = Kind.HTLC_CLAIM, payee, preimage.reveal()
        case Purpose.REFUND:
            kind, recipient = Kind.HTLC_REFUND, payer
        case Purpose.COOPERATIVE_REFUND:
            if sender != payee:
                raise ActionRefused("only the recipient can give a lock back", "wait for the deadline")
            kind, recipient = Kind.HTLC_COOPERATIVE_REFUND, payer
        case _:
            raise ActionRefused(f"{purpose} is no purpose of an HTLC", "this is a mistake in the caller")
    body = Transaction(kind, chain_id, nonce, terms.amount, fee, sender, recipient, hashed, deadline)
    return body.with_witness(Witness(aux=aux))


def for_wallet(
    purpose: Purpose, terms: LockTerms, preimage: Preimage | None, chain_id: int, fee: int
) -> UnsignedTx:
    """Return a transaction for the user's wallet: everything but nonce and signature.

    `payload` holds kind, chain_id, amount (text), fee (text, a proposal), sender (only for a lock: any
    account may claim and refund), recipient, hash and aux (hex) and deadline; `from_payload` reads it.
    """
    if purpose not in {Purpose.LOCK, Purpose.CLAIM, Purpose.REFUND}:
        raise ActionRefused(f"a wallet has nothing to sign for {purpose}", "ask for another purpose")
    sender = decode_address(terms.sender)
    tx = transaction(purpose, terms, preimage, chain_id=chain_id, sender=sender, nonce=0, fee=fee)
    payload: dict[str, Any] = {
        "kind": Kind(tx.kind).name.lower(),
        "chain_id": chain_id,
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
    summary = f"{purpose.value} {tx.amount} × 10^-{ZION.decimals} ZION for {who}"
    return UnsignedTx(WALLET_FORMAT, summary, payload)


def from_payload(payload: dict[str, Any], *, sender: bytes, nonce: int) -> Transaction:
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


def read_event(tx: Transaction, block: BlockRef) -> HtlcEvent | None:
    """Return what a transaction did to a lock, None if nothing."""
    tx_id, lock = tx.txid.hex(), tx.lock_id.hex()
    match tx.kind:
        case Kind.HTLC_LOCK:
            terms = LockTerms(
                chain=instances.ZION,
                contract="",
                sender=encode_address(tx.sender),
                recipient=encode_address(tx.recipient),
                asset=ZION,
                amount=tx.amount,
                hashlock=tx.hash,
                deadline=tx.deadline,
            )
            return Locked(block, tx_id, lock, terms)
        case Kind.HTLC_CLAIM:
            return Claimed(block, tx_id, lock, Preimage(tx.witness.aux))
        case Kind.HTLC_REFUND | Kind.HTLC_COOPERATIVE_REFUND:
            return Refunded(block, tx_id, lock)
    return None
