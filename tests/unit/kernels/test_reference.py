"""The reference itself against an independent Keccak (pycryptodome, through eth-hash)."""

from __future__ import annotations

from eth_hash.auto import keccak
from hypothesis import example, given, settings
from hypothesis import strategies as st

from kernels import reference


@settings(deadline=None)
@given(st.binary(max_size=500))
@example(b"")
@example(bytes(135))
@example(bytes(136))
@example(bytes(137))
def test_keccak256_is_ethereums(message: bytes) -> None:
    assert reference.keccak256(message) == keccak(message)


@settings(deadline=None)
@given(header=st.binary(min_size=80, max_size=80), nonce=st.integers(0, 2**64 - 1))
def test_the_work_hash_is_keccak_around_the_mix(header: bytes, nonce: int) -> None:
    seed = keccak(header + nonce.to_bytes(8, "little"))
    assert reference.cosmic_harmony(header, nonce) == keccak(seed + reference.golden_mix(seed))


@settings(deadline=None)
@given(st.binary(min_size=32, max_size=32))
def test_the_mix_can_be_undone(seed: bytes) -> None:
    """The mix alone is not a hash: multiplication by an odd constant and rotations are invertible."""
    inverse = pow(1618033, -1, 2**32)
    s = [int.from_bytes(reference.golden_mix(seed)[4 * i : 4 * i + 4], "little") for i in range(12)]
    for number in reversed(range(12)):
        for i in reversed(range(12)):
            rotated = s[i] * inverse & 0xFFFFFFFF ^ s[(i + 1) % 12]
            s[i] = (rotated >> number | rotated << (32 - number)) & 0xFFFFFFFF
    assert b"".join(word.to_bytes(4, "little") for word in s[:8]) == seed


@settings(deadline=None)
@given(st.lists(st.binary(min_size=32, max_size=32), min_size=2, max_size=20))
def test_a_merkle_root_commits_to_every_leaf_and_their_order(leaves: list[bytes]) -> None:
    root = reference.merkle_root(leaves)
    changed = [bytes(32), *leaves[1:]]
    assert (reference.merkle_root(changed) == root) == (changed == leaves)
    assert (reference.merkle_root(leaves[::-1]) == root) == (leaves[::-1] == leaves)
    assert reference.merkle_root([*leaves, leaves[-1]]) != root
