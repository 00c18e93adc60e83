"""The devnet's server beside what its RPC's own tests say: plain transactions, its controls, its journal."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
import pytest_asyncio
from stellar_sdk import (
    Asset,
    Keypair,
    ManageData,
    Network,
    Payment,
    SorobanServerAsync,
    TransactionBuilder,
    TransactionEnvelope,
    xdr,
)
from stellar_sdk.exceptions import AccountNotFoundException
from stellar_sdk.operation import Operation
from stellar_sdk.soroban_rpc import GetTransactionStatus, SendTransactionStatus

from relayers.stellar.devnet.node import StellarNode
from relayers.stellar.devnet.server import DevnetServer
from tests.unit.stellar.conftest import Net
from tests.unit.stellar.world import keypair

ALICE = keypair("alice")


@pytest_asyncio.fixture
async def rpc(net: Net) -> AsyncIterator[SorobanServerAsync]:
    net.node.fund(ALICE.public_key, 1000 * 10**7)
    await net.node.close()
    async with SorobanServerAsync(net.url) as server:
        yield server


@pytest_asyncio.fixture
async def control(net: Net) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=net.server.url) as client:
        yield client


async def _signed(rpc: SorobanServerAsync, *operations: Operation) -> TransactionEnvelope:
    account = await rpc.load_account(ALICE.public_key)
    builder = TransactionBuilder(account, Network.STANDALONE_NETWORK_PASSPHRASE, base_fee=200)
    for operation in operations:
        builder.append_operation(operation)
    envelope = builder.set_timeout(60).build()
    envelope.sign(ALICE)
    return envelope


async def test_a_transaction_is_in_no_ledger_until_one_closes_and_then_tells_what_it_cost(
    rpc: SorobanServerAsync, net: Net
) -> None:
    envelope = await _signed(rpc, ManageData("name", b"value"))
    sent = await rpc.send_transaction(envelope)
    assert (sent.status, sent.hash) == (SendTransactionStatus.PENDING, envelope.hash_hex())
    assert (await rpc.get_transaction(sent.hash)).status is GetTransactionStatus.NOT_FOUND
    await net.node.close()
    found = await rpc.get_transaction(sent.hash)
    assert (found.status, found.ledger) == (GetTransactionStatus.SUCCESS, net.node.network.header.sequence)
    assert found.result_xdr is not None
    assert xdr.TransactionResult.from_xdr(found.result_xdr).fee_charged.int64 == 100
    assert (await rpc.load_account(ALICE.public_key)).sequence == envelope.transaction.sequence


async def test_a_failure_tells_its_codes(rpc: SorobanServerAsync, net: Net) -> None:
    envelope = await _signed(rpc, Payment(keypair("nobody").public_key, Asset.native(), "1"))
    assert (await rpc.send_transaction(envelope)).status is SendTransactionStatus.PENDING
    await net.node.close()
    found = await rpc.get_transaction(envelope.hash_hex())
    assert found.status is GetTransactionStatus.FAILED
    assert found.result_xdr is not None
    result = xdr.TransactionResult.from_xdr(found.result_xdr).result
    assert result.code is xdr.TransactionResultCode.txFAILED
    assert result.results is not None
    assert result.results[0].tr is not None
    paid = result.results[0].tr.payment_result
    assert paid is not None
    assert paid.code is xdr.PaymentResultCode.PAYMENT_NO_DESTINATION


async def test_the_node_answers_at_once_with_the_statuses_of_the_real_one(
    rpc: SorobanServerAsync, net: Net
) -> None:
    envelopes = [await _signed(rpc, ManageData("name", value)) for value in (b"one", b"two")]
    statuses = [(await rpc.send_transaction(each)).status for each in (*envelopes, envelopes[0])]
    # The second wants the same account's place in the queue.
    assert statuses == [
        SendTransactionStatus.PENDING,
        SendTransactionStatus.TRY_AGAIN_LATER,
        SendTransactionStatus.DUPLICATE,
    ]
    await net.node.close()
    used = await rpc.send_transaction(envelopes[1])
    assert used.status is SendTransactionStatus.ERROR
    assert used.error_result_xdr is not None
    code = xdr.TransactionResult.from_xdr(used.error_result_xdr).result.code
    assert code is xdr.TransactionResultCode.txBAD_SEQ


async def test_unknown_accounts_are_not_found(rpc: SorobanServerAsync) -> None:
    with pytest.raises(AccountNotFoundException):
        await rpc.load_account(Keypair.random().public_key)


async def test_it_says_which_network_it_is(control: httpx.AsyncClient, net: Net) -> None:
    head = net.node.network.header
    told = (await control.get("/")).json()
    assert told == {"network_passphrase": net.passphrase, "ledger": head.sequence, "protocol": head.protocol}


async def test_ledgers_and_time_are_made_on_command(control: httpx.AsyncClient, net: Net) -> None:
    start, then = net.node.network.header.sequence, net.node.network.header.close_time
    assert (await control.post("/devnet/close", json={"count": 3})).json() == {"ledger": start + 3}
    assert (await control.post("/devnet/close")).json() == {"ledger": start + 4}
    await control.post("/devnet/advance", json={"seconds": 3_600})
    assert net.node.network.header.close_time >= then + 3_600
    head = net.node.network.header
    await control.post("/devnet/reorg", json={"depth": 1})
    assert head not in [each.header for each in net.node.network.ledgers]
    assert net.node.network.header.sequence == head.sequence + 1


async def test_anybody_is_given_lumens(control: httpx.AsyncClient, net: Net) -> None:
    for number, (path, given, stroops) in enumerate(
        (
            ("/friendbot?addr=", None, 10_000 * 10**7),
            ("/devnet/fund", {"stroops": 5 * 10**7}, 5 * 10**7),
        )
    ):
        key = keypair(f"newcomer {number}")
        if given is None:
            answer = await control.get(path + key.public_key)
        else:
            answer = await control.post(path, json=given | {"address": key.public_key})
        assert answer.status_code == 200
        assert net.node.network.transaction(bytes.fromhex(answer.json()["hash"])) is not None
        account = net.node.network.state.peek(("account", key.raw_public_key()))
        assert account.balance == stroops


@pytest.mark.parametrize(
    ("path", "given", "status"),
    [
        ("/devnet/close", b'{"count": "many"}', 400),
        ("/devnet/close", b"[]", 400),
        ("/devnet/close", b"{", 400),
        ("/devnet/advance", b"{}", 400),
        ("/devnet/fund", b'{"address": "nobody", "stroops": 1}', 400),
        ("/devnet/nothing", b"{}", 404),
        ("/accounts", b"{}", 404),
    ],
)
async def test_what_is_wrong_is_said_and_changes_nothing(
    control: httpx.AsyncClient, net: Net, path: str, given: bytes, status: int
) -> None:
    before = net.node.network.header.sequence
    answer = await control.post(path, content=given)
    assert answer.status_code == status
    assert net.node.network.header.sequence == before
    assert (await control.get("/friendbot?addr=nobody")).status_code == 400


async def test_a_node_started_on_its_journal_goes_on_where_it_was_killed(tmp_path: Path) -> None:
    journal = tmp_path / "journal.jsonl"
    node = StellarNode(journal, ticking=False)
    node.fund(ALICE.public_key, 10**9)
    await node.close()
    await node.advance(1000)
    node.fund(keypair("bob").public_key, 10**9)  # pending when it is killed
    with journal.open("a") as file:
        file.write('{"op": "clo')
    again = StellarNode(journal, ticking=False)
    assert again.network.header == node.network.header
    assert [each.full_hash for each in again.network.queue.pending()] == [
        each.full_hash for each in node.network.queue.pending()
    ]
    await again.close()
    assert again.network.state.has_account(keypair("bob").raw_public_key())


async def test_ledgers_close_by_themselves_with_an_interval() -> None:
    server = DevnetServer(interval=0.05)
    await server.start()
    try:
        start = server.node.network.header.sequence
        async with asyncio.timeout(5):
            while server.node.network.header.sequence <= start + 2:
                await asyncio.sleep(0.02)
    finally:
        await server.stop()
