"""The devnet's server, driven by pycardano's BlockFrostChainContext and the official client, unmodified."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from blockfrost import ApiError, BlockFrostApi
from pycardano import (
    Address,
    BlockFrostChainContext,
    Redeemer,
    TransactionBuilder,
    TransactionOutput,
    VerificationKeyHash,
)
from pycardano.exception import TransactionFailedException

from bridge.chains.errors import PortUnavailableError
from bridge.keys.devkeys import devnet_key
from relayers.cardano import building
from relayers.cardano.adapter import open_port
from relayers.cardano.building import BuildContext
from relayers.cardano.devnet import CardanoDevnet, treasury
from relayers.cardano.devnet.chain import DevChain
from relayers.cardano.devnet.ledger import LedgerMissingError, ScalusLedger, find_node, find_scalus
from relayers.cardano.devnet.treasury import DEMO_TOKEN
from relayers.cardano.script import ClaimRedeemer, validator, validator_address
from relayers.cardano.settings import ADA
from tests.unit.cardano.world import ALICE, BOB, PREIMAGE, CardanoWorld, signed

ORPHAN = """
import asyncio, pathlib, sys, time
from relayers.cardano.devnet import CardanoDevnet
async def main():
    devnet = await CardanoDevnet(pathlib.Path(sys.argv[1])).start()
    print(devnet._child.pid, flush=True)
    time.sleep(60)
