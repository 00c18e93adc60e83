"""The validator stays lean."""

from __future__ import annotations

from relayers.cardano.building import FIRST_MEMORY, FIRST_STEPS
from scripts.bench_cardano import measure
from tests.unit.cardano.world import World


def test_size_and_execution_units_stay_within_their_limits(world: World) -> None:
    costs = measure(world)
    assert costs["script_bytes"] <= 1_700
    signed = costs["claim, signed"]
    assert signed["memory"] <= 200_000
    assert signed["steps"] <= 55_000_000
    for name, cost in costs.items():
        if name != "script_bytes":
            assert cost["memory"] < 4 * FIRST_MEMORY
            assert cost["steps"] < 4 * FIRST_STEPS
            assert cost["bytes"] < 4_000
