"""Staging, folding, legalizing and passes: always the oracle's results."""

from __future__ import annotations

import functools
import random

import pytest

from kernels.zqal import bind, core, oracle
from kernels.zqal.core import Builder, Parameter, Routine, constant
from kernels.zqal.legalize import legalize
from kernels.zqal.passes import mark_uniform, without_dead_code
from kernels.zqal.semantics import evaluate, mask
from kernels.zqal.stage import stage
from kernels.zqal.types import UInt
from tests.unit.zqal.programs import cosmic_harmony, function, vectors

WIDE = ("+", "-", "*", "&", "|", "^", "<<", ">>", "<", "<=", "==", "!=")


def every_way(text: str, arguments: list[object]) -> object:
    """Run a function in the oracle, in the core, and legalized; return the one result."""
    f = function(text)
    wanted = oracle.run(f, arguments)
    for routine in (stage(f), stage(f, peel=True)):
        legal = legalize(routine)
        assert all(value.bits <= 64 for value in core.operations(legal.body))
        # words and scalars are the same thing once nothing is wider than 64 bits
        assert bind.call(f, functools.partial(core.run, legal), arguments) == wanted
    return wanted


@pytest.mark.parametrize("peel", [False, True])
def test_vectors_in_the_core(peel: bool) -> None:
    mine = cosmic_harmony().functions["mine"]
    routine = stage(mine, peel=peel)
    for header, nonce, work in vectors():
        assert bind.call(mine, lambda words: core.run(routine, words), [header, nonce]) == work


def test_what_cosmic_harmony_costs_in_operations() -> None:
    routine = stage(cosmic_harmony().functions["mine"])
    assert len(list(core.operations(routine.body))) == 789


def test_the_header_is_uniform_and_what_depends_on_the_nonce_varies() -> None:
    routine = stage(cosmic_harmony().functions["mine"])
    header, nonce = routine.parameters
    assert all(value.uniform for value in header.values)
    assert not nonce.values[0].uniform
    assert not any(value.uniform for value in routine.results)
    counters = {
        o.number: o for v in core.operations(routine.body) for o in v.operands if o.operation == "counter"
    }
    assert all(counter.uniform for counter in counters.values())


@pytest.mark.parametrize("sign", WIDE)
@pytest.mark.parametrize("bits", [128, 256])
def test_wide_operations(sign: str, bits: int) -> None:
    result = "bool" if sign in {"<", "<=", "==", "!="} else f"u{bits}"
    count = "u32" if sign in {"<<", ">>"} else f"u{bits}"
    text = f"@kernel\nfn f(a: u{bits}, b: {count}) -> {result} {{ a {sign} b }}"
    chance = random.Random(f"{sign}{bits}")
    edges = [0, 1, 2**63, 2**64 - 1, 2**64, mask(bits), 2 ** (bits - 1)]
    counts = [0, 1, 63, 64, 65, 127, 128, 129, bits - 1, bits, bits + 1, 2**32 - 1]
    for _ in range(12):
        a = chance.choice([*edges, chance.getrandbits(bits)])
        b = chance.choice(counts if count == "u32" else [*edges, a, chance.getrandbits(bits)])
        every_way(text, [a, b])


@pytest.mark.parametrize("sign", ["/", "%"])
def test_wide_divisions(sign: str) -> None:
    text = f"@kernel\nfn f(a: u128, b: u128) -> u128 {{ if b >= 1 {{ a {sign} b }} else {{ 7 }} }}"
    for a, b in (
        (5, 0),
        (2**128 - 1, 1),
        (2**128 - 1, 2**127 + 1),
        (12345678901234567890123, 1000),
        (3, 2**100),
    ):
        every_way(text, [a, b])


