"""The RPC of a real node process: every method, every refusal, pushes, and abuse."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator, Iterator
from typing import Any

import httpx
import pytest
import websockets
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from websockets import Origin

from chain.mining.template import solve
from chain.rules.anchors import verify_anchor_proof
from chain.rules.block import Block
from chain.rules.errors import NodeUnreachableError, Reason, RpcError
from chain.rules.hashing import sha256
from chain.rules.params import COIN, DEV
from chain.rules.records import Transaction
from chain.rules.types import LockId
from chain.service.client import ZionClient
from chain.service.messages import LockView, NewBlock, TransactionPlace, TransactionView
from chain.service.server import MAX_REQUEST_BYTES
from chain.wallet.keys import Key
from chain.wallet.transactions import (
    build_anchor,
    build_claim,
    build_cooperative_refund,
    build_lock,
    build_refund,
    build_transfer,
    consent_to_refund,
)
from tests.scenario.chain_node import NodeProcess, included
from tests.unit.chain.harness import resign

BOB, CAROL = Key.from_secret(sha256(b"bob")), Key.from_secret(sha256(b"carol"))
PREIMAGE = b"\x05" * 32


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NodeProcess]:
    process = NodeProcess(tmp_path_factory.mktemp("rpc") / "node")
    process.start()
    yield process
    assert process.terminate() == 0, process.log()
    assert "internal error" not in process.log()


@pytest.fixture
async def client(node: NodeProcess) -> AsyncIterator[ZionClient]:
    async with ZionClient(node.url) as connected:
        yield connected


@pytest.fixture
async def alice(client: ZionClient) -> Key:
    """A new key with 100 ZION."""
    key = Key.generate()
    await client.dev_fund(key.address, 100 * COIN)
    await client.dev_mine(1)
    return key


async def known_lock(client: ZionClient, tx: Transaction) -> LockView:
    found = await client.get_lock(tx.lock_id)
    assert found is not None
    return found


async def lock(client: ZionClient, sender: Key, **terms: Any) -> Transaction:
    values = {
        "recipient": BOB.key_hash,
        "amount": COIN,
        "hashlock": sha256(PREIMAGE),
        "deadline": (await client.get_info()).median_time + 500,
        "fee": 1_000,
        "nonce": (await client.get_account(sender.address)).pending_nonce,
    }
    return build_lock(sender, DEV, **{**values, **terms})


async def mined(client: ZionClient, tx: Any) -> str:
    """Submit and mine; return the block's id."""
    assert not (await client.submit(tx)).known
    done = await client.dev_mine(1)
    status = await client.get_transaction(tx.txid)
    assert status.block_id == done.ids[0]
    return done.ids[0]


async def refusal(call: Any) -> RpcError:
    with pytest.raises(RpcError) as refused:
        await call
    assert not isinstance(refused.value, NodeUnreachableError)
    return refused.value


async def test_a_lock_and_its_claim_are_told_with_preimage_transaction_and_block(
    client: ZionClient, alice: Key
) -> None:
    tx = await lock(client, alice)
    assert await client.get_lock(tx.lock_id) is None
    made_in = await mined(client, tx)
    opened = await client.get_lock(tx.lock_id)
    assert opened is not None
    assert (opened.state, opened.lock_txid, opened.lock_block_id) == ("OPEN", tx.txid.hex(), made_in)
    assert (opened.amount, opened.sender, opened.preimage) == (COIN, alice.address, None)

    claim = build_claim(
        BOB, DEV, nonce=(await client.get_account(BOB.address)).nonce, lock_id=tx.lock_id,
        recipient=BOB.key_hash, amount=COIN, preimage=PREIMAGE, fee=1_000,
    )  # fmt: skip
    await client.submit(claim)
    assert (await known_lock(client, tx)).pending_spend == claim.txid.hex()
    spent_in = (await client.dev_mine(1)).ids[0]
    spent = await client.get_lock(tx.lock_id)
    assert spent is not None
    assert (spent.state, spent.preimage, spent.spent_by) == ("CLAIMED", PREIMAGE.hex(), BOB.address)
    assert (spent.spent_txid, spent.spent_block_id) == (claim.txid.hex(), spent_in)
    block = await client.get_block(spent_in)
    assert block.transactions[1].preimage == PREIMAGE.hex()
    assert block.transactions[1].lock_id == tx.lock_id.hex()
    assert spent in await client.find_locks(sha256(PREIMAGE))


