"""The oracle against published vectors, the standard library's own tests, and Python's hashes."""

from __future__ import annotations

import hashlib
import random
from pathlib import Path

import pytest

from kernels.errors import KernelInputError
from kernels.reference import keccak256, merkle_root
from kernels.zqal import oracle
from kernels.zqal.checker.modules import STANDARD, check, check_file
from kernels.zqal.diagnostics import Source
from tests.unit.zqal.programs import cosmic_harmony, function, vectors

LIBRARY = sorted(STANDARD.glob("*.zqal"))


@pytest.mark.parametrize("path", LIBRARY, ids=lambda path: path.stem)
def test_the_standard_librarys_tests_hold(path: Path) -> None:
    program = check_file(path)
    assert program.tests or path.stem == "sacred"
    for _, test in program.tests:
        oracle.run_test(test)


def test_the_proof_of_works_own_tests_hold() -> None:
    for _, test in cosmic_harmony().tests:
        oracle.run_test(test)


def test_all_published_vectors() -> None:
    mine = cosmic_harmony().functions["mine"]
    for header, nonce, work in vectors():
        assert oracle.run(mine, [header, nonce]) == work


@pytest.mark.parametrize("length", [0, 1, 55, 56, 64, 111, 119, 120, 128, 135, 136, 137, 200, 256, 272])
def test_hashes_of_many_lengths(length: int) -> None:
    message = random.Random(length).randbytes(length)
    names = ("keccak256", "sha256", "blake2b512", "blake2b256")
    results = ("hash32", "hash32", "bytes64", "hash32")
    text = "use std::keccak\nuse std::sha256\nuse std::blake2b\n" + "\n".join(
        f"@kernel\nfn {name}_here(m: bytes{length}) -> {result} {{ {name}(m) }}"
        for name, result in zip(names, results, strict=True)
    )
    program = check(Source("hashes.zqal", text))
    got = [oracle.run(program.functions[f"{name}_here"], [message]) for name in names]
    assert got == [
        keccak256(message),
        hashlib.sha256(message).digest(),
        hashlib.blake2b(message).digest(),
        hashlib.blake2b(message, digest_size=32).digest(),
    ]


@pytest.mark.parametrize("count", [1, 2, 3, 5, 8, 11])
def test_merkle_roots(count: int) -> None:
    leaves = [random.Random(i).randbytes(32) for i in range(count)]
    root = function(
        f"use std::merkle\n@kernel\nfn f(leaves: [hash32; {count}]) -> hash32 {{ merkle_root(leaves) }}"
    )
    assert oracle.run(root, [leaves]) == merkle_root(leaves)


def test_sacred_constants_are_exact() -> None:
    text = (
        "use std::sacred\n@kernel\nfn f(x: u32) -> [u64; 4] "
        "{ [u64(GOLDEN_RATIO * 1000000.0), u64((PHI - 1.0) * 4294967296.0), FIBONACCI[93], u64(x)] }"
    )
    assert oracle.run(function(text), [7]) == [1618033, 0x9E3779B9, 12200160415121876738, 7]


def test_a_failed_claim_says_where_and_what_the_sides_are() -> None:
    program = check(Source("sums.zqal", 'test "sum" {\n  let x = 2\n  assert x + x == 5\n}'))
    with pytest.raises(oracle.AssertionFailedError) as failed:
        oracle.run_test(program.tests[0][1])
    assert str(failed.value) == "sums.zqal:3: this does not hold: the sides are 4 (0x4) and 5 (0x5)"


def test_arguments_of_another_size_are_refused() -> None:
    mine = cosmic_harmony().functions["mine"]
    for arguments in ([bytes(79), 0], [bytes(80), 2**64], [bytes(80), -1], [bytes(80)], [bytes(80), b""]):
        with pytest.raises(KernelInputError):
            oracle.run(mine, arguments)


def test_references_structs_and_early_values() -> None:
    text = """
    struct Pair { low: u64, high: u64 }
    @kernel
    fn swap(p: &mut Pair, times: &mut [u32; 2]) -> u64 {
      let before = p.low
      p.low = p.high
      p.high = before
      times[1] += 1
      return before
    }
    @kernel
    fn f(a: u64, b: u64) -> bytes<24> {
      let mut p = Pair(low: a, high: b)
      let mut times: [u32; 2] = [3, 4]
      let mut first: u64 = 0
      for i in 0..3 { first = swap(&mut p, &mut times) }
      return be_bytes(p.low) ++ be_bytes(first) ++ le_bytes(times)
    }
    """
    got = oracle.run(function(text), [1, 2])
    assert got == bytes(7) + b"\x02" + bytes(7) + b"\x01" + b"\x03\0\0\0\x07\0\0\0"
