"""The command line: help and --json everywhere, exit codes, `init` and `check`."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import click
import pytest
import typer
from typer.testing import CliRunner

from bridge import cli, config
from bridge.keys.keystore import devnet_key, load
from bridge.protocol.types import ChainId
from bridge.wiring.ports import open_port, wallet_builder
from chain.rules.params import Network as ZionNetwork
from relayers.cardano import timing as cardano_timing
from relayers.cardano.devnet.treasury import REFERENCE_SCRIPT
from relayers.cardano.plugin import settings_of as cardano_settings
from relayers.evm.profiles import profile_for
from relayers.solana import timing as solana_timing
from relayers.solana.devnet.local import PROGRAM
from relayers.solana.plugin import settings_of as solana_settings
from relayers.stellar import timing as stellar_timing
from relayers.zion import timing as zion_timing
from tests import instances

runner = CliRunner()


def run(*arguments: str) -> Any:
    return runner.invoke(cli.app, [*arguments])


def leaves() -> list[tuple[tuple[str, ...], click.Command]]:
    """Every command that can be run, by its path."""
    found: list[tuple[tuple[str, ...], click.Command]] = []
    for name in (*cli.COMMANDS, "version"):
        program: Any = typer.main.get_command(cli.app)
        command = cli.load(name) if name in cli.COMMANDS else program.commands[name]
        for part, leaf in getattr(command, "commands", {"": command}).items():
            found.append(((name, part) if part else (name,), leaf))
    return found


def test_every_command_has_help_and_json() -> None:
    commands = leaves()
    assert len(commands) > 15
    for path, command in commands:
        assert command.help, path
        assert any("--json" in option.opts for option in command.params), path


def test_the_list_of_commands_tells_what_each_does() -> None:
    shown = run("--help")
    assert shown.exit_code == 0
    for name in cli.COMMANDS:
        assert name in shown.output


def test_a_wrong_command_is_wrong_usage(tmp_path: Path) -> None:
    assert run("dance").exit_code == 2
    run("init", "--dir", str(tmp_path))
    assert run("relayer", "bitcoin", "--config", str(tmp_path / "rainbow.toml")).exit_code == 2


def test_a_missing_configuration_is_exit_code_3_with_a_hint() -> None:
    answer = run("check", "--config", "/nowhere/rainbow.toml", "--json")
    assert answer.exit_code == 3
    error = json.loads(answer.stderr)["error"]
    assert "rainbow init" in error["hint"]


def test_an_unreachable_bridge_is_exit_code_4() -> None:
    answer = run("quote", "ethereum:ETH", "zion:ZION", "1", "--api", "http://127.0.0.1:1", "--json")
    assert answer.exit_code == 4
    assert json.loads(answer.stderr)["error"]["hint"]


def test_init_writes_a_configuration_that_loads_and_keys_that_open(tmp_path: Path) -> None:
    answer = run("init", "--dir", str(tmp_path), "--json")
    assert answer.exit_code == 0, answer.output
    told = json.loads(answer.stdout)
    settings = config.load(tmp_path / "rainbow.toml")
    assert settings.api.keys[0].sha256 == hashlib.sha256(told["operator_key"].encode()).hexdigest()
    assert load(settings.chains.get(instances.ZION).keystore, "devnet", "dev") == devnet_key("zion/bridge")
    assert told["operator_key"] not in (tmp_path / "rainbow.toml").read_text()
    for file in tmp_path.rglob("*"):
        assert file.is_dir() or file.stat().st_mode & 0o077 == 0, file
    again = run("init", "--dir", str(tmp_path), "--json")
    assert again.exit_code == 3
    assert "exists" in json.loads(again.stderr)["error"]["problems"][0]


JOINING = {
    instances.SOLANA: ("--solana-rpc", "http://127.0.0.1:1"),
    instances.STELLAR: ("--stellar-rpc", "http://127.0.0.1:1"),
    instances.CARDANO: ("--cardano-blockfrost", "http://127.0.0.1:1/api/v0"),
}
PUBLIC_TIMING = {
    instances.ETHEREUM: profile_for(1, "main").timing(),
    instances.SOLANA: solana_timing.MAINNET,
    instances.STELLAR: stellar_timing.MAINNET,
    instances.CARDANO: cardano_timing.PUBLIC,
}
NATIVE = {
    instances.ZION: "zion:ZION",
    instances.ETHEREUM: "ethereum:ETH",
    instances.SOLANA: "solana:SOL",
    instances.STELLAR: "stellar:XLM",
    instances.CARDANO: "cardano:ADA",
}


@pytest.mark.parametrize("chain", JOINING)
def test_init_lets_a_chain_join_when_it_is_told_a_node(tmp_path: Path, chain: ChainId) -> None:
    answer = run("init", "--dir", str(tmp_path), *JOINING[chain], "--json")
    assert answer.exit_code == 0, answer.output
    settings = config.load(tmp_path / "rainbow.toml")
    assert set(settings.enabled_chains()) == {instances.ZION, instances.ETHEREUM, chain}
    key = load(settings.chains.get(chain).keystore, "devnet", "dev")
    assert key == devnet_key(f"{chain}/bridge")
    assert json.loads(answer.stdout)[f"{chain}_account"] == open_port(settings, chain, key).account
    check = run("check", "--config", str(tmp_path / "rainbow.toml"), "--json")
    findings = {finding["what"]: finding for finding in json.loads(check.stdout)["findings"]}
    assert findings[f"{chain} key"]["level"] == "ok"
    assert findings[f"{chain} node"]["level"] == "fail"
    assert findings[f"{chain} node"]["hint"]


def test_init_offers_swaps_between_all_chains_that_join(tmp_path: Path) -> None:
    options = [option for options in JOINING.values() for option in options]
    assert run("init", "--dir", str(tmp_path), *options).exit_code == 0
    settings = config.load(tmp_path / "rainbow.toml")
    wanted = {(a, b) for a in NATIVE.values() for b in NATIVE.values() if a != b}
    assert wanted < {(pair.source, pair.destination) for pair in settings.pairs}
    assert wallet_builder(settings, instances.CARDANO) is not None
    assert solana_settings(settings.instance(instances.SOLANA)).program == str(PROGRAM)
    assert cardano_settings(settings.instance(instances.CARDANO)).reference_script == REFERENCE_SCRIPT


@pytest.mark.parametrize("name", ["base", "ethereum"])
def test_a_chain_named_by_the_operator_gets_its_own_answers(tmp_path: Path, name: str) -> None:
    options = ("--chain", f"{name}=evm", "--set", f"{name}.rpc=http://127.0.0.1:9")
    assert run("init", "--dir", str(tmp_path), *options).exit_code == 0
    settings = config.load(tmp_path / "rainbow.toml")
    assert settings.chains.get(ChainId(name)).urls == ("http://127.0.0.1:9",)
    assert set(settings.enabled_chains()) == {"zion", "ethereum", name}


def test_an_option_of_a_chain_that_is_also_named_counts_and_an_unknown_answer_is_refused(
    tmp_path: Path,
) -> None:
    named = ("--chain", "ethereum=evm", "--ethereum-rpc", "http://127.0.0.1:9")
    assert run("init", "--dir", str(tmp_path), *named).exit_code == 0
    settings = config.load(tmp_path / "rainbow.toml")
    assert settings.chains.get(instances.ETHEREUM).urls == ("http://127.0.0.1:9",)
    for chain in (("--chain", "base=evm", "--set", "base.prc=x"), ("--set", "zion.prc=x")):
        refused = run("init", "--dir", str(tmp_path / "other"), *chain, "--json")
        assert refused.exit_code == 3
        assert "has no such option" in refused.stderr


def test_init_lets_cardano_join_through_ones_own_node(tmp_path: Path) -> None:
    own = ("--cardano-ogmios", "ws://127.0.0.1:1337", "--cardano-kupo", "http://127.0.0.1:1442")
    assert run("init", "--dir", str(tmp_path), *own).exit_code == 0
    settings = config.load(tmp_path / "rainbow.toml")
    told = cardano_settings(settings.instance(instances.CARDANO))
    assert (told.ogmios_url, told.kupo_url, told.blockfrost_url) == (own[1], own[3], "")
    half = run("init", "--dir", str(tmp_path / "half"), *own[:2], "--json")
    assert half.exit_code == 3
    assert "ogmios_url and kupo_url" in half.stderr
    assert not (tmp_path / "half").exists()


@pytest.mark.parametrize("network", ["test", "main"])
def test_on_public_networks_nothing_of_a_local_chain_is_proposed(
    tmp_path: Path, network: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bridge.keys.keystore.SCRYPT_N", 4096)
    monkeypatch.setenv("RAINBOW_KEYSTORE_PASSWORD", "a real password")
    options = [option for options in JOINING.values() for option in options]
    options += ["--solana-program", "TokenkegQfeZyiNwAJbNbGKPFXCWuBvf9Ss623VQ5DA"]
    assert run("init", "--network", network, "--dir", str(tmp_path), *options).exit_code == 0
    settings = config.load(tmp_path / "rainbow.toml")
    cardano = cardano_settings(settings.instance(instances.CARDANO))
    assert (cardano.reference_script, cardano.zero_time) == ("", 0)
    for chain in instances.ALL:
        timing = settings.chains.timing_config(chain)
        own = PUBLIC_TIMING.get(chain) or zion_timing.timing(ZionNetwork(network))
        assert timing.finality_base == own.finality_depth
        assert timing.clock_skew == own.clock_skew
    assert {asset.symbol for asset in settings.assets_by_key().values()} == {
        "ZION",
        "ETH",
        "SOL",
        "XLM",
        "ADA",
    }


def test_a_relayer_of_a_chain_without_a_section_is_told_how_to_add_it(tmp_path: Path) -> None:
    run("init", "--dir", str(tmp_path))
    answer = run("relayer", "cardano", "--config", str(tmp_path / "rainbow.toml"), "--json")
    assert answer.exit_code == 3
    error = json.loads(answer.stderr)["error"]
    assert "add it with blockfrost_url" in error["problems"][0]
    assert all(chain in error["hint"] for chain in instances.ALL)


def test_a_devnet_needs_to_know_its_ports(tmp_path: Path) -> None:
    run("init", "--dir", str(tmp_path), "--solana-rpc", "http://127.0.0.1")
    answer = run("devnet", "--config", str(tmp_path / "rainbow.toml"), "--dir", str(tmp_path / "d"), "--json")
    assert answer.exit_code == 3
    assert "chains.solana.rpc_urls names no port" in json.loads(answer.stderr)["error"]["problems"][0]


def test_init_for_real_money_makes_fresh_keys_under_a_real_password(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bridge.keys.keystore.SCRYPT_N", 4096)
    arguments = ("init", "--network", "main", "--dir", str(tmp_path), "--json")
    assert run(*arguments).exit_code == 3  # no password
    monkeypatch.setenv("RAINBOW_KEYSTORE_PASSWORD", "short")
    assert run(*arguments).exit_code == 3
    monkeypatch.setenv("RAINBOW_KEYSTORE_PASSWORD", "a real password")
    answer = run(*arguments)
    assert answer.exit_code == 0, answer.output
    settings = config.load(tmp_path / "rainbow.toml")
    assert settings.network is config.Network.MAIN
    key = load(settings.chains.get(instances.ETHEREUM).keystore, "a real password", "main")
    assert key != devnet_key("ethereum/bridge")
    assert not (tmp_path / "keys" / "password").exists()


def test_check_names_what_is_wrong_and_fails(tmp_path: Path) -> None:
    dead = ("--zion-rpc", "http://127.0.0.1:1", "--ethereum-rpc", "http://127.0.0.1:1")
    run("init", "--dir", str(tmp_path), *dead)
    (tmp_path / "keys" / "quotes.json").chmod(0o644)
    answer = run("check", "--config", str(tmp_path / "rainbow.toml"), "--json")
    assert answer.exit_code == 1
    findings = {finding["what"]: finding for finding in json.loads(answer.stdout)["findings"]}
    assert findings["quotes key"]["hint"].startswith("chmod 600")
    assert findings["zion node"]["level"] == "fail"
    assert findings["ethereum node"]["level"] == "fail"
    assert findings["database"]["level"] == "warn"
    assert all(finding["hint"] for finding in findings.values() if finding["level"] != "ok")


def test_db_upgrade_makes_the_tables(tmp_path: Path) -> None:
    run("init", "--dir", str(tmp_path))
    assert run("db", "upgrade", "--config", str(tmp_path / "rainbow.toml")).exit_code == 0
    assert (tmp_path / "data" / "rainbow.db").exists()
    assert run("db", "upgrade", "--config", str(tmp_path / "rainbow.toml")).exit_code == 0