async def test_a_refund_waits_for_the_median_time(client: ZionClient, alice: Key) -> None:
    tx = await lock(client, alice)
    await mined(client, tx)
    account = await client.get_account(alice.address)
    refund = build_refund(
        alice, DEV, nonce=account.nonce, lock_id=tx.lock_id, sender=alice.key_hash, amount=COIN, fee=1_000
    )
    error = await refusal(client.submit(refund))
    assert error.reason == Reason.DEADLINE_NOT_REACHED
    assert error.hint
    moved = await client.dev_advance_time(500, settle=True)
    assert moved.median_time >= tx.deadline
    await mined(client, refund)
    assert (await known_lock(client, tx)).state == "REFUNDED"
    assert (
        await refusal(client.submit(resign(alice, refund, nonce=refund.nonce + 1)))
    ).reason == "lock_spent"


async def test_a_cooperative_refund_by_consent(client: ZionClient, alice: Key) -> None:
    tx = await lock(client, alice)
    await mined(client, tx)
    refund = build_cooperative_refund(
        alice, DEV, nonce=1, lock_id=tx.lock_id, sender=alice.key_hash, amount=COIN, fee=1_000,
        consent=consent_to_refund(BOB, tx.lock_id),
    )  # fmt: skip
    await mined(client, refund)
    assert (await known_lock(client, tx)).cooperative


async def test_submitting_again_is_known_in_the_mempool_and_in_a_block(
    client: ZionClient, alice: Key
) -> None:
    tx = build_transfer(alice, DEV, nonce=0, recipient=BOB.key_hash, amount=1, fee=1_000)
    assert (await client.get_transaction(tx.txid)).status is TransactionPlace.UNKNOWN
    assert not (await client.submit(tx)).known
    assert (await client.submit(tx)).known
    assert (await client.get_transaction(tx.txid)).status is TransactionPlace.MEMPOOL
    assert (await client.get_account(alice.address)).pending_nonce == 1
    await client.dev_mine(1)
    assert (await client.submit(tx)).known
    status = await client.get_transaction(tx.txid)
    assert (status.status, status.confirmations) == (TransactionPlace.INCLUDED, 1)
    assert status.transaction is not None
    assert status.transaction.raw == tx.raw.hex()


async def test_every_refusal_has_its_name(client: ZionClient, alice: Key) -> None:
    def transfer(**changed: Any) -> Transaction:
        values = {"nonce": 0, "recipient": BOB.key_hash, "amount": 1, "fee": 1_000, **changed}
        return build_transfer(alice, DEV, **values)

    expected = {
        Reason.FEE_TOO_LOW: transfer(fee=1),
        Reason.NONCE_TOO_HIGH: transfer(nonce=1_000),
        Reason.INSUFFICIENT_BALANCE: transfer(amount=101 * COIN),
        Reason.WRONG_CHAIN: resign(alice, transfer(), chain_id=1),
        Reason.AMOUNT_OUT_OF_RANGE: transfer(amount=0),
        Reason.BAD_KIND: resign(alice, transfer(), kind=99),
        Reason.WRONG_KEY: resign(BOB, transfer()),
        Reason.UNKNOWN_LOCK: build_claim(
            alice,
            DEV,
            nonce=0,
            lock_id=LockId(bytes(32)),
            recipient=BOB.key_hash,
            amount=1,
            preimage=b"",
            fee=1_000,
        ),
        Reason.LOCK_DEADLINE_PASSED: await lock(client, alice, deadline=5),
    }
    for reason, tx in expected.items():
        error = await refusal(client.submit(tx))
        assert (error.reason, error.code) == (reason.value, -32_000)
    await mined(client, transfer())
    assert (await refusal(client.submit(transfer(amount=2)))).reason == Reason.NONCE_TOO_LOW
    assert (await refusal(client.submit(b"\x00" * 10))).reason == "invalid_params"
    assert (await refusal(client.submit(b"\x00" * 328))).reason == Reason.BAD_VERSION


