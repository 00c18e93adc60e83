"""The generated OpenCL search in the place of the hand-written one, on the CPU through PoCL."""

from __future__ import annotations

import random
from pathlib import Path
from types import SimpleNamespace

import pytest

from kernels import cosmic_harmony, opencl_program
from kernels.cosmic_harmony import MAX_NONCE, MAX_TARGET
from kernels.opencl import OpenCLScanner
from kernels.zqal.backends import gpu_text
from kernels.zqal.backends.c_text import Dialect
from kernels.zqal.legalize import legalize
from kernels.zqal.stage import stage
from tests.unit.kernels.conftest import needs_opencl
from tests.unit.zqal.programs import cosmic_harmony as program
from tests.unit.zqal.programs import vectors


@pytest.fixture
def scanner(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> OpenCLScanner:
    """The scanner with our source; it has to find its known answer before it is returned."""
    routine = legalize(stage(program().functions["mine"]))
    source = gpu_text.scan(routine, "scan", Dialect.OPENCL)
    (tmp_path / "cosmic_harmony.cl").write_text(source)
    monkeypatch.setattr(opencl_program, "resources", SimpleNamespace(files=lambda _: tmp_path))
    monkeypatch.setattr(opencl_program, "CPU_VECTOR", 1)
    return OpenCLScanner()


@needs_opencl
def test_vectors_by_hit_and_by_miss(scanner: OpenCLScanner) -> None:
    for header, nonce, work in vectors():
        number = int.from_bytes(work, "big")
        hit = scanner.scan(header, nonce, 1, number)
        assert (hit.nonce, hit.best_hash) == (nonce, work)
        assert scanner.scan(header, nonce, 1, number - 1).nonce is None


@needs_opencl
def test_the_search_is_the_hand_written_ones(scanner: OpenCLScanner) -> None:
    chance = random.Random(17)
    for _ in range(12):
        header = chance.randbytes(80)
        start = chance.choice([0, MAX_NONCE - 5, chance.getrandbits(64)])
        count = chance.choice([0, 1, 7, 500])
        target = chance.choice([0, MAX_TARGET, MAX_TARGET >> 6, MAX_TARGET >> 20])
        assert scanner.scan(header, start, count, target) == cosmic_harmony.scan(header, start, count, target)
