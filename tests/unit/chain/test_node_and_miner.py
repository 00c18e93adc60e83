"""The node inside this process, the miner's backends, and the command line's refusals."""

from __future__ import annotations

import queue
import sys
import threading
from pathlib import Path

import pytest
from typer.testing import CliRunner

from chain.cli import app
from chain.mining.miner import SoloMiner, Work
from chain.node import Node, NodeConfig
from chain.rules.errors import StoreError, ZionError
from chain.rules.header import compact_to_target
from chain.rules.params import NETWORKS, TEST, Network
from kernels import cosmic_harmony
from tests.unit.chain.harness import ALICE, Sandbox
from tests.unit.kernels.conftest import needs_opencl


def test_a_second_node_on_the_same_directory_is_refused(tmp_path: Path) -> None:
    config = NodeConfig(Network.DEV, tmp_path)
    first = Node(config)
    with pytest.raises(StoreError, match="another node"):
        Node(config)
    first.chain.close()
    first._directory_lock.close()


def test_a_directory_of_another_network_is_refused(tmp_path: Path) -> None:
    Sandbox(tmp_path / "state").close()
    with pytest.raises(StoreError, match="another network"):
        Node(NodeConfig(Network.TEST, tmp_path))


def test_mining_on_the_test_network_needs_an_address(tmp_path: Path) -> None:
    with pytest.raises(ZionError, match="address"):
        Node(NodeConfig(Network.TEST, tmp_path, mine=True))


async def test_the_dev_clock_survives_a_restart(tmp_path: Path) -> None:
    config = NodeConfig(Network.DEV, tmp_path)
    node = Node(config)
    assert node.dev is not None
    node.dev.advance_time(100_000, settle=True)
    then, digest = node.clock.now(), node.chain.tip
    assert node.chain.median_time >= then - 20
    await node.stop()
    again = Node(config)
    assert again.clock.now() >= then
    assert again.chain.tip == digest
    await again.stop()


def test_dev_commands_exist_on_dev_alone(tmp_path: Path) -> None:
    node = Node(NodeConfig(Network.TEST, tmp_path))
    assert node.dev is None
    node.chain.close()


def test_blocks_mined_at_once_push_the_dev_clock_and_never_pass_it(tmp_path: Path) -> None:
    node = Node(NodeConfig(Network.DEV, tmp_path, sync=False))
    assert node.dev is not None
    node.dev.mine(60)
    newest = node.chain.ancestors(node.chain.tip.id, 60)
    assert max(header.time for header in newest) <= node.clock.now()
    node.chain.close()


@pytest.mark.parametrize("backend", ["numba", pytest.param("opencl", marks=needs_opencl)])
def test_the_miner_finds_blocks_that_consensus_accepts(tmp_path: Path, backend: str) -> None:
    box = Sandbox(tmp_path / "chain")
    found: queue.Queue[tuple[Work, int]] = queue.Queue()
    miner = SoloMiner(backend, lambda work, nonce: found.put((work, nonce)))
    miner.start()
    try:
        for height in range(1, 4):
            box.now += 1
            miner.offer(Work.of(box.forge(mined=False, extra_nonce=height)))
            work, nonce = found.get(timeout=60)
            box.accept(work.solved(nonce))
            assert box.chain.tip.height == height
        assert miner.hashes > 0
        assert miner.hash_rate > 0
    finally:
        miner.stop()
        box.close()


def test_the_miner_meets_a_real_target(tmp_path: Path) -> None:
    """The test network's easiest target: about a million hashes, nothing that luck alone meets."""
    box = Sandbox(tmp_path / "chain", params=TEST)
    block = box.forge(mined=False)
    found: queue.Queue[int] = queue.Queue()
    miner = SoloMiner("numba", lambda _, nonce: found.put(nonce))
    miner.offer(Work.of(block))
    miner.start()
    try:
        nonce = found.get(timeout=120)
    finally:
        miner.stop()
    assert cosmic_harmony.verify(block.header.raw, nonce, compact_to_target(TEST.pow_limit))
    assert box.accept(Work.of(block).solved(nonce)).connected
    box.close()


def test_new_work_replaces_old_work() -> None:
    """After the head changed, nothing is found for the old one any more than a scan later."""
    found = threading.Event()
    miner = SoloMiner("numba", lambda _work, _nonce: found.set())
    miner.start()
    miner.stop()
    assert not found.is_set()


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["node"], 2),
        (["node", "--data-dir", "{}", "--network", "moon"], 2),
        (["node", "--data-dir", "{}", "--rpc-port", "70000"], 2),
        (["node", "--data-dir", "{}", "--miner-address", "zion1x", "--rpc-port", "0"], 1),
        (["node", "--data-dir", "{}", "--rpc-host", "256.0.0.1"], 1),
        (["wallet", "address", "--keystore", "{}/none.json"], 1),
        (["wallet", "balance", "nobody"], 1),
        (["mine", "--address", "nobody"], 1),
    ],
)
def test_the_command_line_refuses_with_a_sentence(tmp_path: Path, arguments: list[str], code: int) -> None:
    limit = sys.getrecursionlimit()
    result = CliRunner().invoke(app, [argument.format(tmp_path) for argument in arguments])
    sys.setrecursionlimit(limit)
    assert result.exit_code == code, result.output
    assert "Traceback" not in result.output


def test_every_command_has_help_and_wallets_speak_json(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = CliRunner()
    for command in (
        ["node"],
        ["mine"],
        *(["wallet", name] for name in ("new", "address", "balance", "send")),
    ):
        assert run.invoke(app, [*command, "--help"]).exit_code == 0
    monkeypatch.setattr("chain.wallet.keystore.SCRYPT_WORK", 2)
    monkeypatch.setenv("ZION_PASSWORD", "x")
    path = str(tmp_path / "key.json")
    made = run.invoke(app, ["wallet", "new", "--keystore", path, "--json"])
    assert '"address": "zion1' in made.output
    again = run.invoke(app, ["wallet", "new", "--keystore", path, "--json"])
    assert again.exit_code == 1
    assert ALICE.address != made.output


def test_each_network_has_its_own_genesis_and_chain_id(tmp_path: Path) -> None:
    from chain.rules.genesis import genesis_block

    assert len({params.chain_id for params in NETWORKS.values()}) == 3
    assert len({genesis_block(params).id for params in NETWORKS.values()}) == 3
    assert all(params.treasury == 0 for params in NETWORKS.values() if params.network is not Network.DEV)