async def test_headers_and_blocks_by_id_and_height(client: ZionClient) -> None:
    await client.dev_mine(3)
    info = await client.get_info()
    by_height, by_id = await client.get_header(info.height), await client.get_header(info.best_id)
    assert by_height == by_id
    assert by_id.confirmations == 1
    headers = await client.get_headers(info.height - 2, 10)
    assert [header.height for header in headers] == [info.height - 2, info.height - 1, info.height]
    assert headers[1].previous == headers[0].id
    assert (await client.get_block(0)).header.id == info.genesis_id
    assert (await refusal(client.get_block(info.height + 1))).reason == "not_found"
    assert (await refusal(client.get_block("00" * 32))).reason == "not_found"
    assert (await client.get_info()).finality[0].depth == 4


async def test_an_anchor_proof_over_the_wire_verifies_offline(client: ZionClient, alice: Key) -> None:
    anchor = build_anchor(alice, DEV, nonce=0, root=b"\x09" * 32, tree_size=2**59, fee=1_000)
    await mined(client, anchor)
    proof = await client.get_anchor_proof(anchor.txid)
    assert verify_anchor_proof(proof, chain_id=DEV.chain_id).id.hex() == proof.block_id
    assert proof.tree_size == 2**59
    assert anchor.txid.hex() in await client.find_anchors(b"\x09" * 32)


async def test_a_template_mined_by_the_client_becomes_the_head(client: ZionClient, alice: Key) -> None:
    template = await client.get_block_template(alice.address)
    block = solve(Block.decode(bytes.fromhex(template.block)))
    before = await client.get_balance(alice.address)
    submitted = await client.submit_block(block.encode())
    assert submitted.best
    assert (await client.submit_block(block.encode())).known
    assert await client.get_balance(alice.address) == before + 50 * COIN
    template = await client.get_block_template(alice.address)
    broken = solve(Block.decode(bytes.fromhex(template.block))).encode()[:-1] + b"\x01"
    assert (await refusal(client.submit_block(broken))).reason == Reason.BAD_WITNESS


async def test_a_reorganisation_drops_one_transaction_keeps_the_other_and_is_pushed(
    client: ZionClient, alice: Key
) -> None:
    events: list[NewBlock] = []
    ready = asyncio.Event()

    async def listen() -> None:
        async for event in client.subscribe("newBlock"):
            assert isinstance(event, NewBlock)
            events.append(event)
            ready.set()

    listening = asyncio.create_task(listen())
    while not ready.is_set():
        await client.dev_mine(1)
        await asyncio.sleep(0.05)
    doomed = await lock(client, alice)
    kept = build_transfer(BOB, DEV, nonce=(await client.get_account(BOB.address)).nonce,
                          recipient=CAROL.key_hash, amount=1, fee=1_000)  # fmt: skip
    await client.dev_fund(BOB.address, COIN)
    await client.dev_mine(1)
    await client.submit(kept)
    old = await mined(client, doomed)
    await client.dev_mine(2)
    done = await client.dev_reorg(3, [doomed.txid])
    assert (len(done.orphaned), len(done.connected)) == (3, 4)
    assert old in done.orphaned
    assert (await client.get_transaction(doomed.txid)).status is TransactionPlace.UNKNOWN
    assert (await client.get_transaction(kept.txid)).status is TransactionPlace.INCLUDED
    assert await client.get_lock(doomed.lock_id) is None
    orphan = await client.get_block(old)
    assert (orphan.header.main_chain, orphan.header.confirmations) == (False, 0)
    async with asyncio.timeout(5):
        while not events[-1].orphaned:
            await asyncio.sleep(0.02)
    assert [ref.id for ref in events[-1].orphaned] == list(done.orphaned)
    assert events[-1].best.id == done.connected[-1]
    assert not (await client.submit(doomed)).known, "a dropped transaction can be sent again"
    await client.dev_mine(1)
    assert (await known_lock(client, doomed)).state == "OPEN"
    listening.cancel()


