"""Building and signing every kind of transaction, offline. `chain.wallet.keystore` keeps the keys."""

from __future__ import annotations

from chain.rules.address import encode_address
from chain.rules.errors import WalletError
from chain.rules.hashing import sha256
from chain.rules.params import NetworkParams
from chain.rules.records import MAX_PREIMAGE_BYTES, ZERO20, Kind, Transaction, Witness, consent_digest
from chain.rules.types import KeyHash, LockId
from chain.wallet.keys import Key


def sign(key: Key, tx: Transaction, aux: bytes = b"") -> Transaction:
    """Sign a body whose sender is `key`, with `aux` in its witness."""
    if tx.sender != key.key_hash:
        raise WalletError(
            f"the sender is {encode_address(tx.sender)}, the key is {key.address}'s", hint="use its key"
        )
    return tx.with_witness(Witness(key.sign(tx.txid), key.public_key, aux))


def build_transfer(
    key: Key, params: NetworkParams, *, nonce: int, recipient: KeyHash, amount: int, fee: int
) -> Transaction:
    """Send `amount` (smallest units) to a key hash."""
    return sign(key, Transaction(Kind.TRANSFER, params.chain_id, nonce, amount, fee, key.key_hash, recipient))


def build_lock(
    key: Key,
    params: NetworkParams,
    *,
    nonce: int,
    recipient: KeyHash,
    amount: int,
    hashlock: bytes,
    deadline: int,
    fee: int,
) -> Transaction:
    """Lock `amount` for `recipient` under a SHA-256 hashlock until `deadline` (Unix seconds).

    The lock's id is the transaction's `lock_id`; it does not depend on nonce and fee.
    """
    return sign(
        key,
        Transaction(
            Kind.HTLC_LOCK, params.chain_id, nonce, amount, fee, key.key_hash, recipient, hashlock, deadline
        ),
    )


def build_claim(
    key: Key,
    params: NetworkParams,
    *,
    nonce: int,
    lock_id: LockId,
    recipient: KeyHash,
    amount: int,
    preimage: bytes,
    fee: int,
) -> Transaction:
    """Claim a lock with its preimage (0–64 bytes), paying `recipient`, who must be the lock's.

    `key` pays the fee. When it is the recipient's own, the fee may come out of the claimed amount: an account
    with nothing can claim, and anybody can submit its bytes.
    """
    if len(preimage) > MAX_PREIMAGE_BYTES:
        raise WalletError(f"a preimage has at most {MAX_PREIMAGE_BYTES} bytes, not {len(preimage)}")
    body = Transaction(Kind.HTLC_CLAIM, params.chain_id, nonce, amount, fee, key.key_hash, recipient, lock_id)
    return sign(key, body, preimage)


def build_refund(
    key: Key, params: NetworkParams, *, nonce: int, lock_id: LockId, sender: KeyHash, amount: int, fee: int
) -> Transaction:
    """Return a lock past its deadline to `sender`, who must be the lock's. `key` pays the fee."""
    return sign(
        key,
        Transaction(Kind.HTLC_REFUND, params.chain_id, nonce, amount, fee, key.key_hash, sender, lock_id),
    )


def consent_to_refund(key: Key, lock_id: LockId) -> bytes:
    """Consent, as a lock's recipient, to its refund at once: 97 bytes for `build_cooperative_refund`."""
    return key.sign(consent_digest(lock_id)) + key.public_key


def build_cooperative_refund(
    key: Key,
    params: NetworkParams,
    *,
    nonce: int,
    lock_id: LockId,
    sender: KeyHash,
    amount: int,
    fee: int,
    consent: bytes = b"",
) -> Transaction:
    """Return a lock to `sender` before its deadline. `key` pays the fee.

    `consent` is the recipient's (`consent_to_refund`); not needed when `key` is the recipient's.
    """
    body = Transaction(
        Kind.HTLC_COOPERATIVE_REFUND, params.chain_id, nonce, amount, fee, key.key_hash, sender, lock_id
    )
    return sign(key, body, consent)


def build_anchor(
    key: Key, params: NetworkParams, *, nonce: int, root: bytes, tree_size: int, fee: int
) -> Transaction:
    """Anchor the root of a transparency log of `tree_size` entries. No coins move but the fee."""
    return sign(
        key, Transaction(Kind.ANCHOR, params.chain_id, nonce, tree_size, fee, key.key_hash, ZERO20, root)
    )


def hashlock_of(preimage: bytes) -> bytes:
    """Return SHA-256 of a preimage."""
    return sha256(preimage)
