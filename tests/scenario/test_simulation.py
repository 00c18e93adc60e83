"""A short slice of the simulator; `make simulate` plays many more seeds."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.scenario.simulate import play


@pytest.mark.parametrize("seed", range(4))
async def test_swaps_survive_a_mix_of_all_faults(tmp_path: Path, seed: int) -> None:
    ends = await play(seed, tmp_path)
    assert sum(ends.values()) > 1


async def test_the_same_seed_plays_the_same_game(tmp_path: Path) -> None:
    assert await play(5, tmp_path / "one") == await play(5, tmp_path / "two")
