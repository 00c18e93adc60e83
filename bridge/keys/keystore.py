"""Secret keys at rest: encrypted keystore files, and the passwords that open them.

The files are Web3 Secret Storage v3 (scrypt + AES-128-CTR), as geth, web3 and wallets read it. Every
chain's key is 32 bytes, so one format is enough; an extra member `rainbow`, which other software ignores,
says what the key is for and on which network.

Keys of development networks are derived from published labels (`devnet_key`). They are marked, recognised
by their bytes too, and refused on every other network.
"""

from __future__ import annotations

import getpass
import hmac
import json
import os
import secrets
import stat
import sys
from collections.abc import Callable, Mapping
from functools import cache
from importlib.metadata import entry_points
from pathlib import Path
from types import ModuleType
from typing import Any

import msgspec

from bridge.keys import devkeys
from kernels.errors import RainbowError

SECRET_BYTES = 32
SECP256K1_ORDER = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141
"""The order of the curve's group (SEC 2, section 2.4.1): a private key is below it."""
SCRYPT_N = 262_144
"""geth's standard cost: about a second and 256 MiB for each guess."""
SCRYPT_N_LIGHT = 4_096
"""geth's light cost: for development networks and tests only."""

PASSWORD_VARIABLE = "RAINBOW_KEYSTORE_PASSWORD"  # noqa: S105 - the variable's name, not a password
PASSWORD_FILE_VARIABLE = "RAINBOW_KEYSTORE_PASSWORD_FILE"  # noqa: S105
DEFAULT_PASSWORD_HINT = (
    f"set {PASSWORD_VARIABLE} or {PASSWORD_FILE_VARIABLE} to the password chosen at `rainbow init`"
)

DEV_NETWORK = "dev"
CHAIN_ROLES = (
    "bridge",
    "user",
    "treasury",
    "miner",
    "program",
    "issuer",
    "demo token",
    "token policy",
    "reference script",
)
"""What the published keys of a local chain are for: they are named `<chain>/<role>`."""
CHAINLESS_NAMES = ("quotes/signer", "secrets/storage")


@cache
def published_names(chains: tuple[str, ...] = ()) -> tuple[str, ...]:
    """Return the names of all published keys: of chains with these names, of chains called like an installed
    family, and of those that belong to no chain."""
    families = (point.name for point in entry_points(group="rainbow.chains"))
    every = dict.fromkeys((*chains, *families))
    return (*(f"{chain}/{role}" for chain in every for role in CHAIN_ROLES), *CHAINLESS_NAMES)


_PUBLIC_TEST_ADDRESSES = frozenset(
    {
        "0xf39fd6e51aad88f6f4ce6ab8827279cfffb92266",
        "0x70997970c51812dc3a010c7d01b50e0d17dc79c8",
        "0x3c44cdddb6a900fa2b585dd299e03d12fa4293bc",
        "0x90f79bf6eb2c4f870365e785982e1f101e93b906",
        "0x15d34aaf54267db7d7c367839aaf71a00a2c6a65",
        "0x9965507d1a55bcc2695c58ba16fb37d819b0a4dc",
        "0x976ea74026e726554db657fa54763abd0c3a0aa9",
        "0x14dc79964da2c08b23698b3d3cc7ca32193d9955",
        "0x23618e81e3f5cdf7f54c3d65f7fbc0abf5b21e8f",
        "0xa0ee7a142d267c1f36714e4a8f75612f20a79720",
    }
)
"""The accounts of the "test test … junk" mnemonic that anvil and Hardhat print at start-up."""


class KeystoreError(RainbowError):
    """A keystore or its password cannot be used. `hint` says what to do; no secret is ever part of it."""

    exit_code = 3


