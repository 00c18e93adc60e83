"""A recovery file of the first release is read: until when its transactions can land was one number then."""

from __future__ import annotations

import json
from pathlib import Path

import msgspec
import pytest

from bridge.client.recovery import RECORD_VERSION, RecoveryDir
from bridge.protocol.types import Preimage

RECORDED = Path(__file__).parents[2] / "vectors" / "recovery_file_0_1.json"
"""Written by release 0.1.0 with the password "password"."""


@pytest.fixture
def recovery(tmp_path: Path) -> RecoveryDir:
    folder = RecoveryDir(tmp_path)
    file = tmp_path / f"{Preimage(bytes(range(32))).hashlock().hex()}.swap.json"
    file.write_bytes(RECORDED.read_bytes())
    file.chmod(0o600)
    return folder


def test_its_transactions_keep_until_when_they_can_land(recovery: RecoveryDir) -> None:
    record = recovery.find("swap1")
    assert {
        purpose: (one.tx_id, one.raw, one.sequence, one.valid_until_height, one.valid_until_time)
        for purpose, one in record.sent.items()
    } == {
        "lock": ("aa", b"raw-aa", 3, None, None),
        "claim": ("bb", b"raw-bb", 3, 4711, None),
        "refund": ("cc", b"raw-cc", 3, None, 1_800_030_000),
    }
    assert record.version == RECORD_VERSION
    assert record.preimage("password") == Preimage(bytes(range(32)))


def test_saved_again_it_says_the_same_in_the_new_layout(recovery: RecoveryDir) -> None:
    record = recovery.find("swap1")
    recovery.save(msgspec.structs.replace(record, revealed=False))
    again = recovery.load(record.hashlock)
    assert again.sent == record.sent
    saved = json.loads(next(recovery.path.glob("*.swap.json")).read_bytes())
    assert saved["version"] == RECORD_VERSION
    assert saved["sent"]["claim"]["valid_until_height"] == 4711
    assert "valid_until" not in saved["sent"]["claim"]
