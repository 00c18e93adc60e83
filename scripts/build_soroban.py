"""Build the Soroban contract: `make soroban-contract` writes it, `--check` compares.

The compiler is clang 20.1.2 as it is packed in the ziglang 0.15.2 wheel (PyPI, pinned and hashed). Equal
sources give equal bytes. Behind the code come three custom sections: the environment's version, which the
network requires, and specification and metadata, from which tools (the stellar CLI, wallets, explorers) know
the functions, errors and events.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

from scripts.soroban_sections import sections

ROOT = Path(__file__).resolve().parent.parent
SOURCE = ROOT / "contracts" / "stellar" / "htlc.c"
ARTIFACT = ROOT / "relayers" / "stellar" / "artifacts" / "rainbow_htlc.wasm"
COMPILE = (
    "cc", "-target", "wasm32-freestanding", "-mcpu=mvp", "-std=c11", "-Oz", "-ffreestanding", "-fno-builtin",
    "-fno-stack-protector", "-fno-sanitize=all", "-fno-ident", "-fno-strict-aliasing", "-fvisibility=hidden",
    "-nostdlib", "-Wall", "-Wextra", "-Werror", "-c",
)  # fmt: skip
LINK = (
    "wasm-ld", "--no-entry", "--stack-first", "-z", "stack-size=4096", "--initial-memory=65536",
    "--strip-all", "--gc-sections",
)  # fmt: skip


def compile_wasm(source: Path = SOURCE, extra: tuple[str, ...] = ()) -> bytes:
    """Return the bare module that clang makes of a C file, without custom sections."""
    with tempfile.TemporaryDirectory() as scratch:
        environment = os.environ | {
            "ZIG_GLOBAL_CACHE_DIR": f"{scratch}/cache",
            "ZIG_LOCAL_CACHE_DIR": f"{scratch}/cache",
        }
        unlinked, linked = f"{scratch}/contract.o", f"{scratch}/contract.wasm"
        include = ("-I", str(SOURCE.parent))
        # A relative name, so that no path of this machine enters the object.
        steps = ((*COMPILE, *extra, *include, source.name, "-o", unlinked), (*LINK, unlinked, "-o", linked))
        for step in steps:
            command = [sys.executable, "-m", "ziglang", *step]
            done = subprocess.run(
                command, cwd=source.parent, env=environment, capture_output=True, text=True, check=False
            )
            if done.returncode:
                raise SystemExit(f"{step[0]} failed:\n{done.stderr}")
        return Path(linked).read_bytes()


def build() -> bytes:
    """Return the contract as it is uploaded."""
    return compile_wasm() + sections()


def main() -> None:
    """Write the contract, or with `--check` say whether it is what the source makes."""
    contract = build()
    if "--check" in sys.argv:
        raise SystemExit(0 if ARTIFACT.read_bytes() == contract else "stale, run make soroban-contract")
    ARTIFACT.parent.mkdir(parents=True, exist_ok=True)
    ARTIFACT.write_bytes(contract)
    print(f"{ARTIFACT.name}: {len(contract)} bytes")


if __name__ == "__main__":
    main()