asyncio.run(main())
"""


class Clients:
    def __init__(self, devnet: CardanoDevnet) -> None:
        url = f"http://127.0.0.1:{devnet.port}/api"
        self.context = BlockFrostChainContext("no key", base_url=url)
        self.api = BlockFrostApi("no key", base_url=url, api_version="v0")


async def test_unmodified_clients_fund_lock_evaluate_and_claim(tmp_path: Path, world: CardanoWorld) -> None:
    devnet = await CardanoDevnet(tmp_path).start()
    try:
        for person in (ALICE, BOB):
            await devnet.fund(person.address, ADA, 100_000_000)
        await devnet.fund(ALICE.address, DEMO_TOKEN, 100)
        terms = world.terms(7, DEMO_TOKEN)
        lock_id, claim_id = await asyncio.to_thread(_lock_and_claim, devnet, terms, 0)
        await devnet.mine(1)
        lock_id, claim_id = await asyncio.to_thread(_lock_and_claim, devnet, terms, 1)
        await devnet.mine(2)
        await asyncio.to_thread(_look_at, devnet, lock_id, claim_id)
        await devnet.reorg(2, drop=[claim_id])
        clients = await asyncio.to_thread(Clients, devnet)
        with pytest.raises(ApiError) as gone:
            await asyncio.to_thread(clients.api.transaction, claim_id)
        assert gone.value.status_code == 404
        assert await asyncio.to_thread(clients.context.utxos, terms.contract)
    finally:
        await devnet.stop()


def _lock_and_claim(devnet: CardanoDevnet, terms: object, step: int) -> tuple[str, str]:
    clients = Clients(devnet)
    context = clients.context
    assert validator_address(context.network) == terms.contract  # type: ignore[attr-defined]
    if step == 0:
        builder = TransactionBuilder(context)
        builder.add_input_address(ALICE.address)
        view = BuildContext(context.protocol_param, 0, context.network, None, ())
        value = building.locked_value(view, terms)  # type: ignore[arg-type]
        builder.add_output(building._lock_output(terms, value))  # type: ignore[arg-type]
        sent = builder.build_and_sign([ALICE.signing], _address(ALICE.address))
        with pytest.raises(TransactionFailedException):
            context.submit_tx(signed(sent, BOB))
        return str(context.submit_tx(signed(sent, ALICE))), ""
    (lock,) = context.utxos(terms.contract)  # type: ignore[attr-defined]
    builder = TransactionBuilder(context)
    builder.add_input_address(BOB.address)
    builder.add_script_input(lock, validator(), redeemer=Redeemer(ClaimRedeemer(PREIMAGE)))
    builder.required_signers = [VerificationKeyHash(BOB.key)]
    builder.add_output(TransactionOutput(_address(BOB.address), lock.output.amount))
    # Without budgets the builder asks the server's evaluation for them.
    claim = builder.build_and_sign([BOB.signing], _address(BOB.address))
    return str(lock.input.transaction_id), str(context.submit_tx(claim))


def _look_at(devnet: CardanoDevnet, lock_id: str, claim_id: str) -> None:
    api = Clients(devnet).api
    head = api.block_latest()
    assert api.block(head.height).hash == head.hash
    assert api.block(head.previous_block).next_block == head.hash
    assert [block.hash for block in api.blocks_next(head.previous_block)] == [head.hash]
    place = api.transaction(claim_id)
    assert place.block_height == head.height - 1
    assert claim_id in api.block_transactions(place.block)
    utxos = api.transaction_utxos(claim_id)
    assert lock_id in {one.tx_hash for one in utxos.inputs}
    (redeemer,) = api.transaction_redeemers(claim_id)
    assert (redeemer.purpose, int(redeemer.unit_mem) > 100_000) == ("spend", True)
    both = [one.tx_hash for one in api.address_transactions(validator_address_of(devnet))]
    assert both == [lock_id, claim_id]
    newest = api.address_transactions(validator_address_of(devnet), order="desc", count=1)
    assert [one.tx_hash for one in newest] == [claim_id]
    with pytest.raises(ApiError) as missing:
        api.transaction("00" * 32)
    assert missing.value.status_code == 404
    with pytest.raises(ApiError) as malformed:
        api.address_utxos("addr_test1nonsense")
    assert malformed.value.status_code == 400


def validator_address_of(devnet: CardanoDevnet) -> str:
    return validator_address(devnet.settings.address_network)


def _address(text: str) -> Address:
    return Address.from_primitive(text)


@pytest.mark.long
async def test_blocks_come_by_themselves_and_the_clock_survives_roll_back_and_kill(tmp_path: Path) -> None:
    devnet = await CardanoDevnet(tmp_path, block_time=0.5).start()
    port = open_port(devnet.settings, devnet_key("devnet tests"))
    try:
        before = await port.tip()
        await devnet.advance_time(5_000)
        later = await port.tip()
        assert later.time >= before.time + 5_000
        await devnet.reorg(2)
        assert (await port.tip()).time >= later.time
        height = (await port.tip()).block.height
        await asyncio.sleep(1.2)
        assert (await port.tip()).block.height > height
        devnet.kill()
        with pytest.raises(PortUnavailableError):
            await port.tip()
        await devnet.restart()
        again = await port.tip()
        assert again.block.height > height
        assert again.time >= later.time
    finally:
        await port.close()
        await devnet.stop()


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere children die with an orderly end alone")
def test_server_and_ledger_die_with_a_killed_parent(tmp_path: Path) -> None:
    parent = subprocess.Popen([sys.executable, "-c", ORPHAN, str(tmp_path)], stdout=subprocess.PIPE)
    assert parent.stdout is not None
    server = int(parent.stdout.readline())
    children = Path(f"/proc/{server}/task/{server}/children").read_text().split()
    family = [server, *map(int, children)]
    assert len(family) == 2, "the server and its ledger"
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    end = time.monotonic() + 5
    while time.monotonic() < end and any(map(is_alive, family)):
        time.sleep(0.02)
    survivors = [pid for pid in family if is_alive(pid)]
    for pid in survivors:
        os.kill(pid, signal.SIGKILL)
    assert survivors == []


def is_alive(pid: int) -> bool:
    try:
        return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except FileNotFoundError:
        return False


def test_a_missing_node_or_scalus_is_said_with_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAINBOW_NODE", "/nonexistent/node")
    monkeypatch.setenv("RAINBOW_SCALUS", "/nonexistent/scalus.js")
    for find in (find_node, find_scalus):
        with pytest.raises(LedgerMissingError) as failure:
            find()
        assert "RAINBOW_NODE" in failure.value.hint


def test_a_journal_cut_off_in_the_middle_of_a_line_is_replayed_up_to_there(tmp_path: Path) -> None:
    first = CardanoWorld(tmp_path)
    height, block = first.chain.head.height, first.chain.head.id
    first.stop()
    with (tmp_path / "chain.jsonl").open("ab") as journal:
        journal.write(b'{"slot": 99, "txs')
    ledger = ScalusLedger(tmp_path / "ledger.log")
    chain = DevChain(ledger, treasury.genesis(), tmp_path / "chain.jsonl")
    assert (chain.head.height, chain.head.id) == (height, block)
    chain.mine()
    assert chain.head.height == height + 1
    ledger.stop()
