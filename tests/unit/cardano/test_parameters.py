"""Cost models are lists: no order of keys stands for theirs."""

from __future__ import annotations

import random
from typing import Any

import pytest

from relayers.cardano.devnet.ledger import cost_models
from relayers.cardano.devnet.ogmios_json import protocol_parameters as ogmios_parameters
from relayers.cardano.devnet.parameters import protocol_parameters
from relayers.cardano.parameters import from_ogmios, parse_parameters

COSTS = cost_models()["PlutusV3"]


def read(**changes: Any) -> list[int]:
    raw = {**protocol_parameters(0), **changes}
    models = parse_parameters({key: value for key, value in raw.items() if value is not None}).cost_models
    return [models["PlutusV3"][key] for key in sorted(models["PlutusV3"])]


def test_the_raw_list_is_taken_whatever_the_mapping_says() -> None:
    wrong = {name: {"000": 1, "001": 2} for name in cost_models()}
    assert read(cost_models=wrong) == COSTS


def test_both_services_give_the_same_cost_models() -> None:
    assert (
        from_ogmios(ogmios_parameters()).cost_models == parse_parameters(protocol_parameters(0)).cost_models
    )


@pytest.mark.parametrize("first", [0, 1])
def test_numbered_costs_are_put_in_order(first: int) -> None:
    numbered = [(str(index), cost) for index, cost in enumerate(COSTS, first)]
    random.Random(1).shuffle(numbered)
    assert read(cost_models_raw=None, cost_models={"PlutusV3": dict(numbered)}) == COSTS
    assert read(cost_models_raw=None, cost_models={"PlutusV3": COSTS}) == COSTS


@pytest.mark.parametrize("keys", [["addInteger-cpu", "addInteger-memory"], ["0", "2"], []])
def test_costs_without_an_order_are_refused(keys: list[str]) -> None:
    with pytest.raises(ValueError, match="order"):
        read(cost_models_raw=None, cost_models={"PlutusV3": dict.fromkeys(keys, 1)})
