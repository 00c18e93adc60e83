"""Cosmic Harmony, ZION's proof of work, and the Keccak hashing of its records and Merkle trees.

1. S = keccak256(header ‖ nonce), 80 header bytes and 8 little-endian nonce bytes: the block id. 2. Twelve
32-bit words made of S go through twelve rounds of the golden-ratio mix (`kernels.golden_mix`). 3. H =
keccak256(S ‖ the twelve words): the work hash, valid when H as a big-endian integer is at most the target.

Keccak-256 is Ethereum's. Source: docs/zion-protocol.md; vectors: tests/vectors/cosmic_harmony.json.

Everything here takes bytes or NumPy arrays and checks them. Numba is imported and a kernel compiled (or
loaded from disk) when it is first called; `prepare` does that ahead of time. Code compiled by Numba elsewhere
calls the building blocks instead: `kernels.keccak` (`keccak_f1600`, `keccak_f1600_lanes`, `pad`),
`kernels.numba_pow` (`work_hash`, `work_hash_lanes`, `meets_target`) and `kernels.numba_merkle`
(`hash_records`, `merkle_root_words`), and is decorated with `kernels.compile_cache.kernel`, so that a
change of them compiles it again.
"""

from __future__ import annotations

import functools
import sys
from types import ModuleType

import msgspec
import numpy as np
from numpy.typing import NDArray

from kernels.errors import KernelError, KernelInputError

HEADER_BYTES = 80
HASH_BYTES = 32
RECORD_BYTES = 128
MAX_NONCE = 2**64 - 1
MAX_TARGET = 2**256 - 1
MAX_SCAN = 2**40
"""Nonces that one `scan` may search: it cannot be interrupted, and one core needs days for so many."""

U8Array = NDArray[np.uint8]
U64Array = NDArray[np.uint64]
BytesLike = bytes | bytearray | memoryview

_NO_TARGET = bytes(HASH_BYTES)


class ScanResult(msgspec.Struct, frozen=True):
    """What a scan found.

    `nonce` is the first one, counting up from the start and wrapping at 2^64, that meets the target; None
    when none does. `hashes_done` nonces were examined, the found one included: the next scan starts at
    start + hashes_done. `best_nonce` is the found nonce or, without one, the first of those with the lowest
    leading 64 bits of H, and `best_hash` its 32-byte H; both are None when the count was 0.
    """

    nonce: int | None
    hashes_done: int
    best_nonce: int | None
    best_hash: bytes | None


def cosmic_harmony(header: BytesLike, nonce: int) -> bytes:
    """Return the work hash H, 32 bytes, of an 80-byte header and a u64 nonce.

    Raises KernelInputError for a header or nonce of another size.
    """
    return _seed_and_hash(header, nonce)[HASH_BYTES:]


def block_id(header: BytesLike, nonce: int) -> bytes:
    """Return the block id S = keccak256(header ‖ nonce), 32 bytes.

    Raises KernelInputError for a header or nonce of another size.
    """
    return _seed_and_hash(header, nonce)[:HASH_BYTES]


def verify(header: BytesLike, nonce: int, target: int) -> bool:
    """Tell whether the work hash, as a 256-bit big-endian integer, is at most `target` (0 … 2^256 - 1).

    Raises KernelInputError for a header, nonce or target of another size.
    """
    check_header_and_nonce(header, nonce)
    return bool(_pow().check_one(bytes(header), nonce, target_bytes(target), np.empty(8, np.uint64)))


def scan(header: BytesLike, start_nonce: int, count: int, target: int) -> ScanResult:
    """Search `count` (0 … 2^40) nonces from `start_nonce` for the first that meets `target`, in SIMD lanes.

    Nonces wrap at 2^64. Other threads run meanwhile; it cannot be interrupted, so ask for about as many
    nonces as can be searched between two checks for new work. Raises KernelInputError for arguments of
    another size.
    """
    check_header_and_nonce(header, start_nonce)
    check_count(count)
    limit = np.frombuffer(target_bytes(target), np.uint64)
    if count == 0:
        return ScanResult(None, 0, None, None)
    words = np.frombuffer(bytes(header), np.uint64)
    found, examined, best = _pow().scan_range(words, start_nonce, count, limit)
    best_nonce = (start_nonce + int(best)) & MAX_NONCE
    return ScanResult(
        nonce=best_nonce if found else None,
        hashes_done=int(examined),
        best_nonce=best_nonce,
        best_hash=cosmic_harmony(header, best_nonce),
    )


def verify_batch(headers: U8Array, nonces: U64Array, targets: U8Array) -> NDArray[np.bool_]:
    """Tell which of N shares meet their targets: bool (N,).

    `headers` is uint8 (N, 80), `nonces` uint64 (N,), `targets` uint8 (N, 32), big-endian, or (1, 32) for all.
    Raises KernelInputError for other shapes or types.
    """
    return _hash_and_compare(headers, nonces, targets)[1]


def hash_batch(headers: U8Array, nonces: U64Array) -> U8Array:
    """Return the work hashes of uint8 (N, 80) headers and uint64 (N,) nonces: uint8 (N, 32).

    Raises KernelInputError for other shapes or types.
    """
    no_targets = np.zeros((1, HASH_BYTES), np.uint8)
    return _hash_and_compare(headers, nonces, no_targets)[0]


