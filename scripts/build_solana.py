"""Build the Solana program: `make solana-program` writes it, `--check` compares it with what is committed.

The compiler is clang 20.1.2 as it is packed in the ziglang 0.15.2 wheel (PyPI, pinned and hashed);
the linker is `scripts.sbf_linker`. Equal sources give equal bytes.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

from scripts.sbf_linker import link

ROOT = Path(__file__).resolve().parent.parent
SOURCE = ROOT / "contracts" / "solana" / "htlc.c"
ARTIFACTS = ROOT / "relayers" / "solana" / "artifacts"
VERSIONS = (0, 3)
FLAGS = (
    "-target", "bpfel-freestanding", "-mcpu=v2", "-std=c11", "-O2", "-ffreestanding", "-fno-builtin",
    "-fno-stack-protector", "-fno-sanitize=all", "-fno-ident", "-fno-strict-aliasing",
    "-Wall", "-Wextra", "-Werror",
)  # fmt: skip


def compile_object(source: Path = SOURCE, extra: tuple[str, ...] = ()) -> bytes:
    """Return the eBPF object that clang makes of a C file."""
    with tempfile.TemporaryDirectory() as scratch:
        output = Path(scratch) / "program.o"
        environment = os.environ | {
            "ZIG_GLOBAL_CACHE_DIR": f"{scratch}/cache",
            "ZIG_LOCAL_CACHE_DIR": f"{scratch}/cache",
        }
        # Relative names, so that no path of this machine enters the object.
        command = [
            sys.executable,
            "-m",
            "ziglang",
            "cc",
            *FLAGS,
            *extra,
            "-c",
            source.name,
            "-o",
            str(output),
        ]
        done = subprocess.run(
            command, cwd=source.parent, env=environment, capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise SystemExit(f"clang failed:\n{done.stderr}")
        return output.read_bytes()


def build(source: Path = SOURCE) -> dict[str, bytes]:
    """Return file name → program for every SBPF version."""
    compiled = compile_object(source)
    return {f"rainbow_htlc_v{version}.so": link(compiled, version) for version in VERSIONS}


def main() -> None:
    """Write the programs, or with `--check` say whether they are what the source makes."""
    programs = build()
    if "--check" in sys.argv:
        stale = [name for name, data in programs.items() if (ARTIFACTS / name).read_bytes() != data]
        raise SystemExit(f"stale, run make solana-program: {', '.join(stale)}" if stale else 0)
    ARTIFACTS.mkdir(parents=True, exist_ok=True)
    for name, data in programs.items():
        (ARTIFACTS / name).write_bytes(data)
        print(f"{name}: {len(data)} bytes")


if __name__ == "__main__":
    main()
