"""What `rainbow check` says of prices."""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction
from pathlib import Path

import pytest

from bridge.commands import check
from bridge.commands.check import Finding, Level
from bridge.config import Settings
from bridge.desk.price_feeds import Feed, FeedError, Print
from bridge.desk.prices import PriceBook
from tests.unit.api.play import ETH, START, ZION, base_settings


class Source:
    """A feed; one whose price of an ETH is "" is silent."""

    def __init__(self, name: str, ether: str) -> None:
        self.name = name
        self.ether = ether

    def read(self) -> Mapping[str, Print]:
        if not self.ether:
            raise FeedError("it is silent", "wake it")
        return {ETH: Print(Fraction(self.ether), START), ZION: Print(Fraction(1, 2), START)}


def findings(settings: Settings, monkeypatch: pytest.MonkeyPatch, *ether: str) -> list[Finding]:
    feeds: list[Feed] = [Source(f"feed{number}", price) for number, price in enumerate(ether)]

    def source(of: Settings) -> PriceBook:
        return PriceBook(of.prices, feeds, sorted(of.priced_assets()), lambda: START)

    monkeypatch.setattr(check, "price_source", source)
    return list(check._prices(settings))


def test_feeds_that_are_left_out_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = base_settings(tmp_path)
    found = findings(settings, monkeypatch, "2000", "2001", "2600", "2000")
    assert [(each.level, each.detail) for each in found] == [
        (Level.WARN, "ethereum:ETH of feed2: 29.96 % away from the others"),
        (Level.OK, "static"),
    ]
    silent = findings(settings, monkeypatch, "2000", "2001", "")
    assert [(each.level, each.detail) for each in silent] == [
        (Level.WARN, "ethereum:ETH of feed2: it gives no price"),
        (Level.WARN, "zion:ZION of feed2: it gives no price"),
        (Level.OK, "static"),
    ]


def test_no_agreement_is_a_failure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (found,) = findings(base_settings(tmp_path), monkeypatch, "2000", "")
    assert found.level is Level.FAIL
    assert "1 of 2 sources can be used, 2 are needed" in found.detail


def test_a_pair_that_is_switched_off_needs_no_price(tmp_path: Path) -> None:
    old = {"chain": "ethereum", "symbol": "OLD", "decimals": 18, "contract": "0x" + "11" * 20}
    known = base_settings(tmp_path)
    settings = base_settings(
        tmp_path,
        {
            "assets": [*(each.model_dump() for each in known.assets), old],
            "pairs": [
                {"from": ETH, "to": ZION, "min": "0.01", "max": "5"},
                {"from": "ethereum:OLD", "to": ZION, "min": "1", "max": "5", "enabled": False},
            ],
        },
    )
    (found,) = check._prices(settings)
    assert found.level is Level.OK
