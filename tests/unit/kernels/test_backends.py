from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kernels import opencl_probe, reference
from kernels.backends import (
    Backend,
    NumbaScanner,
    Scanner,
    available_backends,
    open_scanner,
)
from kernels.cosmic_harmony import MAX_NONCE, MAX_TARGET
from kernels.errors import BackendUnavailableError, KernelInputError
from kernels.opencl import DISPATCH_SECONDS, FIRST_DISPATCH, OpenCLScanner, list_devices
from tests.unit.kernels.conftest import needs_opencl, needs_pocl

HEADER = bytes(range(80))


def test_every_backend_finds_the_published_nonces(
    scanners: list[Scanner], vectors: list[tuple[bytes, int, bytes]]
) -> None:
    for header, nonce, expected in vectors:
        start = (nonce - 5) % 2**64
        works = [reference.cosmic_harmony(header, (start + i) % 2**64) for i in range(6)]
        target = min(works) if min(works) < expected else expected
        first = next(i for i, work in enumerate(works) if work <= target)
        for scanner in scanners:
            alone = scanner.scan(header, nonce, 1, int.from_bytes(expected, "big"))
            assert (alone.nonce, alone.best_hash) == (nonce, expected)
            below = scanner.scan(header, nonce, 1, int.from_bytes(expected, "big") - 1)
            assert (below.nonce, below.best_nonce, below.best_hash) == (None, nonce, expected)
            result = scanner.scan(header, start, 6, int.from_bytes(target, "big"))
            assert (result.nonce, result.hashes_done) == ((start + first) % 2**64, first + 1)


@settings(max_examples=60, deadline=None)
@given(
    header=st.binary(min_size=80, max_size=80),
    start=st.one_of(st.integers(0, MAX_NONCE), st.integers(MAX_NONCE - 3000, MAX_NONCE)),
    count=st.one_of(st.integers(0, 40), st.integers(0, 40_000)),
    zero_bits=st.integers(0, 20),
)
def test_all_backends_return_the_same(
    scanners: list[Scanner], header: bytes, start: int, count: int, zero_bits: int
) -> None:
    results = [scanner.scan(header, start, count, MAX_TARGET >> zero_bits) for scanner in scanners]
    assert all(result == results[0] for result in results)


def test_target_zero_and_the_highest_target_on_every_backend(scanners: list[Scanner]) -> None:
    for scanner in scanners:
        assert scanner.scan(HEADER, 0, 20_001, 0).nonce is None
        assert scanner.scan(HEADER, MAX_NONCE, 20_001, MAX_TARGET).nonce == MAX_NONCE


def test_a_search_over_many_dispatches_finds_what_one_thread_finds(scanners: list[Scanner]) -> None:
    one_in_a_million = MAX_TARGET >> 20
    results = [scanner.scan(HEADER, 2**63, 3_000_000, one_in_a_million) for scanner in scanners]
    assert results[0].nonce is not None
    assert all(result == results[0] for result in results)


@needs_opencl
def test_the_best_nonce_of_many_dispatches_is_the_best_of_all() -> None:
    scanner = OpenCLScanner()  # a new one starts with small dispatches
    count = 50 * FIRST_DISPATCH
    result = scanner.scan(HEADER, 0, count, 0)
    assert result == NumbaScanner().scan(HEADER, 0, count, 0)
    assert result.best_nonce is not None
    assert result.best_nonce > FIRST_DISPATCH
    scanner.close()


def test_every_backend_refuses_bad_input_alike(scanners: list[Scanner]) -> None:
    for scanner in scanners:
        with pytest.raises(KernelInputError, match="the header has 79 bytes"):
            scanner.scan(bytes(79), 0, 10, 1)
        with pytest.raises(KernelInputError, match="2\\^64"):
            scanner.scan(HEADER, 2**64, 10, 1)
        with pytest.raises(KernelInputError, match="2\\^256"):
            scanner.scan(HEADER, 0, 10, 2**256)
        with pytest.raises(KernelInputError, match="2\\^40"):
            scanner.scan(HEADER, 0, 2**40 + 1, 1)


@needs_opencl
def test_backends_tell_their_devices() -> None:
    numba, opencl = available_backends()
    assert numba.backend is Backend.NUMBA
    assert numba.available
    assert opencl.backend is Backend.OPENCL
    assert opencl.available
    assert [device.index for device in list_devices()] == list(range(len(opencl.devices)))
    assert opencl.devices[0].startswith("0: ")


