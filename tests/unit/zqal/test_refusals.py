"""What the compiler refuses, and the message for it: each file in refused/ has its text beside it."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from kernels.zqal.checker.modules import check, check_file
from kernels.zqal.diagnostics import Source, ZqalError
from kernels.zqal.parse import MAX_NESTING, MAX_SOURCE_BYTES, parse

REFUSED = sorted((Path(__file__).parent / "refused").glob("*.zqal"))
SEED = Path(__file__).parent / "refused" / "the_seeds_example.zqal"


@pytest.mark.parametrize("path", REFUSED, ids=lambda path: path.stem)
def test_a_refusal_says_where_why_and_what_to_write(path: Path) -> None:
    with pytest.raises(ZqalError) as refused:
        check_file(path)
    assert f"{refused.value}\n" == path.with_suffix(".txt").read_text()


def test_every_refusal_has_a_case_and_every_text_its_program() -> None:
    texts = {path.stem for path in REFUSED[0].parent.glob("*.txt")}
    assert texts == {path.stem for path in REFUSED}
    assert len(texts) > 25


def test_the_seeds_example_parses_as_it_stands() -> None:
    file = parse(Source(SEED.name, SEED.read_text()))
    assert len(file.items) == 9


def test_the_seeds_example_compiles_after_what_the_messages_say() -> None:
    text = SEED.read_text()
    for before, after in (
        ("GOLDEN_RATIO: f64", "GOLDEN_RATIO: real"),
        ("HARMONIC_FREQ: f64", "HARMONIC_FREQ: real"),
        ("ConsciousnessLevel) -> f64", "ConsciousnessLevel) -> permille"),
        (
            "if consciousness_level > 0 {\n"
            "      state = adjust_for_consciousness(state, consciousness_level)\n    }",
            "",
        ),
        ("collapse(state[0])", "keccak256(le_bytes(state))"),
        ("quantum state[12]", "use std::keccak\nquantum state[12]"),
        (
            "@reward",
            "enum ConsciousnessLevel { Physical, Astral, Causal, Buddhic, Atmic, Monadic, Other }\n@reward",
        ),
    ):
        assert text.count(before) == 1, before
        text = text.replace(before, after)
    assert set(check(Source(SEED.name, text)).functions) >= {"mine", "validate", "consciousness_multiplier"}


def test_deep_nesting_is_refused_before_it_can_exhaust_the_stack() -> None:
    deep = "(" * (MAX_NESTING + 1) + "1" + ")" * (MAX_NESTING + 1)
    with pytest.raises(ZqalError, match="nested deeper"):
        check(Source("deep.zqal", f"const A: u32 = {deep}"))
    with pytest.raises(ZqalError, match="nested deeper"):
        check(Source("deep.zqal", f"const A: u32 = {'~' * 100_000}1"))


@pytest.mark.parametrize("limit", [1_000, 50_000])
def test_long_chains_of_operators_and_calls_are_refused_with_a_message(limit: int) -> None:
    """However much room Python gives: what a program means does not depend on that."""
    before = sys.getrecursionlimit()
    sys.setrecursionlimit(limit)
    try:
        _refuses_long_chains()
    finally:
        sys.setrecursionlimit(before)


def _refuses_long_chains() -> None:
    with pytest.raises(ZqalError, match="too deeply"):
        check(Source("sum.zqal", f"@kernel\nfn f(x: u32) -> u32 {{ {'x + ' * 5000}x }}"))
    calls = "@kernel\nfn f0(x: u32) -> u32 { x }\n" + "\n".join(
        f"@kernel\nfn f{i}(x: u32) -> u32 {{ f{i - 1}(x) }}" for i in reversed(range(1, 200))
    )
    with pytest.raises(ZqalError, match="too deeply"):
        check(Source("calls.zqal", calls))


def test_a_huge_source_is_refused() -> None:
    with pytest.raises(ZqalError, match="longer than"):
        check(Source("huge.zqal", "// " + "x" * MAX_SOURCE_BYTES))


@pytest.mark.parametrize(
    "expression",
    ["1 << 100000", "2 * " * 100 + "2" + " << 1000" * 2, "zeros(100000)", "[0; 100000]", "[[0; 4000]; 4000]"],
)
def test_values_that_need_much_room_while_compiling_are_refused(expression: str) -> None:
    with pytest.raises(ZqalError):
        check(Source("big.zqal", f"@kernel\nfn f(x: u32) -> u32 {{\n  let a = {expression}\n  return x\n}}"))
