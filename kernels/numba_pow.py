"""Cosmic Harmony compiled by Numba: one nonce at a time, and LANES nonces at once.

`kernels.cosmic_harmony` is the public interface of this module. Other njit code may call `work_hash` and
`meets_target` directly.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import types

from kernels.compile_cache import building_block, kernel
from kernels.golden_mix import golden_mix, golden_mix_lanes
from kernels.keccak import STATE_WORDS, keccak_f1600, keccak_f1600_lanes, pad
from kernels.known_answers import KNOWN_HASH, KNOWN_HEADER, KNOWN_LOW_HASH, KNOWN_LOW_NONCE, KNOWN_NONCE
from kernels.numba_types import BYTES, FLAGS, READ_ROWS, READ_WORDS, ROWS, WORDS, BoolArray, U64Array
from kernels.vector_ir import LANES

HEADER_WORDS = 10
SEED_MESSAGE_WORDS = 11
"""header (10 words) ‖ nonce"""
WORK_MESSAGE_WORDS = 10
"""S (4 words) ‖ twelve mixed 32-bit words"""


@building_block
def swap_bytes(word: np.uint64) -> np.uint64:
    """Njit: reverse the eight bytes of a uint64."""
    word = ((word >> np.uint64(8)) & np.uint64(0x00FF00FF00FF00FF)) | (
        (word & np.uint64(0x00FF00FF00FF00FF)) << np.uint64(8)
    )
    word = ((word >> np.uint64(16)) & np.uint64(0x0000FFFF0000FFFF)) | (
        (word & np.uint64(0x0000FFFF0000FFFF)) << np.uint64(16)
    )
    return (word >> np.uint64(32)) | (word << np.uint64(32))


@building_block
def word_of(data: bytes, index: int) -> np.uint64:
    """Njit: read the little-endian uint64 number `index` of some bytes."""
    word = np.uint64(0)
    for i in range(8):
        word |= np.uint64(data[8 * index + i]) << np.uint64(8 * i)
    return word


@building_block
def meets_target(work: U64Array, target: U64Array) -> bool:
    """Njit: whether a hash, as a 256-bit big-endian integer, is at most a target.

    Both are four uint64 as they lie in memory (little-endian words of big-endian bytes).
    """
    for i in range(4):
        if work[i] != target[i]:
            below: bool = swap_bytes(work[i]) < swap_bytes(target[i])
            return below
    return True


@building_block
def work_hash(state: U64Array, seed: U64Array) -> None:
    """Njit: Cosmic Harmony of the header and nonce in words 0..10 of a contiguous uint64[25].

    Writes the block id S into `seed` (uint64[4]) and leaves the work hash H in words 0..3 of `state`.
    """
    pad(state, SEED_MESSAGE_WORDS, 1)
    keccak_f1600(state)
    for i in range(4):
        seed[i] = state[i]
    golden_mix(state)
    pad(state, WORK_MESSAGE_WORDS, 1)
    keccak_f1600(state)


@building_block
def work_hash_lanes(state: U64Array) -> None:
    """Njit: `work_hash` in each of LANES lanes of a contiguous uint64[25 * LANES], without keeping S."""
    pad(state, SEED_MESSAGE_WORDS, LANES)
    keccak_f1600_lanes(state)
    golden_mix_lanes(state)
    pad(state, WORK_MESSAGE_WORDS, LANES)
    keccak_f1600_lanes(state)


def _check_one_is_right(compiled: Any) -> bool:
    out = np.empty(8, np.uint64)
    below = (int.from_bytes(KNOWN_HASH, "big") - 1).to_bytes(32, "big")
    return (
        compiled(KNOWN_HEADER, KNOWN_NONCE, KNOWN_HASH, out)
        and out[4:].tobytes() == KNOWN_HASH
        and not compiled(KNOWN_HEADER, KNOWN_NONCE, below, out)
    )


@kernel(
    types.boolean(BYTES, types.uint64, BYTES, WORDS),
    nogil=False,  # freeing and taking the lock costs a tenth of the microsecond that this takes
    self_test=_check_one_is_right,
)
def check_one(header: bytes, nonce: np.uint64, target: bytes, out: U64Array) -> bool:
    """Hash an 80-byte header: S into out[:4], H into out[4:]; tell whether H meets the 32-byte target."""
    state = np.empty(STATE_WORDS, np.uint64)
    for i in range(HEADER_WORDS):
        state[i] = word_of(header, i)
    state[HEADER_WORDS] = nonce
    work_hash(state, out)
    limit = np.empty(4, np.uint64)
    for i in range(4):
        out[4 + i] = state[i]
        limit[i] = word_of(target, i)
    met: bool = meets_target(state, limit)
    return met


def _check_many_is_right(compiled: Any) -> bool:
    count = LANES + 1
    headers = np.tile(np.frombuffer(KNOWN_HEADER, np.uint64), (count, 1))
    nonces = np.full(count, KNOWN_NONCE, np.uint64)
    targets = np.tile(np.frombuffer(KNOWN_HASH, np.uint64), (count, 1))
    targets[0] = 0
    hashes = np.empty((count, 4), np.uint64)
    met = np.empty(count, np.bool_)
    compiled(headers, nonces, targets, hashes, met)
    return hashes.tobytes() == KNOWN_HASH * count and met.tolist() == [False] + [True] * LANES


@kernel(
    types.void(READ_ROWS, READ_WORDS, READ_ROWS, ROWS, FLAGS),
    self_test=_check_many_is_right,
)
def check_many(
    headers: U64Array, nonces: U64Array, targets: U64Array, hashes: U64Array, met: BoolArray
) -> None:
    """Hash headers (N, 10) with nonces (N,) into hashes (N, 4), compare with targets (N, 4) into met (N,).

    A single row of targets serves all headers.
    """
    count = nonces.shape[0]
    shared_target = targets.shape[0] == 1
    state = np.empty(STATE_WORDS * LANES, np.uint64)
    for base in range(0, count, LANES):
        filled = min(LANES, count - base)
        for lane in range(LANES):
            row = base + min(lane, filled - 1)  # idle lanes repeat the last row
            for i in range(HEADER_WORDS):
                state[i * LANES + lane] = headers[row, i]
            state[HEADER_WORDS * LANES + lane] = nonces[row]
        work_hash_lanes(state)
        for lane in range(filled):
            row = base + lane
            for i in range(4):
                hashes[row, i] = state[i * LANES + lane]
            met[row] = meets_target(hashes[row], targets[0 if shared_target else row])


def _scan_range_is_right(compiled: Any) -> bool:
    header = np.frombuffer(KNOWN_HEADER, np.uint64)
    target = np.frombuffer(KNOWN_LOW_HASH, np.uint64)
    before = LANES + 3
    found, examined, best = compiled(header, KNOWN_LOW_NONCE - before, before + 5, target)
    return (found, examined, best) == (1, before + 1, before)


@kernel(
    types.UniTuple(types.uint64, 3)(READ_WORDS, types.uint64, types.uint64, READ_WORDS),
    self_test=_scan_range_is_right,
)
def scan_range(
    header: U64Array, start: np.uint64, count: np.uint64, target: U64Array
) -> tuple[np.uint64, np.uint64, np.uint64]:
    """Search `count` nonces from `start`, modulo 2^64; return (found, examined, offset of the best).

    Stops at the first nonce that meets the target, which then is the best; otherwise the best is the first
    nonce with the lowest leading 64 bits.
    """
    state = np.empty(STATE_WORDS * LANES, np.uint64)
    work = np.empty(4, np.uint64)
    target_top = swap_bytes(target[0])
    best_top = np.uint64(0xFFFFFFFFFFFFFFFF)
    best = np.uint64(0)
    base = np.uint64(0)
    while base < count:
        for i in range(HEADER_WORDS):
            for lane in range(LANES):
                state[i * LANES + lane] = header[i]
        for lane in range(LANES):
            state[HEADER_WORDS * LANES + lane] = start + base + np.uint64(lane)
        work_hash_lanes(state)
        for lane in range(LANES):
            offset = base + np.uint64(lane)
            if offset >= count:
                break
            top = swap_bytes(state[lane])
            if top <= target_top:
                for i in range(4):
                    work[i] = state[i * LANES + lane]
                if meets_target(work, target):
                    return np.uint64(1), offset + np.uint64(1), offset
            if top < best_top:
                best_top = top
                best = offset
        base += np.uint64(LANES)
    return np.uint64(0), count, best
