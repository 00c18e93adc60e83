"""The configuration: what is refused, and that the refusal says what to do."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from bridge import config
from bridge.config import ConfigError, to_text, to_units
from bridge.protocol.types import Asset, Chain
from tests.unit.api.play import base_settings

MINIMAL: dict[str, Any] = {
    "assets": [
        {"chain": "zion", "symbol": "ZION", "decimals": 8},
        {"chain": "ethereum", "symbol": "ETH", "decimals": 18},
    ],
    "pairs": [{"from": "zion:ZION", "to": "ethereum:ETH", "min": "1", "max": "10"}],
    "prices": {"static": {"zion:ZION": "0.5", "ethereum:ETH": "2000"}},
}


def refused(content: dict[str, Any]) -> str:
    with pytest.raises(ConfigError) as error:
        config.parse(content, Path("/base"))
    assert error.value.hint
    return "\n".join(error.value.problems)


def test_a_misspelt_key_is_refused_and_the_right_one_named() -> None:
    assert "api.prt: unknown key; did you mean 'port'?" in refused({"api": {"prt": 1}})
    assert "did you mean 'timing'?" in refused({"chains": {"zion": {"timings": {}}}})
    assert "did you mean 'prices'?" in refused({"price": {}})
    assert "did you mean 'spread_ppm'?" in refused(
        {**MINIMAL, "pairs": [{**MINIMAL["pairs"][0], "spread_pm": 1}]}
    )


def test_a_misspelt_variable_is_refused_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAINBOW_API__PROT", "1")
    assert "did you mean 'RAINBOW_API__PORT'?" in refused(MINIMAL)


def test_all_problems_are_told_at_once() -> None:
    told = refused({"api": {"port": 99_999, "prt": 1}, "network": "mainnet"})
    assert "api.port" in told
    assert "api.prt" in told
    assert "network" in told


def test_the_environment_overrides_the_file(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAINBOW_API__PORT", "9000")
    monkeypatch.setenv("RAINBOW_CHAINS__ZION__RPC_URLS", '["http://a", "http://b"]')
    monkeypatch.setenv("RAINBOW_CHAINS__ZION__TIMING__BLOCK_INTERVAL", "7")
    settings = config.parse({**MINIMAL, "api": {"port": 8000, "host": "::1"}}, Path("/base"))
    assert (settings.api.port, settings.api.host) == (9000, "::1")
    assert settings.chains.zion.rpc_urls == ("http://a", "http://b")
    assert settings.chains.zion.timing.block_interval == 7
    assert settings.chains.zion.timing.finality_base == 10


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"pairs": [{**MINIMAL["pairs"][0], "min": 0.5}]}, "write it in quotes"),
        ({"pairs": [{**MINIMAL["pairs"][0], "min": "1e3"}]}, "not a decimal number"),
        ({"pairs": [{**MINIMAL["pairs"][0], "min": "0.000000001"}]}, "more than 8 decimals"),
        ({"pairs": [{**MINIMAL["pairs"][0], "min": "11"}]}, "0 < min ≤ max"),
        ({"pairs": [{**MINIMAL["pairs"][0], "to": "ethereum:ETC"}]}, "did you mean 'ethereum:ETH'?"),
        ({"pairs": [{**MINIMAL["pairs"][0], "to": "zion:ZION"}]}, "both assets are on one chain"),
        ({"pairs": [MINIMAL["pairs"][0]] * 2}, "listed twice"),
        ({"pairs": [{**MINIMAL["pairs"][0], "skew_ppm": 9_999}]}, "sold at a loss"),
        ({"assets": MINIMAL["assets"] * 2}, "same chain and symbol"),
        (
            {"assets": [{"chain": "solana", "symbol": "SOL", "decimals": 9}], "pairs": []},
            "no adapter for solana",
        ),
        ({"prices": {"static": {"zion:ZION": "1"}}}, "no price for 'ethereum:ETH'"),
        ({"prices": {"static": {"zion:ZION": "0", "ethereum:ETH": "1"}}}, "must be above 0"),
        ({"prices": {"source": "http"}}, "needs a `url`"),
        ({"chains": {"zion": {"timing": {"finality_base": 5, "finality_cap": 4}}}}, "finality_cap is below"),
        (
            {"chains": {"zion": {"timing": {"value_per_block": {"zion:ZIN": "1"}}}}},
            "did you mean 'zion:ZION'?",
        ),
    ],
)
def test_nonsense_is_refused_in_words(change: dict[str, Any], words: str) -> None:
    assert words in refused({**MINIMAL, **change})


def test_a_password_in_the_database_url_is_never_shown() -> None:
    settings = config.parse({**MINIMAL, "database": {"url": "postgresql://u:hunter2@h/d"}}, Path("/base"))
    assert "hunter2" not in repr(settings)
    assert settings.database_url() == "postgresql://u:hunter2@h/d"


def test_relative_paths_start_at_the_files_directory(tmp_path: Path) -> None:
    file = tmp_path / "rainbow.toml"
    file.write_text('data_dir = "d"\n[database]\nurl = "sqlite:///x.db"\n[keys]\npassword_file = "p"\n')
    settings = config.load(file)
    assert settings.data_dir == tmp_path / "d"
    assert settings.database_url() == f"sqlite:///{tmp_path}/x.db"
    assert settings.keys.password_file == tmp_path / "p"
    assert settings.chains.zion.keystore == tmp_path / "keys" / "zion.json"


def test_a_missing_or_broken_file_says_how_to_get_a_good_one(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as missing:
        config.load(tmp_path / "none.toml")
    assert "rainbow init" in missing.value.hint
    (tmp_path / "bad.toml").write_text("port = ")
    with pytest.raises(ConfigError, match=r"bad\.toml"):
        config.load(tmp_path / "bad.toml")


@pytest.mark.parametrize(
    ("text", "decimals", "units"), [("0.5", 8, 50_000_000), ("12", 0, 12), ("1.10", 1, 11)]
)
def test_amounts_are_exact_both_ways(text: str, decimals: int, units: int) -> None:
    assert to_units(text, decimals) == units
    assert to_units(to_text(units, decimals), decimals) == units


def test_depth_grows_with_the_amount_up_to_the_cap(tmp_path: Path) -> None:
    chains = base_settings(tmp_path).chains
    zion = Asset(Chain.ZION, "ZION", 8)
    assert chains.timing(zion, 1).finality_depth == 10
    assert chains.timing(zion, 5_000 * 10**8).finality_depth == 15
    assert chains.timing(zion, 10**18).finality_depth == 120
    most = chains.secured(zion)
    assert most is not None
    assert chains.timing(zion, most).finality_depth == 120
    assert chains.timing(zion, most + 1).finality_depth == 120
