from __future__ import annotations

import threading
import time

import numpy as np
import pytest
from eth_hash.auto import keccak
from hypothesis import given, settings
from hypothesis import strategies as st

from kernels import reference
from kernels.cosmic_harmony import (
    MAX_NONCE,
    MAX_TARGET,
    U8Array,
    U64Array,
    block_id,
    cosmic_harmony,
    hash_batch,
    scan,
    verify,
    verify_batch,
)
from kernels.errors import KernelInputError

HEADER = bytes(range(80))
headers = st.binary(min_size=80, max_size=80)
nonces = st.integers(0, MAX_NONCE)


def rows(items: list[bytes]) -> U8Array:
    return np.frombuffer(b"".join(items), np.uint8).reshape(len(items), -1)


def u64(items: list[int]) -> U64Array:
    return np.array(items, np.uint64)


def big(target: int) -> bytes:
    return target.to_bytes(32, "big")


def test_every_implementation_gives_the_published_hashes(vectors: list[tuple[bytes, int, bytes]]) -> None:
    assert len(vectors) == 25
    batched = hash_batch(rows([header for header, _, _ in vectors]), u64([nonce for _, nonce, _ in vectors]))
    for (header, nonce, expected), from_lanes in zip(vectors, batched, strict=True):
        assert reference.cosmic_harmony(header, nonce) == expected
        assert cosmic_harmony(header, nonce) == expected
        assert from_lanes.tobytes() == expected


@settings(deadline=None)
@given(header=headers, nonce=nonces)
def test_one_hash_is_what_the_reference_gives(header: bytes, nonce: int) -> None:
    assert cosmic_harmony(header, nonce) == reference.cosmic_harmony(header, nonce)
    assert block_id(header, nonce) == keccak(header + nonce.to_bytes(8, "little"))


@settings(deadline=None)
@given(shares=st.lists(st.tuples(headers, nonces), max_size=20))
def test_a_batch_of_any_size_is_what_the_reference_gives(shares: list[tuple[bytes, int]]) -> None:
    batch_headers = rows([header for header, _ in shares]) if shares else np.empty((0, 80), np.uint8)
    hashes = hash_batch(batch_headers, u64([nonce for _, nonce in shares]))
    assert [row.tobytes() for row in hashes] == [reference.cosmic_harmony(*share) for share in shares]


@settings(deadline=None)
@given(header=headers, nonce=nonces, offset=st.sampled_from([-(2**192), -(2**64), -1, 0, 1, 2**64, 2**192]))
def test_a_share_is_valid_exactly_up_to_its_target(header: bytes, nonce: int, offset: int) -> None:
    work = int.from_bytes(reference.cosmic_harmony(header, nonce), "big")
    target = min(max(work + offset, 0), MAX_TARGET)
    expected = work <= target
    assert verify(header, nonce, target) is expected
    assert verify_batch(rows([header]), u64([nonce]), rows([big(target)])).tolist() == [expected]


def test_a_batch_checks_each_share_against_its_own_target() -> None:
    count = 19
    works = [int.from_bytes(reference.cosmic_harmony(HEADER, nonce), "big") for nonce in range(count)]
    targets = [work - nonce % 2 for nonce, work in enumerate(works)]
    met = verify_batch(rows([HEADER] * count), u64(list(range(count))), rows([big(t) for t in targets]))
    assert met.tolist() == [nonce % 2 == 0 for nonce in range(count)]


def test_one_target_serves_a_whole_batch() -> None:
    count = 9
    works = [reference.cosmic_harmony(HEADER, nonce) for nonce in range(count)]
    target = sorted(works)[4]
    met = verify_batch(rows([HEADER] * count), u64(list(range(count))), rows([target]))
    assert met.tolist() == [work <= target for work in works]


def test_no_hash_meets_target_zero_and_every_hash_meets_the_highest() -> None:
    assert verify(HEADER, 5, 0) is False
    assert verify(HEADER, 5, MAX_TARGET) is True
    assert scan(HEADER, 0, 1000, 0).nonce is None
    assert scan(HEADER, 7, 1000, MAX_TARGET).nonce == 7


@settings(max_examples=40, deadline=None)
@given(
    header=headers,
    start=st.one_of(nonces, st.integers(MAX_NONCE - 40, MAX_NONCE)),
    count=st.integers(0, 33),
    zero_bits=st.integers(0, 7),
)
def test_a_scan_finds_the_first_nonce_and_tells_how_far_it_came(
    header: bytes, start: int, count: int, zero_bits: int
) -> None:
    target = MAX_TARGET >> zero_bits
    tried = [(start + i) % 2**64 for i in range(count)]
    works = [reference.cosmic_harmony(header, nonce) for nonce in tried]
    hit = next((i for i, work in enumerate(works) if int.from_bytes(work, "big") <= target), None)

    result = scan(header, start, count, target)

    if hit is not None:
        assert (result.nonce, result.hashes_done) == (tried[hit], hit + 1)
        assert (result.best_nonce, result.best_hash) == (tried[hit], works[hit])
    elif works:
        assert (result.nonce, result.hashes_done) == (None, count)
        assert result.best_hash == min(works)
        assert result.best_nonce == tried[works.index(min(works))]
    else:
        assert result.hashes_done == 0
        assert (result.nonce, result.best_nonce, result.best_hash) == (None, None, None)


