"""The demonstration's configuration: what is written is read back the same."""

from __future__ import annotations

import tomllib
from itertools import combinations
from pathlib import Path

from bridge import config
from bridge.demo import plans, toml
from bridge.demo.plans import CHAINS, CIRCLE, PLANS, PRICES
from bridge.demo.site import Site
from tests import instances


def test_nested_tables_lists_and_odd_keys_are_read_back_as_written() -> None:
    tables = {
        "network": 'd"e\\v',
        "on": True,
        "half": 0.5,
        "urls": ["http://a", "http://b"],
        "none": [],
        "chains": {"zion": {"port": 1, "timing": {"value_per_block": {"zion:ZION": "5000"}}}},
        "pairs": [{"from": "a", "limits": {"min": "1"}}, {"from": "b"}],
    }
    assert tomllib.loads(toml.dumps(tables)) == tables


def test_the_demonstrations_configuration_loads_and_offers_every_route_that_somebody_takes(
    tmp_path: Path,
) -> None:
    site = Site(tmp_path)
    settings = config.parse(tomllib.loads(site.configuration()), tmp_path)
    assert set(settings.enabled_chains()) == set(CHAINS)
    for source, destination in [*((plan.source, plan.destination) for plan in PLANS), *CIRCLE.steps]:
        assert settings.pair(source.key, destination.key) is not None
    assert settings.assets_by_key() == {asset.key: asset for asset in PRICES}


def test_everybody_in_the_demonstration_has_a_name_of_their_own_and_gas_for_it() -> None:
    names = [*(plan.name for plan in PLANS), CIRCLE.name]
    assert all(one != other for one, other in combinations(names, 2))
    assert set(plans.GAS_MONEY) == set(CHAINS)
    assert CIRCLE.route[0] == CIRCLE.route[-1]
    assert {asset.chain for asset in CIRCLE.route} == set(instances.ALL)
