"""Does everything locked have a wheel on each Python and platform that we support? `make check-locks`.

Each lock is resolved again, from wheels alone, for each Python and platform. Only what SOURCE_ONLY names may
have no wheel, and it may have none at all, so that the list stays true. It needs the network: locks say which
bytes are right, but not which of them are for which platform.
"""

import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LOCKS = ROOT / "scripts" / "locks"

NAMES = ("uv", "project", "ape", "opshin", "slither", "build")
PYTHONS = ("3.11", "3.12", "3.13")
# As uv names them: glibc 2.28 is that of Debian 10 and RHEL 8.
PLATFORMS = ("x86_64-manylinux_2_28", "aarch64-manylinux_2_28", "aarch64-apple-darwin")

SOURCE_ONLY = {"ape": ("lazyasd", "python-baseconv", "varint")}
"""Lock → its packages without any wheel. `make setup` builds them (pure Python) with what build.txt pins."""


ATTEMPTS = 3
"""How often uv is asked when its answer is not about wheels: the index may be slow or busy."""


@dataclass(frozen=True)
class Check:
    """One lock on one Python and platform."""

    lock: str
    python: str
    platform: str

    def __str__(self) -> str:
        return f"{self.lock} lock, Python {self.python}, {self.platform}"


class LockCheckError(Exception):
    """uv said something that is not about a missing wheel."""


def entries(text: str) -> dict[str, str]:
    """Split a lock: name → its requirement with the hashes, or several where markers fork it."""
    found: dict[str, str] = {}
    for entry in re.findall(r"^\S.*(?:\n[ \t]+.*)*", text, flags=re.MULTILINE):
        name = re.split(r"[\[=; ]", entry, maxsplit=1)[0]
        found[name] = found.get(name, "") + entry + "\n"
    return found


def missing(check: Check) -> list[str]:
    """Return the packages of a lock that should have a wheel there and have none. Raises LockCheckError."""
    wanted = entries((LOCKS / f"{check.lock}.txt").read_text())
    for name in SOURCE_ONLY.get(check.lock, ()):
        wanted.pop(name, None)
    gone: list[str] = []
    while refused := _refused(check, "".join(wanted.values())):
        if wanted.pop(refused, None) is None:
            raise LockCheckError(f"{check}: uv refuses {refused}, which is not in the lock")
        gone.append(refused)
    return gone


def outdated() -> list[str]:
    """Return what SOURCE_ONLY names without effect: it has a wheel by now, or is not locked any more."""
    found = []
    for lock, names in SOURCE_ONLY.items():
        locked = entries((LOCKS / f"{lock}.txt").read_text())
        anywhere = Check(lock, PYTHONS[0], PLATFORMS[0])
        found += [name for name in names if name not in locked or _refused(anywhere, locked[name]) is None]
    return found


def _refused(check: Check, requirements: str) -> str | None:
    """Return the first package that uv cannot have as a wheel, None if it can have all."""
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder, "lock.txt")
        source.write_text(requirements)
        command = [str(Path(sys.executable).with_name("uv")), "pip", "compile", "--quiet", "--no-deps"]
        command += ["--only-binary", ":all:", "--python-version", check.python]
        command += ["--python-platform", check.platform, str(source), "-o", str(Path(folder, "out.txt"))]
        for _ in range(ATTEMPTS):
            done = subprocess.run(command, capture_output=True, text=True, check=False, env=_environment())
            if done.returncode == 0:
                return None
            found = re.search(r"Because ([A-Za-z0-9._-]+)(?:\{[^}]*\})?==\S+ has no ", done.stderr)
            if found:
                return found[1]
    raise LockCheckError(f"{check}: uv failed: {done.stderr.strip()}")


def _environment() -> dict[str, str]:
    return {"UV_HTTP_TIMEOUT": "180", **os.environ, "NO_COLOR": "1", "COLUMNS": "1000"}


def checks() -> Iterator[Check]:
    for name in NAMES:
        for python in PYTHONS:
            for platform in PLATFORMS:
                yield Check(name, python, platform)


def main() -> int:
    every = list(checks())
    problems = [f"{name} needs no build any more: see SOURCE_ONLY and the Makefile" for name in outdated()]
    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        for check, gone in zip(every, pool.map(missing, every), strict=True):
            problems += [f"{check}: {name} has no wheel" for name in gone]
    for problem in problems:
        print(problem)
    print(f"{len(every)} combinations of lock, Python and platform, {len(problems)} problems")
    return 1 if problems else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except LockCheckError as error:
        sys.exit(f"error: {error}\nhint: it needs the network; look whether the package index answers")
