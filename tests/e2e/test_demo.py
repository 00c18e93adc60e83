"""The demonstration as its users run it: a command, a table, an exit code."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
PATIENCE_SECONDS = 280


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
    return done.returncode, json.loads(done.stdout), done.stderr


def assert_all_went_well(code: int, report: dict[str, Any], errors: str) -> None:
    assert report["problems"] == [], errors
    assert code == 0
    ended = {swap["name"]: swap["status"] for swap in report["swaps"]}
    assert ended == {
        "alice": "completed",
        "bob": "completed",
        "carol": "completed",
        "dave": "refunded",
        "erin": "refunded",
    }
    assert [line["difference"] for line in report["audit"]] == ["0", "0", "0"]
    for swap in report["swaps"]:
        assert len(swap["transactions"]) == 4, swap
        assert all(int(tx["confirmations"]) >= 3 for tx in swap["transactions"])


def balances_of(report: dict[str, Any], account: str) -> dict[str, int]:
    return {
        line["asset"]: int(line["after"]) - int(line["before"])
        for line in report["balances"]
        if line["account"] == account
    }


@pytest.mark.timeout(PATIENCE_SECONDS + 20)
def test_five_swaps_end_as_they_should_and_every_unit_is_accounted_for(tmp_path: Path) -> None:
    code, report, errors = rainbow_demo(tmp_path / "site")
    assert_all_went_well(code, report, errors)

    alice = balances_of(report, "alice")
    assert alice["zion:ZION"] > 0, "a user with no coins on the destination got them, gasless"
    assert -(5 * 10**17) > alice["ethereum:ETH"] > -(5 * 10**17) - 10**15, (
        "she paid the lock and its gas only"
    )
    carol = balances_of(report, "carol")
    assert carol["ethereum:DEMO"] == -250 * 10**6
    assert carol["zion:ZION"] > 0
    bob = balances_of(report, "bob")
    assert bob["ethereum:ETH"] > 0
    assert bob["zion:ZION"] < -600 * 10**8 + 1
    for walked_away in ("dave", "erin"):
        lost = balances_of(report, walked_away)
        assert -(10**15) < lost["ethereum:ETH"] <= 0, "only fees are gone"
        assert -(10**6) < lost["zion:ZION"] <= 0, "only fees are gone"


@pytest.mark.timeout(PATIENCE_SECONDS + 20)
def test_the_swaps_still_end_right_when_every_process_is_killed_once(tmp_path: Path) -> None:
    code, report, errors = rainbow_demo(tmp_path / "site", "--chaos", "--seed", "7")
    assert_all_went_well(code, report, errors)
    assert set(report["killed"]) == {
        "api",
        "relayer-zion",
        "relayer-ethereum",
        "node-zion",
        "node-ethereum",
    }
