"""Measure the Cosmic Harmony kernels: rates per core, share checks, block hashing, compile times.

    python scripts/bench_kernels.py                 # about half a minute, writes build/bench/kernels.json
    python scripts/bench_kernels.py --rounds 15     # steadier medians
    python scripts/bench_kernels.py --help

Every figure is the median of the rounds, which go through all figures in turn. Figures of one core are per
second of processor time and the imports too, so that other work on the machine does not spoil them; figures
of all cores are by the clock, and wrong on a busy machine. Exit code 1 when a goal is missed.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import llvmlite
import numba
import numpy as np

from kernels import reference
from kernels.backends import NumbaScanner
from kernels.cosmic_harmony import (
    keccak256_batch_128,
    merkle_root,
    prepare,
    scan,
    verify,
    verify_batch,
)
from kernels.errors import BackendUnavailableError
from kernels.numba_pow import check_one
from kernels.opencl import OpenCLScanner

ROOT = Path(__file__).parents[1]
C_SOURCE = ROOT / "scripts" / "cosmic_harmony_scalar.c"
C_FLAGS = (("-O3", "-march=native"), ("-O3",))
"""gcc's tuning for the machine is not always the fastest code: the yardstick is the faster of the two."""

HEADER = bytes(range(80))
SHARES = 64
TRANSACTIONS = 1000

IMPORT_CODE = "import time, {modules}; print(time.process_time())"
PREPARE_CODE = """
import time
from kernels.cosmic_harmony import prepare
prepare(mining={mining})
print(time.process_time())
"""

Measurement = Callable[[], float]


def rate_of(
    search: Callable[[int], object], count: int, clock: Callable[[], float] = time.process_time
) -> Measurement:
    """Return a measurement of how many million nonces per second `search(count)` gets through."""

    def measure() -> float:
        start = clock()
        search(count)
        return count / (clock() - start) / 1e6

    return measure


def microseconds_of(call: Callable[[], object], repeat: int, per_call: int = 1) -> Measurement:
    """Return a measurement of the microseconds that one of `per_call` items takes."""

    def measure() -> float:
        start = time.process_time()
        for _ in range(repeat):
            call()
        return (time.process_time() - start) / repeat / per_call * 1e6

    return measure


def scan_in_python(count: int) -> None:
    for nonce in range(count):
        reference.cosmic_harmony(HEADER, nonce)


def compiled_scalar_loop() -> Callable[[int], object]:
    """Return a scan of one nonce at a time, for comparison with the lanes."""
    from kernels.keccak import STATE_WORDS
    from kernels.numba_pow import HEADER_WORDS, work_hash

    def one_by_one(header: np.ndarray, count: int) -> int:
        state = np.empty(STATE_WORDS, np.uint64)
        seed = np.empty(4, np.uint64)
        zeros = 0
        for nonce in range(count):
            for i in range(HEADER_WORDS):
                state[i] = header[i]
            state[HEADER_WORDS] = np.uint64(nonce)
            work_hash(state, seed)
            zeros += state[0] == np.uint64(0)
        return zeros

    loop = numba.njit(one_by_one)
    words = np.frombuffer(HEADER, np.uint64)
    loop(words, 1)
    return lambda count: loop(words, count)


def searching(search: Callable[[bytes, int, int, int], object]) -> Callable[[int], object]:
    """Return a search of so many nonces that finds none."""
    return lambda count: search(HEADER, 0, count, 0)


def c_searches(folder: Path) -> dict[str, Callable[[int], object]]:
    """Build the scalar C yardstick; empty without gcc."""
    if shutil.which("gcc") is None:
        return {}
    searches: dict[str, Callable[[int], object]] = {}
    for flags in C_FLAGS:
        name = "gcc " + " ".join(flags)
        library = folder / f"{len(searches)}.so"
        subprocess.run(["gcc", *flags, "-shared", "-fPIC", "-o", str(library), str(C_SOURCE)], check=True)
        loaded = ctypes.CDLL(str(library))
        loaded.scan.argtypes = [ctypes.c_char_p, ctypes.c_uint64, ctypes.c_uint64, ctypes.c_uint64]
        loaded.scan.restype = ctypes.c_uint64
        given = ctypes.create_string_buffer(32)
        loaded.cosmic_harmony(HEADER, ctypes.c_uint64(7), given)
        if given.raw != reference.cosmic_harmony(HEADER, 7):
            raise SystemExit(f"{name}: {C_SOURCE} computes another hash than the reference")
        searches[name] = searching(loaded.scan)
    return searches


