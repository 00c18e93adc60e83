"""The configuration: what is refused, and that the refusal says what to do."""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import pytest

from bridge import config
from bridge.chains import registry
from bridge.chains.family import section_of
from bridge.config import ConfigError, Network, Settings, to_text, to_units
from bridge.protocol.types import Amount, Asset, ChainId
from chain.rules.params import NETWORKS
from chain.rules.params import Network as ZionNetwork
from relayers.cardano import plugin as cardano_plugin
from relayers.cardano import timing as cardano_timing
from relayers.cardano.settings import CardanoSettings
from relayers.evm.plugin import EvmSection
from relayers.evm.profiles import profile_for
from relayers.solana import plugin as solana_plugin
from relayers.solana import timing as solana_timing
from relayers.solana.settings import DEVNET_GENESIS, MAINNET_GENESIS
from relayers.stellar import timing as stellar_timing
from relayers.stellar.plugin import passphrase_of
from relayers.zion import timing as zion_timing
from tests import instances
from tests.unit.api.play import base_settings

MINIMAL: dict[str, Any] = {
    "chains": {"zion": {}, "ethereum": {"family": "evm"}},
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
    assert settings.chains.get(instances.ZION).urls == ("http://a", "http://b")
    timing = settings.chains.timing_config(instances.ZION)
    assert timing.block_interval == 7
    assert timing.finality_base == 10


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
            "chains.solana: there is no such section; add it with rpc_urls",
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
    file.write_text(
        'data_dir = "d"\n[database]\nurl = "sqlite:///x.db"\n[keys]\npassword_file = "p"\n[chains.zion]\n'
    )
    settings = config.load(file)
    assert settings.data_dir == tmp_path / "d"
    assert settings.database_url() == f"sqlite:///{tmp_path}/x.db"
    assert settings.keys.password_file == tmp_path / "p"
    assert settings.chains.get(instances.ZION).keystore == tmp_path / "keys" / "zion.json"


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
    zion = Asset(instances.ZION, "ZION", 8)
    assert chains.timing(zion, Amount(1)).finality_depth == 10
    assert chains.timing(zion, Amount(999 * 10**8)).finality_depth == 10
    assert chains.timing(zion, Amount(5_000 * 10**8)).finality_depth == 30, "the chain's own advice"
    assert chains.timing(zion, Amount(50_000 * 10**8)).finality_depth == 60
    assert chains.timing(zion, Amount(10**18)).finality_depth == 120
    most = chains.secured(zion)
    assert most is not None
    assert chains.timing(zion, most).finality_depth == 120
    assert chains.timing(zion, Amount(most + 1)).finality_depth == 120


STELLAR: dict[str, Any] = {
    **MINIMAL,
    "chains": {**MINIMAL["chains"], "stellar": {"rpc_urls": ["http://h"], "contract": "C" + "A" * 55}},
    "assets": [*MINIMAL["assets"], {"chain": "stellar", "symbol": "XLM", "decimals": 7}],
    "pairs": [
        *MINIMAL["pairs"],
        {"from": "zion:ZION", "to": "stellar:XLM", "min": "1", "max": "10", "gasless": False},
    ],
    "prices": {"static": {**MINIMAL["prices"]["static"], "stellar:XLM": "0.1"}},
}


def test_stellar_is_there_only_when_its_section_is_given() -> None:
    assert instances.STELLAR not in config.parse(MINIMAL, Path("/base")).enabled_chains()
    settings = config.parse(STELLAR, Path("/base"))
    section = settings.enabled_chains()[instances.STELLAR]
    assert section.urls == ("http://h",)
    assert section.keystore == Path("/base/keys/stellar.json")
    assert "add it with rpc_urls" in refused({**STELLAR, "chains": MINIMAL["chains"]})


@pytest.mark.parametrize(
    ("change", "words"),
    [({"decimals": 8}, "has 7 decimals"), ({"contract": "RUSD"}, "written CODE:ISSUER")],
)
def test_a_wrong_asset_on_stellar_is_refused(change: dict[str, Any], words: str) -> None:
    assets = [*STELLAR["assets"][:2], {**STELLAR["assets"][2], **change}]
    assert words in refused({**STELLAR, "assets": assets, "pairs": []})


@pytest.mark.parametrize(
    ("network", "words"), [("dev", "Standalone"), ("test", "Test SDF"), ("main", "Public Global")]
)
def test_the_passphrase_of_stellar_follows_from_the_network(network: str, words: str) -> None:
    settings = config.parse({**STELLAR, "network": network}, Path("/base"))
    assert passphrase_of(settings.instance(instances.STELLAR)).startswith(words)


MINT = "EPjFWdd5AufqSSqeM2qN1xzybapC8G4wEGGkZwyTDt1v"
POLICY = "29d222ce763455e3d7a09a665ce554f00ac89d2e99a1a83d267170c6"


def joined(chain: str, section: dict[str, Any], *assets: dict[str, Any], **more: Any) -> dict[str, Any]:
    """The minimal configuration with one more chain."""
    return {
        **MINIMAL,
        "chains": {**MINIMAL["chains"], chain: {**MINIMAL["chains"].get(chain, {}), **section}},
        "assets": [*MINIMAL["assets"], *({"chain": chain, **asset} for asset in assets)],
        **more,
    }


def cardano_settings(settings: Settings) -> CardanoSettings:
    return cardano_plugin.settings_of(settings.instance(instances.CARDANO))


def solana_settings(settings: Settings) -> str:
    return solana_plugin.settings_of(settings.instance(instances.SOLANA)).genesis_hash


SOL = {"symbol": "SOL", "decimals": 9}
ADA = {"symbol": "ADA", "decimals": 6}


def test_solana_and_cardano_are_there_only_when_their_sections_are_given() -> None:
    assert set(config.parse(MINIMAL, Path("/base")).enabled_chains()) == {instances.ZION, instances.ETHEREUM}
    solana = config.parse(joined("solana", {"rpc_urls": ["http://s"]}, SOL), Path("/base"))
    assert solana.enabled_chains()[instances.SOLANA].urls == ("http://s",)
    cardano = config.parse(joined("cardano", {"blockfrost_url": "http://c"}, ADA), Path("/base"))
    assert cardano.enabled_chains()[instances.CARDANO].keystore == Path("/base/keys/cardano.json")
    assert "add it with blockfrost_url" in refused(
        {**joined("cardano", {}, ADA), "chains": MINIMAL["chains"]}
    )


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (joined("solana", {}, {**SOL, "decimals": 8}), "the native coin of solana has 9 decimals"),
        (
            joined("solana", {}, {"symbol": "USDC", "decimals": 6, "contract": MINT[:-2]}),
            "its mint, 32 bytes in base58",
        ),
        (joined("solana", {"contract": MINT.replace("E", "0")}), "no Solana address"),
        (joined("solana", {"contract": MINT + "1"}), "no Solana address"),
        (joined("solana", {"rpc_urls": ["s.example:8899"]}), "begins with http:// or https://"),
        (joined("solana", {"ws_url": "https://s"}), "begins with ws:// or wss://"),
        (joined("cardano", {}, {**ADA, "decimals": 7}), "the native coin of cardano has 6 decimals"),
        (
            joined("cardano", {}, {"symbol": "DJED", "decimals": 6, "contract": POLICY + ".444a"}),
            "without a dot",
        ),
        (joined("cardano", {"reference_script": "ab#0"}), "<transaction id>#<index>"),
        (joined("cardano", {"ogmios_url": "ws://o"}), "ogmios_url and kupo_url"),
        (
            joined(
                "cardano",
                {
                    "blockfrost_url": "http://b",
                    "other_blockfrost_urls": ["http://c", "http://d"],
                    "other_project_ids": ["key"],
                },
            ),
            "one of other_project_ids for each of other_blockfrost_urls",
        ),
        (joined("cardano", {"testnet": "mainnet"}), "'preprod' or 'preview'"),
        (joined("ethereum", {"contract": "0xhtlc"}), "no Ethereum address"),
        (
            joined("zion", {}, {"symbol": "WZION", "decimals": 8, "contract": "0x00"}),
            "no assets but the native coin",
        ),
    ],
)
def test_what_a_chain_cannot_have_is_refused_in_words(content: dict[str, Any], words: str) -> None:
    assert words in refused(content)