class SecretKey:
    """32 secret bytes that are never shown; only `reveal()` returns them."""

    __slots__ = ("_value",)

    def __init__(self, value: bytes) -> None:
        if len(value) != SECRET_BYTES:
            raise ValueError(f"a secret key has {SECRET_BYTES} bytes")
        self._value = bytes(value)

    @classmethod
    def generate(cls) -> SecretKey:
        """Make a new key from the system's random source, valid on secp256k1."""
        while True:
            value = secrets.token_bytes(SECRET_BYTES)
            if 0 < int.from_bytes(value, "big") < SECP256K1_ORDER:
                return cls(value)

    def reveal(self) -> bytes:
        """Return the secret bytes. Call it only to sign, to derive an address or to encrypt."""
        return self._value

    def __repr__(self) -> str:
        return "SecretKey(<redacted>)"

    __str__ = __repr__

    def __eq__(self, other: object) -> bool:
        return isinstance(other, SecretKey) and hmac.compare_digest(self._value, other._value)

    def __hash__(self) -> int:
        return hash(("SecretKey", self._value))

    def __reduce__(self) -> Any:
        raise TypeError("a secret key is not pickled: store it with bridge.keys.keystore.write")


class KeyLabel(msgspec.Struct, frozen=True):
    """What a keystore file says about its key without a password.

    `use` is `chain/role` (or `quotes/signer`, `secrets/storage`), `network` is dev, test or main,
    `address` the chain's text form ("" for keys that have none), `devnet` marks a published key.
    """

    use: str
    network: str
    address: str = ""
    devnet: bool = False


def devnet_key(name: str) -> SecretKey:
    """Return the published development key `name` of `bridge.keys.devkeys`."""
    return SecretKey(devkeys.devnet_key(name))


def is_published(key: SecretKey, chains: tuple[str, ...] = ()) -> bool:
    """Return whether this key is published: one of the devnets' or of anvil's."""
    if any(key == devnet_key(name) for name in published_names(chains)):
        return True
    from eth_keys.datatypes import PrivateKey  # a third of a second, for which most commands need not wait

    return PrivateKey(key.reveal()).public_key.to_address() in _PUBLIC_TEST_ADDRESSES


def refuse_published(key: SecretKey, network: str, chains: tuple[str, ...] = ()) -> None:
    """Raise `KeystoreError` for a published key on a real network. `chains` are the configured names."""
    if network != DEV_NETWORK and is_published(key, chains):
        raise KeystoreError(
            f"this is a published development key; it is refused on network {network!r}",
            "make a real key: rainbow init --network " + network,
        )


def write(path: Path, key: SecretKey, password: str, label: KeyLabel, *, light: bool = False) -> None:
    """Encrypt `key` into a new file readable by its owner alone. Never overwrites.

    `light` lowers the scrypt cost and is accepted on the development network only.
    """
    if light and label.network != DEV_NETWORK:
        raise KeystoreError("light scrypt is for development networks", "leave `light` out")
    if not password and label.network != DEV_NETWORK:
        raise KeystoreError("the password is empty", "choose a password")
    refuse_published(key, label.network)
    document = _v3().create_keyfile_json(
        key.reveal(),
        password.encode(),
        kdf="scrypt",
        iterations=SCRYPT_N_LIGHT if light else SCRYPT_N,
    )
    # Optional in v3; the address that the library puts there would be wrong for another chain's key.
    document.pop("address", None)
    if label.address:
        document["address"] = label.address.removeprefix("0x")
    document["rainbow"] = msgspec.to_builtins(label)
    path.parent.mkdir(parents=True, exist_ok=True)
    _write_private(path, json.dumps(document, indent=2).encode() + b"\n")


def read_label(path: Path) -> KeyLabel:
    """Return the file's label; needs no password. Other software's v3 files give an empty label."""
    document = _read_document(path)
    label = document.get("rainbow")
    if label is None:
        address = str(document.get("address", ""))
        return KeyLabel(use="", network="", address=address and "0x" + address.removeprefix("0x"))
    try:
        return msgspec.convert(label, KeyLabel)
    except msgspec.ValidationError as error:
        raise KeystoreError(
            f"{path}: the `rainbow` member is not understood: {error}", "restore the file from a backup"
        ) from None