@needs_opencl
def test_a_scanner_opens_by_name_and_a_device_by_index_or_name() -> None:
    assert isinstance(open_scanner("numba", threads=2), NumbaScanner)
    device = list_devices()[-1]
    for wanted in (device.index, device.name[:5].upper()):
        scanner = open_scanner(Backend.OPENCL, device=wanted)
        assert isinstance(scanner, OpenCLScanner)
        scanner.close()


@needs_opencl
def test_unknown_backends_devices_and_thread_counts_are_refused_with_a_hint() -> None:
    with pytest.raises(KernelInputError, match="choose one of numba, opencl"):
        open_scanner("cuda")
    with pytest.raises(KernelInputError, match="choose one of 0: "):
        open_scanner(Backend.OPENCL, device="no such card")
    with pytest.raises(KernelInputError, match="choose one of 0: "):
        open_scanner(Backend.OPENCL, device=99)
    with pytest.raises(KernelInputError, match="at least one"):
        open_scanner(Backend.NUMBA, threads=0)


@needs_opencl
def test_dispatches_grow_until_they_take_about_their_time() -> None:
    scanner = OpenCLScanner()
    scanner._adapt(DISPATCH_SECONDS / 1000)
    assert scanner._dispatch == 8 * 2**14  # eightfold at most in one step
    scanner._adapt(DISPATCH_SECONDS * 2)
    assert scanner._dispatch == 4 * 2**14
    scanner._adapt(DISPATCH_SECONDS * 1000)
    assert scanner._dispatch == 2**14  # never below the first
    scanner.close()


def test_without_pyopencl_the_hint_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyopencl", None)
    with pytest.raises(BackendUnavailableError, match=r"pip install 'rainbow-bridge\[gpu\]'"):
        OpenCLScanner()
    info = available_backends()[1]
    assert not info.available
    assert info.problem == "pyopencl is not installed"


def test_without_a_platform_the_hint_says_what_to_install(tmp_path: Path) -> None:
    """In a process of its own: the OpenCL loader looks for platforms once."""
    code = "from kernels.backends import available_backends; print(available_backends()[1].hint)"
    environment = {**os.environ, "OCL_ICD_VENDORS": str(tmp_path / "no-such-folder")}
    result = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
    )
    assert "pip install pocl-binary-distribution" in result.stdout


def _without_ld(tmp_path: Path, code: str) -> subprocess.CompletedProcess[str]:
    """Run `code` in a process whose PATH has no linker, and for which PoCL has no kernel ready."""
    programs = tmp_path / "bin"
    programs.mkdir()
    environment = {**os.environ, "PATH": str(programs), "POCL_CACHE_DIR": str(tmp_path / "pocl")}
    return subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False
    )


@needs_pocl
def test_without_a_linker_ziglang_links_the_kernel(tmp_path: Path) -> None:
    code = (
        "from kernels.backends import open_scanner; print(open_scanner('opencl').scan(bytes(80), 0, 1000, 0))"
    )
    result = _without_ld(tmp_path, code)
    assert result.returncode == 0, result.stderr
    assert result.stdout.strip() == str(NumbaScanner().scan(bytes(80), 0, 1000, 0))


@needs_pocl
def test_without_any_linker_the_backend_is_unavailable_and_the_process_lives(tmp_path: Path) -> None:
    code = """
import sys
sys.modules["ziglang"] = None
from kernels.backends import open_scanner
from kernels.errors import BackendUnavailableError
try:
    open_scanner("opencl")
except BackendUnavailableError as error:
    print(error.message, "HINT", error.hint)
"""
    result = _without_ld(tmp_path, code)
    assert result.returncode == 0, result.stderr
    message, _, hint = result.stdout.partition("HINT")
    assert "ends the process (SIGABRT" in message
    assert "install binutils (for `ld`)" in hint


@needs_opencl
def test_a_driver_that_hangs_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    opencl_probe._check.cache_clear()
    monkeypatch.setattr(opencl_probe, "PATIENCE", 0.01)
    with pytest.raises(BackendUnavailableError, match="listing the OpenCL devices took more than"):
        OpenCLScanner()
