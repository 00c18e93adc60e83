"""Remove each check of the chains' readers in turn and see that a test fails: `make mutation-readers`.

scripts/reader_mutants.toml lists the edits and the tests that must notice each. They run in a copy of the
sources under build/, so that the working tree stays as it is. A mutant that no test notices is a survivor,
and the run fails. `--only WORD` runs those whose file or name contains it, `--from N` and `--to N` a part of
the list: together they take about half an hour.
"""

import argparse
import os
import shutil
import subprocess
import sys
import time
import tomllib
from collections.abc import Sequence
from pathlib import Path

import msgspec

ROOT = Path(__file__).resolve().parent.parent
MUTANTS = Path(__file__).with_name("reader_mutants.toml")
COPY = ROOT / "build" / "mutation-readers"
SOURCES = ("bridge", "chain", "contracts", "kernels", "relayers", "scripts", "tests", "docs")
FILES = ("pyproject.toml", "Makefile", "README.md")


class Mutant(msgspec.Struct, frozen=True):
    """In `file`, the one place with `old` becomes `new`; one of `tests` must fail then."""

    name: str
    file: str
    old: str
    new: str
    tests: list[str]

    def apply(self, source: str) -> str:
        """The mutated source; ValueError if the source has changed under the mutant."""
        if source.count(self.old) != 1:
            raise ValueError(
                f"mutant {self.name!r} no longer fits {self.file} "
                f"({source.count(self.old)} places): correct reader_mutants.toml"
            )
        return source.replace(self.old, self.new)


def mutants() -> list[Mutant]:
    """All of reader_mutants.toml."""
    return msgspec.convert(tomllib.loads(MUTANTS.read_text())["mutant"], list[Mutant])


def run(tests: Sequence[str]) -> bool:
    """Whether these tests pass in the copy."""
    command = [sys.executable, "-m", "pytest", "-x", "-q", "-n", "0", "-p", "no:cacheprovider", *tests]
    ended = subprocess.run(
        command,
        cwd=COPY,
        env={**os.environ, "PYTHONPATH": str(COPY)},
        capture_output=True,
        text=True,
        check=False,
    )
    if ended.returncode not in (0, 1):
        raise RuntimeError(
            f"pytest ended with {ended.returncode}:\n{ended.stdout[-2000:]}\n{ended.stderr[-500:]}"
        )
    return ended.returncode == 0


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", default="", help="run the mutants whose file or name contains this")
    parser.add_argument(
        "--from", dest="first", type=int, default=1, help="run from this number of the list on"
    )
    parser.add_argument("--to", dest="last", type=int, default=None, help="the last of the list to run")
    args = parser.parse_args(arguments)
    part = mutants()[max(0, args.first - 1) : args.last]
    chosen = [mutant for mutant in part if args.only in mutant.name or args.only in mutant.file]
    for mutant in chosen:
        mutant.apply((ROOT / mutant.file).read_text())
    shutil.rmtree(COPY, ignore_errors=True)
    COPY.mkdir(parents=True)
    for name in SOURCES:
        shutil.copytree(ROOT / name, COPY / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in FILES:
        shutil.copy(ROOT / name, COPY / name)
    survivors = []
    for number, mutant in enumerate(chosen, 1):
        start = time.monotonic()
        place = COPY / mutant.file
        sound = place.read_text()
        place.write_text(mutant.apply(sound))
        killed = not run(mutant.tests)
        place.write_text(sound)
        seconds = time.monotonic() - start
        word = "killed" if killed else "SURVIVED"
        print(f"{number:3}/{len(chosen)} {word:8} {seconds:5.1f} s  {mutant.file}: {mutant.name}", flush=True)
        if not killed:
            survivors.append(mutant)
    tests = sorted({test for mutant in chosen for test in mutant.tests})
    sound_tree = not chosen or run(tests)
    print(f"{len(chosen) - len(survivors)} of {len(chosen)} mutants killed")
    for mutant in survivors:
        print(f"survived: {mutant.file}: {mutant.name}")
    if not sound_tree:
        print("the tests fail without any mutant: this run shows nothing")
    return 1 if survivors or not chosen or not sound_tree else 0


if __name__ == "__main__":
    sys.exit(main())
