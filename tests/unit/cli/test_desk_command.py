"""`rainbow desk credit`: an operator enters what a client has paid, and takes it away again."""

from __future__ import annotations

import json
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from bridge.commands import desk
from bridge.desk.overview import Exposure, Holder, Overview, Position
from bridge.protocol.types import Amount, Asset, SwapId
from bridge.store import Store
from tests import instances

CLIENT = "ab" * 32
RUNNER = CliRunner()


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    url = f"sqlite:///{tmp_path}/desk.db"
    monkeypatch.setattr(desk, "load_settings", lambda _: None)
    monkeypatch.setattr(desk, "KeyRing", lambda _: None)
    monkeypatch.setattr(desk, "open_store", lambda *_: Store.open(url))
    return Store.open(url)


def run(*arguments: str) -> Any:
    return RUNNER.invoke(desk.app, ["credit", CLIENT, "--json", *arguments])


def test_credit_is_entered_with_a_reason_shown_and_taken_away(store: Store) -> None:
    assert json.loads(run("--add", "250.5", "--note", "invoice 7").stdout)["available"] == "250.500000"
    with store.transaction() as tx:
        tx.credits.hold(SwapId("s"), CLIENT, 50_500_000)
    shown = json.loads(run().stdout)
    assert (shown["available"], shown["held"]) == ("200.000000", "50.500000")
    too_much = run("--remove", "200.000001", "--note", "paid out")
    assert too_much.exit_code == 2
    assert json.loads(run("--remove", "200", "--note", "paid out").stdout)["available"] == "0.000000"
    with store.reading() as tx:
        entries = tx.audit.before()
    assert [entry.verb for entry in entries] == ["credit", "credit"]


@pytest.mark.parametrize(
    "wrong", [("--add", "1"), ("--add", "much", "--note", "x"), ("--add", "-1", "--note", "x")]
)
def test_a_change_without_a_reason_or_amount_is_refused(store: Store, wrong: tuple[str, ...]) -> None:
    assert run(*wrong).exit_code == 2
    with store.reading() as tx:
        assert tx.credits.of(CLIENT).entered == 0


def test_a_name_that_is_none_is_refused(store: Store) -> None:
    assert RUNNER.invoke(desk.app, ["credit", "alice"]).exit_code == 2


def test_the_desk_is_shown_as_lines_and_as_json(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    asset = Asset(instances.ZION, "ZION", 8)
    line = Position(
        asset,
        balance=Amount(5 * 10**8),
        kept=Amount(0),
        reserved=Amount(10**8),
        asked=Amount(0),
        available=Amount(4 * 10**8),
        locked=Amount(0),
        coming=Amount(0),
        target=Amount(0),
        value=Fraction(5, 2),
    )
    holder = Holder(asset.key, Amount(10**8), SwapId(""), "q1", True, "a quote that may still be taken")
    found = Overview((line,), (Exposure(instances.ZION, 2, None),), (holder,))
    monkeypatch.setattr("bridge.desk.overview.overview", lambda *_: found)
    shown = json.loads(RUNNER.invoke(desk.app, ["show", "--json"]).stdout)
    assert shown["assets"][0]["available"] == str(4 * 10**8)
    assert shown["assets"][0]["value"] == "2.500000"
    assert shown["reserved"][0]["why"] == "a quote that may still be taken"
    text = RUNNER.invoke(desk.app, ["show"]).stdout
    assert "open on zion: 2 swaps, no price" in text
    assert "reserved: 1 zion:ZION for quote q1" in text