def seconds_in_new_process(code: str, cache: Path) -> float:
    """Run code that prints seconds, with kernels cached in `cache`."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "NUMBA_CACHE_DIR": str(cache)}
    printed = subprocess.run(
        [sys.executable, "-c", code], env=environment, check=True, capture_output=True, text=True
    ).stdout
    return float(printed)


def cold_and_warm(folder: Path, rounds: int) -> dict[str, list[float]]:
    """Processor seconds from the start of a Python process to usable kernels."""
    times: dict[str, list[float]] = {
        "Python and import of kernels.cosmic_harmony, s": [],
        "Python and import of numba, s": [],
        "node kernels from nothing, s": [],
        "node kernels from the cache, s": [],
        "node and miner kernels from nothing, s": [],
        "node and miner kernels from the cache, s": [],
    }
    import_ours, import_numba, *_ = times
    for number in range(rounds):
        times[import_ours].append(
            seconds_in_new_process(IMPORT_CODE.format(modules="kernels.cosmic_harmony"), folder)
        )
        times[import_numba].append(seconds_in_new_process(IMPORT_CODE.format(modules="numba"), folder))
        for who, mining in (("node", False), ("node and miner", True)):
            cache = folder / f"cache-{number}-{mining}"
            for state in ("nothing", "the cache"):
                seconds = seconds_in_new_process(PREPARE_CODE.format(mining=mining), cache)
                times[f"{who} kernels from {state}, s"].append(seconds)
    return times


def machine() -> str:
    """Describe the machine in a line."""
    model = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        lines = cpuinfo.read_text().splitlines()
        names = [line.split(":", 1)[1].strip() for line in lines if "model name" in line]
        model = names[0] if names else model
    return (
        f"{model}, {os.cpu_count()} cores, {platform.system()} {platform.machine()}, Python "
        f"{platform.python_version()}, numba {numba.__version__}, llvmlite {llvmlite.__version__}"
    )


def measurements(folder: Path) -> tuple[dict[str, Measurement], dict[str, Measurement], list[str]]:
    """Return what to measure on one core and on all, and remarks about what cannot be measured here."""
    remarks: list[str] = []
    random = np.random.default_rng(1)
    headers = random.integers(0, 256, (SHARES, 80), dtype=np.uint8)
    nonces = random.integers(0, 2**63, SHARES, dtype=np.uint64)
    targets = np.full((SHARES, 32), 0x40, np.uint8)
    transactions = random.integers(0, 2**63, (TRANSACTIONS, 16), dtype=np.uint64)
    target = int.from_bytes(targets[0].tobytes(), "big")
    out = np.empty(8, np.uint64)

    prepare(mining=True)
    one_core = {
        "python, MH/s": rate_of(scan_in_python, 150),
        "numba one nonce at a time, MH/s": rate_of(compiled_scalar_loop(), 300_000),
        "numba lanes, MH/s": rate_of(searching(scan), 1_500_000),
    }
    searches = c_searches(folder)
    if not searches:
        remarks.append("gcc is missing: the C yardstick and the ratio to it were not measured")
    for name, search in searches.items():
        one_core[f"C scalar, {name}, MH/s"] = rate_of(search, 200_000)
    one_core |= {
        "share check, single from bytes, µs": microseconds_of(lambda: verify(HEADER, 7, target), 30_000),
        "share check, single without Python's share, µs": microseconds_of(
            lambda: check_one(HEADER, 7, HEADER[:32], out), 30_000
        ),
        f"share check, batches of {SHARES}, µs": microseconds_of(
            lambda: verify_batch(headers, nonces, targets), 2000, SHARES
        ),
        "share check, batches of 8, µs": microseconds_of(
            lambda: verify_batch(headers[:8], nonces[:8], targets[:8]), 5000, 8
        ),
        f"txids of {TRANSACTIONS}, µs": microseconds_of(lambda: keccak256_batch_128(transactions), 300),
        f"txids and Merkle root of {TRANSACTIONS}, µs": microseconds_of(
            lambda: merkle_root(keccak256_batch_128(transactions)), 300
        ),
    }

    all_cores = {}
    cores = os.cpu_count() or 1
    pool = NumbaScanner(threads=cores)
    all_cores[f"numba lanes on {cores} cores, MH/s"] = rate_of(
        searching(pool.scan), 1_500_000 * cores, time.perf_counter
    )
    try:
        opencl = OpenCLScanner()
    except BackendUnavailableError as error:
        remarks.append(f"OpenCL was not measured: {error.with_hint}")
    else:
        opencl.scan(HEADER, 0, 2_000_000, 0)  # finds its dispatch size
        device = opencl.device
        all_cores[f"OpenCL on {device.name} ({device.kind}, {device.compute_units} units), MH/s"] = rate_of(
            searching(opencl.scan), 3_000_000, time.perf_counter
        )
        if device.kind == "cpu":
            remarks.append("there is no graphics card here: OpenCL ran on the CPU")
    return one_core, all_cores, remarks


def goals(median: dict[str, float]) -> list[dict[str, object]]:
    """Compare with what the design asks for."""
    checks = [
        ("share check, batched, µs", median[f"share check, batches of {SHARES}, µs"], "<=", 1.2),
        ("share check, single from bytes, µs", median["share check, single from bytes, µs"], "<=", 4.0),
        (
            f"txids and Merkle root of {TRANSACTIONS}, µs",
            median[f"txids and Merkle root of {TRANSACTIONS}, µs"],
            "<=",
            600.0,
        ),
    ]
    in_c = [value for name, value in median.items() if name.startswith("C scalar")]
    if in_c:
        checks.insert(
            0, ("numba lanes per core / C scalar", median["numba lanes, MH/s"] / max(in_c), ">=", 3.5)
        )
    return [
        {
            "goal": name,
            "measured": round(value, 3),
            "limit": f"{sign} {limit:g}",
            "met": value <= limit if sign == "<=" else value >= limit,
        }
        for name, value, sign, limit in checks
    ]


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=7, help="rounds the medians are over (default 7)")
    parser.add_argument("--output", type=Path, default=ROOT / "build" / "bench" / "kernels.json")
    parser.add_argument("--report-only", action="store_true", help="exit 0 even when a goal is missed")
    arguments = parser.parse_args()
    if arguments.rounds < 1:
        parser.error("--rounds: at least 1")

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        one_core, all_cores, remarks = measurements(folder)
        samples: dict[str, list[float]] = {figure: [] for figure in (*one_core, *all_cores)}
        everywhere = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else set()
        for _ in range(arguments.rounds):
            if everywhere:
                os.sched_setaffinity(0, {min(everywhere)})
            for figure, measure in one_core.items():
                samples[figure].append(measure())
            if everywhere:
                os.sched_setaffinity(0, everywhere)
            for figure, measure in all_cores.items():
                samples[figure].append(measure())
        samples |= cold_and_warm(folder, min(arguments.rounds, 3))

    median = {figure: statistics.median(values) for figure, values in samples.items()}
    report = {
        "machine": machine(),
        "rounds": arguments.rounds,
        "figures": {
            figure: {
                "median": round(median[figure], 6),
                "lowest": round(min(values), 6),
                "highest": round(max(values), 6),
            }
            for figure, values in samples.items()
        },
        "goals": goals(median),
        "remarks": remarks,
    }
    arguments.output.parent.mkdir(parents=True, exist_ok=True)
    arguments.output.write_text(json.dumps(report, indent=1, ensure_ascii=False) + "\n")

    print(report["machine"])
    for figure, value in median.items():
        print(f"{figure:<62} {value:10.4g}")
    for goal in report["goals"]:
        print(f"{'met   ' if goal['met'] else 'MISSED'} {goal['goal']}: {goal['measured']} ({goal['limit']})")
    for remark in remarks:
        print(f"note: {remark}")
    print(f"written to {arguments.output}")
    return 0 if arguments.report_only or all(goal["met"] for goal in report["goals"]) else 1


if __name__ == "__main__":
    sys.exit(main())
