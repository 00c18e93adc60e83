from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from kernels.backends import NumbaScanner, Scanner
from kernels.opencl import OpenCLScanner

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
    """Every miner there is: one CPU thread, three, and OpenCL on the CPU through PoCL."""
    opened: list[Scanner] = [NumbaScanner(), NumbaScanner(threads=3), OpenCLScanner()]
    yield opened
    for scanner in opened:
        scanner.close()
