"""Try an OpenCL driver in a child process, since a broken one ends the process instead of reporting an error.

PoCL, for example, calls abort() when it cannot link a kernel. The child lists the devices or builds and runs
the kernel once; if it dies, so would we, and BackendUnavailableError is raised instead. What the child
survives is not tried again in a child.
"""

from __future__ import annotations

import functools
import signal
import subprocess
import sys

import numpy as np

from kernels.errors import BackendUnavailableError
from kernels.linker import provide_linker
from kernels.opencl_devices import Device, choose, devices, pyopencl
from kernels.opencl_program import ScanProgram

PATIENCE = 300.0
"""Seconds that a driver may take to list its devices or to build and run the kernel once."""


def check_listing() -> None:
    """Raise BackendUnavailableError if listing the devices would end or hang the process."""
    pyopencl()
    provide_linker()
    _check("", "listing the OpenCL devices")


def check_building(device: Device) -> None:
    """Raise BackendUnavailableError if building the kernel for `device` would end or hang the process."""
    _check(str(device.index), f"building the kernel for {device.name}")


@functools.cache
def _check(argument: str, doing: str) -> None:
    command = [sys.executable, "-m", "kernels.opencl_probe", *([argument] if argument else [])]
    try:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, timeout=PATIENCE, check=False
        )
    except subprocess.TimeoutExpired:
        raise BackendUnavailableError(f"{doing} took more than {PATIENCE:.0f} s", hint=_HINT) from None
    # An error that the child could report is reported by the same call in this process, with its own hint.
    if done.returncode < 0:
        said = done.stderr.decode(errors="replace").strip().splitlines()
        last = f": {said[-1].strip()}" if said else ""
        how = signal.Signals(-done.returncode).name
        raise BackendUnavailableError(f"{doing} ends the process ({how}{last})", hint=_HINT)


_HINT = (
    "PoCL needs a linker: install binutils (for `ld`) or the PyPI package ziglang; with other drivers, "
    "update them, choose another device, or mine with the numba backend"
)


def main(arguments: list[str]) -> None:
    """The child: list the devices or, given an index, build the kernel for that one and run it."""
    if not arguments:
        devices()
        return
    program = ScanProgram(*choose(int(arguments[0])))
    program.set_header(bytes(80))
    program.run(0, 1, np.zeros(4, np.uint64))
    program.close()


if __name__ == "__main__":
    main(sys.argv[1:])
