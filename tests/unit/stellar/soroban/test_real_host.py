"""Everything that the real Soroban host was recorded saying, said again by the devnet's own."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path

import pytest

from relayers.stellar.devnet.soroban.replay import Replay

VECTORS = sorted((Path(__file__).parents[3] / "vectors").glob("soroban_*.jsonl"))
RECORDED = {"assets": 149, "chance_1": 143, "chance_2": 134, "matrix": 203, "tokens": 154, "uploads": 29}
"""Calls in each recording."""


def name_of(recording: Path) -> str:
    return recording.stem.removeprefix("soroban_")


@cache
def replayed(recording: Path) -> tuple[Replay, list[str]]:
    replay = Replay()
    return replay, list(replay.differences(recording.read_text().splitlines()))


@pytest.mark.parametrize("recording", VECTORS, ids=name_of)
def test_the_devnet_says_what_the_real_host_said(recording: Path) -> None:
    replay, differences = replayed(recording)
    assert differences == []
    assert replay.counted.calls == RECORDED[name_of(recording)]


def test_every_recording_is_there() -> None:
    assert {name_of(each) for each in VECTORS} == set(RECORDED)


def test_a_recording_that_says_otherwise_is_noticed() -> None:
    lines = VECTORS[0].read_text().splitlines()
    for index, line in enumerate(lines):
        step = json.loads(line)
        if step["op"] == "enforce" and "error" not in step["said"] and step["said"]["events"]:
            step["said"]["events"] = []
            lines[index] = json.dumps(step)
            break
    assert len(list(Replay().differences(lines))) == 1


def test_estimated_instructions_stay_near_the_real_ones() -> None:
    """For the calls of our contract; a simulation adds four percent to them, as the network's does."""
    ratios = []
    for recording in VECTORS:
        replay, _ = replayed(recording)
        ratios += [
            here / there
            for op, note, there, here in replay.instructions
            if op == "record" and note.split()[0] in ("lock", "claim", "claim_for", "refund", "refund_coop")
        ]
    assert len(ratios) > 90
    assert min(ratios) > 0.95
    assert max(ratios) < 1.35