def test_tokens_of_solana_and_cardano_are_named_as_their_chains_name_them() -> None:
    mint = {"symbol": "USDC", "decimals": 6, "contract": MINT}
    settings = config.parse(joined("solana", {"contract": MINT}, SOL, mint), Path("/base"))
    assert settings.assets_by_key()["solana:USDC"].contract == MINT
    djed = {"symbol": "DJED", "decimals": 6, "contract": POLICY + "446a65644d6963726f555344"}
    assert config.parse(joined("cardano", {}, ADA, djed), Path("/base")).assets_by_key()["cardano:DJED"]


def test_a_url_that_is_refused_is_not_repeated_for_it_may_hold_a_key() -> None:
    assert "s3cret" not in refused(joined("solana", {"rpc_urls": ["rpc.example/?key=s3cret"]}))


def test_the_key_of_a_blockfrost_service_is_never_shown() -> None:
    settings = config.parse(joined("cardano", {"project_id": "preprodhunter2"}, ADA), Path("/base"))
    assert "hunter2" not in repr(settings)
    assert cardano_settings(settings).project_id == "preprodhunter2"


def test_the_environment_gives_the_key_of_a_section_in_the_file(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAINBOW_CHAINS__CARDANO__PROJECT_ID", "preprodkey")
    content = joined("cardano", {"blockfrost_url": "http://c"}, ADA)
    told = cardano_settings(config.parse(content, Path("/base")))
    assert (told.project_id, told.blockfrost_url) == ("preprodkey", "http://c")
    monkeypatch.setenv("RAINBOW_CHAINS__CARDANO__PROJECT", "x")
    assert "did you mean 'RAINBOW_CHAINS__CARDANO__PROJECT_ID'?" in refused(content)


@pytest.mark.parametrize(
    ("network", "section", "named"),
    [
        ("dev", {}, "dev"),
        ("test", {}, "preprod"),
        ("test", {"testnet": "preview"}, "preview"),
        ("main", {"testnet": "preview"}, "mainnet"),
    ],
)
def test_the_cardano_network_follows_from_the_network(
    network: str, section: dict[str, Any], named: str
) -> None:
    settings = config.parse(joined("cardano", section, ADA, network=network), Path("/base"))
    assert cardano_settings(settings).network.value == named


def test_the_solana_cluster_follows_from_the_network_unless_its_genesis_is_named() -> None:
    def genesis(network: str, **section: str) -> str:
        content = joined("solana", {"contract": MINT, **section}, SOL, network=network)
        return solana_settings(config.parse(content, Path("/base")))

    assert genesis("main") == MAINNET_GENESIS
    assert genesis("test") == DEVNET_GENESIS
    assert genesis("dev") == ""
    assert genesis("main", genesis_hash=MINT) == MINT


@pytest.mark.parametrize("chain", list(instances.ALL))
def test_the_defaults_of_timing_are_the_chains_own_numbers(chain: ChainId) -> None:
    known = {
        instances.ZION: zion_timing.timing(ZionNetwork.MAIN),
        instances.ETHEREUM: profile_for(1, "main").timing(),
        instances.SOLANA: solana_timing.MAINNET,
        instances.STELLAR: stellar_timing.MAINNET,
        instances.CARDANO: cardano_timing.PUBLIC,
    }[chain]
    timing = registry.family(chain).section().timing_on(Network.MAIN)
    assert timing.block_interval == known.block_interval
    assert timing.finality_base <= known.finality_depth <= timing.finality_cap
    assert (timing.inclusion_p99, timing.clock_skew) == (known.inclusion_p99, known.clock_skew)


def test_reading_a_configuration_loads_no_chain_library() -> None:
    heavy = {"web3", "eth_account", "solders", "stellar_sdk", "pycardano", "httpx"}
    code = f"import sys, bridge.config; print(sorted({heavy!r} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_window_in_which_nobody_could_claim_is_refused_when_the_configuration_is_read() -> None:
    content = {**STELLAR, "swaps": {"user_window": 60}}
    assert "swaps.user_window: 60 s leave nobody time to claim on" in refused(content)


def test_the_ethereum_contract_may_be_the_record_of_its_deployment() -> None:
    content = joined("ethereum", {"contract": "deployments/ethereum-sepolia.json"})
    settings = config.parse(content, Path("/base"))
    assert (
        section_of(settings.instance(instances.ETHEREUM), EvmSection).contract
        == "/base/deployments/ethereum-sepolia.json"
    )
    assert "no Ethereum address" in refused({**MINIMAL, "chains": {"ethereum": {"contract": "0x12"}}})


@pytest.mark.parametrize("name", ["items", "get", "family", "copy"])
def test_a_chain_is_not_called_like_a_part_of_the_configuration(name: str) -> None:
    content = {**MINIMAL, "chains": {**MINIMAL["chains"], name: {"family": "zion"}}}
    assert f"chains.{name}: this name has a meaning of its own" in refused(content)


def test_a_family_that_cannot_be_loaded_hides_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    broken = EntryPoint("broken", "no.such.module:FAMILY", registry.GROUP)
    monkeypatch.setattr(registry, "offered", lambda: {**_offered, "broken": (broken,)})
    registry.family.cache_clear()
    try:
        assert {"zion", "evm"} <= set(registry.families())
        content = {**MINIMAL, "chains": {**MINIMAL["chains"], "odd": {"family": "broken"}}}
        assert "chains.odd: the family 'broken' of" in refused(content)
    finally:
        registry.family.cache_clear()


_offered = registry.offered()


@pytest.mark.parametrize("coins", [1, 999, 1_000, 50_000, 100_000, 1_000_000])
def test_zions_default_depth_is_never_below_the_chains_own_advice(coins: int) -> None:
    settings = config.parse({**MINIMAL, "network": "test"}, Path("/base"))
    asset = settings.assets_by_key()["zion:ZION"]
    timing = settings.chains.timing(asset, Amount(coins * 10**8))
    assert timing.finality_depth == NETWORKS[ZionNetwork.MAIN].finality_depth(coins * 10**8)
