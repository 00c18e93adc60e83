"""A bundle proves one swap's receipt to anybody: receipt → tree head → anchor → block → chain of headers.

docs/proofs.md says what each field is and what a verifier checks; `scripts/verify_bundle.py` checks the same
with nothing of this code. Every byte of a bundle is bound by another: there is one way only to write it.
"""

from __future__ import annotations

import json
import re
import struct
from collections.abc import Sequence
from typing import Any

import msgspec
from eth_hash.auto import keccak

from bridge.chains.anchors import AnchorEvidence
from bridge.proofs.notes import NoteError, read_head
from bridge.protocol import merkle
from kernels import cosmic_harmony
from kernels.errors import RainbowError

FORMAT = "rainbow-bundle-1"
MAX_BUNDLE_BYTES = 4 << 20
NETWORKS = {"main": (1, 0x1E00FFFF), "test": (2, 0x1E0FFFFF), "dev": (3, 0x20100000)}
"""ZION's chain ids and easiest targets (docs/zion-protocol.md, Networks)."""
_FIELDS = {"anchor", "at", "body", "format", "head", "headers", "index", "key", "path", "receipt", "tip"}
_BODY = struct.Struct("<BBHIQQQ20s20s32sQ16s")
_HEADER = struct.Struct("<HHIII32s32s")  # time: its low 2 bytes, then its high 4
_ANCHOR_KIND = 7


class BundleError(RainbowError):
    """A bundle does not prove what it should."""


class Checkpoint(msgspec.Struct, frozen=True):
    """A block that the verifier knows to be on the chain, from their own node for example. `id`: hex."""

    height: int
    id: str


class Proven(msgspec.Struct, frozen=True):
    """What a bundle proves. `work`: expected hashes from the anchor's block to the last header."""

    receipt: dict[str, Any]
    key: str
    index: int
    size: int
    height: int
    block_id: str
    time: int
    blocks: int
    work: int
    last_height: int
    checkpoint: Checkpoint | None


def _flaw(what: str) -> BundleError:
    return BundleError(what, "ask the bridge for the proof again; if it stays so, the bridge cannot prove it")


def write_bundle(
    *, receipt: str, index: int, path: Sequence[bytes], head: str, key: str, evidence: AnchorEvidence
) -> str:
    """Return a bundle's text."""
    parts = {
        "anchor": [f"{'l' if left else 'r'}{step.hex()}" for left, step in evidence.path],
        "at": evidence.at,
        "body": evidence.body.hex(),
        "format": FORMAT,
        "head": head,
        "headers": [header.hex() for header in evidence.headers],
        "index": index,
        "key": key,
        "path": [step.hex() for step in path],
        "receipt": receipt,
        "tip": bytes(keccak(evidence.headers[-1])).hex(),
    }
    return _canonical(parts)


def verify_bundle(text: str, *, network: str, checkpoint: Checkpoint | None) -> Proven:
    """Check a bundle offline. Raises `BundleError` for any flaw, also where the checkpoint is not among its
    headers."""
    parts = _read(text)
    receipt, index = parts["receipt"], parts["index"]
    try:
        head = read_head(parts["head"], parts["key"])
    except NoteError as error:
        raise _flaw(error.message) from None
    leaf = merkle.leaf_hash(receipt.encode())
    path = [bytes.fromhex(step) for step in parts["path"]]
    if not merkle.is_included(leaf, index, head.size, path, head.root):
        raise _flaw("the receipt is not in the signed tree")
    chain_id, easiest = NETWORKS[network]
    body = bytes.fromhex(parts["body"])
    _check_body(body, chain_id, head.size, head.root)
    headers = [bytes.fromhex(header) for header in parts["headers"]]
    ids, works = _check_headers(headers, _target(easiest))
    at = parts["at"]
    if at >= len(headers):
        raise _flaw("there is no header of the anchor's block")
    node = bytes(keccak(b"\x00" + keccak(body)))
    for step in parts["anchor"]:
        sibling = bytes.fromhex(step[1:])
        node = bytes(keccak(b"\x01" + (sibling + node if step[0] == "l" else node + sibling)))
    if node != headers[at][48:80]:
        raise _flaw("the anchor is not in its block")
    if ids[-1].hex() != parts["tip"]:
        raise _flaw("the last header is damaged")
    heights = [int.from_bytes(header[8:12], "little") for header in headers]
    if checkpoint is not None and not _holds(headers, ids, heights[0], checkpoint):
        raise _flaw(f"block {checkpoint.height}, which you trust, is not among the headers")
    return Proven(
        receipt=_receipt(receipt),
        key=parts["key"],
        index=index,
        size=head.size,
        height=heights[at],
        block_id=ids[at].hex(),
        time=int.from_bytes(headers[at][2:8], "little"),
        blocks=len(headers) - at,
        work=sum(works[at:]),
        last_height=heights[-1],
        checkpoint=checkpoint,
    )


