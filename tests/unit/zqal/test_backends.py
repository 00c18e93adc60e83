"""Every backend that runs here gives the oracle's results."""

from __future__ import annotations

import ctypes
import random
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from chain.rules.errors import RuleBrokenError
from chain.rules.header import compact_to_target, target_to_compact
from chain.rules.rewards import LEVELS
from kernels.errors import KernelInputError
from kernels.zqal import bind, oracle, typed
from kernels.zqal.backends import c_text, llvm
from kernels.zqal.legalize import legalize
from kernels.zqal.semantics import mask
from kernels.zqal.stage import stage
from kernels.zqal.targets import Target, build
from tests.unit.zqal.programs import cosmic_harmony, function, vectors

LANES = 8


@pytest.mark.parametrize("peel", [False, True])
def test_vectors_in_machine_code(peel: bool) -> None:
    mine = cosmic_harmony().functions["mine"]
    keep, code = llvm.compiled(stage(mine, peel=peel))
    for header, nonce, work in vectors():
        assert bind.call(mine, code, [header, nonce]) == work
    del keep


def test_vectors_in_eight_lanes_at_once() -> None:
    mine = cosmic_harmony().functions["mine"]
    keep, code = llvm.compiled(stage(mine), lanes=LANES)
    everything = vectors()
    for start in range(0, len(everything), LANES):
        group = [everything[(start + lane) % len(everything)] for lane in range(LANES)]
        words = [[*bind.to_words(header, mine.parameters[0][0].type), nonce] for header, nonce, _ in group]
        out = code([words[lane][i] for i in range(11) for lane in range(LANES)])
        for lane, (_, _, work) in enumerate(group):
            assert b"".join(out[i * LANES + lane].to_bytes(8, "little") for i in range(4)) == work
    del keep


@pytest.mark.parametrize(
    "function_name", ["target_to_compact", "compact_to_target", "consciousness_multiplier", "block_reward"]
)
def test_rules_in_machine_code_are_those_of_the_chain(function_name: str) -> None:
    f = cosmic_harmony().functions[function_name]
    keep, code = llvm.compiled(stage(f))
    for arguments, wanted in RULES[function_name]():
        assert bind.call(f, code, arguments) == wanted, arguments
    del keep


def _targets() -> Iterator[tuple[list[int], int]]:
    chance = random.Random(8)
    for exponent in range(256):
        for mantissa in (0, 1, 0x7F, 0x80, 0xFFFF, 0x7FFFFF, 0x800000, 0xFFFFFF, chance.getrandbits(24)):
            compact = exponent << 24 | mantissa
            try:
                wanted = compact_to_target(compact)
            except RuleBrokenError:
                wanted = 0
            yield [compact], wanted


def _compacts() -> Iterator[tuple[list[int], int]]:
    chance = random.Random(9)
    for bits in range(1, 257):
        for target in (1 << bits - 1, mask(bits), chance.getrandbits(bits)):
            yield [target], target_to_compact(target)


def _levels() -> Iterator[tuple[list[int], int]]:
    for number, level in enumerate(LEVELS):
        yield [number], level.per_mille


def _rewards() -> Iterator[tuple[list[int], int]]:
    for number, level in enumerate(LEVELS):
        for base in (0, 1, 999, 50 * 10**8, 9 * 10**15):
            yield [base, number], base * level.per_mille // 1000


RULES: dict[str, Callable[[], Iterator[tuple[list[int], int]]]] = {
    "target_to_compact": _compacts,
    "compact_to_target": _targets,
    "consciousness_multiplier": _levels,
    "block_reward": _rewards,
}


@pytest.fixture(scope="session")
def compiler() -> list[str]:
    """The C compiler of the ziglang wheel, which every installation has."""
    return [sys.executable, "-m", "ziglang", "cc"]


def in_c(f: typed.Function, compiler: Sequence[str], folder: Path, *flags: str) -> bind.Words:
    """Compile a function as C and return it as a function on words."""
    routine = legalize(stage(f))
    source, library = folder / f"{f.name}.c", folder / f"{f.name}.so"
    source.write_text(c_text.c_source(routine, "entry"))
    warnings = ["-std=c11", "-Wall", "-Wextra", "-Werror", "-Wno-unused", "-Wno-parentheses"]
    subprocess.run(
        [*compiler, "-O2", *warnings, *flags, "-shared", "-fPIC", "-o", library, source], check=True
    )
    entry = ctypes.CDLL(str(library)).entry

    def call(words: Sequence[int]) -> Sequence[int]:
        given, out = (ctypes.c_uint64 * len(words))(*words), (ctypes.c_uint64 * len(routine.results))()
        entry(given, out)
        return list(out)

    return call


def test_vectors_in_c(compiler: list[str], tmp_path: Path) -> None:
    mine = cosmic_harmony().functions["mine"]
    code = in_c(mine, compiler, tmp_path)
    for header, nonce, work in vectors():
        assert bind.call(mine, code, [header, nonce]) == work


def test_wide_numbers_tables_and_small_types_in_c(compiler: list[str], tmp_path: Path) -> None:
    f = function(MIXED)
    code = in_c(f, compiler, tmp_path)
    keep, machine = llvm.compiled(stage(f))
    chance = random.Random(3)
    for _ in range(40):
        arguments = [chance.getrandbits(bits) for bits in (8, 16, 64, 256)]
        wanted = oracle.run(f, arguments)
        assert bind.call(f, code, arguments) == wanted
        assert bind.call(f, machine, arguments) == wanted
    del keep


MIXED = """
const STEPS: [u16; 5] = [3, 65535, 9, 1, 800]
@kernel
fn f(a: u8, b: u16, c: u64, d: u256) -> bytes<75> {
  let mut x = a
  let mut y = d
  for i in 0..9 {
    x = x * 7 + rotate_left(x, b) + (x << a)
    y = rotate_right(y, c) ^ (y * d) ^ u256(STEPS[(b + i) % 5])
    if x > 100 { y = y / (u256(x) + 1) } else { x = ~x }
  }
  let small = b / (b % 7 + 1) - u16(x)
  return be_bytes(y) ++ le_bytes(x) ++ be_bytes(small) ++ le_bytes(c >> a) ++ be_bytes(d % (u256(c) + 1))
}
"""


def test_sources_for_graphics_cards_are_complete_searches() -> None:
    mine = cosmic_harmony().functions["mine"]
    opencl, cuda = build(mine, Target.OPENCL), build(mine, Target.CUDA)
    assert "__kernel void scan_mine(" in opencl
    assert "atomic_min(found, offset)" in opencl
    assert "uint64_t" not in opencl
    assert 'extern "C" __global__ void scan_mine(' in cuda
    for text in (opencl, cuda):
        assert text.count("{") == text.count("}")


def test_what_is_no_mining_kernel_has_no_search() -> None:
    with pytest.raises(KernelInputError, match="not a mining kernel"):
        build(cosmic_harmony().functions["validate"], Target.OPENCL)