def test_a_scan_wraps_around_behind_the_last_nonce() -> None:
    low = 238  # the first nonce of this header whose hash starts with a zero byte
    target = int.from_bytes(reference.cosmic_harmony(HEADER, low), "big")
    result = scan(HEADER, MAX_NONCE - 2, 1000, target)
    assert (result.nonce, result.hashes_done) == (low, low + 4)


def test_a_scan_continues_where_the_last_one_stopped() -> None:
    target = MAX_TARGET >> 6
    found, start, end = [], 0, 500
    while start < end:
        result = scan(HEADER, start, end - start, target)
        if result.nonce is not None:
            found.append(result.nonce)
        start += result.hashes_done
    assert found == [nonce for nonce in range(end) if verify(HEADER, nonce, target)]


def test_other_threads_run_during_a_scan() -> None:
    scan(HEADER, 0, 8, 0)  # compiled before the clock starts
    scanning = threading.Thread(target=scan, args=(HEADER, 0, 4_000_000, 0))
    scanning.start()
    turns = 0
    while scanning.is_alive():
        time.sleep(0.001)
        turns += 1
    assert turns > 5  # with the interpreter's lock held it would be one


@pytest.mark.parametrize("size", [0, 79, 81, 88])
def test_a_header_of_another_size_is_refused_with_a_hint(size: int) -> None:
    for call in (
        lambda header: cosmic_harmony(header, 0),
        lambda header: block_id(header, 0),
        lambda header: verify(header, 0, 1),
        lambda header: scan(header, 0, 1, 1),
    ):
        with pytest.raises(KernelInputError, match=f"the header has {size} bytes") as caught:
            call(bytes(size))
        assert "nonce goes in its own argument" in caught.value.hint


def test_numbers_that_do_not_fit_are_refused_with_a_hint() -> None:
    for nonce in (-1, 2**64):
        with pytest.raises(KernelInputError, match="pass 0 … 2\\^64 - 1"):
            cosmic_harmony(HEADER, nonce)
    for target in (-1, 2**256):
        with pytest.raises(KernelInputError, match="pass 0 … 2\\^256 - 1"):
            verify(HEADER, 0, target)
    for count in (-1, 2**40 + 1):
        with pytest.raises(KernelInputError, match="2\\^40"):
            scan(HEADER, 0, count, 0)


def test_arrays_of_other_shapes_and_types_are_refused_with_a_hint() -> None:
    good = rows([HEADER, HEADER]), u64([1, 2]), rows([bytes(32), bytes(32)])
    with pytest.raises(KernelInputError, match=r"pass uint8 \(N, 80\)"):
        verify_batch(good[0][:, :79], good[1], good[2])
    with pytest.raises(KernelInputError, match=r"pass uint64 \(2,\)"):
        verify_batch(good[0], good[1].astype(np.int64), good[2])
    with pytest.raises(KernelInputError, match=r"pass uint64 \(2,\)"):
        verify_batch(good[0], good[1][:1], good[2])
    with pytest.raises(KernelInputError, match="3 targets for 2 headers"):
        verify_batch(good[0], good[1], rows([bytes(32)] * 3))


def test_headers_may_come_as_bytearray_or_memoryview() -> None:
    expected = cosmic_harmony(HEADER, 3)
    assert cosmic_harmony(bytearray(HEADER), 3) == expected
    assert cosmic_harmony(memoryview(HEADER), 3) == expected
    assert scan(bytearray(HEADER), 3, 1, MAX_TARGET).best_hash == expected


def test_read_only_strided_and_misaligned_arrays_give_the_same_hashes() -> None:
    count = 11
    plain = np.random.default_rng(7).integers(0, 256, (count, 80), dtype=np.uint8)
    numbers = np.arange(count, dtype=np.uint64)
    expected = hash_batch(plain, numbers)

    frozen, frozen_numbers = plain.copy(), numbers.copy()
    frozen.flags.writeable = frozen_numbers.flags.writeable = False
    strided = np.repeat(plain, 2, axis=0)[::2]
    strided_numbers = np.repeat(numbers, 2)[::2]
    buffer = np.empty(count * 80 + 1, np.uint8)
    misaligned = buffer[1:].reshape(count, 80)
    misaligned[:] = plain
    number_buffer = np.empty(count * 8 + 1, np.uint8)
    misaligned_numbers = number_buffer[1:].view(np.uint64)
    misaligned_numbers[:] = numbers
    assert not misaligned_numbers.flags.aligned

    for some_headers in (frozen, strided, misaligned):
        for some_numbers in (frozen_numbers, strided_numbers, misaligned_numbers):
            assert np.array_equal(hash_batch(some_headers, some_numbers), expected)
