"""What requests may cost, and what /healthz, /metrics and the command line show."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from chain.node import Node, NodeConfig
from chain.rules.params import COIN, Network
from chain.service import process as process_module
from chain.service import server as server_module
from chain.service.budgets import ADDRESSES, BURST_UNITS, UNITS_PER_SECOND, AddressBudgets
from chain.service.rpc import TOO_MUCH, Methods
from chain.service.server import make_app
from chain.wallet.keys import dev_treasury_key
from chain.wallet.transactions import build_transfer
from tests.unit.chain.harness import ALICE


@pytest.fixture
async def node(tmp_path: Path) -> AsyncIterator[Node]:
    """A dev node with five blocks of 61 transactions."""
    opened = Node(NodeConfig(Network.DEV, tmp_path, sync=False))
    opened.mine_one()
    key = dev_treasury_key()
    for nonce in range(300):
        tx = build_transfer(key, opened.params, nonce=nonce, recipient=ALICE.key_hash, amount=COIN, fee=1_000)
        opened.submit(tx)
        if nonce % 60 == 59:  # at most 64 of a sender wait
            opened.mine_one()
    yield opened
    await opened.stop()


def call(method: str, *params: Any, number: int = 1) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "id": number, "method": method, "params": list(params)}


async def post(node: Node, request: Any, client: str = "127.0.0.1", app: Any = None) -> Any:
    transport = httpx.ASGITransport(app or make_app(node), client=(client, 1))
    async with httpx.AsyncClient(transport=transport, base_url="http://node") as http:
        return (await http.post("/", json=request)).json()


async def test_a_batch_gets_answers_up_to_its_budget_and_errors_for_the_rest(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server_module, "REQUEST_UNITS", 130)
    answers = await post(node, [call("getBlock", 2, number=i) for i in range(10)])
    assert [len(a["result"]["transactions"]) for a in answers if "result" in a] == [61, 61]
    refused = [a["error"] for a in answers if "error" in a]
    assert len(refused) == 8
    assert {(e["code"], e["data"]["reason"]) for e in refused} == {(TOO_MUCH, "over_budget")}
    assert "result" in await post(node, call("getInfo"))


async def test_a_heavy_read_runs_beside_the_loop_and_many_of_them_are_refused(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server_module, "HEAVY_UNITS", 50)
    monkeypatch.setattr(server_module, "MAX_WAITING", 2)
    sound, threads, go_on = Methods.call, set[int](), threading.Event()

    def slow(self: Methods, method: str, params: Any) -> Any:
        if method == "getBlock":
            threads.add(threading.get_ident())
            assert go_on.wait(20)
        return sound(self, method, params)

    monkeypatch.setattr(Methods, "call", slow)
    app = make_app(node)
    heavy = [asyncio.create_task(post(node, call("getBlock", 2), app=app)) for _ in range(3)]
    done, _ = await asyncio.wait(heavy, timeout=20, return_when=asyncio.FIRST_COMPLETED)
    assert [task.result()["error"]["data"]["reason"] for task in done] == ["busy"]
    assert (await post(node, call("getInfo"), app=app))["result"]["height"] == 6, "others are answered"
    go_on.set()
    answers = [await task for task in heavy]
    assert sum("result" in answer for answer in answers) == 2
    assert threading.get_ident() not in threads


async def test_an_address_that_has_asked_for_too_much_waits_and_others_do_not(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("chain.service.budgets.BURST_UNITS", 100)
    monkeypatch.setattr("chain.service.budgets.UNITS_PER_SECOND", 0)
    app = make_app(node)
    assert "result" in await post(node, call("getBlock", 2), "203.0.113.7", app)
    assert "result" in await post(node, call("getBlock", 2), "203.0.113.7", app)
    assert (await post(node, call("getInfo"), "203.0.113.7", app))["error"]["code"] == TOO_MUCH
    assert "result" in await post(node, call("getInfo"), "203.0.113.8", app)
    assert "result" in await post(node, call("getInfo"), "127.0.0.1", app)


def test_a_budget_refills_and_the_addresses_remembered_are_bounded() -> None:
    now = 0.0
    budgets = AddressBudgets(lambda: now)
    budgets.spend("203.0.113.7", BURST_UNITS + UNITS_PER_SECOND)
    assert not budgets.may_ask("203.0.113.7")
    now = 1.5
    assert budgets.may_ask("203.0.113.7")
    for i in range(ADDRESSES + 10):
        budgets.spend(f"2001:db8::{i:x}", 1)
    assert len(budgets._left) == ADDRESSES


async def test_health_names_what_does_not_work_and_metrics_count_it(node: Node) -> None:
    transport = httpx.ASGITransport(make_app(node))
    async with httpx.AsyncClient(transport=transport, base_url="http://node") as http:
        sound = await http.get("/healthz")
        assert (sound.status_code, sound.json()["problems"]) == (200, [])
        node.tasks.failed("mining", OSError("no space left on device"))
        broken = await http.get("/healthz")
        assert (broken.status_code, broken.json()["status"]) == (503, "degraded")
        assert "no space left" in broken.json()["problems"][0]
        figures = (await http.get("/metrics")).text
        assert "\nzion_problems 1\n" in figures
        assert "\nzion_height 6\n" in figures
        info = (await http.post("/", json=call("getInfo"))).json()["result"]
        assert info["problems"] == broken.json()["problems"]


async def test_a_connection_that_sends_half_a_request_is_closed(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    import uvicorn

    monkeypatch.setattr(process_module, "HEADER_SECONDS", 0.2)
    config = uvicorn.Config(
        make_app(node), port=0, log_config=None, lifespan="off", http=process_module._Protocol
    )
    server = process_module._Server(config)
    serving = asyncio.create_task(server.serve())
    while not server.started:
        await asyncio.sleep(0.01)
    host, port = server.servers[0].sockets[0].getsockname()[:2]
    reader, writer = await asyncio.open_connection(host, port)
    writer.write(b"POST / HTTP/1.1\r\nhost: x\r\n")
    async with asyncio.timeout(5):
        assert await reader.read() == b""
    async with httpx.AsyncClient(base_url=f"http://{host}:{port}") as http:
        for _ in range(3):
            assert (await http.get("/healthz")).status_code == 200
            await asyncio.sleep(0.15)
    writer.close()
    server.should_exit = True
    await serving
