"""The validator stays lean."""

from __future__ import annotations

from typing import Any

import pytest

from relayers.cardano.adapter import CardanoPort
from relayers.cardano.building import FIRST_MEMORY, FIRST_STEPS
from scripts.bench_cardano import measure
from tests.unit.cardano.world import PARAMETERS, CardanoWorld


@pytest.fixture(scope="module")
def costs(shared_world: CardanoWorld) -> dict[str, Any]:
    shared_world.again()
    return measure(shared_world)


def test_size_and_execution_units_stay_within_their_limits(costs: dict[str, Any]) -> None:
    assert costs["script_bytes"] <= 1_700
    signed = costs["claim, signed"]
    assert signed["memory"] <= 200_000
    assert signed["steps"] <= 55_000_000
    for name, cost in costs.items():
        if name != "script_bytes":
            assert cost["memory"] < cost["locks"] * FIRST_MEMORY, name
            assert cost["steps"] < cost["locks"] * FIRST_STEPS, name
            assert cost["bytes"] < 4_000, name


def test_a_batch_of_eight_fits_with_the_budget_of_a_first_draft_and_saves_most_of_the_fee(
    costs: dict[str, Any],
) -> None:
    assert PARAMETERS.max_tx_ex_mem >= CardanoPort.max_claims * FIRST_MEMORY
    assert PARAMETERS.max_tx_ex_steps >= CardanoPort.max_claims * FIRST_STEPS
    assert costs["8 claims, signed"]["fee_per_lock"] < costs["claim, signed"]["fee"] * 0.3
    assert costs["8 claims, by anyone"]["fee_per_lock"] < costs["claim, by anyone"]["fee"] / 2
