"""Cosmic Harmony, ZION's proof of work (first implementation; the public API is final)."""

from __future__ import annotations

import msgspec
import numpy as np
from numba import njit
from numpy.typing import NDArray

from kernels.errors import KernelInputError
from kernels.keccak import keccak_f1600

HEADER_BYTES = 80
HASH_BYTES = 32
U8Array = NDArray[np.uint8]
U64Array = NDArray[np.uint64]


class ScanResult(msgspec.Struct, frozen=True):
    """What a scan found.

    `nonce` is the first one (counting up from the start, wrapping at 2^64) that meets the target, or None;
    `hashes_done` nonces were examined (the next scan starts at start + hashes_done);
    `best_nonce` / `best_hash` had the lowest hash among them (None and b"" when count was 0).
    """

    nonce: int | None
    hashes_done: int
    best_nonce: int | None
    best_hash: bytes


@njit(cache=True, nogil=True)
def _hash(header, nonce, seed, out):  # type: ignore[no-untyped-def]
    a = np.zeros(25, np.uint64)
    for i in range(10):
        a[i] = header[i]
    a[10] = nonce
    a[11] = np.uint64(1)
    a[16] = np.uint64(0x8000000000000000)
    keccak_f1600(a)
    for i in range(4):
        seed[i] = a[i]
    s = np.zeros(12, np.uint32)
    for i in range(4):
        s[2 * i] = np.uint32(a[i])
        s[2 * i + 1] = np.uint32(a[i] >> np.uint64(32))
    for i in range(4):
        s[8 + i] = s[i] ^ s[4 + i] ^ np.uint32(0x9E3779B9)
    for r in range(12):
        for i in range(12):
            x = (s[i] << np.uint32(r)) | np.uint32(np.uint64(s[i]) >> np.uint64(32 - r))
            s[i] = np.uint32((np.uint32(x) ^ s[(i + 1) % 12]) * np.uint32(1618033))
    a[:] = np.uint64(0)
    for i in range(4):
        a[i] = seed[i]
    for i in range(6):
        a[4 + i] = np.uint64(s[2 * i]) | (np.uint64(s[2 * i + 1]) << np.uint64(32))
    a[10] = np.uint64(1)
    a[16] = np.uint64(0x8000000000000000)
    keccak_f1600(a)
    for i in range(4):
        out[i] = a[i]


@njit(cache=True, nogil=True)
def _hash_many(headers, nonces, out):  # type: ignore[no-untyped-def]
    seed = np.zeros(4, np.uint64)
    for i in range(headers.shape[0]):
        _hash(headers[i], nonces[i], seed, out[i])


@njit(cache=True, nogil=True)
def _keccak_short(words, count, out):  # type: ignore[no-untyped-def]
    """Keccak-256 of the first `count` bytes (< 136) of uint8 rows."""
    for i in range(words.shape[0]):
        a = np.zeros(25, np.uint64)
        for j in range(count):
            a[j // 8] |= np.uint64(words[i, j]) << np.uint64(8 * (j % 8))
        a[count // 8] |= np.uint64(1) << np.uint64(8 * (count % 8))
        a[16] |= np.uint64(0x8000000000000000)
        keccak_f1600(a)
        for j in range(4):
            out[i, j] = a[j]


def _check(header: bytes, nonce: int) -> None:
    if len(header) != HEADER_BYTES:
        raise KernelInputError(
            f"the header has {len(header)} bytes",
            hint=f"pass the {HEADER_BYTES} header bytes, without the nonce",
        )
    if not 0 <= nonce < 2**64:
        raise KernelInputError(f"the nonce {nonce} is no u64", hint="pass 0 … 2^64 - 1")


def _seed_and_hash(header: bytes, nonce: int) -> tuple[bytes, bytes]:
    _check(header, nonce)
    out, seed = np.empty(4, np.uint64), np.empty(4, np.uint64)
    _hash(np.frombuffer(header, np.uint64), np.uint64(nonce), seed, out)
    return seed.tobytes(), out.tobytes()


def cosmic_harmony(header: bytes, nonce: int) -> bytes:
    """Return the 32-byte work hash H of an 80-byte header and a u64 nonce."""
    return _seed_and_hash(header, nonce)[1]


def block_id(header: bytes, nonce: int) -> bytes:
    """Return the block id S = keccak256(header ‖ nonce as 8 little-endian bytes)."""
    return _seed_and_hash(header, nonce)[0]


def verify(header: bytes, nonce: int, target: int) -> bool:
    """Tell whether H, read as a 256-bit big-endian integer, is at most `target`."""
    return int.from_bytes(cosmic_harmony(header, nonce), "big") <= target


def scan(header: bytes, start_nonce: int, count: int, target: int) -> ScanResult:
    """Search `count` nonces from `start_nonce` (wrapping at 2^64) for the first that meets `target`."""
    best: tuple[int, int] | None = None
    for done in range(count):
        nonce = (start_nonce + done) % 2**64
        value = int.from_bytes(cosmic_harmony(header, nonce), "big")
        if value <= target:
            return ScanResult(nonce, done + 1, nonce, value.to_bytes(32, "big"))
        if best is None or value < best[0]:
            best = (value, nonce)
    if best is None:
        return ScanResult(None, 0, None, b"")
    return ScanResult(None, count, best[1], best[0].to_bytes(32, "big"))


def hash_batch(headers: U8Array, nonces: U64Array) -> U8Array:
    """Work hashes of (N, 80) uint8 headers and (N,) uint64 nonces: (N, 32) uint8."""
    out = np.empty((len(headers), 4), np.uint64)
    _hash_many(np.ascontiguousarray(headers).view(np.uint64), nonces, out)
    return out.view(np.uint8)


def verify_batch(headers: U8Array, nonces: U64Array, targets: U8Array) -> NDArray[np.bool_]:
    """Which of N shares meet their (N, 32) uint8 big-endian targets: (N,) bool."""
    hashes = hash_batch(headers, nonces)
    return np.array(
        [h.tobytes() <= t.tobytes() for h, t in zip(hashes, targets, strict=True)], dtype=np.bool_
    )


def keccak256_batch_128(records: U64Array) -> U8Array:
    """keccak256 of N fixed 128-byte records, (N, 16) uint64: (N, 32) uint8."""
    out = np.empty((len(records), 4), np.uint64)
    _keccak_short(np.ascontiguousarray(records).view(np.uint8), 128, out)
    return out.view(np.uint8)


def merkle_root(leaves: U8Array) -> bytes:
    """RFC 6962 shaped Merkle root of (N, 32) uint8 leaves.

    Leaf: keccak256(0x00 ‖ leaf); node: keccak256(0x01 ‖ left ‖ right); an odd node is promoted unchanged;
    the root of no leaves is keccak256(b"").
    """
    if len(leaves) == 0:
        out = np.empty((1, 4), np.uint64)
        _keccak_short(np.zeros((1, 1), np.uint8), 0, out)
        return out.tobytes()
    level = _prefixed(0, np.ascontiguousarray(leaves, dtype=np.uint8))
    while len(level) > 1:
        pairs = len(level) // 2
        nodes = _prefixed(1, level[: 2 * pairs].reshape(pairs, 64))
        level = np.concatenate([nodes, level[2 * pairs :]])
    return level.tobytes()


def _prefixed(prefix: int, rows: U8Array) -> U8Array:
    message = np.empty((rows.shape[0], rows.shape[1] + 1), np.uint8)
    message[:, 0] = prefix
    message[:, 1:] = rows
    out = np.empty((len(rows), 4), np.uint64)
    _keccak_short(message, message.shape[1], out)
    return out.view(np.uint8)
