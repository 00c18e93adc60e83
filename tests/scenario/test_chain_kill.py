"""kill -9 of a node while it mines: the next start finds a consistent state that lost no block."""

from __future__ import annotations

import asyncio
import random
from pathlib import Path

import pytest

from chain.rules.errors import NodeUnreachableError, RpcError
from chain.rules.hashing import sha256
from chain.rules.params import COIN, DEV
from chain.service.client import ZionClient
from chain.wallet.keys import Key
from chain.wallet.transactions import build_claim, build_lock, build_transfer
from tests.scenario.chain_node import NodeProcess, included
from tests.unit.chain.harness import Sandbox

ALICE, BOB = Key.from_secret(sha256(b"alice")), Key.from_secret(sha256(b"bob"))
ROUNDS = 3


async def keep_busy(client: ZionClient, seconds: float) -> int:
    """Send transfers, locks and claims; return the greatest height seen."""
    height, salt = 0, random.Random(seconds)
    loop = asyncio.get_running_loop()
    end = loop.time() + seconds
    while loop.time() < end:
        info = await client.get_info()
        height = info.height
        nonce = (await client.get_account(ALICE.address)).pending_nonce
        preimage = salt.randbytes(32)
        lock = build_lock(
            ALICE, DEV, nonce=nonce, recipient=BOB.key_hash, amount=5_000, hashlock=sha256(preimage),
            deadline=info.median_time + 1_000, fee=1_000,
        )  # fmt: skip
        send = build_transfer(ALICE, DEV, nonce=nonce + 1, recipient=BOB.key_hash, amount=1, fee=1_000)
        try:
            await client.submit(lock)
            await client.submit(send)
            if await client.get_lock(lock.lock_id):
                bob = await client.get_account(BOB.address)
                claim = build_claim(
                    BOB, DEV, nonce=bob.pending_nonce, lock_id=lock.lock_id, recipient=BOB.key_hash,
                    amount=5_000, preimage=preimage, fee=1_000,
                )  # fmt: skip
                await client.submit(claim)
        except NodeUnreachableError:
            raise
        except RpcError:
            pass  # a block came between reading the nonce and using it
        await asyncio.sleep(0.01)
    return height


@pytest.mark.timeout(120)
@pytest.mark.long
async def test_a_node_killed_while_mining_comes_back_with_a_consistent_state(tmp_path: Path) -> None:
    node = NodeProcess(tmp_path / "node", "--mine", "--block-interval", "0.02")
    heights = [0]
    try:
        for round_number in range(ROUNDS):
            node.start()
            async with ZionClient(node.url) as client:
                assert (await client.get_info()).height >= heights[-1], "no committed block is lost"
                if round_number == 0:
                    await included(client, bytes.fromhex(await client.dev_fund(ALICE.address, 100 * COIN)))
                heights.append(await keep_busy(client, 0.4 + 0.137 * round_number))
            node.kill()
        assert heights == sorted(heights)
        assert heights[-1] > heights[1]
    finally:
        node.kill()

    found = Sandbox(tmp_path / "node" / "state")
    found.now = 2**40
    fresh = Sandbox(tmp_path / "fresh")
    fresh.now = 2**40
    assert found.chain.tip.height >= heights[-1]
    for height in range(1, found.chain.tip.height + 1):
        block = found.chain.main_block(height)
        assert block is not None
        fresh.accept(block)
    assert found.digest() == fresh.digest()
    assert found.supply_adds_up()
    found.close()
    fresh.close()
