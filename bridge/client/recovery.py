"""Recovery files: a user's secrets, written before anything is sent, so that no crash loses money.

One file per swap. The preimage is sealed with a key that libsodium's Argon2id makes of a password; the rest
(terms, ids, the user's signed transactions) becomes public on the chains anyway and stays readable, so a
refund needs no password.
"""

from __future__ import annotations

import os
import secrets
from pathlib import Path

import msgspec
from nacl import pwhash
from nacl.exceptions import CryptoError
from nacl.secret import SecretBox

from bridge.chains.port import SignedTx
from bridge.keys.keystore import KeystoreError, check_private
from bridge.protocol.types import ChainTiming, CounterlockRange, LockTerms, Preimage, SwapId
from kernels.errors import RainbowError

SUFFIX = ".swap.json"

RECORD_VERSION = 2
"""Version 1 had one number for until when a transaction can land, see `_Expiries`."""

_HEIGHTS_END = 1_000_000_000
"""What version 1 took for a block height below this and for Unix seconds from it on."""


class RecoveryError(RainbowError):
    """A recovery file cannot be used. `hint` says what to do."""


class SealingCost(msgspec.Struct, frozen=True):
    """What opening a file costs: Argon2id's operations, and its memory in bytes."""

    operations: int
    memory: int


INTERACTIVE = SealingCost(pwhash.argon2id.OPSLIMIT_INTERACTIVE, pwhash.argon2id.MEMLIMIT_INTERACTIVE)
"""64 MiB and a fraction of a second."""
LIGHT = SealingCost(pwhash.argon2id.OPSLIMIT_MIN, pwhash.argon2id.MEMLIMIT_MIN)
"""For tests and devnets."""


class SealedPreimage(msgspec.Struct, frozen=True):
    """An encrypted preimage, and what is needed to open it in addition to the password."""

    salt: bytes
    cost: SealingCost
    box: bytes


class RecoveryRecord(msgspec.Struct, frozen=True):
    """What a user must not lose of a swap. A field that is not known yet is empty.

    `sent` holds the user's own signed transactions by purpose, so that a restart sends the same ones again.
    """

    hashlock: bytes
    sealed: SealedPreimage
    bridge_url: str
    quote_id: str
    source: LockTerms
    destination: LockTerms
    destination_timing: ChainTiming
    destination_confirmations: int
    gasless: bool
    created: int
    swap_id: SwapId = SwapId("")
    revealed: bool = False
    sent: dict[str, SignedTx] = {}
    bridge_key: str = ""
    receipt: str = ""
    """What the bridge signed when it accepted the swap, with `bridge_key`: it brings the swap back there."""
    receipt_signature: str = ""
    counterlock: CounterlockRange | None = None
    """What the quote leaves open of the bridge's lock; None where it fixed everything. `destination` then has
    what was quoted until the bridge has decided, see `decided`."""
    decided: bool = False
    """`destination` has the amount and the deadline that the bridge says it locks with."""
    version: int = RECORD_VERSION

    def preimage(self, password: str) -> Preimage:
        """Open the secret. Raises `RecoveryError` for a wrong password."""
        key = _key(password, self.sealed.salt, self.sealed.cost)
        try:
            preimage = Preimage(SecretBox(key).decrypt(self.sealed.box))
        except (CryptoError, ValueError):
            raise RecoveryError(
                "the password does not open this recovery file", "use the password given when it was made"
            ) from None
        if not preimage.opens(self.hashlock):
            raise RecoveryError("the secret does not open the hashlock", "restore the file from a backup")
        return preimage


def seal(preimage: Preimage, password: str, cost: SealingCost = INTERACTIVE) -> SealedPreimage:
    """Encrypt a preimage under a password."""
    salt = secrets.token_bytes(pwhash.argon2id.SALTBYTES)
    return SealedPreimage(salt, cost, bytes(SecretBox(_key(password, salt, cost)).encrypt(preimage.reveal())))