def _holds(headers: list[bytes], ids: list[bytes], first: int, checkpoint: Checkpoint) -> bool:
    number = checkpoint.height - first
    if number == -1:
        return headers[0][16:48].hex() == checkpoint.id
    return 0 <= number < len(ids) and ids[number].hex() == checkpoint.id


def _check_body(body: bytes, chain_id: int, size: int, root: bytes) -> None:
    fields = _BODY.unpack(body)
    if fields[:4] != (_ANCHOR_KIND, 1, 0, chain_id):
        raise _flaw("the transaction is not an anchor on this network")
    if fields[5] != size or fields[9] != root:
        raise _flaw("the anchor is of another tree")


def _check_headers(headers: list[bytes], easiest: int) -> tuple[list[bytes], list[int]]:
    """Return ids and expected hashes of a chain of headers."""
    ids: list[bytes] = []
    works: list[int] = []
    height = int.from_bytes(headers[0][8:12], "little")
    for number, header in enumerate(headers):
        version, found, compact = struct.unpack_from("<H6xII", header)
        target = _target(compact)
        nonce = int.from_bytes(header[80:], "little")
        if version != 1 or found != height + number or not 0 < target <= easiest:
            raise _flaw(f"header {number} breaks a rule")
        if number and header[16:48] != ids[-1]:
            raise _flaw(f"header {number} does not follow the one before")
        if not cosmic_harmony.verify(header[:80], nonce, target):
            raise _flaw(f"header {number} lacks its work")
        ids.append(bytes(keccak(header)))
        works.append((1 << 256) // (target + 1))
    return ids, works


def _target(compact: int) -> int:
    """Expand a compact target; 0 for a form that is not the canonical one."""
    exponent, mantissa = compact >> 24, compact & 0x7FFFFF
    if not 3 <= exponent <= 32 or not mantissa >= 0x8000 or compact & 0x800000:
        return 0
    return mantissa << 8 * (exponent - 3)


def _receipt(text: str) -> dict[str, Any]:
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise _flaw("the receipt is not a JSON object")
    return found


def _canonical(parts: dict[str, Any]) -> str:
    return json.dumps(parts, sort_keys=True, separators=(",", ":")) + "\n"


def _is_hex(value: Any, size: int) -> bool:
    return isinstance(value, str) and re.fullmatch(f"[0-9a-f]{{{2 * size}}}", value) is not None


def _read(text: str) -> dict[str, Any]:
    try:
        parts = json.loads(text) if len(text) <= MAX_BUNDLE_BYTES else None
        if not isinstance(parts, dict) or parts.keys() != _FIELDS or _canonical(parts) != text:
            raise _flaw("this is not a bundle, or it was written in another way")
    except (ValueError, RecursionError):
        raise _flaw("this is not a bundle") from None
    lists = (parts["headers"], parts["path"], parts["anchor"])
    if not all(isinstance(each, list) for each in lists) or not parts["headers"]:
        raise _flaw("a list of the bundle is missing")
    steps = [
        step[1:] if isinstance(step, str) and step[:1] in ("l", "r") else None for step in parts["anchor"]
    ]
    if not (
        parts["format"] == FORMAT
        and all(type(parts[name]) is int and 0 <= parts[name] < 1 << 53 for name in ("at", "index"))
        and all(isinstance(parts[name], str) for name in ("head", "receipt"))
        and all(_is_hex(header, 88) for header in parts["headers"])
        and all(_is_hex(step, 32) for step in (*parts["path"], *steps, parts["key"], parts["tip"]))
        and _is_hex(parts["body"], 128)
    ):
        raise _flaw("a field of the bundle has the wrong form")
    _encodable(parts["receipt"])
    return parts


def _encodable(text: str) -> None:
    try:
        text.encode()
    except UnicodeEncodeError:
        raise _flaw("the receipt is not text") from None
