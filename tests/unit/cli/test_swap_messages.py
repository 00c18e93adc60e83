"""What commands for a user's swaps say when something cannot be done: what is wrong and what to do."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from bridge import cli
from bridge.chains.port import LockStatus
from bridge.client.recovery import LIGHT, RecoveryDir, RecoveryRecord, seal
from bridge.config import Settings
from bridge.keys.keystore import KeyLabel, SecretKey, write
from bridge.protocol.types import Preimage, Swap
from relayers.fake.adapter import FakePort
from relayers.fake.chain import FakeChain
from relayers.fake.wallet import FakeWallet
from tests.unit.cli import canned
from tests.unit.samples import swap

runner = CliRunner()


@pytest.fixture
def url() -> Iterator[str]:
    with canned.bridge(canned.ALL_ANSWERS) as address:
        yield address


def failed(*arguments: str, code: int) -> dict[str, Any]:
    """Run a command that fails; returns its error."""
    answer = runner.invoke(cli.app, [*arguments, "--json"])
    assert answer.exit_code == code, answer.output
    error: dict[str, Any] = json.loads(answer.stderr)["error"]
    assert error["exit_code"] == code
    return error


@pytest.mark.parametrize(
    ("amount", "message"),
    [
        ("0", "must be above 0"),
        ("0.0000001", "too little"),
        ("5000", "too much"),
        ("0.000000001", "more than 8 decimals"),
        ("much", "not a decimal number"),
    ],
)
def test_an_amount_that_cannot_be_swapped_is_answered_with_the_limits(
    url: str, amount: str, message: str
) -> None:
    error = failed("quote", "red:RED", "blue:BLU", amount, "--api", url, code=2)
    assert message in error["message"]
    if message in {"must be above 0", "too little", "too much"}:
        assert "from 0.001 to 10 red:RED" in error["hint"]


def test_a_pair_that_is_not_offered_is_answered_with_those_that_are(url: str) -> None:
    error = failed("quote", "red:RED", "pink:PNK", "1", "--api", url, code=2)
    assert "does not swap red:RED for pink:PNK" in error["message"]
    assert "it gives blue:BLU, green:GRN" in error["hint"]
    unknown = failed("quote", "pink:PNK", "red:RED", "1", "--api", url, code=2)
    assert "it takes blue:BLU, red:RED" in unknown["hint"]
    assert "rainbow pairs" in unknown["hint"]


@pytest.mark.parametrize(
    "address", ["127.0.0.1:8080", "localhost:8080", "ftp://bridge", "http://", "http://b:x"]
)
def test_an_address_that_is_none_is_told_what_one_looks_like(address: str) -> None:
    error = failed("quote", "red:RED", "blue:BLU", "1", "--api", address, code=4)
    assert address in error["message"]
    assert "http://127.0.0.1:8080" in error["hint"]


def test_the_pairs_are_listed(url: str) -> None:
    shown = runner.invoke(cli.app, ["pairs", "--api", url])
    assert shown.exit_code == 0, shown.output
    assert "0.001" in shown.output
    told = json.loads(runner.invoke(cli.app, ["pairs", "--api", url, "--json"]).stdout)
    assert [(pair["from"]["asset"], pair["to"]["asset"]) for pair in told["pairs"]] == [
        ("red:RED", "blue:BLU"),
        ("red:RED", "green:GRN"),
        ("blue:BLU", "red:RED"),
    ]


def test_a_lost_recovery_file_is_answered_with_when_the_money_can_be_taken_back(
    url: str, tmp_path: Path
) -> None:
    nowhere = ("--recovery-dir", str(tmp_path / "nothing"))
    error = failed("swap", "claim", canned.SWAP_ID, *nowhere, "--api", url, code=1)
    assert "cannot be claimed" in error["message"]
    assert "1 red:RED" in error["hint"]
    assert "2027-01-15T09:00:00Z" in error["hint"]
    assert f"rainbow swap refund {canned.SWAP_ID}" in error["hint"]


def test_a_refund_without_the_recovery_file_shows_what_the_bridge_gives_to_sign(tmp_path: Path) -> None:
    path = ("POST", f"/v1/swaps/{canned.SWAP_ID}/refund")
    arguments = ["swap", "refund", canned.SWAP_ID, "--recovery-dir", str(tmp_path / "nothing")]
    with canned.bridge({path: canned.REFUND}) as url:
        told = runner.invoke(cli.app, [*arguments, "--api", url, "--json"])
        shown = runner.invoke(cli.app, [*arguments, "--api", url])
    assert json.loads(told.stdout)["transactions"][0]["payload"] == {"lines": ["[1]"]}
    assert "sign and send this after 2027-01-15T09:00:00Z" in shown.output
    assert '"lines": [' in shown.output  # JSON to copy, not Python, and its brackets are not markup
    assert '"[1]"' in shown.output


def test_a_completed_swap_has_nothing_to_refund(tmp_path: Path) -> None:
    path = ("POST", f"/v1/swaps/{canned.SWAP_ID}/refund")
    nowhere = ["--recovery-dir", str(tmp_path / "nothing")]
    with canned.bridge({path: canned.NOTHING_TO_REFUND}) as url:
        shown = runner.invoke(cli.app, ["swap", "refund", canned.SWAP_ID, *nowhere, "--api", url])
    assert shown.exit_code == 0
    assert "this swap is completed: there is nothing to refund" in shown.output


def test_a_named_configuration_that_is_missing_is_refused(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAINBOW_CONFIG", str(tmp_path / "nonexistent.toml"))
    monkeypatch.setenv("RAINBOW_RECOVERY_PASSWORD", "recovery")
    swap = ("red:RED", "blue:BLU", "1", "--refund-address", "alice", "--recipient", "bob", "--yes")
    error = failed("swap", "start", *swap, "--api", url, "--recovery-dir", str(tmp_path), code=3)
    assert "nonexistent.toml" in error["problems"][0]
    assert list(tmp_path.iterdir()) == []


def test_a_missing_keystore_is_named_before_its_password_is_asked_for(tmp_path: Path) -> None:
    from bridge.commands.user import user_key
    from bridge.config import Settings
    from bridge.keys.keystore import KeystoreError

    with pytest.raises(KeystoreError, match=r"nofile\.json: No such file") as raised:
        user_key(Settings(), tmp_path / "nofile.json", None)
    assert "--keystore" in raised.value.hint


def test_a_wrong_password_of_a_users_keystore_is_about_that_keystore(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from bridge.commands.user import user_key
    from bridge.config import Settings
    from bridge.keys.keystore import KeystoreError

    file = tmp_path / "alice.json"
    write(file, SecretKey.generate(), "right", KeyLabel("", "dev"), light=True)
    monkeypatch.setenv("RAINBOW_KEYSTORE_PASSWORD", "wrong")
    with pytest.raises(KeystoreError, match=r"does not open .*alice\.json") as raised:
        user_key(Settings(), file, None)
    assert "password of this keystore" in raised.value.hint


def test_one_damaged_recovery_file_is_named_and_the_other_swaps_go_on(url: str, tmp_path: Path) -> None:
    (tmp_path / f"{'ab' * 32}.swap.json").touch(0o600)
    for command, options, code in (("list", [], 0), ("recover", ["--api", url], 1)):
        answer = runner.invoke(cli.app, ["swap", command, "--recovery-dir", str(tmp_path), *options])
        assert "passed over: " in answer.stdout
        assert "is damaged" in answer.stdout
        assert answer.exit_code == code, answer.output
        told = runner.invoke(cli.app, ["swap", command, "--json", "--recovery-dir", str(tmp_path), *options])
        assert "is damaged" in json.loads(told.stdout)["unreadable"][0]["message"]


def recorded(directory: Path, made: Swap) -> RecoveryRecord:
    """Put the recovery file of a swap that the bridge has not accepted yet."""
    timing = made.policy.destination
    record = RecoveryRecord(
        hashlock=made.hashlock,
        sealed=seal(Preimage(bytes(32)), "recovery", LIGHT),
        bridge_url="",
        quote_id="q",
        source=made.source.terms,
        destination=made.destination.terms,
        destination_timing=timing,
        destination_confirmations=timing.finality_depth,
        gasless=False,
        created=0,
    )
    RecoveryDir(directory).save(record)
    return record


@pytest.mark.parametrize("command", ["status", "proof"])
def test_a_swap_that_was_not_placed_yet_is_placed_first(url: str, tmp_path: Path, command: str) -> None:
    record = recorded(tmp_path, swap(1))
    asked = ("swap", command, record.hashlock.hex()[:8], "--recovery-dir", str(tmp_path), "--api", url)
    error = failed(*asked, code=1)
    assert "has not accepted the swap" in error["message"]
    assert "rainbow swap recover" in error["hint"]


def test_a_refund_that_is_signed_here_says_how_long_to_wait_and_then_goes_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    record = recorded(tmp_path, swap(1))
    terms = record.source
    chain = FakeChain(terms.chain, terms.asset, block_interval=1)
    chain.credit(terms.sender, terms.asset, 10**30)
    FakeWallet(chain, terms.sender).lock(terms)
    chain.mine(1, interval=terms.deadline - 90 - chain.head.time)
    keystore = tmp_path / "alice.json"
    write(keystore, SecretKey.generate(), "right", KeyLabel("", "dev"), light=True)
    monkeypatch.setenv("RAINBOW_KEYSTORE_PASSWORD", "right")
    monkeypatch.setattr("bridge.config.load", lambda _: Settings())
    monkeypatch.setattr("bridge.wiring.ports.open_port", lambda *_: FakePort(chain, terms.sender))
    asked = ["swap", "refund", record.hashlock.hex()[:8], "--offline", "--keystore", str(keystore)]
    asked += ["--recovery-dir", str(tmp_path)]
    assert "in 2 min by the chain's clock" in failed(*asked, code=1)["message"]
    chain.mine(1, interval=120)
    sent = runner.invoke(cli.app, [*asked, "--json"])
    assert sent.exit_code == 0, sent.output
    chain.mine(1)
    assert json.loads(sent.stdout)["refund_tx"]
    port = FakePort(chain, "anyone")
    assert asyncio.run(port.read_lock(port.lock_id(terms), terms)) is LockStatus.REFUNDED


@pytest.mark.parametrize(("typed", "meant"), [("swpa", "swap"), ("quot", "quote"), ("relayr", "relayer")])
def test_a_misspelt_command_is_answered_with_the_one_meant(typed: str, meant: str) -> None:
    answer = runner.invoke(cli.app, [typed])
    assert answer.exit_code == 2
    assert f"did you mean '{meant}'?" in answer.stderr