@pytest.mark.parametrize("bits", [8, 32, 64, 128, 256])
def test_rotations_take_their_count_modulo_the_width(bits: int) -> None:
    text = f"@kernel\nfn f(a: u{bits}, n: u256) -> [u{bits}; 2] {{ [rotate_left(a, n), rotate_right(a, n)] }}"
    for count in (0, 1, bits - 1, bits, bits + 3, 2**200 + 5):
        every_way(text, [mask(bits) // 3 + 1, count])


def test_shift_counts_of_any_width() -> None:
    for count_bits in (8, 16, 64, 128, 256):
        text = f"@kernel\nfn f(a: u64, n: u{count_bits}) -> u64 {{ (a << n) ^ (a >> n) }}"
        for count in (0, 5, 63, 64, 255, mask(count_bits), 2 ** (count_bits - 1)):
            if count <= mask(count_bits):
                every_way(text, [0x8123456789ABCDEF, count])


def test_an_index_that_is_out_of_range_in_the_branch_not_taken_reads_nothing() -> None:
    text = "const T: [u32; 3] = [7, 8, 9]\n@kernel\nfn f(i: u32) -> u32 { if i < 3 { T[i] } else { 1 } }"
    assert [every_way(text, [i]) for i in (0, 2, 3, 2**32 - 1)] == [7, 9, 1, 1]


def test_loops_that_exchange_their_values() -> None:
    text = """@kernel
    fn f(a: u32, b: u32) -> [u32; 2] {
      let mut x = a
      let mut y = b
      for i in 0..7 {
        let before = x
        x = y
        y = before
      }
      [x, y]
    }"""
    assert every_way(text, [1, 2]) == [2, 1]


def test_branches_that_assign() -> None:
    text = """quantum r[3]: u64
    @kernel
    fn f(a: u64) -> [u64; 3] {
      r[0] = a
      if a > 5 { r[1] = a * a } else { if a == 2 { r[2] = 9 } }
      return r
    }"""
    assert [every_way(text, [a]) for a in (6, 2, 1)] == [[6, 36, 0], [2, 0, 9], [1, 0, 0]]


def test_bytes_at_odd_offsets() -> None:
    text = "@kernel\nfn f(a: bytes<7>, b: bytes<12>) -> bytes<17> { let all = a ++ b ++ a  all[3:20] }"
    assert (
        every_way(text, [bytes(range(7)), bytes(range(100, 112))])
        == (bytes(range(7)) + bytes(range(100, 112)) + bytes(range(7)))[3:20]
    )
    written = "@kernel\nfn f(x: u8) -> bytes<9> { let mut b = zeros(9)  b[8] = x  b[1] = x ^ 255  return b }"
    assert every_way(written, [200]) == bytes([0, 55, 0, 0, 0, 0, 0, 0, 200])


def test_folding_is_the_table_of_semantics() -> None:
    chance = random.Random(4)
    for name in ("add", "sub", "mul", "div", "rem", "and", "or", "xor", "shl", "shr", "rotl"):
        for bits in (8, 64, 256):
            for _ in range(20):
                a, b = (chance.choice([0, 1, mask(bits), chance.getrandbits(bits)]) for _ in range(2))
                count = chance.choice([0, 1, bits - 1, bits, 300])
                builder = Builder()
                value = builder.fresh("parameter", bits)
                shifts = name in {"shl", "shr", "rotl"}
                right = constant(count, 32) if shifts else constant(b, bits)
                result = builder.emit(name, bits, value, right)
                routine = Routine(
                    "f", [Parameter("a", (value,), UInt(bits), False)], builder.body, [result], {}
                )
                assert core.run(routine, [a]) == [evaluate(name, bits, [a, right.constant])], (name, bits, a)


def test_dead_code_goes_and_uniform_loops_stay_uniform() -> None:
    builder = Builder()
    value = builder.fresh("parameter", 32)
    phis = builder.loop(
        0,
        4,
        [value, constant(1, 32)],
        lambda counter, phis: [
            builder.emit("add", 32, phis[0], counter),
            builder.emit("add", 32, phis[1], counter),
        ],
    )
    routine = Routine("f", [Parameter("a", (value,), UInt(32), False)], builder.body, [phis[1]], {})
    mark_uniform(without_dead_code(routine))
    assert len(list(core.operations(routine.body))) == 1
    assert phis[1].uniform
    assert core.run(routine, [9]) == [7]
