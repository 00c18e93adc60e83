"""The OpenCL devices of this machine, best first.

pyopencl is the optional extra ``gpu``; without it, or without a device, everything here raises
BackendUnavailableError and says what to install.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Any

import msgspec

from kernels.errors import BackendUnavailableError, KernelInputError


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


def pyopencl() -> Any:
    """Return the module. Raises BackendUnavailableError where it is not installed."""
    try:
        import pyopencl as module
    except ImportError as error:
        raise BackendUnavailableError(
            "pyopencl is not installed", hint="install it with: pip install 'rainbow-bridge[gpu]'"
        ) from error
    return module


def devices() -> list[tuple[Device, Any]]:
    """Return all devices with pyopencl's handles. Raises BackendUnavailableError when there is none.

    A broken driver may end the process here: see `kernels.opencl_probe`.
    """
    cl = pyopencl()
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


def choose(wanted: int | str | None) -> tuple[Device, Any]:
    """Return the device of that index or name, or the best. Raises KernelInputError if it is not there."""
    found = devices()
    if wanted is None:
        return found[0]
    for device, handle in found:
        if wanted == device.index or (isinstance(wanted, str) and wanted.lower() in device.name.lower()):
            return device, handle
    listed = ", ".join(f"{device.index}: {device.name}" for device, _ in found)
    raise KernelInputError(f"there is no OpenCL device {wanted!r}", hint=f"choose one of {listed}")


def _kind(cl: Any, device: Any) -> DeviceKind:
    if device.type & cl.device_type.GPU:
        return DeviceKind.GPU
    if device.type & cl.device_type.CPU:
        return DeviceKind.CPU
    return DeviceKind.ACCELERATOR
