"""The OpenCL miner: the scan of kernels/cosmic_harmony.cl on a graphics card, or on the CPU through PoCL.

pyopencl is the optional extra ``gpu``; without it, or without a device, `OpenCLScanner` raises
BackendUnavailableError and says what to install.
"""

from __future__ import annotations

import time
from enum import StrEnum
from importlib import resources
from typing import Any

import msgspec
import numpy as np

from kernels.cosmic_harmony import (
    MAX_NONCE,
    ScanResult,
    check_count,
    check_header_and_nonce,
    cosmic_harmony,
    target_bytes,
)
from kernels.errors import BackendUnavailableError, KernelInputError
from kernels.known_answers import KNOWN_HEADER, KNOWN_LOW_HASH, KNOWN_LOW_NONCE

MAX_DISPATCH = 2**30
"""Nonces in one dispatch: the kernel's offsets are 32 bits, and a stride past the end must fit."""
FIRST_DISPATCH = 2**14
DISPATCH_SECONDS = 0.1
"""How long a dispatch should take: long compared with its launch, short compared with the wait for new
work."""
NOT_FOUND = 0xFFFFFFFF

CPU_VECTOR = 4
GPU_VECTOR = 1
GPU_GROUP = 128
GPU_ITEMS_PER_UNIT = 2048
CPU_ITEMS_PER_UNIT = 16


class DeviceKind(StrEnum):
    """What a device is; graphics cards are preferred, CPUs come last."""

    GPU = "gpu"
    ACCELERATOR = "accelerator"
    CPU = "cpu"


class Device(msgspec.Struct, frozen=True):
    """An OpenCL device: `index` is its place in `list_devices`, which `OpenCLScanner` takes."""

    index: int
    name: str
    platform: str
    kind: DeviceKind
    compute_units: int


def list_devices() -> tuple[Device, ...]:
    """Return all OpenCL devices, best first. Raises BackendUnavailableError when there is none."""
    return tuple(device for device, _ in _devices())


