"""A short slice of the simulator; `make simulate` plays many more seeds."""

from __future__ import annotations

from pathlib import Path

import pytest

from bridge.protocol import rules
from bridge.protocol.types import Swap
from tests.scenario import adversary
from tests.scenario.simulation import Run, play


@pytest.mark.parametrize("seed", range(4))
async def test_swaps_survive_what_an_adversary_draws(tmp_path: Path, seed: int) -> None:
    run = await play(seed, tmp_path)
    assert len(run.ends) > 1


async def test_the_same_seed_plays_the_same_game(tmp_path: Path) -> None:
    first, second = await play(5, tmp_path / "one"), await play(5, tmp_path / "two")
    assert (first.timeline, first.ends) == (second.timeline, second.ends)
    assert first.timeline


async def test_a_loss_is_noticed_and_told_with_its_seed_and_its_timeline(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The bridge never claims a source: hasty users then get both legs."""
    honest = rules.required_effects

    def forgetful(swap: Swap) -> tuple[object, ...]:
        return tuple(effect for effect in honest(swap) if getattr(effect, "leg", None) != "source")

    monkeypatch.setattr("bridge.engine.decisions.required_effects", forgetful)
    with pytest.raises(AssertionError) as failure:
        await play(3, tmp_path)
    assert "seed 3: swap" in str(failure.value)
    assert "step   0  swap1: sold" in str(failure.value)


async def test_every_fault_can_happen(tmp_path: Path) -> None:
    """None of them is broken: each either does something or says that it cannot now."""
    run = Run(1, tmp_path, 3)
    run._sell(all_at_once=True)
    for _ in range(6):
        await run._step()
        for name, fault in sorted(adversary.FAULTS.items()):
            if name != "kill -9":
                assert fault(run) in {True, False}, name
        adversary.calm(run)
    run.world.close()