async def test_new_transactions_are_pushed(client: ZionClient, alice: Key) -> None:
    tx = build_transfer(alice, DEV, nonce=0, recipient=BOB.key_hash, amount=1, fee=1_000)
    seen: asyncio.Queue[Any] = asyncio.Queue()

    async def listen() -> None:
        async for event in client.subscribe("newTransaction"):
            await seen.put(event)

    listening = asyncio.create_task(listen())
    await asyncio.sleep(0.3)
    await client.submit(tx)
    event = await asyncio.wait_for(seen.get(), 5)
    assert isinstance(event, TransactionView)
    assert event.txid == tx.txid.hex()
    listening.cancel()


async def test_dev_mining_can_be_switched_on_and_off(client: ZionClient) -> None:
    assert await client.dev_set_mining(True)
    key = Key.generate()
    await included(client, bytes.fromhex(await client.dev_fund(key.address, 5)))
    assert not await client.dev_set_mining(False)
    height = (await client.get_info()).height
    await asyncio.sleep(1.3)
    assert (await client.get_info()).height == height
    assert await client.get_balance(key.address) == 5


async def test_a_reorg_that_cannot_be_is_refused_with_a_hint(client: ZionClient) -> None:
    assert (await refusal(client.dev_reorg(10**6))).reason == "dev_error"
    assert (await refusal(client.dev_reorg(1, [bytes(32)]))).hint


async def test_a_node_that_is_not_there_is_unreachable(unused_port: int) -> None:
    async with ZionClient(f"http://127.0.0.1:{unused_port}") as nobody:
        with pytest.raises(NodeUnreachableError):
            await nobody.get_info()


@pytest.fixture
def unused_port() -> int:
    import socket

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


# abuse ------------------------------------------------------------------------------------------------


def post(node: NodeProcess, content: bytes, content_type: str = "application/json") -> httpx.Response:
    return httpx.post(node.url, content=content, headers={"content-type": content_type}, timeout=20)


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (b"", -32_700),
        (b"{", -32_700),
        (b"[" * 100_000, -32_700),
        (b"\xff\xfe", -32_700),
        (b'{"jsonrpc":"2.0","id":NaN,"method":"getInfo"}', -32_700),
        (b"null", -32_600),
        (b"1", -32_600),
        (b"[]", -32_600),
        (b"{}", -32_600),
        (b'{"jsonrpc":"2.0","id":{},"method":"getInfo"}', -32_600),
        (b'{"jsonrpc":"2.0","id":true,"method":"getInfo"}', -32_600),
        (b'{"jsonrpc":"2.0","id":1,"method":5}', -32_600),
        (b'{"jsonrpc":"2.0","id":1,"method":"getInfo","params":"x"}', -32_600),
        (b'{"jsonrpc":"2.0","id":1,"method":"noSuch"}', -32_601),
        (b'{"jsonrpc":"2.0","id":1,"method":"getInfo","params":[1]}', -32_602),
        (b'{"jsonrpc":"2.0","id":1,"method":"getBlock","params":{"block":-1}}', -32_602),
        (b'{"jsonrpc":"2.0","id":1,"method":"getBlock","params":{"block":99999999999999999999}}', -32_602),
        (b'{"jsonrpc":"2.0","id":1,"method":"getBlock","params":{"block":1.5}}', -32_602),
        (b'{"jsonrpc":"2.0","id":1,"method":"getHeaders","params":[0,100000]}', -32_602),
        (b'{"jsonrpc":"2.0","id":1,"method":"getAccount","params":["zion1qqq"]}', -32_602),
        (b'{"jsonrpc":"2.0","id":1,"method":"getAccount","params":{"address":"\\ud800"}}', -32_700),
    ],
)
def test_odd_requests_get_an_error_not_a_500(node: NodeProcess, content: bytes, code: int) -> None:
    response = post(node, content)
    assert response.status_code == 200
    assert response.json()["error"]["code"] == code
    assert response.json()["error"]["data"]["reason"]


