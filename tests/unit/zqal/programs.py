"""Programs for the tests, checked once a process."""

from __future__ import annotations

import functools
import json
from pathlib import Path

import kernels.algorithms
from kernels.zqal import typed
from kernels.zqal.checker.modules import check, check_file
from kernels.zqal.diagnostics import Source

ALGORITHM = Path(kernels.algorithms.__file__).with_name("cosmic_harmony.zqal")
VECTORS = Path(__file__).parents[2] / "vectors" / "cosmic_harmony.json"


@functools.cache
def cosmic_harmony() -> typed.Program:
    """Return the checked program of the proof of work."""
    return check_file(ALGORITHM)


@functools.cache
def vectors() -> tuple[tuple[bytes, int, bytes], ...]:
    """Return the published vectors: header, nonce, hash."""
    entries = json.loads(VECTORS.read_text())
    return tuple((bytes.fromhex(v["header"]), int(v["nonce"], 16), bytes.fromhex(v["hash"])) for v in entries)


def function(text: str, name: str = "f") -> typed.Function:
    """Return a function of a program in a string."""
    return check(Source("test.zqal", text)).functions[name]
