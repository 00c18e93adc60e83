"""`python -m scripts.soroban_vectors`: build the judge with Cargo, play on it, write tests/vectors/soroban_*.

Needs Cargo (Rust 1.84 or later) and the network; the first build takes some minutes.
"""

from __future__ import annotations

import argparse
import os
import subprocess
from collections.abc import Callable
from pathlib import Path

from scripts.build_soroban import ARTIFACT
from scripts.soroban_vectors import assets, chance, matrix, tokens, uploads
from scripts.soroban_vectors.judge import JUDGE, Judge
from scripts.soroban_vectors.world import World

VECTORS = Path(__file__).resolve().parents[2] / "tests" / "vectors"
PLAYS: dict[str, Callable[[World], None]] = {
    "matrix": matrix.play,
    "assets": assets.play,
    "tokens": tokens.play,
    "uploads": uploads.play,
    "chance_1": chance.play,
    "chance_2": chance.play_again,
}


def build_judge() -> Path:
    """Build the judge and return its program."""
    target = Path(os.environ.get("CARGO_TARGET_DIR", JUDGE / "target"))
    done = subprocess.run(["cargo", "build", "--release"], cwd=JUDGE, check=False)
    if done.returncode:
        raise SystemExit("the judge could not be built; it needs Cargo and the network")
    return target / "release" / "judge"


def main() -> None:
    """Record what the real host says."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=VECTORS, help="where the recordings go")
    parser.add_argument("plays", nargs="*", choices=[*PLAYS, []], help="which; all if none is named")
    options = parser.parse_args()
    program = build_judge()
    options.out.mkdir(parents=True, exist_ok=True)
    for name in options.plays or PLAYS:
        judge = Judge(program, options.out / f"soroban_{name}.jsonl")
        world = World(judge, ARTIFACT.read_bytes())
        PLAYS[name](world)
        judge.close()
        print(f"{name}: {judge.steps} steps, {world.done} calls that succeeded, {world.refused} refused")
        for note, verdict in sorted(world.figures.items()):
            print(
                f"  {note:36} {verdict.instructions:>10,} instructions {verdict.memory:>11,} bytes of memory"
            )


if __name__ == "__main__":
    main()
