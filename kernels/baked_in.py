"""What compiled code takes in from outside: the globals and closures of a function and of all it calls.

Numba freezes these when it compiles. A cache that does not know them keeps the old machine code after a
constant changes, wherever that constant comes from; two nodes of one source would then disagree. The walk
goes by the functions' own code, so a new constant is covered without being named anywhere.
"""

from __future__ import annotations

import enum
import sys
import types
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from kernels.errors import KernelError

_VERSIONED = frozenset({"numba", "llvmlite", "numpy"}) | sys.stdlib_module_names
"""Packages whose versions are in the key already: the walk ends there."""


class BakedIn(NamedTuple):
    """One value that a function uses from outside: the owner's module and name, the value's name, itself."""

    owner: str
    name: str
    value: object


def baked_in(function: Callable[..., Any]) -> tuple[tuple[BakedIn, ...], frozenset[Path]]:
    """Return the values that compiling `function` freezes, and the files of ours that its code stands in.

    Raises KernelError for a value that has no stable description, because a key could not follow it.
    """
    values: list[BakedIn] = []
    files: set[Path] = set()
    seen: set[int] = set()
    waiting: list[object] = [function]
    while waiting:
        plain = _python_function(waiting.pop())
        if plain is None or id(plain) in seen:
            continue
        seen.add(id(plain))
        files.add(Path(plain.__code__.co_filename))
        for name, value in _outside_values(plain):
            values.append(BakedIn(f"{plain.__module__}.{plain.__qualname__}", name, value))
            waiting.append(value)
    return tuple(values), frozenset(files)


def describe(value: object) -> str:
    """Return text that is the same in every process for the same value and differs for another.

    Raises KernelError for a value without such a text.
    """
    if isinstance(value, enum.Enum):
        return f"{type(value).__qualname__}.{value.name}={value.value!r}"
    if value is None or isinstance(value, bool | int | float | complex | str | bytes):
        return f"{type(value).__name__}:{value!r}"
    if isinstance(value, np.ndarray):
        return f"array:{value.dtype.str}:{value.shape}:{value.tobytes().hex()}"
    if isinstance(value, np.generic):
        return f"{value.dtype.str}:{value.tobytes().hex()}"
    if isinstance(value, tuple | list):
        return f"{type(value).__name__}:({','.join(map(describe, value))})"
    if isinstance(value, set | frozenset):
        return f"{type(value).__name__}:({','.join(sorted(map(describe, value)))})"
    if isinstance(value, dict):
        return f"dict:({','.join(f'{describe(key)}:{describe(item)}' for key, item in value.items())})"
    if isinstance(value, types.ModuleType):
        return f"module:{value.__name__}"
    if isinstance(value, enum.EnumType):
        members: list[enum.Enum] = list(value)
        return f"enum:{value.__qualname__}:({','.join(map(describe, members))})"
    plain = _python_function(value)
    if plain is not None:
        return f"function:{plain.__module__}.{plain.__qualname__}"
    if isinstance(value, type | types.FunctionType | types.BuiltinFunctionType | np.ufunc):
        return f"{getattr(value, '__module__', '')}.{value.__name__}"
    if type(value).__module__.partition(".")[0] in _VERSIONED:
        text = str(value)
        if " at 0x" not in text:
            return f"{type(value).__qualname__}:{text}"
    raise KernelError(
        f"compiled code uses {value!r}, which the compile cache cannot tell from another value",
        hint="pass it as an argument, or use numbers, tuples, arrays, enums or functions",
    )


def _python_function(value: object) -> types.FunctionType | None:
    """Return the Python function behind a function, a Numba building block or an intrinsic of ours."""
    for attribute in ("py_func", "_defn"):
        value = getattr(value, attribute, value) if not isinstance(value, type) else value
    if isinstance(value, types.FunctionType) and not _is_versioned(value.__module__):
        return value
    return None


def _is_versioned(module: str) -> bool:
    return module.partition(".")[0] in _VERSIONED and module != "__main__"


def _codes(code: types.CodeType) -> Iterator[types.CodeType]:
    yield code
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from _codes(constant)


def _outside_values(function: types.FunctionType) -> Iterator[tuple[str, object]]:
    names = sorted({name for code in _codes(function.__code__) for name in code.co_names})
    for name in names:
        if name in function.__globals__:
            value = function.__globals__[name]
            yield name, value
            if isinstance(value, types.ModuleType) and not _is_versioned(value.__name__):
                for attribute in names:
                    if hasattr(value, attribute):
                        yield f"{name}.{attribute}", getattr(value, attribute)
    for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
        yield name, cell.cell_contents
    for name, value in (function.__kwdefaults__ or {}).items():
        yield name, value
    for index, value in enumerate(function.__defaults__ or ()):
        yield f"default {index}", value
