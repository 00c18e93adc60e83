"""Keccak-256 of fixed 128-byte records and RFC 6962 shaped Merkle roots, compiled by Numba in SIMD lanes.

`kernels.cosmic_harmony` is the public interface; block validation written with njit may call `hash_records`
and `merkle_root_words` directly.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import types

from kernels.compile_cache import building_block, kernel
from kernels.keccak import STATE_WORDS, keccak_f1600_lanes, pad
from kernels.numba_types import READ_ROWS, ROWS, WORDS, U64Array
from kernels.vector_ir import LANES

RECORD_WORDS = 16
LEAF_PREFIX = 0x00
NODE_PREFIX = 0x01
"""First byte of what is hashed for a leaf or a node: no leaf can pass for a node (RFC 6962, section 2.1)."""

_EMPTY_ROOT = np.frombuffer(
    bytes.fromhex("c5d2460186f7233c927e7db2dcc703c0e500b653ca82273b7bfad8045d85a470"), np.uint64
)
"""keccak256 of nothing, the root of no leaves (RFC 6962, section 2.1)."""

_KNOWN_RECORD = np.arange(RECORD_WORDS, dtype=np.uint64)
_KNOWN_RECORD_HASH = bytes.fromhex("a300c1f35af4bb7660895430aaf3c2f2cdf8b4486a5e388d30bc4d8aef537cee")
_KNOWN_LEAVES = np.arange(19 * 4, dtype=np.uint64).reshape(19, 4)
_KNOWN_ROOT = bytes.fromhex("12d097da01de40395761dff5eecc0cab06fc98dd17cb359070cf961046594b48")


def _hash_records(records: U64Array, hashes: U64Array) -> None:
    count = records.shape[0]
    state = np.empty(STATE_WORDS * LANES, np.uint64)
    for base in range(0, count, LANES):
        filled = min(LANES, count - base)
        for lane in range(LANES):
            row = base + min(lane, filled - 1)  # idle lanes repeat the last row
            for i in range(RECORD_WORDS):
                state[i * LANES + lane] = records[row, i]
        pad(state, RECORD_WORDS, LANES)
        keccak_f1600_lanes(state)
        for lane in range(filled):
            for i in range(4):
                hashes[base + lane, i] = state[i * LANES + lane]


@building_block
def hash_level(rows: U64Array, count: int, per_message: int, prefix: int, state: U64Array) -> None:
    """Njit: rows[i] = keccak256(prefix ‖ rows[i * per_message : (i + 1) * per_message]) for i < count.

    `rows` is uint64 (N, 4) and `per_message` 1 for leaves, 2 for nodes. In place, which is safe because
    message i lies at or behind row i. `state` is scratch, uint64[25 * LANES].
    """
    words = 4 * per_message
    for base in range(0, count, LANES):
        filled = min(LANES, count - base)
        for lane in range(LANES):
            first_row = (base + min(lane, filled - 1)) * per_message
            carry = np.uint64(prefix)  # the prefix byte shifts the whole message by one byte
            for i in range(words):
                word = rows[first_row + i // 4, i % 4]
                state[i * LANES + lane] = carry | (word << np.uint64(8))
                carry = word >> np.uint64(56)
            # the byte left over, then Keccak-256's padding
            state[words * LANES + lane] = carry | np.uint64(0x0100)
            for i in range(words + 1, STATE_WORDS):
                state[i * LANES + lane] = np.uint64(0)
            state[16 * LANES + lane] = np.uint64(0x8000000000000000)
        keccak_f1600_lanes(state)
        for lane in range(filled):
            for i in range(4):
                rows[base + lane, i] = state[i * LANES + lane]


def _merkle_root(rows: U64Array, root: U64Array) -> None:
    count = rows.shape[0]
    if count == 0:
        for i in range(4):
            root[i] = _EMPTY_ROOT[i]
        return
    state = np.empty(STATE_WORDS * LANES, np.uint64)
    # cast, or Numba compiles a version for each constant
    hash_level(rows, count, np.int64(1), np.int64(LEAF_PREFIX), state)
    while count > 1:
        pairs = count // 2
        hash_level(rows, pairs, np.int64(2), np.int64(NODE_PREFIX), state)
        if count % 2 == 1:  # the odd node moves up as it is
            for i in range(4):
                rows[pairs, i] = rows[count - 1, i]
        count = pairs + count % 2
    for i in range(4):
        root[i] = rows[0, i]


def _records_are_right(compiled: Any) -> bool:
    count = LANES + 1
    hashes = np.empty((count, 4), np.uint64)
    compiled(np.tile(_KNOWN_RECORD, (count, 1)), hashes)
    return hashes.tobytes() == _KNOWN_RECORD_HASH * count


def _root_is_right(compiled: Any) -> bool:
    root = np.empty(4, np.uint64)
    compiled(_KNOWN_LEAVES.copy(), root)
    return root.tobytes() == _KNOWN_ROOT


hash_records = building_block(_hash_records)
"""Njit: keccak256 of N 128-byte records, uint64 (N, 16), into hashes, uint64 (N, 4)."""

hash_records_kernel = kernel(types.void(READ_ROWS, ROWS), self_test=_records_are_right)(_hash_records)
"""`hash_records` for Python."""

merkle_root_words = building_block(_merkle_root)
"""Njit: `kernels.cosmic_harmony.merkle_root` of the leaves rows, uint64 (N, 4), into root, uint64[4].

Overwrites `rows`.
"""

merkle_root_kernel = kernel(types.void(ROWS, WORDS), self_test=_root_is_right)(_merkle_root)
"""`merkle_root_words` for Python."""
