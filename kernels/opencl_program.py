"""kernels/cosmic_harmony.cl, built for one device: the native half of `kernels.opencl`."""

from __future__ import annotations

from importlib import resources
from typing import Any

import numpy as np

from kernels.errors import BackendUnavailableError
from kernels.opencl_devices import Device, DeviceKind, pyopencl

NOT_FOUND = 0xFFFFFFFF

CPU_VECTOR = 4
GPU_VECTOR = 1
GPU_GROUP = 128
GPU_ITEMS_PER_UNIT = 2048
CPU_ITEMS_PER_UNIT = 16


class ScanProgram:
    """The scan kernel on `device` with its buffers. Raises BackendUnavailableError if it cannot be built.

    A broken driver may end the process while it builds or first runs the kernel: see `kernels.opencl_probe`.
    """

    def __init__(self, device: Device, handle: Any) -> None:
        on_cpu = device.kind is DeviceKind.CPU
        self._vector = CPU_VECTOR if on_cpu else GPU_VECTOR
        self._group = 1 if on_cpu else min(GPU_GROUP, handle.max_work_group_size)
        per_unit = CPU_ITEMS_PER_UNIT if on_cpu else GPU_ITEMS_PER_UNIT
        self._max_items = -(-device.compute_units * per_unit // self._group) * self._group

        cl = pyopencl()
        self._cl = cl
        self._name = device.name
        self._context = cl.Context([handle])
        self._queue = cl.CommandQueue(self._context)
        source = resources.files("kernels").joinpath("cosmic_harmony.cl").read_text()
        try:
            program = cl.Program(self._context, source).build(options=[f"-DVECTOR={self._vector}"])
        except cl.Error as error:
            raise BackendUnavailableError(
                f"{device.name} cannot build the kernel: {error}",
                hint="update its OpenCL driver, choose another device, or mine with the numba backend",
            ) from error
        self._kernel = cl.Kernel(program, "scan")

        flags = cl.mem_flags
        self._header = cl.Buffer(self._context, flags.READ_ONLY, 80)
        self._found = cl.Buffer(self._context, flags.READ_WRITE, 4)
        self._best_top = cl.Buffer(self._context, flags.WRITE_ONLY, 8 * self._max_items)
        self._best_offset = cl.Buffer(self._context, flags.WRITE_ONLY, 4 * self._max_items)

    def set_header(self, header: bytes) -> None:
        """Choose the 80 bytes that are hashed with each nonce."""
        self._cl.enqueue_copy(self._queue, self._header, np.frombuffer(bytes(header), np.uint8))

    def run(self, start: int, count: int, target: Any) -> tuple[int | None, int, int]:
        """Search up to 2^30 nonces: the found offset, or the best's leading bits and offset.

        `target` is the limit as four 64-bit words, the highest first. Raises BackendUnavailableError.
        """
        try:
            return self._run(start, count, target)
        except self._cl.Error as error:
            raise BackendUnavailableError(
                f"{self._name} failed while mining: {error}",
                hint="open it again; if it stays, update its driver or mine with the numba backend",
            ) from error

    def close(self) -> None:
        """Free the device's memory."""
        for buffer in (self._header, self._found, self._best_top, self._best_offset):
            buffer.release()

    def _run(self, start: int, count: int, target: Any) -> tuple[int | None, int, int]:
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
