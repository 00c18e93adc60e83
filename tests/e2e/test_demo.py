"""The demonstration as its users run it: a command, a table, an exit code."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from bridge.config import to_text
from bridge.demo.plans import ASSETS, CHAINS, CIRCLE, GAS_MONEY, NATIVE, PLANS, PRICES, Plan
from tests import instances

ROOT = Path(__file__).parents[2]
PATIENCE_SECONDS = 280
FINALITY = {"ethereum": 3, "base": 3, "zion": 3, "solana": 3, "stellar": 1, "cardano": 3}


def rainbow_demo(directory: Path, *options: str) -> tuple[int, dict[str, Any], str]:
    done = subprocess.run(
        [sys.executable, "-m", "bridge.cli", "demo", "--json", "--directory", str(directory), *options],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECONDS,
        check=False,
    )
    assert done.stdout, done.stderr
    return done.returncode, json.loads(done.stdout), done.stderr


def assert_all_went_well(code: int, report: dict[str, Any], errors: str) -> None:
    assert report["problems"] == [], errors
    assert code == 0
    ended = {swap["name"]: swap["status"] for swap in report["swaps"]}
    assert ended == {plan.name: plan.expected.value for plan in PLANS} | {CIRCLE.name: "completed"}
    differences = {line["asset"]: line["difference"] for line in report["audit"]}
    assert differences == {asset.key: "0" for asset in ASSETS}
    for swap in report["swaps"]:
        assert len(swap["transactions"]) == 4 * (len(swap["hops"]) or 1), swap
        assert all(int(tx["confirmations"]) >= FINALITY[tx["chain"]] for tx in swap["transactions"])
    for asset in ASSETS:
        assert balances_of(report, "locks")[asset.key] == 0


def balances_of(report: dict[str, Any], account: str) -> dict[str, int]:
    return {
        line["asset"]: int(line["after"]) - int(line["before"])
        for line in report["balances"]
        if line["account"] == account
    }


def amount(text: str) -> Fraction:
    """Whole coins of a card's "12.5 XLM"."""
    return Fraction(text.partition(" ")[0])


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> tuple[int, dict[str, Any], str]:
    return rainbow_demo(tmp_path_factory.mktemp("demo") / "site")


@pytest.mark.timeout(PATIENCE_SECONDS + 20)
def test_all_swaps_end_as_they_should_and_every_unit_is_accounted_for(
    run: tuple[int, dict[str, Any], str],
) -> None:
    assert_all_went_well(*run)


@pytest.mark.parametrize("plan", [plan for plan in PLANS if not plan.walks_away], ids=lambda plan: plan.name)
def test_who_stays_pays_the_amount_and_receives_its_worth(
    run: tuple[int, dict[str, Any], str], plan: Plan
) -> None:
    changes = balances_of(run[1], plan.name)
    fees = 0 if plan.source.contract else GAS_MONEY[plan.source.chain] // 2
    assert -plan.amount - fees <= changes[plan.source.key] <= -plan.amount
    sold = Fraction(plan.amount, 10**plan.source.decimals) * Fraction(PRICES[plan.source])
    got = changes[plan.destination.key]
    bought = Fraction(got, 10**plan.destination.decimals) * Fraction(PRICES[plan.destination])
    assert Fraction(9, 10) * sold < bought < sold
    if plan.gasless and plan.destination.contract and plan.destination.chain != instances.STELLAR:
        # On Cardano some ada travels with tokens, so there may even be more.
        assert changes[NATIVE[plan.destination.chain].key] >= 0, "not a coin was needed there"


@pytest.mark.parametrize("plan", [plan for plan in PLANS if plan.walks_away], ids=lambda plan: plan.name)
def test_who_walks_away_loses_fees_alone(run: tuple[int, dict[str, Any], str], plan: Plan) -> None:
    changes = balances_of(run[1], plan.name)
    assert -GAS_MONEY[plan.source.chain] // 2 < changes[plan.source.key] <= 0
    assert changes[plan.destination.key] == 0


def test_one_persons_value_comes_around_all_chains(run: tuple[int, dict[str, Any], str]) -> None:
    way = next(swap for swap in run[1]["swaps"] if swap["name"] == CIRCLE.name)
    assert [hop["route"] for hop in way["hops"]] == [
        f"{source.symbol} → {destination.symbol}" for source, destination in CIRCLE.steps
    ]
    for earlier, later in pairwise(way["hops"]):
        assert 0 < amount(later["sends"]) <= amount(earlier["receives"])
    assert amount(way["sends"]) == amount(way["hops"][0]["sends"]) == 400
    assert amount(way["receives"]) == amount(way["hops"][-1]["receives"])
    assert 380 < amount(way["receives"]) < 400
    assert f"cost {to_text(CIRCLE.amount - int(amount(way['receives']) * 10**8), 8)} ZION" in way["note"]


@pytest.mark.long
@pytest.mark.timeout(PATIENCE_SECONDS + 20)
def test_the_swaps_still_end_right_when_every_process_is_killed_once(tmp_path: Path) -> None:
    code, report, errors = rainbow_demo(tmp_path / "site", "--chaos", "--seed", "7")
    assert_all_went_well(code, report, errors)
    assert set(report["killed"]) == {
        "api",
        *(f"{kind}-{chain}" for kind in ("relayer", "node") for chain in CHAINS),
    }
