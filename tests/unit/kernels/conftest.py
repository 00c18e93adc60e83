from __future__ import annotations

import json
import platform
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from kernels.backends import NumbaScanner, Scanner, available_backends
from kernels.opencl import OpenCLScanner

HAS_POCL = sys.platform == "linux" and platform.machine() == "x86_64"
"""Where PoCL has wheels there is an OpenCL device, so no test is skipped there."""


def _has_opencl() -> bool:
    return HAS_POCL or available_backends()[1].available


needs_pocl = pytest.mark.skipif(not HAS_POCL, reason="PoCL has wheels for x86-64 Linux alone")
needs_opencl = pytest.mark.skipif(
    not _has_opencl(), reason="no OpenCL device: PoCL has wheels for x86-64 Linux alone"
)

VECTORS = Path(__file__).parents[2] / "vectors" / "cosmic_harmony.json"


@pytest.fixture(scope="session")
def vectors() -> list[tuple[bytes, int, bytes]]:
    """(header, nonce, work hash) of the published vectors."""
    return [
        (bytes.fromhex(entry["header"]), int(entry["nonce"], 16), bytes.fromhex(entry["hash"]))
        for entry in json.loads(VECTORS.read_text())
    ]


@pytest.fixture(scope="session")
def scanners() -> Iterator[list[Scanner]]:
    """Every miner there is: one CPU thread, three, and OpenCL, on the CPU through PoCL."""
    opened: list[Scanner] = [NumbaScanner(), NumbaScanner(threads=3)]
    if _has_opencl():
        opened.append(OpenCLScanner())
    yield opened
    for scanner in opened:
        scanner.close()
