"""The miners behind one interface: the CPU through Numba, graphics cards (and CPUs) through OpenCL."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from enum import StrEnum
from typing import Protocol

import msgspec

from kernels.cosmic_harmony import (
    MAX_NONCE,
    ScanResult,
    check_count,
    check_header_and_nonce,
    scan,
    target_bytes,
)
from kernels.errors import BackendUnavailableError, KernelInputError


class Backend(StrEnum):
    """What nonces are searched with."""

    NUMBA = "numba"
    OPENCL = "opencl"


class Scanner(Protocol):
    """Searches nonces. All backends return the same result for the same arguments."""

    name: str

    def scan(self, header: bytes, start_nonce: int, count: int, target: int) -> ScanResult:
        """Search `count` nonces from `start_nonce` for the first that meets `target`; see `ScanResult`."""

    def close(self) -> None:
        """Free what the scanner holds; it cannot be used afterwards."""


class BackendInfo(msgspec.Struct, frozen=True):
    """Whether a backend can run here: its devices, or the problem and what to do about it."""

    backend: Backend
    devices: tuple[str, ...]
    problem: str | None = None
    hint: str | None = None

    @property
    def available(self) -> bool:
        """Whether `open_scanner` will work."""
        return self.problem is None


class NumbaScanner:
    """Searches nonces on `threads` CPU cores in SIMD lanes; `kernels.cosmic_harmony.scan` on each."""

    name = "numba"

    def __init__(self, threads: int = 1) -> None:
        if threads < 1:
            raise KernelInputError(f"{threads} mining threads", hint="use at least one")
        self._threads = threads
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="miner") if threads > 1 else None

    def scan(self, header: bytes, start_nonce: int, count: int, target: int) -> ScanResult:
        """Search `count` nonces from `start_nonce` for the first that meets `target`; see `ScanResult`.

        Each thread searches its own part of the range; work on the parts behind a found nonce is wasted.
        """
        if self._pool is None or count < self._threads:
            return scan(header, start_nonce, count, target)
        check_header_and_nonce(header, start_nonce)
        check_count(count)
        target_bytes(target)
        bounds = [count * i // self._threads for i in range(self._threads + 1)]
        parts = list(
            self._pool.map(
                lambda first, behind: scan(header, (start_nonce + first) & MAX_NONCE, behind - first, target),
                bounds[:-1],
                bounds[1:],
            )
        )
        for first, part in zip(bounds, parts, strict=False):
            if part.nonce is not None:
                return msgspec.structs.replace(part, hashes_done=first + part.hashes_done)
        best = min(parts, key=_leading_bits)  # the first of equals
        return msgspec.structs.replace(best, hashes_done=count)

    def close(self) -> None:
        """End the threads."""
        if self._pool is not None:
            self._pool.shutdown()


def available_backends() -> tuple[BackendInfo, ...]:
    """Return every backend with its devices, or with what keeps it from running here."""
    return (_numba_info(), _opencl_info())


def open_scanner(backend: Backend | str, *, threads: int = 1, device: int | str | None = None) -> Scanner:
    """Open a scanner: `threads` is for numba, `device` (index or part of its name) for opencl.

    Raises BackendUnavailableError when the backend cannot run here, KernelInputError for an unknown backend
    or device; both say what to do.
    """
    if backend == Backend.NUMBA:
        return NumbaScanner(threads)
    if backend == Backend.OPENCL:
        from kernels.opencl import OpenCLScanner

        return OpenCLScanner(device)
    raise KernelInputError(f"there is no backend {backend!r}", hint=f"choose one of {', '.join(Backend)}")


def _leading_bits(result: ScanResult) -> bytes:
    return result.best_hash[:8] if result.best_hash is not None else b"\xff" * 9


def _numba_info() -> BackendInfo:
    return BackendInfo(Backend.NUMBA, (f"{os.cpu_count() or 1} CPU cores",))


def _opencl_info() -> BackendInfo:
    from kernels.opencl import list_devices

    try:
        devices = list_devices()
    except BackendUnavailableError as error:
        return BackendInfo(Backend.OPENCL, (), error.message, error.hint)
    return BackendInfo(
        Backend.OPENCL, tuple(f"{d.index}: {d.name} ({d.kind}, {d.compute_units} units)" for d in devices)
    )
