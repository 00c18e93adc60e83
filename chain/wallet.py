"""Building and signing every kind of transaction offline, and the encrypted keystore.

The keystore is Ethereum's web3 version 3 format (scrypt, AES-128-CTR, keccak MAC) by eth-keyfile, with the
ZION address in it.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

from eth_keyfile.keyfile import create_keyfile_json, decode_keyfile_json

from chain.address import encode_address
from chain.errors import WalletError
from chain.hashing import sha256
from chain.keys import Key
from chain.params import NetworkParams
from chain.records import (
    MAX_PREIMAGE_BYTES,
    ZERO20,
    Kind,
    Transaction,
    Witness,
    consent_digest,
)

SCRYPT_WORK = 2**18


def sign(key: Key, tx: Transaction, aux: bytes = b"") -> Transaction:
    """Sign a body whose sender is `key`, with `aux` in its witness."""
    if tx.sender != key.key_hash:
        raise WalletError(
            f"the sender is {encode_address(tx.sender)}, the key is {key.address}'s", hint="use its key"
        )
    return tx.with_witness(Witness(key.sign(tx.txid), key.public_key, aux))


def build_transfer(
    key: Key, params: NetworkParams, *, nonce: int, recipient: bytes, amount: int, fee: int
) -> Transaction:
    """Send `amount` (smallest units) to a key hash."""
    return sign(key, Transaction(Kind.TRANSFER, params.chain_id, nonce, amount, fee, key.key_hash, recipient))


def build_lock(
    key: Key,
    params: NetworkParams,
    *,
    nonce: int,
    recipient: bytes,
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
    lock_id: bytes,
    recipient: bytes,
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
    key: Key, params: NetworkParams, *, nonce: int, lock_id: bytes, sender: bytes, amount: int, fee: int
) -> Transaction:
    """Return a lock past its deadline to `sender`, who must be the lock's. `key` pays the fee."""
    return sign(
        key,
        Transaction(Kind.HTLC_REFUND, params.chain_id, nonce, amount, fee, key.key_hash, sender, lock_id),
    )


def consent_to_refund(key: Key, lock_id: bytes) -> bytes:
    """Consent, as a lock's recipient, to its refund at once: 97 bytes for `build_cooperative_refund`."""
    return key.sign(consent_digest(lock_id)) + key.public_key


def build_cooperative_refund(
    key: Key,
    params: NetworkParams,
    *,
    nonce: int,
    lock_id: bytes,
    sender: bytes,
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


def save_keystore(key: Key, path: Path, password: str, *, work: int = SCRYPT_WORK) -> None:
    """Write an encrypted keystore, readable by its owner alone; an existing file is never overwritten."""
    data = create_keyfile_json(key.secret, password.encode(), kdf="scrypt", iterations=work)
    data["address"] = key.address
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        raise WalletError(f"{path} exists", hint="choose another file: keys are never overwritten") from None
    with os.fdopen(descriptor, "w") as file:
        json.dump(data, file, indent=2)
        file.flush()
        os.fsync(file.fileno())


def load_keystore(path: Path, password: str) -> Key:
    """Read an encrypted keystore. Raises `WalletError`."""
    data = _read(path)
    try:
        return Key.from_secret(bytes(decode_keyfile_json(data, password.encode())))
    except ValueError:
        raise WalletError(f"wrong password for {path}", hint="or the file is damaged") from None
    except (KeyError, TypeError, NotImplementedError):
        raise WalletError(f"{path} is no version 3 keystore", hint="make one with: wallet new") from None


def keystore_address(path: Path) -> str:
    """Return the address that a keystore names, without its password."""
    address = _read(path).get("address")
    if not isinstance(address, str):
        raise WalletError(f"{path} names no address")
    return address


def _read(path: Path) -> dict[str, object]:
    try:
        data = json.loads(path.read_text())
    except FileNotFoundError:
        raise WalletError(f"{path} does not exist", hint="make one with: wallet new") from None
    except (OSError, ValueError) as error:
        raise WalletError(f"{path} cannot be read: {type(error).__name__}") from None
    if not isinstance(data, dict):
        raise WalletError(f"{path} is no keystore")
    return data