def test_batches_answer_each_and_notifications_nothing(node: NodeProcess) -> None:
    call = {"jsonrpc": "2.0", "method": "getInfo"}
    batch = [{**call, "id": 1}, call, {**call, "id": "b", "method": "no"}]
    answers = post(node, json.dumps(batch).encode()).json()
    assert [answer["id"] for answer in answers] == [1, "b"]
    assert post(node, json.dumps(call).encode()).status_code == 204
    too_many = json.dumps([call] * 51).encode()
    assert post(node, too_many).json()["error"]["code"] == -32_600


def test_other_content_types_methods_and_sizes_are_refused(node: NodeProcess) -> None:
    call = b'{"jsonrpc":"2.0","id":1,"method":"getInfo"}'
    assert post(node, call, "text/plain").status_code == 415
    assert post(node, b" " * (MAX_REQUEST_BYTES + 1)).status_code == 413
    assert httpx.get(node.url).status_code == 405
    assert httpx.get(node.url + "/nowhere").status_code == 404
    assert httpx.get(node.url + "/healthz").json()["status"] == "ok"


async def test_a_socket_speaks_json_rpc_and_survives_nonsense(node: NodeProcess) -> None:
    url = node.url.replace("http", "ws") + "/ws"
    async with websockets.connect(url, proxy=None) as socket:
        for text in (
            "nonsense",
            '{"method":"subscribe","id":1,"params":["x"]}',
            '{"method":"subscribe"}',
            "[]",
        ):
            await socket.send(text)
            assert "error" in json.loads(await socket.recv())
        await socket.send('{"jsonrpc":"2.0","id":7,"method":"getInfo"}')
        assert json.loads(await socket.recv())["result"]["network"] == "dev"


async def test_a_web_page_of_another_site_cannot_open_a_socket(node: NodeProcess) -> None:
    url = node.url.replace("http", "ws") + "/ws"
    with pytest.raises(websockets.InvalidStatus):
        async with websockets.connect(url, origin=Origin("https://evil.example"), proxy=None):
            pass


_METHODS = (
    "getInfo", "getBlock", "getHeader", "getHeaders", "getTransaction", "getAccount", "getBalance", "getLock",
    "findLocks", "submitTransaction", "estimateFee", "getMempool", "getAnchorProof", "findAnchors",
    "getPeers", "getBlockTemplate", "submitBlock", "dev_reorg", "dev_fund", "dev_mine", "dev_advanceTime",
)  # fmt: skip
_HEX = st.binary(max_size=40).map(bytes.hex) | st.binary(min_size=32, max_size=32).map(bytes.hex)
_RAW = st.binary(min_size=328, max_size=328).map(bytes.hex)
_JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats(allow_nan=False)
    | st.text(max_size=20) | _HEX | _RAW,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=5,
)  # fmt: skip


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(method=st.sampled_from(_METHODS), params=st.lists(_JSON, max_size=3))
def test_no_parameters_make_an_internal_error(node: NodeProcess, method: str, params: list[Any]) -> None:
    request = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}
    if method in ("dev_mine", "dev_advanceTime") and params and isinstance(params[0], int):
        params[0] = min(params[0], 3)  # or the test would wait for blocks
    try:
        content = json.dumps(request).encode()
    except UnicodeEncodeError:
        return
    response = post(node, content)
    assert response.status_code == 200
    assert response.json().get("error", {}).get("code") != -32_603, response.text


async def test_a_miner_process_mines_for_the_node(node: NodeProcess, client: ZionClient) -> None:
    key = Key.generate()
    command = [
        "-m",
        "chain.cli",
        "mine",
        "--address",
        key.address,
        "--rpc",
        node.url,
        "--blocks",
        "2",
        "--json",
    ]
    miner = await asyncio.create_subprocess_exec(sys.executable, *command, stdout=asyncio.subprocess.PIPE)
    output, _ = await asyncio.wait_for(miner.communicate(), 60)
    assert miner.returncode == 0
    blocks = [event for line in output.splitlines() if (event := json.loads(line))["event"] == "block"]
    assert [block["best"] for block in blocks] == [True, True]
    assert await client.get_balance(key.address) == 2 * 50 * COIN
