"""What other programs import of the rules is cheap: no compiler, no arrays, no database."""

from __future__ import annotations

import subprocess
import sys

import pytest

COSTLY = {"numba", "llvmlite", "numpy", "lmdb", "coincurve", "starlette", "uvicorn", "httpx"}


@pytest.mark.parametrize(
    "module",
    [
        "chain.rules.params",
        "chain.rules.address",
        "chain.rules.errors",
        "chain.rules.types",
        "kernels.errors",
    ],
)
def test_constants_and_addresses_import_nothing_costly(module: str) -> None:
    script = f"import sys, {module}; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout
    assert COSTLY.isdisjoint(loaded.split())
