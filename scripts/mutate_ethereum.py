"""Remove each check of the HTLC in turn and see that a test fails: `make mutation-ethereum`.

contracts/ethereum/mutants.toml lists the edits. Each is compiled and the contract tests run against it; a
mutant that no test notices is a survivor, and the run fails. `--only WORD` runs those whose name contains it.
"""

import argparse
import multiprocessing
import os
import sys
import time
import tomllib
from collections.abc import Sequence
from pathlib import Path

import msgspec

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # run as a file, not as a module

from scripts.solidity import CONTRACTS, ROOT, compile_sources

MUTANTS = CONTRACTS / "mutants.toml"
TESTS = [
    f"{ROOT}/tests/unit/ethereum_contract/test_{name}.py"
    for name in ("lock_claim_refund", "peers_defects", "signatures")
]


class Mutant(msgspec.Struct, frozen=True):
    """In the text after the first `after`, the first `old` becomes `new`."""

    name: str
    after: str
    old: str
    new: str

    def apply(self, source: str) -> str:
        """The mutated source; ValueError if the source has changed under the mutant."""
        head, anchor, tail = source.partition(self.after)
        if not anchor or self.old not in tail:
            raise ValueError(f"mutant {self.name!r} no longer fits the source: correct mutants.toml")
        return head + anchor + tail.replace(self.old, self.new, 1)


def mutants() -> list[Mutant]:
    """All of mutants.toml, one for each place."""
    found = []
    for entry in tomllib.loads(MUTANTS.read_text())["mutant"]:
        for after in entry["after"]:
            function = after.removeprefix("function ").removesuffix("(")
            name = entry["name"] if len(entry["after"]) == 1 else f"{function}: {entry['name']}"
            found.append(Mutant(name, after, entry["old"], entry["new"]))
    return found


def compile_mutant(mutant: Mutant) -> str:
    """The creation code of a mutant, hex."""
    source = mutant.apply((CONTRACTS / "RainbowHtlc.sol").read_text())
    output = compile_sources({"RainbowHtlc.sol": source}, tolerate_warnings=True)
    return str(output["RainbowHtlc.sol"]["RainbowHtlc"]["evm"]["bytecode"]["object"])


def _test(code: Path) -> None:
    """In a forked child, which has all modules loaded: run the tests against `code`, quietly."""
    import pytest

    os.environ["RAINBOW_HTLC_MUTANT"] = str(code)
    silence = os.open(os.devnull, os.O_WRONLY)
    os.dup2(silence, 1)
    os.dup2(silence, 2)
    os._exit(int(pytest.main(["-x", "-q", "-n", "0", "-p", "no:cacheprovider", *TESTS])))


def is_killed(mutant: Mutant, folder: Path) -> bool:
    """Whether some test notices the mutant."""
    code = folder / f"{os.getpid()}.hex"
    code.write_text(compile_mutant(mutant))
    child = multiprocessing.get_context("fork").Process(target=_test, args=(code,))
    child.start()
    child.join()
    code.unlink()
    if child.exitcode not in (0, 1):
        raise RuntimeError(f"the tests did not run for {mutant.name!r}: pytest ended with {child.exitcode}")
    return child.exitcode == 1


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", default="", help="run the mutants whose name contains this")
    args = parser.parse_args(arguments)

    from tests.unit.ethereum_contract import evm

    evm.compiled()  # once, for every child
    folder = ROOT / "build" / "mutants"
    folder.mkdir(parents=True, exist_ok=True)
    chosen = [mutant for mutant in mutants() if args.only in mutant.name]
    survivors = []
    for number, mutant in enumerate(chosen, 1):
        start = time.monotonic()
        killed = is_killed(mutant, folder)
        seconds = time.monotonic() - start
        print(
            f"{number:3}/{len(chosen)} {'killed' if killed else 'SURVIVED':8} {seconds:5.1f} s  {mutant.name}"
        )
        sys.stdout.flush()
        if not killed:
            survivors.append(mutant.name)
    print(f"{len(chosen) - len(survivors)} of {len(chosen)} mutants killed")
    for name in survivors:
        print(f"survived: {name}")
    return 1 if survivors or not chosen else 0


if __name__ == "__main__":
    sys.exit(main())
