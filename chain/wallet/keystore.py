"""The encrypted keystore: Ethereum's web3 version 3 format by eth-keyfile, with the ZION address in it.

scrypt, AES-128-CTR, keccak MAC. The MAC does not cover the address: that is a label which anybody who can
write to the file can change. The key itself says its address, once the password has been given. eth-keyfile
takes a second to import and (by py_ecc) raises Python's recursion limit so far that deeply nested JSON can
overflow the C stack: it is imported only when used.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

from chain.rules.errors import WalletError
from chain.wallet.keys import Key

SCRYPT_WORK = 2**18


def save_keystore(key: Key, path: Path, password: str, *, work: int | None = None) -> None:
    """Write an encrypted keystore, readable only by its owner; an existing file is never overwritten.

    Raises `WalletError` for an empty password.
    """
    if not password:
        raise WalletError("the password is empty", hint="an empty password protects nothing: choose one")
    from eth_keyfile.keyfile import create_keyfile_json

    data = create_keyfile_json(key.secret, password.encode(), kdf="scrypt", iterations=work or SCRYPT_WORK)
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
    """Read an encrypted keystore. Raises `WalletError`, also when the file names another key's address."""
    from eth_keyfile.keyfile import decode_keyfile_json

    data = _read(path)
    try:
        key = Key.from_secret(bytes(decode_keyfile_json(data, password.encode())))
    except ValueError:
        raise WalletError(f"wrong password for {path}", hint="or the file is damaged") from None
    except (KeyError, TypeError, NotImplementedError):
        raise WalletError(f"{path} is not a version 3 keystore", hint="make one with: wallet new") from None
    if data.get("address") != key.address:
        raise WalletError(
            f"{path} names another address than its key has",
            hint="somebody changed the file: do not give its address to anybody; restore it from a backup",
        )
    return key


def keystore_address(path: Path) -> str:
    """Return the address that a keystore names. Nothing vouches for it: `load_keystore` compares it."""
    address = _read(path).get("address")
    if not isinstance(address, str):
        raise WalletError(f"{path} does not name an address")
    return address


def _read(path: Path) -> dict[str, object]:
    try:
        data = json.loads(path.read_text())
    except FileNotFoundError:
        raise WalletError(f"{path} does not exist", hint="make one with: wallet new") from None
    except (OSError, ValueError) as error:
        raise WalletError(f"{path} cannot be read: {type(error).__name__}") from None
    if not isinstance(data, dict):
        raise WalletError(f"{path} is not a keystore")
    return data
