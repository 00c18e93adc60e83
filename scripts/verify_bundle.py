#!/usr/bin/env python3
"""Verify a bundle of the Rainbow Bridge with the standard library alone: no code of the bridge, no package.

    python3 verify_bundle.py BUNDLE --network main --checkpoint HEIGHT:BLOCK_ID [--key HEX]

It is written from docs/proofs.md and docs/zion-protocol.md, apart from the bridge's own verifier, so that a
fault in one of them shows as a difference between the two. Exit code: 0 proven, 1 not proven, 2 wrong usage.
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import json
import sys
from pathlib import Path
from typing import Any

LIMIT = 4 << 20
NETWORKS = {"main": (1, 0xFFFF << 216), "test": (2, 0xFFFFF << 216), "dev": (3, 0x100000 << 232)}
"""Chain id and easiest target."""
HEX = frozenset("0123456789abcdef")


class FlawError(Exception):
    """The bundle does not prove what it says."""


# ---------------------------------------------------------------------- Keccak-256 and Cosmic Harmony

M64 = (1 << 64) - 1
ROUNDS: list[int] = []
_register = 1
for _ in range(24):
    _constant = 0
    for _bit in range(7):
        if _register & 1:
            _constant |= 1 << ((1 << _bit) - 1)
        _register = (_register << 1) ^ ((_register >> 7) * 0x171)
    ROUNDS.append(_constant)
TURNS: list[tuple[int, int, int]] = []
_x, _y = 1, 0
for _t in range(24):
    TURNS.append((_x + 5 * _y, _y + 5 * ((2 * _x + 3 * _y) % 5), (_t + 1) * (_t + 2) // 2 % 64))
    _x, _y = _y, (2 * _x + 3 * _y) % 5


def keccak(data: bytes) -> bytes:
    """Keccak-256 with the first padding, as in Ethereum."""
    padded = data + b"\x01" + bytes(-(len(data) + 1) % 136)
    padded = padded[:-1] + bytes([padded[-1] | 0x80])
    a = [0] * 25
    for start in range(0, len(padded), 136):
        for i in range(17):
            a[i] ^= int.from_bytes(padded[start + 8 * i : start + 8 * i + 8], "little")
        for constant in ROUNDS:
            c = [a[x] ^ a[x + 5] ^ a[x + 10] ^ a[x + 15] ^ a[x + 20] for x in range(5)]
            d = [c[x - 1] ^ ((c[(x + 1) % 5] << 1 | c[(x + 1) % 5] >> 63) & M64) for x in range(5)]
            b = [0] * 25
            b[0] = a[0] ^ d[0]
            for here, there, turn in TURNS:
                lane = a[here] ^ d[here % 5]
                b[there] = (lane << turn | lane >> (64 - turn)) & M64
            for y in range(0, 25, 5):
                for x in range(5):
                    a[y + x] = b[y + x] ^ (~b[y + (x + 1) % 5] & b[y + (x + 2) % 5])
            a[0] ^= constant
    return b"".join(lane.to_bytes(8, "little") for lane in a[:4])


def work_hash(block_id: bytes) -> int:
    """Cosmic Harmony from the block id on: the number that must not be above the target."""
    s = [int.from_bytes(block_id[4 * i : 4 * i + 4], "little") for i in range(8)]
    s += [s[i] ^ s[i + 4] ^ 0x9E3779B9 for i in range(4)]
    for turn in range(12):
        for i in range(12):
            word = (s[i] << turn | s[i] >> (32 - turn)) & 0xFFFFFFFF
            s[i] = (word ^ s[(i + 1) % 12]) * 1618033 % (1 << 32)
    return int.from_bytes(keccak(block_id + b"".join(word.to_bytes(4, "little") for word in s)), "big")


# ---------------------------------------------------------------------- ed25519 (RFC 8032, section 5.1)

P = 2**255 - 19
L = 2**252 + 27742317777372353535851937790883648493
D = -121665 * pow(121666, P - 2, P) % P
Point = tuple[int, int, int, int]
ZERO: Point = (0, 1, 1, 0)


def add(a: Point, b: Point) -> Point:
    """Add two points in extended coordinates."""
    e, f = (a[1] - a[0]) * (b[1] - b[0]) % P, (a[1] + a[0]) * (b[1] + b[0]) % P
    g, h = 2 * a[3] * b[3] * D % P, 2 * a[2] * b[2] % P
    e, f, g, h = f - e, h - g, h + g, f + e
    return e * f % P, g * h % P, f * g % P, e * h % P


def times(number: int, point: Point) -> Point:
    """Multiply a point."""
    result = ZERO
    while number:
        if number & 1:
            result = add(result, point)
        point = add(point, point)
        number >>= 1
    return result


def decode(data: bytes) -> Point | None:
    """Read a point; None for what is none, or is written in another way than the shortest."""
    number = int.from_bytes(data, "little")
    sign, y = number >> 255, number & (1 << 255) - 1
    if y >= P:
        return None
    square = (y * y - 1) * pow(D * y * y + 1, P - 2, P) % P
    x = pow(square, (P + 3) // 8, P)
    if (x * x - square) % P:
        x = x * pow(2, (P - 1) // 4, P) % P
    if (x * x - square) % P or (x == 0 and sign):
        return None
    if x & 1 != sign:
        x = P - x
    return x, y, 1, x * y % P


def encode(point: Point) -> bytes:
    """Write a point."""
    inverse = pow(point[2], P - 2, P)
    x, y = point[0] * inverse % P, point[1] * inverse % P
    return (y | (x & 1) << 255).to_bytes(32, "little")


def is_small(point: Point) -> bool:
    """Tell whether eight times the point is nothing: such keys and signatures are refused."""
    x, y, z, _ = times(8, point)
    return x == 0 and y == z


_BASE = decode((4 * pow(5, P - 2, P) % P).to_bytes(32, "little"))
assert _BASE is not None
BASE: Point = _BASE


def is_signed(key: bytes, message: bytes, signature: bytes) -> bool:
    """Check an ed25519 signature as strictly as libsodium does."""
    point = decode(key)
    if len(signature) != 64 or point is None or is_small(point):
        return False
    s = int.from_bytes(signature[32:], "little")
    if s >= L:
        return False
    h = int.from_bytes(hashlib.sha512(signature[:32] + key + message).digest(), "little") % L
    minus: Point = (P - point[0], point[1], 1, P - point[3])
    found = add(times(s, BASE), times(h, minus))
    return not is_small(found) and encode(found) == signature[:32]


# ---------------------------------------------------------------------- the bundle


def need(holds: bool, what: str) -> None:
    """Raise unless something holds."""
    if not holds:
        raise FlawError(what)


def is_hex(value: Any, size: int) -> bool:
    """Tell whether this is so many bytes in small hexadecimal digits."""
    return isinstance(value, str) and len(value) == 2 * size and set(value) <= HEX


def read(text: str) -> dict[str, Any]:
    """Read a bundle, which can be written in one way only."""
    need(len(text) <= LIMIT, "the bundle is too large")
    try:
        b: dict[str, Any] = json.loads(text)
        again = json.dumps(b, sort_keys=True, separators=(",", ":")) + "\n"
    except (ValueError, RecursionError):
        raise FlawError("this is not JSON") from None
    need(isinstance(b, dict) and again == text, "the bundle is not written as it must be")
    fields = ["anchor", "at", "body", "format", "head", "headers", "index", "key", "path", "receipt", "tip"]
    need(sorted(b) == fields and b["format"] == "rainbow-bundle-1", "this is not a bundle of version 1")
    for name in ("at", "index"):
        need(type(b[name]) is int and 0 <= b[name] < 2**53, f"{name} is not a number")
    for name in ("head", "receipt"):
        need(isinstance(b[name], str), f"{name} is not text")
    for name, size in (("body", 128), ("key", 32), ("tip", 32)):
        need(is_hex(b[name], size), f"{name} is not {size} bytes")
    for name, size in (("headers", 88), ("path", 32)):
        need(isinstance(b[name], list) and all(is_hex(one, size) for one in b[name]), f"{name} is malformed")
    need(isinstance(b["anchor"], list), "anchor is not a list")
    for step in b["anchor"]:
        need(isinstance(step, str) and step[:1] in ("l", "r") and is_hex(step[1:], 32), "anchor is malformed")
    need(len(b["headers"]) > 0, "there are no headers")
    return b


def tree_head(note: str, key_text: str) -> tuple[int, bytes]:
    """Return size and root of a signed tree head."""
    lines = note.split("\n")
    need(len(lines) == 6 and lines[3] == "" and lines[5] == "", "the tree head has the wrong lines")
    origin, size_text, root_text, _, signed, _ = lines
    need(origin == "rainbow-bridge/" + key_text[:16], "the tree head is of another log")
    need(size_text.isascii() and size_text.isdigit() and len(size_text) <= 16, "the tree has no size")
    need(str(int(size_text)) == size_text, "the size is not written as it must be")
    prefix = f"\u2014 {origin} "
    need(signed.startswith(prefix), "the signature's line is malformed")
    root, signature = from_base64(root_text), from_base64(signed[len(prefix) :])
    need(len(root) == 32 and len(signature) == 68, "root or signature have the wrong length")
    key = bytes.fromhex(key_text)
    key_id = hashlib.sha256(origin.encode() + b"\n\x01" + key).digest()[:4]
    need(signature[:4] == key_id, "the signature names another key")
    message = f"{origin}\n{size_text}\n{root_text}\n".encode()
    need(is_signed(key, message, signature[4:]), "the tree head's signature is wrong")
    return int(size_text), root


def from_base64(text: str) -> bytes:
    """Read base64 that is written in the one right way."""
    try:
        data = base64.b64decode(text, validate=True)
    except ValueError:
        raise FlawError("this is not base64") from None
    need(base64.b64encode(data).decode() == text, "this base64 is not written as it must be")
    return data


def log_root(leaf: bytes, index: int, size: int, path: list[bytes]) -> bytes:
    """Return the root that an audit path leads to, from the shape of the tree (RFC 9162, section 2.1.3)."""
    need(index < size, "the tree has no such leaf")
    turns: list[bool] = []
    while size > 1:
        half = 1 << (size - 1).bit_length() - 1
        right = index >= half
        turns.append(right)
        index, size = (index - half, size - half) if right else (index, half)
    need(len(turns) == len(path), "the path has the wrong length")
    node = leaf
    for right, step in zip(reversed(turns), path, strict=True):
        node = hashlib.sha256(b"\x01" + (step + node if right else node + step)).digest()
    return node


def verify(text: str, network: str, checkpoint: tuple[int, str] | None, key: str = "") -> dict[str, Any]:
    """Return what the bundle proves. Raises `FlawError`."""
    b = read(text)
    need(not key or b["key"] == key, "the tree head is signed by another key than you trust")
    chain_id, easiest = NETWORKS[network]
    # From the headers down to the receipt, the other way round than the bridge's own verifier.
    headers = [bytes.fromhex(one) for one in b["headers"]]
    ids: list[bytes] = []
    works: list[int] = []
    first = int.from_bytes(headers[0][8:12], "little")
    for number, header in enumerate(headers):
        compact = int.from_bytes(header[12:16], "little")
        exponent, mantissa = compact >> 24, compact & 0xFFFFFF
        target = mantissa << 8 * max(0, exponent - 3)
        need(3 <= exponent <= 32 and 0x8000 <= mantissa < 0x800000, f"header {number}: malformed target")
        need(target <= easiest, f"header {number}: its target is too easy")
        need(header[:2] == b"\x01\x00", f"header {number}: unknown version")
        height = int.from_bytes(header[8:12], "little")
        need(height == first + number, f"header {number}: wrong height")
        need(number == 0 or header[16:48] == ids[-1], f"header {number} does not follow the one before")
        ids.append(keccak(header))
        need(work_hash(ids[-1]) <= target, f"header {number} lacks its work")
        works.append(2**256 // (target + 1))
    need(ids[-1].hex() == b["tip"], "the last header is damaged")
    if checkpoint is not None:
        place = checkpoint[0] - first
        known = headers[0][16:48] if place == -1 else ids[place] if 0 <= place < len(ids) else b""
        need(
            known.hex() == checkpoint[1], f"block {checkpoint[0]}, which you trust, is not among the headers"
        )
    at, body = b["at"], bytes.fromhex(b["body"])
    need(at < len(headers), "there is no header of the anchor's block")
    node = keccak(b"\x00" + keccak(body))
    for step in b["anchor"]:
        sibling = bytes.fromhex(step[1:])
        node = keccak(b"\x01" + sibling + node) if step[0] == "l" else keccak(b"\x01" + node + sibling)
    need(node == headers[at][48:80], "the anchor is not in its block")
    need(body[:8] == bytes([7, 1, 0, 0, chain_id, 0, 0, 0]), "the transaction is not an anchor here")
    size, root = int.from_bytes(body[16:24], "little"), body[72:104]
    need(tree_head(b["head"], b["key"]) == (size, root), "the tree head is not the anchored one")
    try:
        leaf = hashlib.sha256(b"\x00" + b["receipt"].encode()).digest()
        receipt = json.loads(b["receipt"])
    except (ValueError, RecursionError):
        raise FlawError("the receipt is not JSON") from None
    need(isinstance(receipt, dict), "the receipt is not an object")
    path = [bytes.fromhex(step) for step in b["path"]]
    need(log_root(leaf, b["index"], size, path) == root, "the receipt is not in the anchored tree")
    time = int.from_bytes(headers[at][2:8], "little")
    return {
        "blocks": len(headers) - at,
        "block_id": ids[at].hex(),
        "height": first + at,
        "index": b["index"],
        "key": b["key"],
        "receipt": receipt,
        "size": size,
        "time": time,
        "work": sum(works[at:]),
    }


def parse_checkpoint(text: str) -> tuple[int, str]:
    """Read HEIGHT:BLOCK_ID."""
    height, _, block = text.partition(":")
    if not (height.isascii() and height.isdigit() and is_hex(block, 32)):
        raise argparse.ArgumentTypeError("give HEIGHT:BLOCK_ID, the id as 64 small hexadecimal digits")
    return int(height), block


def main() -> int:
    """Run as a program."""
    parser = argparse.ArgumentParser(description="Verify a bundle of the Rainbow Bridge, offline.")
    parser.add_argument("bundle")
    parser.add_argument("--network", choices=sorted(NETWORKS), default="main")
    known = parser.add_mutually_exclusive_group(required=True)
    known.add_argument("--checkpoint", type=parse_checkpoint, help="HEIGHT:BLOCK_ID that you trust")
    known.add_argument("--no-checkpoint", action="store_true", help="check the work alone")
    parser.add_argument("--key", default="", help="the bridge's public key that you trust, hex")
    given = parser.parse_args()
    try:
        with Path(given.bundle).open("rb") as file:
            text = file.read(LIMIT + 1).decode()
        found = verify(text, given.network, given.checkpoint, given.key)
    except (FlawError, OSError, UnicodeDecodeError) as error:
        print(f"NOT PROVEN: {error}")
        return 1
    print(f"proven by {found['blocks']} blocks of work (about {found['work']} hashes)")
    print(f"receipt {found['index']} of {found['size']}, anchored in block {found['height']}")
    if given.checkpoint is None:
        print("NOT proven: that these blocks are on the chain that you use")
    return 0


if __name__ == "__main__":
    sys.exit(main())