def load(
    path: Path,
    password: str,
    network: str,
    chains: tuple[str, ...] = (),
    *,
    password_hint: str = DEFAULT_PASSWORD_HINT,
) -> SecretKey:
    """Open a keystore file for use on `network`; `chains` are the configured names.

    `password_hint` is the hint for a wrong password.

    Raises `KeystoreError` when the file is missing, open to others, damaged, labelled for another
    network, published (on a real network), or when the password is wrong.
    """
    check_private(path)
    label = read_label(path)
    if label.network and label.network != network:
        raise KeystoreError(
            f"{path} holds a key for network {label.network!r}, but the configuration says {network!r}",
            "point `keystore` at the right file, or correct `network`",
        )
    document = _read_document(path)
    try:
        secret = _v3().decode_keyfile_json(document, password.encode())
    except ValueError:
        raise KeystoreError(
            f"the password does not open {path}",
            password_hint,
        ) from None
    except (KeyError, TypeError, AttributeError) as error:
        raise KeystoreError(
            f"{path} is not a v3 keystore ({type(error).__name__})", "restore the file from a backup"
        ) from None
    key = SecretKey(secret)
    if label.devnet and network != DEV_NETWORK:
        raise KeystoreError(f"{path} is marked as a devnet key", "make a real key: rainbow init")
    refuse_published(key, network, chains)
    return key


def check_private(path: Path, missing_hint: str = "run `rainbow init`, or correct the path") -> None:
    """Raise `KeystoreError` unless `path` is a regular file that only its owner can read or write."""
    try:
        status = path.stat()
    except OSError as error:
        raise KeystoreError(f"cannot read {path}: {error.strerror}", missing_hint) from None
    if not stat.S_ISREG(status.st_mode):
        raise KeystoreError(f"{path} is not a regular file", "correct the path")
    if os.name == "posix" and stat.S_IMODE(status.st_mode) & 0o077:
        raise KeystoreError(
            f"{path} is open to other users (mode {stat.S_IMODE(status.st_mode):04o})",
            f"chmod 600 {path}",
        )


def find_password(
    password_file: Path | None = None,
    *,
    environment: Mapping[str, str] | None = None,
    prompt: Callable[[str], str] | None = None,
) -> str:
    """Return the keystore password: environment, then a password file, then a prompt on a terminal.

    The file is `$RAINBOW_KEYSTORE_PASSWORD_FILE` or else `password_file`; it must be private, and its
    first line counts. Raises `KeystoreError` when there is none.
    """
    environment = os.environ if environment is None else environment
    if PASSWORD_VARIABLE in environment:
        return environment[PASSWORD_VARIABLE]
    named = environment.get(PASSWORD_FILE_VARIABLE)
    path = Path(named) if named else password_file
    if path is not None:
        check_private(path)
        lines = path.read_text().splitlines()
        if not lines:
            raise KeystoreError(f"{path} is empty", "its first line is the keystore password")
        return lines[0]
    if prompt is None and sys.stdin.isatty():
        prompt = getpass.getpass
    if prompt is None:
        raise KeystoreError(
            "no keystore password",
            f"set {PASSWORD_VARIABLE}, or {PASSWORD_FILE_VARIABLE} to a private file that holds it",
        )
    return prompt("Keystore password: ")


def _v3() -> ModuleType:
    """Return the library of v3 keystores, imported only where a file is opened or written.

    It brings py_ecc for BLS keys, which we never have: that takes more than a second, and raises the
    recursion limit of the whole process to 100,000.
    """
    limit = sys.getrecursionlimit()
    from eth_keyfile import keyfile

    sys.setrecursionlimit(limit)
    return keyfile


def _read_document(path: Path) -> dict[str, Any]:
    try:
        document = json.loads(path.read_bytes())
    except OSError as error:
        raise KeystoreError(
            f"cannot read {path}: {error.strerror}", "run `rainbow init`, or correct the path"
        ) from None
    except ValueError:
        raise KeystoreError(f"{path} is not JSON", "restore the file from a backup") from None
    if not isinstance(document, dict):
        raise KeystoreError(f"{path} is not a v3 keystore", "restore the file from a backup")
    return document


def _write_private(path: Path, content: bytes) -> None:
    """Create `path` with mode 0600 and its whole content, durably, or not at all."""
    part = path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")
    descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.link(part, path)  # unlike a rename, it fails when the name is taken
    except FileExistsError:
        raise KeystoreError(f"{path} exists", "keystores are never overwritten: move it away first") from None
    finally:
        part.unlink(missing_ok=True)