class OpenCLScanner:
    """Searches nonces on one OpenCL device; same contract and same results as `kernels.cosmic_harmony.scan`.

    `device` is an index of `list_devices` or a part of a device's name; by default the best. The number of
    nonces per dispatch adapts itself to DISPATCH_SECONDS. One scanner serves one thread at a time. Raises
    BackendUnavailableError without pyopencl or a device, KernelInputError for a device that is not there.
    """

    name = "opencl"

    def __init__(self, device: int | str | None = None) -> None:
        self.device, handle = _choose(device)
        on_cpu = self.device.kind is DeviceKind.CPU
        self._vector = CPU_VECTOR if on_cpu else GPU_VECTOR
        self._group = 1 if on_cpu else min(GPU_GROUP, handle.max_work_group_size)
        per_unit = CPU_ITEMS_PER_UNIT if on_cpu else GPU_ITEMS_PER_UNIT
        self._max_items = -(-self.device.compute_units * per_unit // self._group) * self._group
        self._dispatch = FIRST_DISPATCH

        cl = _pyopencl()
        self._cl = cl
        self._context = cl.Context([handle])
        self._queue = cl.CommandQueue(self._context)
        source = resources.files("kernels").joinpath("cosmic_harmony.cl").read_text()
        try:
            program = cl.Program(self._context, source).build(options=[f"-DVECTOR={self._vector}"])
        except cl.Error as error:
            raise BackendUnavailableError(
                f"{self.device.name} cannot build the kernel: {error}",
                hint="update its OpenCL driver, choose another device, or mine with the numba backend",
            ) from error
        self._kernel = cl.Kernel(program, "scan")

        flags = cl.mem_flags
        self._header = cl.Buffer(self._context, flags.READ_ONLY, 80)
        self._found = cl.Buffer(self._context, flags.READ_WRITE, 4)
        self._best_top = cl.Buffer(self._context, flags.WRITE_ONLY, 8 * self._max_items)
        self._best_offset = cl.Buffer(self._context, flags.WRITE_ONLY, 4 * self._max_items)
        self._check_itself()

    def scan(self, header: bytes, start_nonce: int, count: int, target: int) -> ScanResult:
        """Search `count` nonces from `start_nonce` for the first that meets `target`; see `ScanResult`."""
        check_header_and_nonce(header, start_nonce)
        check_count(count)
        limit = np.frombuffer(target_bytes(target), dtype=">u8").astype(np.uint64)
        self._cl.enqueue_copy(self._queue, self._header, np.frombuffer(bytes(header), np.uint8))

        done = 0
        best: tuple[int, int] | None = None  # leading 64 bits, offset
        while done < count:
            size = min(self._dispatch, count - done)
            began = time.monotonic()
            try:
                found, top, offset = self._run((start_nonce + done) & MAX_NONCE, size, limit)
            except self._cl.Error as error:
                raise BackendUnavailableError(
                    f"{self.device.name} failed while mining: {error}",
                    hint="open it again; if it stays, update its driver or mine with the numba backend",
                ) from error
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
        for buffer in (self._header, self._found, self._best_top, self._best_offset):
            buffer.release()

    def _check_itself(self) -> None:
        target = int.from_bytes(KNOWN_LOW_HASH, "big")
        if self.scan(KNOWN_HEADER, 0, KNOWN_LOW_NONCE + 1, target).nonce != KNOWN_LOW_NONCE:
            raise BackendUnavailableError(
                f"{self.device.name} gives wrong results",
                hint="update its OpenCL driver, choose another device, or mine with the numba backend",
            )

    def _run(self, start: int, count: int, target: Any) -> tuple[int | None, int, int]:
        """Search up to MAX_DISPATCH nonces: the found offset, or the best's leading bits and offset."""
        cl = self._cl
        wanted = -(-count // self._vector)
        items = min(-(-wanted // self._group) * self._group, self._max_items)
        found = np.array([NOT_FOUND], np.uint32)
        tops = np.empty(items, np.uint64)
        offsets = np.empty(items, np.uint32)
        cl.enqueue_copy(self._queue, self._found, found)
        self._kernel(
            self._queue,
            (items,),
            (self._group,),
            self._header,
            np.uint64(start),
            np.uint32(count),
            target,
            self._found,
            self._best_top,
            self._best_offset,
        )
        cl.enqueue_copy(self._queue, found, self._found)
        if found[0] != NOT_FOUND:
            return int(found[0]), 0, 0
        cl.enqueue_copy(self._queue, tops, self._best_top)
        cl.enqueue_copy(self._queue, offsets, self._best_offset)
        top = tops.min()
        return None, int(top), int(offsets[tops == top].min())

    def _adapt(self, seconds: float) -> None:
        """Let the next dispatch take about DISPATCH_SECONDS, in steps of at most eight."""
        ratio = DISPATCH_SECONDS / max(seconds, 1e-6)
        size = self._dispatch * min(max(ratio, 1 / 8), 8)
        self._dispatch = int(min(max(size, FIRST_DISPATCH), MAX_DISPATCH))


def _pyopencl() -> Any:
    try:
        import pyopencl
    except ImportError as error:
        raise BackendUnavailableError(
            "pyopencl is not installed", hint="install it with: pip install 'rainbow-bridge[gpu]'"
        ) from error
    return pyopencl


def _devices() -> list[tuple[Device, Any]]:
    cl = _pyopencl()
    try:
        handles = [(platform, device) for platform in cl.get_platforms() for device in platform.get_devices()]
    except cl.Error:  # raised when there is no platform at all
        handles = []
    if not handles:
        raise BackendUnavailableError(
            "there is no OpenCL device",
            hint="install the graphics card's OpenCL driver, or PoCL for the CPU: "
            "pip install pocl-binary-distribution",
        )
    described = [
        (_kind(cl, device), device.name.strip(), platform.name.strip(), device)
        for platform, device in handles
    ]
    described.sort(key=lambda item: list(DeviceKind).index(item[0]))
    return [
        (Device(index, name, platform, kind, device.max_compute_units), device)
        for index, (kind, name, platform, device) in enumerate(described)
    ]


def _kind(cl: Any, device: Any) -> DeviceKind:
    if device.type & cl.device_type.GPU:
        return DeviceKind.GPU
    if device.type & cl.device_type.CPU:
        return DeviceKind.CPU
    return DeviceKind.ACCELERATOR


def _choose(wanted: int | str | None) -> tuple[Device, Any]:
    devices = _devices()
    if wanted is None:
        return devices[0]
    for device, handle in devices:
        if wanted == device.index or (isinstance(wanted, str) and wanted.lower() in device.name.lower()):
            return device, handle
    listed = ", ".join(f"{device.index}: {device.name}" for device, _ in devices)
    raise KernelInputError(f"there is no OpenCL device {wanted!r}", hint=f"choose one of {listed}")
