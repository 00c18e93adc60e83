"""Whatever a compiled function takes in from outside changes the key of its machine code."""

from __future__ import annotations

import enum
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import FunctionType, ModuleType
from typing import Any

import numpy as np
import pytest
from numba.core import ir
from numba.core.compiler import run_frontend

from chain.rules import compiled
from kernels import numba_merkle, numba_pow
from kernels.baked_in import baked_in, describe
from kernels.compile_cache import Kernel, key_of
from kernels.errors import KernelError

ROOT = Path(__file__).parents[3]
KERNELS: dict[str, Kernel] = {
    f"{module.__name__}.{name}": value
    for module in (compiled, numba_pow, numba_merkle)
    for name, value in vars(module).items()
    if isinstance(value, Kernel)
}


def other_than(value: object) -> object:
    """A value of the same type that differs, as a change of the source would make it."""
    if isinstance(value, bool | np.bool_):
        return not value
    if isinstance(value, np.generic):
        return value.dtype.type(int(value.item()) + 1)
    if isinstance(value, int | float):
        return value + 1
    if isinstance(value, np.ndarray):
        changed = value.copy()
        changed.flat[-1] += 1
        return changed
    if isinstance(value, tuple):
        return (*value[:-1], other_than(value[-1]))
    if isinstance(value, str):
        return value + "x"
    raise TypeError(f"no other value for {value!r}")


def as_numba_sees_it(function: FunctionType, seen: set[FunctionType]) -> list[tuple[FunctionType, str, Any]]:
    """Return (function, name, value) of every global and closure, found by Numba's own front end."""
    if function in seen:
        return []
    seen.add(function)
    found: list[tuple[FunctionType, str, Any]] = []
    for block in run_frontend(function).blocks.values():
        for statement in block.body:
            if isinstance(statement, ir.Assign) and isinstance(statement.value, ir.Global | ir.FreeVar):
                value = statement.value.value
                found.append((function, statement.value.name, value))
                called = getattr(value, "py_func", None)
                if called is not None:
                    found += as_numba_sees_it(called, seen)
    return found


def plain(kernel: Kernel) -> FunctionType:
    assert isinstance(kernel.function, FunctionType)
    return kernel.function


def constants_of(kernel: Kernel) -> list[tuple[FunctionType, str, Any]]:
    """Return the numbers, strings, tuples and arrays among them, each once."""
    everything = as_numba_sees_it(plain(kernel), set())
    data = (bool, int, float, str, tuple, np.generic, np.ndarray)
    return list({(f, name): (f, name, v) for f, name, v in everything if isinstance(v, data)}.values())


def test_there_are_kernels_and_constants_to_look_at() -> None:
    names = {name for kernel in KERNELS.values() for _, name, _ in constants_of(kernel)}
    assert len(KERNELS) == 8
    assert {
        "_MAX",
        "_BAD_KIND",
        "MAX_PREIMAGE_BYTES",
        "_CLAIM",
        "LANES",
        "STATE_WORDS",
        "_EMPTY_ROOT",
    } <= names


