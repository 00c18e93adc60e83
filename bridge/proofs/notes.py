"""Signed tree heads: checkpoints in a signed note, as C2SP writes them (c2sp.org/tlog-checkpoint and
c2sp.org/signed-note), with ed25519; and the cosignatures of witnesses (c2sp.org/tlog-cosignature)."""

from __future__ import annotations

import base64
import binascii
import hashlib
import re

import msgspec
from nacl.exceptions import BadSignatureError
from nacl.signing import SigningKey, VerifyKey

from bridge.keys.quote_signature import LOG_NAME, QuoteSigner
from kernels.errors import RainbowError

_ED25519, _COSIGNATURE = 0x01, 0x04
"""Signature types of c2sp.org/signed-note: part of what a key's id is the hash of."""
_SHAPE = re.compile(
    r"(?P<text>(?P<origin>[!-~]{1,100})\n(?P<size>0|[1-9][0-9]{0,15})\n(?P<root>[A-Za-z0-9+/]{43}=)\n)"
    r"\n\u2014 (?P<name>[!-~]{1,100}) (?P<signature>[A-Za-z0-9+/]+={0,2})\n"
)


class NoteError(RainbowError):
    """A tree head cannot be read, or nobody trusted signed it."""


class TreeHead(msgspec.Struct, frozen=True):
    """Size and root of a log, and whose log."""

    origin: str
    size: int
    root: bytes

    @property
    def text(self) -> str:
        """What is signed."""
        return f"{self.origin}\n{self.size}\n{base64.b64encode(self.root).decode()}\n"


def origin_of(public_key: str) -> str:
    """Return the name of the log whose heads are signed by a key (hex)."""
    return f"{LOG_NAME}{public_key[:16]}"


def sign_head(size: int, root: bytes, signer: QuoteSigner) -> str:
    """Return the note: the head and one signature, named after the log."""
    public = bytes.fromhex(signer.public_key)
    head = TreeHead(origin_of(signer.public_key), size, root)
    signature = _key_id(head.origin, _ED25519, public) + signer.sign_note(head.text)
    return f"{head.text}\n\u2014 {head.origin} {base64.b64encode(signature).decode()}\n"


def read_head(note: str, public_key: str) -> TreeHead:
    """Return the head of a note that the log of this key (hex) signed. Raises `NoteError`.

    There is one way only to write a note: anything else is refused.
    """
    found = _SHAPE.fullmatch(note)
    if found is None:
        raise NoteError("this is not a signed tree head", "give the note exactly as the bridge gave it")
    try:
        key = bytes.fromhex(public_key)
        root = base64.b64decode(found["root"], validate=True)
        signature = base64.b64decode(found["signature"], validate=True)
    except (ValueError, binascii.Error):
        raise NoteError("the tree head is not base64", "give the note exactly as it was") from None
    head = TreeHead(found["origin"], int(found["size"]), root)
    expected = _key_id(head.origin, _ED25519, key)
    if (
        head.origin != origin_of(public_key)
        or found["name"] != head.origin
        or base64.b64encode(root).decode() != found["root"]
        or base64.b64encode(signature).decode() != found["signature"]
        or signature[:4] != expected
        or not _is_signed(key, head.text.encode(), signature[4:])
    ):
        raise NoteError("the tree head is not signed by this key", "check which bridge's key you trust")
    return head


def cosign(head: TreeHead, name: str, key: SigningKey, time: int) -> str:
    """Return a witness's line for a head that it found consistent, at a Unix time."""
    stamp = time.to_bytes(8, "big")
    message = f"cosignature/v1\ntime {time}\n{head.text}".encode()
    signature = _key_id(name, _COSIGNATURE, bytes(key.verify_key)) + stamp + key.sign(message).signature
    return f"\u2014 {name} {base64.b64encode(signature).decode()}\n"


def is_cosigned(head: TreeHead, line: str, name: str, public_key: str) -> bool:
    """Check a witness's line."""
    before, _, text = line.removesuffix("\n").rpartition(" ")
    try:
        key, signature = bytes.fromhex(public_key), base64.b64decode(text, validate=True)
    except (ValueError, binascii.Error):
        return False
    time = int.from_bytes(signature[4:12], "big")
    message = f"cosignature/v1\ntime {time}\n{head.text}".encode()
    named = before == f"\u2014 {name}" and signature[:4] == _key_id(name, _COSIGNATURE, key)
    return named and _is_signed(key, message, signature[12:])


def _key_id(name: str, kind: int, key: bytes) -> bytes:
    return hashlib.sha256(name.encode() + b"\n" + bytes([kind]) + key).digest()[:4]


def _is_signed(key: bytes, message: bytes, signature: bytes) -> bool:
    try:
        VerifyKey(key).verify(message, signature)
    except (BadSignatureError, ValueError, TypeError):
        return False
    return True