class RecoveryDir:
    """The directory of a user's recovery files."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def save(self, record: RecoveryRecord) -> Path:
        """Write a record durably: when this returns, a power cut does not lose it."""
        self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
        target = self._file(record.hashlock)
        part = target.with_name(f".{target.name}.{secrets.token_hex(4)}.part")
        descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(msgspec.json.format(msgspec.json.encode(record)) + b"\n")
                file.flush()
                os.fsync(file.fileno())
            part.replace(target)
        finally:
            part.unlink(missing_ok=True)
        directory = os.open(self.path, os.O_RDONLY)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)
        return target

    def load(self, hashlock: bytes) -> RecoveryRecord:
        """Read the record of a hashlock. Raises `RecoveryError`."""
        return self._read(self._file(hashlock))

    def find(self, beginning: str) -> RecoveryRecord:
        """Return the record of a swap, given the beginning of its id or hashlock. Raises `RecoveryError`."""
        records, damaged = self.readable()
        found = [
            record
            for record in records
            if (record.swap_id.startswith(beginning) or record.hashlock.hex().startswith(beginning))
            and beginning
        ]
        if len(found) != 1:
            what = "no recovery file" if not found else "more than one recovery file"
            unread = f"; {len(damaged)} cannot be read, the first: {damaged[0].message}" if damaged else ""
            raise RecoveryError(
                f"{what} for {beginning!r} in {self.path}{unread}", "`rainbow swap list` lists them"
            )
        return found[0]

    def readable(self) -> tuple[list[RecoveryRecord], list[RecoveryError]]:
        """Return all records that can be read, oldest first, and what is wrong with the other files: a
        damaged file does not keep another swap from being claimed."""
        records: list[RecoveryRecord] = []
        damaged: list[RecoveryError] = []
        for file in sorted(self.path.glob(f"*{SUFFIX}")) if self.path.is_dir() else ():
            try:
                records.append(self._read(file))
            except RecoveryError as error:
                damaged.append(error)
        records.sort(key=lambda record: (record.created, record.hashlock))
        return records, damaged

    def _file(self, hashlock: bytes) -> Path:
        return self.path / f"{hashlock.hex()}{SUFFIX}"

    def _read(self, file: Path) -> RecoveryRecord:
        try:
            check_private(file)
            raw = file.read_bytes()
            record = msgspec.json.decode(raw, type=RecoveryRecord)
            return _from_version_1(record, raw) if record.version == 1 else record
        except KeystoreError as error:
            raise RecoveryError(str(error), error.hint) from None
        except OSError as error:
            raise RecoveryError(f"{file} cannot be read: {error.strerror}", "look at the disk") from None
        except msgspec.DecodeError as error:
            raise RecoveryError(f"{file} is damaged: {error}", "restore it from a backup") from None


class _Expiry(msgspec.Struct, frozen=True):
    valid_until: int | None = None


class _Expiries(msgspec.Struct, frozen=True):
    """What a file of version 1 says on until when its transactions can land."""

    sent: dict[str, _Expiry] = {}


def _from_version_1(record: RecoveryRecord, raw: bytes) -> RecoveryRecord:
    sent = dict(record.sent)
    for purpose, expiry in msgspec.json.decode(raw, type=_Expiries).sent.items():
        until = expiry.valid_until
        if until is not None and until < _HEIGHTS_END:
            sent[purpose] = msgspec.structs.replace(sent[purpose], valid_until_height=until)
        elif until is not None:
            sent[purpose] = msgspec.structs.replace(sent[purpose], valid_until_time=until)
    return msgspec.structs.replace(record, sent=sent, version=RECORD_VERSION)


def _key(password: str, salt: bytes, cost: SealingCost) -> bytes:
    return bytes(
        pwhash.argon2id.kdf(
            SecretBox.KEY_SIZE, password.encode(), salt, opslimit=cost.operations, memlimit=cost.memory
        )
    )
