"""The RPC server's own behaviour: retention, pages, filters, errors, restarts."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import httpx
import pytest
from stellar_sdk import scval, xdr
from stellar_sdk.exceptions import SorobanRpcErrorResponse
from stellar_sdk.soroban_rpc import EventFilter, EventFilterType, GetTransactionStatus

from tests.unit.stellar.soroban.chain import SENDER, STRANGER, Chain, returned, running


async def ask(chain: Chain, method: str, **params: Any) -> dict[str, Any]:
    async with httpx.AsyncClient() as client:
        body = {"jsonrpc": "2.0", "id": 7, "method": method, "params": params}
        answer = await client.post(chain.rpc.server_url, json=body)
        found: dict[str, Any] = answer.json()
        assert found["id"] == 7
        return found


async def test_history_before_retention_is_not_told_and_asking_for_it_is_an_error() -> None:
    async with running() as chain:
        got = await chain.call(SENDER, "lock", *chain.terms(b"p"))
        old = got.ledger
        assert old is not None
        await chain.close_ledgers(10)
        chain.node.rpc_retention = 5
        newest = chain.node.network.header.sequence
        health = await chain.rpc.get_health()
        assert (health.oldest_ledger, health.latest_ledger) == (newest - 4, newest)
        again = await chain.rpc.get_transaction(got.transaction_hash)
        assert again.status is GetTransactionStatus.NOT_FOUND
        assert again.oldest_ledger == newest - 4
        for method in ("getEvents", "getTransactions", "getLedgers"):
            answer = await ask(chain, method, startLedger=old)
            assert answer["error"]["code"] == -32600
            assert f"{newest - 4} - {newest}" in answer["error"]["message"]
            assert "result" in await ask(chain, method, startLedger=newest - 4)
        assert "error" in await ask(chain, "getEvents", startLedger=newest + 1)


async def test_events_come_in_pages_without_gap_or_repetition_and_by_topic() -> None:
    async with running() as chain:
        locks = [
            returned(await chain.call(SENDER, "lock", *chain.terms(each))) for each in (b"a", b"b", b"c")
        ]
        for lock, preimage in zip(locks, (b"a", b"b", b"c"), strict=True):
            await chain.call(STRANGER, "claim", lock, scval.to_bytes(preimage))
        whole = await chain.rpc.get_events(start_ledger=2, limit=1000)
        paged, cursor = [], None
        while True:
            page = await chain.rpc.get_events(start_ledger=None if cursor else 2, cursor=cursor, limit=3)
            paged += page.events
            if cursor == page.cursor or not page.events:
                break
            cursor = page.cursor
        assert [each.id for each in paged] == [each.id for each in whole.events]
        assert sorted({each.id for each in paged}) == [each.id for each in paged]
        topics = [[scval.to_symbol("claim").to_xdr(), locks[1].to_xdr(), "**"]]
        wanted = EventFilter(
            event_type=EventFilterType.CONTRACT, contract_ids=[chain.contract], topics=topics
        )
        found = await chain.rpc.get_events(start_ledger=2, filters=[wanted])
        assert [scval.from_bytes(xdr.SCVal.from_xdr(each.value)) for each in found.events] == [b"b"]


async def test_transactions_and_ledgers_come_in_pages_and_headers_are_linked() -> None:
    async with running() as chain:
        await chain.call(SENDER, "lock", *chain.terms(b"p"))
        whole = await chain.rpc.get_transactions(start_ledger=2, limit=200)
        first = await chain.rpc.get_transactions(start_ledger=2, limit=2)
        rest = await chain.rpc.get_transactions(cursor=first.cursor, limit=200)
        assert first.transactions + rest.transactions == whole.transactions
        assert whole.transactions[-1].status == "SUCCESS"
        ledgers = (await chain.rpc.get_ledgers(start_ledger=2, limit=200)).ledgers
        headers = [xdr.LedgerHeaderHistoryEntry.from_xdr(each.header_xdr) for each in ledgers]
        for before, after in itertools.pairwise(headers):
            assert after.header.previous_ledger_hash == before.hash
        metas = [xdr.LedgerCloseMeta.from_xdr(each.metadata_xdr) for each in ledgers]
        told = [len(each.v2.tx_processing) for each in metas if each.v2]
        assert sum(told) == len(whole.transactions)


async def test_a_lock_is_read_from_its_entry_with_its_life() -> None:
    async with running() as chain:
        lock = returned(await chain.call(SENDER, "lock", *chain.terms(b"p")))
        key = chain.lock_key(lock)
        found = await chain.rpc.get_ledger_entries([key])
        assert found.entries
        data = xdr.LedgerEntryData.from_xdr(found.entries[0].xdr).contract_data
        assert data is not None
        assert scval.from_vec(data.val) == chain.last_terms
        assert found.entries[0].live_until_ledger == chain.live_until(key)
        await chain.call(STRANGER, "claim", lock, scval.to_bytes(b"p"))
        assert (await chain.rpc.get_ledger_entries([key])).entries == []


@pytest.mark.parametrize(
    ("method", "params", "code"),
    [
        ("getNothing", {}, -32601),
        ("getTransaction", {"hash": "abc"}, -32602),
        ("getLedgerEntries", {"keys": ["????"]}, -32602),
        ("getLedgerEntries", {"keys": ["AAAA"] * 201}, -32602),
        ("sendTransaction", {"transaction": "AAAA"}, -32602),
        ("simulateTransaction", {}, -32602),
        ("getEvents", {"startLedger": 2, "pagination": {"limit": 10_001}}, -32602),
        ("getEvents", {"startLedger": 2, "pagination": {"cursor": "0-0"}}, -32602),
    ],
)
async def test_bad_requests_get_an_error(method: str, params: dict[str, Any], code: int) -> None:
    async with running(deployed=False) as chain:
        assert (await ask(chain, method, **params))["error"]["code"] == code


async def test_a_simulation_tells_why_it_fails_and_changes_nothing() -> None:
    async with running() as chain:
        before = chain.node.network.state.snapshot()
        claim = chain.invocation("claim", [scval.to_bytes(bytes(32)), scval.to_bytes(b"")])
        simulated = await chain.rpc.simulate_transaction(await chain.build(STRANGER, claim))
        assert "Error(Contract, #7)" in (simulated.error or "")
        lock = chain.invocation("lock", chain.terms(b"p"))
        simulated = await chain.rpc.simulate_transaction(await chain.build(SENDER, lock))
        assert simulated.error is None
        assert chain.node.network.state.snapshot() == before


async def test_a_node_started_again_still_has_its_locks(tmp_path: Path) -> None:
    journal = tmp_path / "journal.jsonl"
    async with running(journal=journal) as chain:
        lock = returned(await chain.call(SENDER, "lock", *chain.terms(b"p")))
        contract, xlm = chain.contract, chain.xlm
    async with running(deployed=False, journal=journal) as chain:
        chain.contract, chain.xlm = contract, xlm
        await chain.call(STRANGER, "claim", lock, scval.to_bytes(b"p"))


async def test_a_negative_answer_is_an_exception_of_the_sdk() -> None:
    async with running(deployed=False) as chain:
        with pytest.raises(SorobanRpcErrorResponse):
            await chain.rpc.get_events(start_ledger=10**6)
