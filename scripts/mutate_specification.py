"""Break each rule of the ZION specification in turn: the comparison with the node must notice every one.

python -m scripts.mutate_specification [--only TEXT]

A mutant is the specification (`chain.rules.spec`) with one change: a rule that always holds, one half of a
condition left out, a comparison moved by one, an effect left out. It counts as noticed when the same random
blocks, records and coins as in tests/property/test_specification.py show a difference, or when it crashes.
"""

from __future__ import annotations

import argparse
import ast
import copy
import multiprocessing
import os
import random
import sys
import tempfile
import time
import traceback
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from kernels import cosmic_harmony

ROOT = Path(__file__).parents[1]
SPEC = ROOT / "chain" / "rules" / "spec"
MODULES = ("values", "blocks", "transition", "fork_choice")
MOVED = {ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt}
EFFECTS = frozenset({"credit", "debit", "use_nonce", "pay_coinbase", "update"})
NOTICED, UNNOTICED, CRASHED = 10, 11, 12


class Mutant(NamedTuple):
    """The specification with one module changed."""

    name: str
    module: str
    tree: ast.Module


def _spots(tree: ast.Module) -> Iterator[tuple[str, list[object], str]]:
    """Yield (function, path to a node, what to do there) for every change worth making."""
    for function in ast.walk(tree):
        if not isinstance(function, ast.FunctionDef):
            continue
        for node in ast.walk(function):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "require":
                yield function.name, [node], "always holds"
                for part in ast.walk(node.args[0]):
                    if isinstance(part, ast.BoolOp):
                        for place in range(len(part.values)):
                            yield function.name, [part, place], f"without condition {place + 1}"
                    if isinstance(part, ast.Compare) and type(part.ops[0]) in MOVED:
                        yield function.name, [part], "moved by one"
            elif isinstance(node, ast.Expr) and isinstance(node.value, ast.Call):
                called = node.value.func
                name = called.attr if isinstance(called, ast.Attribute) else getattr(called, "id", "")
                if name in EFFECTS:
                    yield function.name, [node], f"without {name}"
            elif isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Attribute | ast.Subscript):
                yield function.name, [node], f"without {ast.unparse(node.targets[0])} ="
            elif isinstance(node, ast.AugAssign):
                yield function.name, [node], f"without {ast.unparse(node.target)} +="


def _change(path: list[object], what: str) -> None:
    node = path[0]
    if isinstance(node, ast.Call):
        node.args[0] = ast.Constant(True)
    elif isinstance(node, ast.BoolOp) and isinstance(path[1], int):
        node.values[path[1]] = ast.Constant(isinstance(node.op, ast.And))
    elif isinstance(node, ast.Compare):
        node.ops[0] = MOVED[type(node.ops[0])]()
    elif isinstance(node, ast.Expr):
        node.value = ast.Constant(None)
    elif isinstance(node, ast.Assign | ast.AugAssign):
        node.value = ast.Constant(0)
        if isinstance(node, ast.Assign):
            node.targets = [ast.Name("_", ast.Store())]
    else:
        raise TypeError(what)


def mutants() -> list[Mutant]:
    """Return every mutant, each with one change."""
    made: list[Mutant] = []
    for module in MODULES:
        tree = ast.parse((SPEC / f"{module}.py").read_text())
        for number, (function, _, what) in enumerate(_spots(tree)):
            changed = copy.deepcopy(tree)
            _, path, _ = list(_spots(changed))[number]
            _change(path, what)
            made.append(Mutant(f"{module}.{function}: {what}", module, ast.fix_missing_locations(changed)))
    return made


def _play(mutant: Mutant) -> None:
    """In a forked child: load the mutant in place of the specification and compare it with the node."""
    for name in [
        name for name in sys.modules if name.startswith(("chain.rules.spec.", "tests.property.duel"))
    ]:
        del sys.modules[name]
    import importlib.util

    full = f"chain.rules.spec.{mutant.module}"
    spec = importlib.util.spec_from_file_location(full, SPEC / f"{mutant.module}.py")
    if spec is None:
        raise RuntimeError(full)
    module = importlib.util.module_from_spec(spec)
    sys.modules[full] = module
    exec(compile(mutant.tree, full, "exec"), module.__dict__)
    from tests.property.duel import Duel, compare_coins, compare_records
    from tests.property.test_specification import BLOCKS, COINS, GAMES, RECORDS

    with tempfile.TemporaryDirectory() as folder:
        for share in (0.05, 1):  # most show at once
            for seed in range(int(share * COINS)):
                compare_coins(random.Random(seed))
            for seed in range(int(share * RECORDS)):
                compare_records(random.Random(seed))
            for seed in range(max(1, int(share * GAMES))):
                Duel(Path(folder) / f"{share} {seed}", seed).play(BLOCKS)


def _judge(mutant: Mutant) -> None:
    try:
        _play(mutant)
    except AssertionError:
        os._exit(NOTICED)
    except Exception as error:
        file = traceback.extract_tb(error.__traceback__)[-1].filename
        os._exit(NOTICED if file.startswith(("chain.rules.spec", str(SPEC))) else CRASHED)
    os._exit(UNNOTICED)


def is_noticed(mutant: Mutant) -> bool:
    """Whether the comparison shows a difference."""
    child = multiprocessing.get_context("fork").Process(target=_judge, args=(mutant,))
    child.start()
    child.join()
    if child.exitcode not in (NOTICED, UNNOTICED):
        raise RuntimeError(f"the comparison did not run for {mutant.name!r}: {child.exitcode}")
    return child.exitcode == NOTICED


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", default="", help="run the mutants whose name contains this")
    args = parser.parse_args(arguments)

    from chain.rules import compiled

    cosmic_harmony.prepare(mining=True)  # once, for every child
    compiled.prepare()
    unchanged = Mutant("the specification as it is", "values", ast.parse((SPEC / "values.py").read_text()))
    if is_noticed(unchanged):
        print("the unchanged specification differs from the node: fix that first")
        return 1
    chosen = [mutant for mutant in mutants() if args.only in mutant.name]
    unnoticed: list[str] = []
    for number, mutant in enumerate(chosen, 1):
        start = time.monotonic()
        noticed = is_noticed(mutant)
        verdict = "noticed  " if noticed else "UNNOTICED"
        seconds = time.monotonic() - start
        print(f"{number:3}/{len(chosen)} {verdict} {seconds:5.1f} s  {mutant.name}", flush=True)
        if not noticed:
            unnoticed.append(mutant.name)
    print(f"{len(chosen) - len(unnoticed)} of {len(chosen)} mutants noticed")
    for name in unnoticed:
        print(f"unnoticed: {name}")
    return 1 if unnoticed or not chosen else 0


if __name__ == "__main__":
    sys.exit(main())