@pytest.mark.parametrize("name", KERNELS)
def test_every_constant_that_numba_compiles_in_changes_the_key(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    kernel = KERNELS[name]
    before = kernel.key
    for function, constant, value in constants_of(kernel):
        with monkeypatch.context() as changed:
            if constant in function.__code__.co_freevars:
                cell = (function.__closure__ or ())[function.__code__.co_freevars.index(constant)]
                changed.setattr(cell, "cell_contents", other_than(value))
            else:
                changed.setitem(function.__globals__, constant, other_than(value))
            assert kernel.key != before, f"{function.__qualname__} compiles {constant} in"
    assert kernel.key == before


@pytest.mark.parametrize("name", KERNELS)
def test_every_function_that_numba_compiles_in_is_followed(name: str) -> None:
    kernel = KERNELS[name]
    called: set[FunctionType] = set()
    as_numba_sees_it(plain(kernel), called)
    _, files = baked_in(kernel.function)
    assert {Path(function.__code__.co_filename) for function in called} <= files


@pytest.mark.parametrize(
    ("module", "constant"),
    [("kernels.keccak", "ROUND_CONSTANTS"), ("kernels.keccak", "ROTATIONS"), ("kernels.keccak", "ROUNDS"),
     ("kernels.golden_mix", "GOLDEN_MULTIPLIER"), ("kernels.golden_mix", "MIX_ROUNDS")],
)  # fmt: skip
def test_the_constants_of_emitted_machine_code_change_the_key(
    module: str, constant: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Numba cannot see into functions that write LLVM IR; the walk does."""
    before = numba_pow.check_one.key
    old = getattr(sys.modules[module], constant)
    new = other_than(old) if not isinstance(old[0] if isinstance(old, tuple) else 0, tuple) else old[::-1]
    monkeypatch.setattr(sys.modules[module], constant, new)
    assert numba_pow.check_one.key != before


def test_a_constant_read_through_a_module_of_ours_changes_the_key(monkeypatch: pytest.MonkeyPatch) -> None:
    module = ModuleType("limits")
    module.TOP = 1  # type: ignore[attr-defined]
    monkeypatch.setitem(globals(), "limits", module)

    def function(x: int) -> bool:
        below: bool = x < limits.TOP  # type: ignore[name-defined]  # noqa: F821
        return below

    before = key_of(function)
    module.TOP = 2  # type: ignore[attr-defined]
    assert key_of(function) != before


def test_a_constant_in_a_closure_changes_the_key() -> None:
    def less_than(top: int) -> Callable[[int], bool]:
        return lambda x: x < top

    assert key_of(less_than(1)) != key_of(less_than(2))
    assert key_of(less_than(1)) == key_of(less_than(1))


def test_a_value_without_a_stable_description_is_refused() -> None:
    thing = object()

    def function(x: int) -> object:
        return thing, x

    with pytest.raises(KernelError, match="cannot tell from another value"):
        key_of(function)


def test_descriptions_tell_types_and_values_apart() -> None:
    class Colour(enum.IntEnum):
        RED = 1

    class Shade(enum.IntEnum):
        RED = 2

    values = [
        None, True, 1, 1.0, "1", b"1", (1,), [1], frozenset({1}), {1: 1}, np.uint64(1), np.int64(1),
        np.array([1, 2]), np.array([[1, 2]]), Colour.RED, Shade.RED, Colour, Shade, np, int, len,
    ]  # fmt: skip
    assert len({describe(value) for value in values}) == len(values)


SCRIPT = """
from chain.rules import compiled
from chain.rules.block import pack_transactions
from chain.rules.records import Transaction
arrays = pack_transactions([Transaction(2, 3, 0, 2**59 + 1, 0, b"s" * 20, b"r" * 20)])
try:
    compiled.check_records(*arrays, 3, None)
    print("accepted", end=" ")
except Exception as error:
    print(error.reason, end=" ")
print(compiled._check_records.loaded_from_cache)
"""


@pytest.mark.long
def test_a_node_with_another_limit_does_not_keep_the_old_rule(tmp_path: Path) -> None:
    """Two nodes of one source, one with a cache from before the change, must agree."""
    source = tmp_path / "source"
    for package in ("chain", "kernels"):
        for file in (ROOT / package).rglob("*.py"):
            copy = source / file.relative_to(ROOT)
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.write_bytes(file.read_bytes())
    params = source / "chain" / "rules" / "params.py"
    text = params.read_text()
    assert "MAX_AMOUNT = 2**60\n" in text
    environment = {**os.environ, "PYTHONPATH": str(source), "NUMBA_CACHE_DIR": str(tmp_path / "cache")}

    def verdict(power: int) -> str:
        params.write_text(text.replace("MAX_AMOUNT = 2**60\n", f"MAX_AMOUNT = 2**{power}\n"))
        done = subprocess.run(
            [sys.executable, "-c", SCRIPT],
            env=environment,
            cwd=source,
            capture_output=True,
            text=True,
            check=True,
        )
        return done.stdout.strip()

    assert verdict(60) == "accepted False"
    assert verdict(60) == "accepted True"
    assert verdict(59) == "amount_out_of_range False"
