"""The record that `ape run deploy` writes and the relayer reads."""

from pathlib import Path

import pytest

from relayers.evm.artifacts import (
    Deployment,
    DeploymentError,
    deployed_address,
    load,
    read_deployment,
    write_deployment,
)


def record(**changes: object) -> Deployment:
    values: dict[str, object] = {
        "network": "ethereum-sepolia",
        "chain_id": 11155111,
        "address": deployed_address(),
        "block": 7,
        "transaction": "0x" + "12" * 32,
        "runtime_keccak": "0x" + load().runtime_keccak.hex(),
    }
    return Deployment(**(values | changes))  # type: ignore[arg-type]


def test_a_record_is_read_as_it_was_written(tmp_path: Path) -> None:
    path = tmp_path / "deployments" / "ethereum-sepolia.json"
    write_deployment(path, record())
    assert read_deployment(path) == record()


def test_a_missing_record_says_how_to_get_one(tmp_path: Path) -> None:
    with pytest.raises(DeploymentError, match="ape run deploy"):
        read_deployment(tmp_path / "nowhere.json")


@pytest.mark.parametrize("text", ["", "{}", "[1]", '{"network": 5}'])
def test_a_broken_record_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "broken.json"
    path.write_text(text)
    with pytest.raises(DeploymentError, match="not a deployment record"):
        read_deployment(path)


def test_a_record_of_other_code_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "other.json"
    write_deployment(path, record(runtime_keccak="0x" + "00" * 32))
    with pytest.raises(DeploymentError, match="another version"):
        read_deployment(path)
