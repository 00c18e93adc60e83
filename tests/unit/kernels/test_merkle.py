from __future__ import annotations

import numpy as np
import pytest
from eth_hash.auto import keccak
from hypothesis import given, settings
from hypothesis import strategies as st

from kernels import reference
from kernels.compile_cache import building_block
from kernels.cosmic_harmony import U64Array, keccak256_batch_128, merkle_root
from kernels.errors import KernelInputError
from kernels.numba_merkle import hash_records, merkle_root_words

hashes = st.binary(min_size=32, max_size=32)


@settings(deadline=None)
@given(st.lists(st.binary(min_size=128, max_size=128), max_size=20))
def test_record_hashes_are_ethereums_keccak(records: list[bytes]) -> None:
    as_words = np.frombuffer(b"".join(records), np.uint64).reshape(-1, 16)
    expected = [keccak(record) for record in records]
    assert [row.tobytes() for row in keccak256_batch_128(as_words)] == expected
    assert [row.tobytes() for row in keccak256_batch_128(as_words.view(np.uint8))] == expected


@settings(deadline=None)
@given(st.lists(hashes, max_size=40))
def test_the_root_is_what_the_recursive_definition_gives(leaves: list[bytes]) -> None:
    rows = np.frombuffer(b"".join(leaves), np.uint8).reshape(-1, 32)
    assert merkle_root(rows) == reference.merkle_root(leaves)


@pytest.mark.parametrize("count", [0, 1, 2, 3, 7, 8, 9, 16, 17, 1000])
def test_roots_of_all_shapes(count: int) -> None:
    leaves = [keccak(bytes([number % 256, number // 256])) for number in range(count)]
    rows = np.frombuffer(b"".join(leaves), np.uint64).reshape(-1, 4)
    assert merkle_root(rows) == reference.merkle_root(leaves)


def test_the_smallest_trees_by_hand() -> None:
    a, b, c = (bytes([i]) * 32 for i in range(3))
    leaf_a, leaf_b, leaf_c = (keccak(b"\x00" + leaf) for leaf in (a, b, c))
    left = keccak(b"\x01" + leaf_a + leaf_b)

    def root(*leaves: bytes) -> bytes:
        return merkle_root(np.frombuffer(b"".join(leaves), np.uint8).reshape(-1, 32))

    assert root() == keccak(b"")
    assert root(a) == leaf_a
    assert root(a, b) == left
    assert root(a, b, c) == keccak(b"\x01" + left + leaf_c)
    assert root(a, b, c, c) != root(a, b, c)  # duplicating the last leaf forges no second tree


def test_leaves_are_left_as_they_are_and_may_be_read_only() -> None:
    leaves = np.arange(36, dtype=np.uint64).reshape(9, 4)
    before = leaves.copy()
    leaves.flags.writeable = False
    assert merkle_root(leaves) == reference.merkle_root([row.tobytes() for row in before])
    assert np.array_equal(leaves, before)


def test_other_shapes_are_refused_with_a_hint() -> None:
    with pytest.raises(KernelInputError, match=r"pass uint8 \(N, 128\) or uint64 \(N, 16\)"):
        keccak256_batch_128(np.zeros((3, 15), np.uint64))
    with pytest.raises(KernelInputError, match=r"pass uint8 \(N, 32\) or uint64 \(N, 4\)"):
        merkle_root(np.zeros(32, np.uint8))


@building_block  # type: ignore[untyped-decorator] # Numba has no types for it
def _root_of_records(records: U64Array, root: U64Array) -> None:
    """As compiled block validation would use the building blocks."""
    txids = np.empty((records.shape[0], 4), np.uint64)
    hash_records(records, txids)
    merkle_root_words(txids, root)


def test_other_compiled_code_can_call_the_building_blocks() -> None:
    records = np.random.default_rng(3).integers(0, 2**63, (21, 16), dtype=np.uint64)
    root = np.empty(4, np.uint64)
    _root_of_records(records, root)
    assert root.tobytes() == merkle_root(keccak256_batch_128(records))
