"""The devnet's server as an unmodified stellar_sdk ServerAsync sees it, and its journal."""

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
    ServerAsync,
    StrKey,
    TransactionBuilder,
    TransactionEnvelope,
)
from stellar_sdk.exceptions import BadRequestError, BadResponseError, NotFoundError
from stellar_sdk.operation import Operation

from relayers.stellar.devnet.node import StellarNode
from relayers.stellar.devnet.server import DevnetServer
from tests.unit.stellar.conftest import Net
from tests.unit.stellar.world import keypair

ALICE = keypair("alice")


@pytest_asyncio.fixture
async def horizon(net: Net) -> AsyncIterator[ServerAsync]:
    net.node.fund(ALICE.public_key, 1000 * 10**7)
    await net.node.close()
    async with ServerAsync(net.server.url) as server:
        yield server


async def _signed(horizon: ServerAsync, *operations: Operation) -> TransactionEnvelope:
    account = await horizon.load_account(ALICE.public_key)
    builder = TransactionBuilder(account, Network.STANDALONE_NETWORK_PASSPHRASE, base_fee=200)
    for operation in operations:
        builder.append_operation(operation)
    envelope = builder.set_timeout(60).build()
    envelope.sign(ALICE)
    return envelope


async def test_a_transaction_is_submitted_and_answered_when_its_ledger_has_closed(
    horizon: ServerAsync, net: Net
) -> None:
    envelope = await _signed(horizon, ManageData("name", b"value"))
    answer = asyncio.ensure_future(horizon.submit_transaction(envelope))
    while not net.node.network.queue.pending():
        await asyncio.sleep(0.01)
    await net.node.close()
    record = await answer
    assert (record["successful"], record["fee_charged"], record["max_fee"]) == (True, "100", "200")
    assert record["hash"] == envelope.hash_hex()
    shown = await horizon.accounts().account_id(ALICE.public_key).call()
    assert shown["data"] == {"name": "dmFsdWU="}
    assert (shown["sequence"], shown["subentry_count"]) == (record["source_account_sequence"], 1)


async def test_a_failure_tells_its_codes(horizon: ServerAsync, net: Net) -> None:
    envelope = await _signed(horizon, Payment(keypair("nobody").public_key, Asset.native(), "1"))
    answer = asyncio.ensure_future(horizon.submit_transaction(envelope))
    while not net.node.network.queue.pending():
        await asyncio.sleep(0.01)
    await net.node.close()
    with pytest.raises(BadRequestError) as failure:
        await answer
    assert failure.value.extras is not None
    assert failure.value.extras["result_codes"] == {
        "transaction": "tx_failed",
        "operations": ["op_no_destination"],
    }


async def test_the_node_answers_at_once_with_the_statuses_of_horizon(horizon: ServerAsync, net: Net) -> None:
    envelope = await _signed(horizon, ManageData("name", b"value"))
    accepted = await horizon.submit_transaction_async(envelope)
    assert accepted == {"tx_status": "PENDING", "hash": envelope.hash_hex()}
    for status, expected in ((409, BadRequestError), (503, BadResponseError)):
        with pytest.raises(expected) as refusal:
            await horizon.submit_transaction_async(envelope)
        assert refusal.value.status == status
        await net.node.close()


async def test_ledgers_and_transactions_are_streamed(horizon: ServerAsync, net: Net) -> None:
    ledgers, transactions = horizon.ledgers().cursor("now"), horizon.transactions().cursor("now")
    seen = [asyncio.ensure_future(anext(aiter(each.stream()))) for each in (ledgers, transactions)]
    await asyncio.sleep(0.2)
    await horizon.submit_transaction_async(await _signed(horizon, ManageData("name", b"value")))
    await net.node.close()
    ledger, transaction = await asyncio.wait_for(asyncio.gather(*seen), 5)
    assert ledger["sequence"] == transaction["ledger"] == net.node.network.header.sequence


async def test_pages_lead_on_in_both_directions(horizon: ServerAsync, net: Net) -> None:
    for _ in range(5):
        await net.node.close()
    call = horizon.ledgers().limit(2).order(desc=True)
    head = net.node.network.header.sequence
    first = await call.call()
    second = await call.next()
    numbers = [each["sequence"] for page in (first, second) for each in page["_embedded"]["records"]]
    assert numbers == [head, head - 1, head - 2, head - 3]
    before = await call.prev()
    assert [each["sequence"] for each in before["_embedded"]["records"]] == [head - 1, head]


async def test_what_is_wrong_is_a_problem_with_its_field(net: Net) -> None:
    async with httpx.AsyncClient(base_url=net.server.url) as client:
        for path, status, field in (
            ("/accounts/nonsense", 400, "account_id"),
            (f"/accounts/{keypair('nobody').public_key}", 404, None),
            ("/accounts", 400, "signer"),
            (f"/accounts?signer={StrKey.encode_sha256_hash(bytes(32))}", 400, "signer"),
            ("/ledgers?limit=201", 400, "limit"),
            ("/ledgers?order=up", 400, "order"),
            ("/ledgers?cursor=x", 400, "cursor"),
            ("/transactions/xyz", 400, "tx_id"),
            ("/claimable_balances/00", 400, "id"),
            ("/ledgers/999", 404, None),
        ):
            answer = await client.get(path)
            assert (answer.status_code, answer.headers["content-type"]) == (
                status,
                "application/problem+json",
            ), path
            assert answer.json().get("extras", {}).get("invalid_field") == field, path
        broken = await client.post("/transactions", data={"tx": "AAAA"})
        assert broken.json()["title"] == "Transaction Malformed"


async def test_unknown_accounts_are_not_found(horizon: ServerAsync) -> None:
    with pytest.raises(NotFoundError):
        await horizon.load_account(Keypair.random())


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
        assert await server.node.wait_for_ledger(server.node.network.header.sequence + 2, 5)
    finally:
        await server.stop()
