"""What a wallet signs is the user's choice: the network, the most it pays, and the address it shows."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from chain.cli import app, capped, check_network
from chain.rules.errors import WalletError
from chain.rules.genesis import genesis_block
from chain.rules.params import COIN, DEV, MAIN, NetworkParams
from chain.service.messages import NodeInfo
from chain.wallet.keystore import save_keystore
from tests.unit.chain.harness import ALICE, BOB


def info(params: NetworkParams, **changed: object) -> NodeInfo:
    said: dict[str, object] = {
        "network": params.network.value, "chain_id": params.chain_id,
        "genesis_id": genesis_block(params).id.hex(), "height": 1, "best_id": "", "median_time": 0,
        "chain_time": 0, "work": "0", "target": "", "issued": 0, "locked": 0, "mempool_size": 0,
        "mining": False, "hash_rate": 0.0, "finality": (), **changed,
    }  # fmt: skip
    return NodeInfo(**said)  # type: ignore[arg-type]


def test_a_node_of_the_named_network_is_taken() -> None:
    check_network(DEV, info(DEV))
    check_network(MAIN, info(MAIN))


@pytest.mark.parametrize(
    "said",
    [
        info(MAIN),
        info(DEV, chain_id=1),
        info(DEV, network="main"),
        info(DEV, genesis_id=genesis_block(MAIN).id.hex()),
    ],
)
def test_a_node_does_not_choose_the_network_that_a_wallet_signs_for(said: NodeInfo) -> None:
    with pytest.raises(WalletError, match="network"):
        check_network(DEV, said)


def test_a_fee_that_a_node_advises_is_capped() -> None:
    assert capped(1_000, COIN) == 1_000
    assert capped(COIN, COIN) == COIN
    with pytest.raises(WalletError, match="cap"):
        capped(COIN + 1, COIN)


def test_the_address_is_shown_once_the_key_has_borne_it_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "alice.json"
    save_keystore(ALICE, path, "x", work=2)
    monkeypatch.setenv("ZION_PASSWORD", "x")
    command = ["wallet", "address", "--keystore", str(path), "--json"]
    shown = json.loads(CliRunner().invoke(app, command).stdout)
    assert shown == {"address": ALICE.address, "verified": True}
    data = json.loads(path.read_text())
    path.write_text(json.dumps({**data, "address": BOB.address}))
    refused = CliRunner().invoke(app, command)
    assert refused.exit_code == 1
    assert BOB.address not in refused.stdout
    label = CliRunner().invoke(app, [*command, "--unverified"])
    assert json.loads(label.stdout) == {"address": BOB.address, "verified": False}
    assert "unverified" in label.stderr