def keccak256_batch_128(records: U64Array | U8Array) -> U8Array:
    """Return keccak256 of each of N fixed 128-byte records: uint8 (N, 32).

    `records` is uint64 (N, 16), little-endian, or uint8 (N, 128). Raises KernelInputError for other shapes
    or types.
    """
    words = _rows("records", records, RECORD_BYTES)
    hashes = np.empty((len(words), 4), np.uint64)
    _merkle().hash_records_kernel(words, hashes)
    return hashes.view(np.uint8)


def merkle_root(leaves: U8Array | U64Array) -> bytes:
    """Return the 32-byte Merkle root of uint8 (N, 32) leaves (or uint64 (N, 4), little-endian).

    Of the shape of RFC 6962, section 2.1: a leaf is keccak256(0x00 ‖ leaf), a node keccak256(0x01 ‖ left ‖
    right), an odd node moves up as it is (no leaf is ever duplicated), and no leaves at all give keccak256
    of nothing. Raises KernelInputError for other shapes or types.
    """
    words = _rows("leaves", leaves, HASH_BYTES)
    root = np.empty(4, np.uint64)
    _merkle().merkle_root_kernel(words.copy(), root)
    return root.tobytes()


def prepare(*, mining: bool = False) -> None:
    """Compile or load what a node (and a miner) needs; otherwise the first calls would do it."""
    for entry in (
        _pow().check_one,
        _pow().check_many,
        _merkle().hash_records_kernel,
        _merkle().merkle_root_kernel,
    ):
        entry.prepare()
    if mining:
        _pow().scan_range.prepare()


def check_header_and_nonce(header: BytesLike, nonce: int) -> None:
    """Raise KernelInputError unless these are 80 bytes and a u64."""
    if len(header) != HEADER_BYTES:
        raise KernelInputError(
            f"the header has {len(header)} bytes instead of {HEADER_BYTES}",
            hint="pass the serialised header alone, the nonce goes in its own argument",
        )
    if not 0 <= nonce <= MAX_NONCE:
        raise KernelInputError(f"the nonce {nonce} does not fit 64 bits", hint="pass 0 … 2^64 - 1")


def check_count(count: int) -> None:
    """Raise KernelInputError unless one scan may search so many nonces."""
    if not 0 <= count <= MAX_SCAN:
        raise KernelInputError(
            f"a scan of {count} nonces", hint="pass 0 … 2^40 and scan on from start + hashes_done"
        )


def target_bytes(target: int) -> bytes:
    """Return a target as 32 big-endian bytes; KernelInputError when it does not fit."""
    try:
        return target.to_bytes(HASH_BYTES, "big")
    except OverflowError:
        raise KernelInputError(
            f"the target {target} does not fit 256 bits", hint="pass 0 … 2^256 - 1"
        ) from None


def _seed_and_hash(header: BytesLike, nonce: int) -> bytes:
    check_header_and_nonce(header, nonce)
    out = np.empty(8, np.uint64)
    _pow().check_one(bytes(header), nonce, _NO_TARGET, out)
    return out.tobytes()


def _hash_and_compare(
    headers: U8Array, nonces: U64Array, targets: U8Array
) -> tuple[U8Array, NDArray[np.bool_]]:
    header_words = _rows("headers", headers, HEADER_BYTES)
    target_words = _rows("targets", targets, HASH_BYTES)
    count = len(header_words)
    if nonces.dtype != np.uint64 or nonces.shape != (count,):
        raise KernelInputError(
            f"nonces are {nonces.dtype} {nonces.shape}",
            hint=f"pass uint64 ({count},), one nonce for each header",
        )
    if len(target_words) not in {1, count}:
        raise KernelInputError(
            f"{len(target_words)} targets for {count} headers",
            hint="pass one target for each header, or one for all",
        )
    hashes = np.empty((count, 4), np.uint64)
    met = np.empty(count, np.bool_)
    nonces = np.require(nonces, requirements=["C", "A"])
    _pow().check_many(header_words, nonces, target_words, hashes, met)
    return hashes.view(np.uint8), met


def _rows(name: str, array: U8Array | U64Array, row_bytes: int) -> U64Array:
    """View (N, row_bytes) uint8 as (N, row_bytes / 8) uint64; copies what is not aligned and contiguous."""
    words = row_bytes // 8
    is_bytes = array.dtype == np.uint8 and array.ndim == 2 and array.shape[1] == row_bytes
    is_words = array.dtype == np.uint64 and array.ndim == 2 and array.shape[1] == words
    if not is_bytes and not is_words:
        raise KernelInputError(
            f"{name} are {array.dtype} {array.shape}",
            hint=f"pass uint8 (N, {row_bytes}) or uint64 (N, {words})",
        )
    rows: U64Array = np.ascontiguousarray(array).view(np.uint64)
    return np.require(rows, requirements=["C", "A"])


@functools.cache
def _pow() -> ModuleType:
    _require_little_endian()
    from kernels import numba_pow

    return numba_pow


@functools.cache
def _merkle() -> ModuleType:
    _require_little_endian()
    from kernels import numba_merkle

    return numba_merkle


def _require_little_endian() -> None:
    if sys.byteorder != "little":
        raise KernelError(
            "this processor is big-endian", hint="run on x86-64 or ARM64: words are read as they lie"
        )
