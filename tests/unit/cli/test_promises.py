"""Every process refuses to start on a configuration that open swaps do not fit, and names them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from bridge import cli, config
from bridge.keys.keystore import SecretKey, load
from bridge.protocol.types import Swap
from bridge.store import Store
from bridge.store.records import SwapMeta
from tests import instances
from tests.unit.samples import swap

CONTRACT = "0x" + "12" * 20


def run(*arguments: str) -> Any:
    return CliRunner().invoke(cli.app, [*arguments])


@pytest.fixture
def configured(tmp_path: Path) -> Path:
    dead = ("--zion-rpc", "http://127.0.0.1:1", "--ethereum-rpc", "http://127.0.0.1:1")
    assert run("init", "--dir", str(tmp_path), *dead).exit_code == 0
    file = tmp_path / "rainbow.toml"
    lines = [
        f'contract = "{CONTRACT}"' if line.startswith("contract =") else line
        for line in file.read_text().splitlines()
    ]
    file.write_text("\n".join(lines))
    assert run("db", "upgrade", "--config", str(file)).exit_code == 0
    return file


def put(file: Path, *swaps: Swap) -> None:
    settings = config.load(file)
    store = Store.open(settings.database_url())
    with store.transaction() as tx:
        for each in swaps:
            tx.swaps.add(each, SwapMeta())
    store.close()


@pytest.mark.parametrize(
    ("command", "words"),
    [
        (("relayer", "ethereum"), [f"contract is now {CONTRACT}", "key of chains.ethereum is now"]),
        (("relayer", "zion"), ["key of chains.zion is now"]),
        (("api",), [f"contract is now {CONTRACT}"]),
        (("up",), ["contract is now", "key of chains.ethereum is now", "key of chains.zion is now"]),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, tuple) else "",
)
def test_no_process_starts_and_each_names_the_swaps(
    configured: Path, command: tuple[str, ...], words: list[str]
) -> None:
    put(configured, swap(1))
    answer = run(*command, "--config", str(configured), "--json")
    assert answer.exit_code == 3, answer.output
    error = json.loads(answer.stderr.splitlines()[-1])["error"]
    assert "docs/operations/changes.md" in error["hint"]
    for word in words:
        assert any(word in problem and "swap1" in problem for problem in error["problems"]), error
    assert len(error["problems"]) == len(words)


def test_check_fails_and_names_the_swaps(configured: Path) -> None:
    put(configured, swap(1))
    answer = run("check", "--config", str(configured), "--json")
    assert answer.exit_code == 1
    found = [each for each in json.loads(answer.stdout)["findings"] if each["what"].endswith(" swaps")]
    assert {each["what"] for each in found} == {"ethereum swaps", "zion swaps"}
    assert all("swap1" in each["detail"] and each["level"] == "fail" for each in found)


@pytest.mark.parametrize("command", ["check", "up"])
def test_each_keystore_is_opened_once(
    configured: Path, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    opened: list[Path] = []

    def counted(path: Path, password: str, network: str, chains: tuple[str, ...]) -> SecretKey:
        opened.append(path)
        return load(path, password, network, chains)

    monkeypatch.setattr("bridge.commands.runtime.load", counted)
    put(configured, swap(1))
    assert run(command, "--config", str(configured)).exit_code != 0
    assert len(opened) == len(set(opened)) == {"check": 4, "up": 3}[command]


def test_a_relayer_that_starts_writes_down_what_its_chain_is(
    configured: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def no_work(*_: object, **__: object) -> None:
        return None

    monkeypatch.setattr("relayers.daemon.loop.run_worker", no_work)
    answer = run("relayer", "ethereum", "--config", str(configured), "--json")
    assert answer.exit_code == 0, answer.output
    store = Store.open(config.load(configured).database_url())
    with store.reading() as tx:
        known = tx.identities.newest(instances.ETHEREUM)
    store.close()
    assert known is not None
    assert (known.network, known.contract.lower()) == ("chain id 31337", CONTRACT)
    assert known.account == json.loads(answer.stdout.splitlines()[-1])["account"]
