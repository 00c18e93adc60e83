"""`rainbow keys`: what is exported is what the chain's own libraries read, and comes back as the same key."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from eth_account import Account
from pycardano import PaymentSigningKey, PaymentVerificationKey
from solders.keypair import Keypair
from stellar_sdk import Keypair as StellarKeypair
from typer.testing import CliRunner

from bridge import cli

FAMILIES = ("cardano", "evm", "solana", "stellar", "zion")
PASSWORD = "a long password"
runner = CliRunner()


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr("bridge.commands.keys.DEFAULT_KEYS", tmp_path / "keys")
    monkeypatch.setenv("RAINBOW_KEYSTORE_PASSWORD", PASSWORD)
    monkeypatch.delenv("RAINBOW_CONFIG", raising=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(*arguments: str, typed: str) -> Any:
    network = ("--network", "dev") if arguments[0] in {"new", "import"} else ()  # dev: opens quickly
    return runner.invoke(cli.app, ["keys", *arguments, *network, "--json"], input=typed)


def told(*arguments: str, typed: str = "") -> dict[str, Any]:
    answer = run(*arguments, typed=typed)
    assert answer.exit_code == 0, answer.output
    value: dict[str, Any] = json.loads(answer.stdout)
    return value


def refused(*arguments: str, typed: str = "") -> str:
    answer = run(*arguments, typed=typed)
    assert answer.exit_code == 3, answer.output
    error = json.loads(answer.stderr)["error"]
    return f"{error['message']} {error['hint']}"


@pytest.mark.parametrize("family", FAMILIES)
def test_a_key_goes_out_and_comes_back(family: str) -> None:
    made = told("new", family)
    shown = told("export", made["file"])
    assert shown["address"] == made["address"]
    again = told("import", family, typed=shown["key"])
    assert again["address"] == made["address"]
    assert again["file"] != made["file"]
    assert told("export", again["file"])["key"] == shown["key"]
    assert Path(made["file"]).stat().st_mode & 0o777 == 0o600


def test_the_chains_own_libraries_read_what_is_exported() -> None:
    keys = {family: told("new", family) for family in FAMILIES}
    text = {family: told("export", made["file"])["key"] for family, made in keys.items()}
    assert Account.from_key(text["evm"]).address == keys["evm"]["address"]
    assert str(Keypair.from_base58_string(text["solana"]).pubkey()) == keys["solana"]["address"]
    assert StellarKeypair.from_secret(text["stellar"]).public_key == keys["stellar"]["address"]
    public = PaymentVerificationKey.from_signing_key(PaymentSigningKey.from_json(text["cardano"]))
    from pycardano import Address

    assert str(Address.from_primitive(keys["cardano"]["address"]).payment_part) == str(public.hash())


def test_solana_takes_a_file_of_its_own_tool_too(tmp_path: Path) -> None:
    pair = Keypair()
    file = tmp_path / "id.json"
    file.touch(0o600)
    file.write_text(pair.to_json())
    assert told("import", "solana", "--from", str(file))["address"] == str(pair.pubkey())


@pytest.mark.parametrize(
    ("family", "typed"),
    [
        ("evm", "0x12"),
        ("evm", "f" * 64),
        ("zion", "0" * 64),
        ("solana", "[1, 2]"),
        ("stellar", StellarKeypair.from_raw_ed25519_seed(bytes(32)).public_key),
        ("cardano", '{"type": "PaymentExtendedSigningKeyShelley_ed25519_bip32", "cborHex": "5820"}'),
        ("cardano", "[]"),
    ],
)
def test_what_is_not_a_key_is_refused_without_being_repeated(family: str, typed: str, tmp_path: Path) -> None:
    said = refused("import", family, typed=typed)
    assert f"this is not a key of {family}" in said
    assert typed not in said
    assert not (tmp_path / "keys").exists()


def test_nothing_is_overwritten_and_all_are_listed(tmp_path: Path) -> None:
    first, second = told("new", "stellar"), told("new", "stellar")
    assert "already" in refused("new", "stellar", "--out", first["file"])
    (tmp_path / "keys" / "broken.json").write_text("{")
    listed = told("list", str(tmp_path / "keys"))["keys"]
    assert {each.get("address") for each in listed} == {first["address"], second["address"], None}
    assert PASSWORD not in json.dumps(listed)


def test_a_short_password_and_an_unknown_chain_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "did you mean 'stellar'" in refused("new", "steller")
    nowhere = runner.invoke(cli.app, ["keys", "new", "stellar"])
    assert nowhere.exit_code == 2
    assert "say --network main, test or dev" in nowhere.stderr
    monkeypatch.setenv("RAINBOW_KEYSTORE_PASSWORD", "short")
    assert "shorter than 10" in refused("new", "stellar")
