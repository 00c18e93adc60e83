"""Recordings of a real stellar-core 19.14 replay without a difference, and a difference is told."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from stellar_sdk import xdr
from typer.testing import CliRunner

from relayers.stellar.devnet.__main__ import app
from relayers.stellar.devnet.network import StandaloneNetwork
from relayers.stellar.devnet.replay import close_step, replay, tx_step

VECTORS = Path(__file__).parents[2] / "vectors"
RECORDINGS = sorted(VECTORS.glob("stellar_core_*.jsonl"))


@pytest.mark.parametrize("recording", RECORDINGS, ids=lambda path: path.stem)
def test_a_recording_replays_without_a_difference(recording: Path) -> None:
    assert list(replay(recording.read_text().splitlines())) == []


def test_the_three_recordings_are_there() -> None:
    assert [each.stem for each in RECORDINGS] == [
        "stellar_core_fuzz_1",
        "stellar_core_fuzz_2",
        "stellar_core_gate_htlc",
    ]


@pytest.mark.parametrize("recording", RECORDINGS, ids=lambda path: path.stem)
def test_the_emulator_says_what_the_core_said_byte_by_byte(recording: Path) -> None:
    network = StandaloneNetwork()
    for line in recording.read_text().splitlines():
        step = json.loads(line)
        if step["op"] == "tx":
            envelope = xdr.TransactionEnvelope.from_xdr(step["envelope"])
            status, frame = network.submit(envelope)
            assert tx_step(envelope, status, frame) == step
        else:
            assert close_step(network.close(step["closeTime"])) == step


def test_each_kind_of_difference_is_told_with_its_line(tmp_path: Path) -> None:
    lines = (VECTORS / "stellar_core_gate_htlc.jsonl").read_text().splitlines()
    steps = [json.loads(line) for line in lines]
    accepted = next(n for n, step in enumerate(steps) if step.get("status") == "PENDING")
    refused = next(n for n, step in enumerate(steps) if step.get("status") == "ERROR")
    closed = next(n for n, step in enumerate(steps) if step.get("results"))
    steps[accepted]["status"] = "DUPLICATE"
    wrong = xdr.TransactionResult.from_xdr(steps[refused]["error"])
    wrong.fee_charged = xdr.Int64(12345)
    steps[refused]["error"] = wrong.to_xdr()
    steps[closed]["results"] = []
    steps[-1]["ledger"] = 77
    changed = tmp_path / "changed.jsonl"
    changed.write_text("\n".join(json.dumps(step) for step in steps))
    result = CliRunner().invoke(app, ["replay", str(changed)])
    assert result.exit_code == 1
    for number in (accepted + 1, refused + 1, closed + 1, len(steps)):
        assert f"line {number}: " in result.output
    assert "expected DUPLICATE, got PENDING" in result.output
    assert "fee=12345" in result.output


def test_an_unchanged_recording_exits_0() -> None:
    result = CliRunner().invoke(app, ["replay", *map(str, RECORDINGS)])
    assert result.exit_code == 0
    assert result.output.count(" 0 differences") == 3


def test_a_step_of_an_unknown_kind_is_an_error() -> None:
    with pytest.raises(ValueError, match="line 1: unknown op 'mine'"):
        list(replay(['{"op": "mine"}']))


def test_root_is_the_network_ids_own_key() -> None:
    network = StandaloneNetwork()
    assert network.root_key.public_key == "GBZXN7PIRZGNMHGA7MUUUF4GWPY5AYPV6LY4UV2GL6VJGIQRXFDNMADI"
