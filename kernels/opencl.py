"""The OpenCL miner: the scan of kernels/cosmic_harmony.cl on a graphics card, or on the CPU through PoCL.

pyopencl is the optional extra ``gpu``; without it, or without a device, `OpenCLScanner` raises
BackendUnavailableError and says what to install. So it does where a driver would end the process: listing
devices and building the kernel are first tried in a child process (`kernels.opencl_probe`).
"""

from __future__ import annotations

import time

import numpy as np

from kernels.cosmic_harmony import (
    MAX_NONCE,
    ScanResult,
    check_count,
    check_header_and_nonce,
    cosmic_harmony,
    target_bytes,
)
from kernels.errors import BackendUnavailableError
from kernels.known_answers import KNOWN_HEADER, KNOWN_LOW_HASH, KNOWN_LOW_NONCE
from kernels.opencl_devices import Device, DeviceKind, choose, devices
from kernels.opencl_probe import check_building, check_listing
from kernels.opencl_program import ScanProgram

__all__ = ["Device", "DeviceKind", "OpenCLScanner", "list_devices"]

MAX_DISPATCH = 2**30
"""Nonces in one dispatch: the kernel's offsets are 32 bits, and a stride past the end must fit."""
FIRST_DISPATCH = 2**14
DISPATCH_SECONDS = 0.1
"""How long a dispatch should take: long against its launch, short against the wait for new work."""


def list_devices() -> tuple[Device, ...]:
    """Return all OpenCL devices, best first. Raises BackendUnavailableError when there is none."""
    check_listing()
    return tuple(device for device, _ in devices())


class OpenCLScanner:
    """Searches nonces on one OpenCL device; same contract and same results as `kernels.cosmic_harmony.scan`.

    `device` is an index of `list_devices` or a part of a device's name; by default the best. The number of
    nonces per dispatch adapts itself to DISPATCH_SECONDS. One scanner serves one thread at a time. Raises
    BackendUnavailableError without pyopencl or a working device, KernelInputError for a device that is not
    there.
    """

    name = "opencl"

    def __init__(self, device: int | str | None = None) -> None:
        check_listing()
        self.device, handle = choose(device)
        check_building(self.device)
        self._dispatch = FIRST_DISPATCH
        self._program = ScanProgram(self.device, handle)
        self._check_itself()

    def scan(self, header: bytes, start_nonce: int, count: int, target: int) -> ScanResult:
        """Search `count` nonces from `start_nonce` for the first that meets `target`; see `ScanResult`."""
        check_header_and_nonce(header, start_nonce)
        check_count(count)
        limit = np.frombuffer(target_bytes(target), dtype=">u8").astype(np.uint64)
        self._program.set_header(header)

        done = 0
        best: tuple[int, int] | None = None  # leading 64 bits, offset
        while done < count:
            size = min(self._dispatch, count - done)
            began = time.monotonic()
            found, top, offset = self._program.run((start_nonce + done) & MAX_NONCE, size, limit)
            if found is not None:
                nonce = (start_nonce + done + found) & MAX_NONCE
                return ScanResult(nonce, done + found + 1, nonce, cosmic_harmony(header, nonce))
            if size == self._dispatch:
                self._adapt(time.monotonic() - began)
            if best is None or top < best[0]:
                best = top, done + offset
            done += size
        if best is None:
            return ScanResult(None, 0, None, None)
        nonce = (start_nonce + best[1]) & MAX_NONCE
        return ScanResult(None, count, nonce, cosmic_harmony(header, nonce))

    def close(self) -> None:
        """Free the device's memory; the scanner cannot be used afterwards."""
        self._program.close()

    def _check_itself(self) -> None:
        target = int.from_bytes(KNOWN_LOW_HASH, "big")
        if self.scan(KNOWN_HEADER, 0, KNOWN_LOW_NONCE + 1, target).nonce != KNOWN_LOW_NONCE:
            raise BackendUnavailableError(
                f"{self.device.name} gives wrong results",
                hint="update its OpenCL driver, choose another device, or mine with the numba backend",
            )

    def _adapt(self, seconds: float) -> None:
        """Let the next dispatch take about DISPATCH_SECONDS, in steps of at most eight."""
        ratio = DISPATCH_SECONDS / max(seconds, 1e-6)
        size = self._dispatch * min(max(ratio, 1 / 8), 8)
        self._dispatch = int(min(max(size, FIRST_DISPATCH), MAX_DISPATCH))
