"""EVM readers: endpoints that limit, hide, forget, disagree or serve what cannot be read."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from typing import Any

import httpx
import msgspec
import pytest
import pytest_asyncio
from aiohttp import web

from bridge.chains.actions import CancelAction, ClaimAction, LockAction, RefundAction
from bridge.chains.errors import PortUnavailableError
from bridge.chains.port import Claimed, FeeLevel, Locked, LockStatus, Refunded, Revealed, Spent, TxState
from bridge.keys.devkeys import devnet_key
from bridge.protocol.types import BlockHeight, LockId, Preimage
from relayers.evm.adapter import EvmPort, open_port
from tests.conformance.conftest import Rigs
from tests.conformance.ethereum_calls import rpc as node
from tests.conformance.ethereum_rig import EthereumRig
from tests.conformance.lying_rpc import LyingRpc
from tests.conformance.rig import Scene, Watcher

SECRET = Preimage(b"thirty-two bytes against liars..")


@pytest_asyncio.fixture(loop_scope="session", scope="session")
async def rig(rigs: Rigs) -> EthereumRig:
    made: EthereumRig = await rigs.get("ethereum")
    return made


@pytest_asyncio.fixture(loop_scope="session")
async def proxy(rig: EthereumRig) -> AsyncIterator[LyingRpc]:
    async with LyingRpc(rig.devnet.rpc_url) as made:
        yield made


@pytest_asyncio.fixture(loop_scope="session")
async def port(rig: EthereumRig, proxy: LyingRpc) -> AsyncIterator[EvmPort]:
    made = through(rig, proxy.url)
    yield made
    await made.close()


def through(rig: EthereumRig, *urls: str, **changes: Any) -> EvmPort:
    changed = msgspec.structs.replace(rig.devnet.settings, rpc_urls=urls, ws_url="", **changes)
    return open_port(changed, devnet_key("watcher"))


def refused(call: dict[str, Any], code: int, message: str) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "id": call["id"], "error": {"code": code, "message": message}}


def with_bloom(call: dict[str, Any], answer: dict[str, Any], byte: str) -> dict[str, Any]:
    if call["method"].startswith("eth_getBlockBy") and answer.get("result"):
        return {**answer, "result": {**answer["result"], "logsBloom": "0x" + byte * 256}}
    return answer


# ---------------------------------------------------------------------- limits (c04, c12)


async def test_ten_blocks_of_logs_at_a_time_are_enough_to_catch_up(
    scene: Scene, rig: EthereumRig, proxy: LyingRpc, port: EvmPort
) -> None:
    ours, theirs = await scene.port("bridge"), await scene.port("user")
    watcher = Watcher(port)
    await watcher.look()
    first = await scene.done(theirs, LockAction(await scene.terms(theirs, ours, SECRET)))
    await rig.devnet.mine(28)
    terms = await scene.terms(theirs, ours, SECRET, lifetime=20_000)
    second = await scene.done(theirs, LockAction(terms))
    widths: list[int] = []

    def limited(call: dict[str, Any], answer: dict[str, Any]) -> dict[str, Any]:
        if call["method"] == "eth_getLogs":
            start, end = (int(call["params"][0][key], 16) for key in ("fromBlock", "toBlock"))
            widths.append(end - start + 1)
            if end - start >= 10:
                words = (
                    "Under the Free tier plan, you can make eth_getLogs requests with up to a 10 block range."
                )
                return refused(call, -32600, words)
        return answer

    proxy.mangle = limited
    scan = await watcher.look()
    assert [event.tx_id for event in scan.events] == [first.tx_id, second.tx_id]
    widths.clear()
    absent = msgspec.structs.replace(terms, amount=5)
    since = BlockHeight(scan.tip.block.height - 25)
    assert await port.read_lock(port.lock_id(absent), absent, since=since) is LockStatus.ABSENT
    assert max(widths) <= 10, "what it takes is remembered"


async def test_ten_calls_at_a_time_are_enough_to_catch_up(rig: EthereumRig) -> None:
    async def handle(request: web.Request) -> web.Response:
        calls = await request.json()
        if isinstance(calls, list) and len(calls) > 10:
            error = {"code": -32014, "message": "Batch of more than 10 requests are not allowed"}
            return web.json_response({"jsonrpc": "2.0", "id": None, "error": error})
        async with httpx.AsyncClient() as client:
            return web.json_response((await client.post(rig.devnet.rpc_url, json=calls)).json())

    app = web.Application()
    app.router.add_post("/", handle)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    port = through(rig, f"http://127.0.0.1:{runner.addresses[0][1]}")
    watcher = Watcher(port)
    await watcher.look()
    await rig.devnet.mine(30)
    assert len((await watcher.look()).blocks) == 30
    await port.close()
    await runner.cleanup()


# ---------------------------------------------------------------------- blooms (c05, c13)


@pytest.mark.parametrize("missing", [(), ("eth_getBlockReceipts",), ("eth_getBlockReceipts", "eth_getLogs")])
async def test_a_filter_that_says_perhaps_stops_nothing(
    scene: Scene, rig: EthereumRig, proxy: LyingRpc, port: EvmPort, missing: tuple[str, ...]
) -> None:
    """Without eth_getBlockReceipts single receipts tell; they also tell where logs cannot be searched."""
    ours, theirs = await scene.port("bridge"), await scene.port("user")
    watcher = Watcher(port)
    await watcher.look()

    def saturated(call: dict[str, Any], answer: dict[str, Any]) -> dict[str, Any]:
        if call["method"] in missing:
            return refused(call, -32601, f"the method {call['method']} does not exist/is not available")
        return with_bloom(call, answer, "ff")

    proxy.mangle = saturated
    await rig.devnet.mine(3)
    assert (await watcher.look()).events == ()
    tx = await scene.done(theirs, LockAction(await scene.terms(theirs, ours, SECRET)))
    assert [event.tx_id for event in (await watcher.look()).events] == [tx.tx_id]


async def test_an_empty_filter_hides_nothing(
    scene: Scene, rig: EthereumRig, proxy: LyingRpc, port: EvmPort
) -> None:
    ours, theirs = await scene.port("bridge"), await scene.port("user")
    watcher = Watcher(port)
    await watcher.look()
    proxy.mangle = lambda call, answer: with_bloom(call, answer, "00")
    tx = await scene.done(theirs, LockAction(await scene.terms(theirs, ours, SECRET)))
    assert [event.tx_id for event in (await watcher.look()).events] == [tx.tx_id]


async def test_full_filters_are_checked_in_parallel(rig: EthereumRig, proxy: LyingRpc, port: EvmPort) -> None:
    watcher = Watcher(port)
    await watcher.look()
    await rig.devnet.mine(50)
    proxy.mangle = lambda call, answer: with_bloom(call, answer, "ff")
    proxy.delay = 0.15
    proxy.seen.clear()
    began = time.perf_counter()
    assert len((await watcher.look()).blocks) == 50
    # One by one they took 50 × 0.15 s at least.
    assert time.perf_counter() - began < 5
    assert proxy.seen.count("eth_getBlockReceipts") == 50


# ---------------------------------------------------------------------- reorgs (c06)


@pytest.mark.parametrize(("depth", "most"), [(1, 6), (9, 14)])
async def test_a_reorg_asks_for_few_headers(
    scene: Scene, rig: EthereumRig, proxy: LyingRpc, port: EvmPort, depth: int, most: int
) -> None:
    ours = await scene.port("bridge")
    watcher = Watcher(port)
    await watcher.look()
    await rig.devnet.mine(70)
    await watcher.look()
    tx = await scene.done(ours, CancelAction())
    await rig.devnet.mine(depth - 1)
    await watcher.look()
    await rig.devnet.reorg(depth, [tx.tx_id])
    proxy.seen.clear()
    scan = await watcher.look()
    assert len(scan.orphaned) == depth
    # The new blocks themselves, the head, and the final one are among what is asked for.
    assert proxy.seen.count("eth_getBlockByNumber") <= most + depth + 1


# ---------------------------------------------------------------------- what comes back


WRONG: dict[str, dict[str, Any]] = {
    "another contract's": {"address": "0x" + "12" * 20},
    "of another topic": {"topics": ["0x" + "34" * 32, "0x" + "56" * 32]},
    "of another height": {"blockNumber": "0x1"},
    "removed": {"removed": True},
    "of no block": {"blockHash": None},
}


@pytest.mark.parametrize("wrong", WRONG)
async def test_a_log_that_was_not_asked_for_is_not_believed(
    scene: Scene, rig: EthereumRig, proxy: LyingRpc, port: EvmPort, wrong: str
) -> None:
    ours, theirs = await scene.port("bridge"), await scene.port("user")
    watcher = Watcher(port)
    await watcher.look()
    tx = await scene.done(theirs, LockAction(await scene.terms(theirs, ours, SECRET)))

    def lying(call: dict[str, Any], answer: dict[str, Any]) -> dict[str, Any]:
        if call["method"] == "eth_getLogs":
            return {**answer, "result": [{**log, **WRONG[wrong]} for log in answer["result"]]}
        return answer

    proxy.mangle = lying
    with pytest.raises(PortUnavailableError):
        await watcher.look()
    proxy.mangle = None
    assert [event.tx_id for event in (await watcher.look()).events] == [tx.tx_id]


async def test_receipts_that_are_left_out_are_missed(
    scene: Scene, rig: EthereumRig, proxy: LyingRpc, port: EvmPort
) -> None:
    ours, theirs = await scene.port("bridge"), await scene.port("user")
    watcher = Watcher(port)
    await watcher.look()
    await scene.done(theirs, LockAction(await scene.terms(theirs, ours, SECRET)))
    proxy.mangle = lambda call, answer: (
        {**answer, "result": []} if call["method"] in {"eth_getLogs", "eth_getBlockReceipts"} else answer
    )
    with pytest.raises(PortUnavailableError):
        await watcher.look()


async def test_a_claim_with_what_does_not_open_the_lock_is_no_claim(
    scene: Scene, rig: EthereumRig, proxy: LyingRpc, port: EvmPort
) -> None:
    """The contract logs no such thing, an endpoint may."""
    ours, theirs = await scene.port("bridge"), await scene.port("user")
    terms = await scene.terms(theirs, ours, SECRET)
    watcher = Watcher(port)
    await watcher.look()
    await scene.done(theirs, LockAction(terms))
    await watcher.look()
    tx = await scene.done(ours, ClaimAction(terms, SECRET))

    def lying(call: dict[str, Any], answer: dict[str, Any]) -> dict[str, Any]:
        if call["method"] == "eth_getLogs":
            return {**answer, "result": [{**log, "data": "0x" + "77" * 32} for log in answer["result"]]}
        return answer

    proxy.mangle = lying
    scan = await watcher.look()
    (spent,) = [event for event in scan.events if not isinstance(event, Revealed)]
    assert isinstance(spent, Spent)
    assert (spent.lock_id, spent.tx_id) == (port.lock_id(terms), tx.tx_id)
    assert await port.read_lock(port.lock_id(terms), terms) is LockStatus.SPENT


# ---------------------------------------------------------------------- what transactions show


async def test_a_claim_that_reverts_shows_its_preimage(scene: Scene, rig: EthereumRig, port: EvmPort) -> None:
    ours, theirs = await scene.port("bridge"), await scene.port("user")
    terms = await scene.terms(theirs, ours, SECRET)
    claim = ours.unsigned(ClaimAction.purpose, terms, SECRET)
    watcher = Watcher(port)
    await watcher.look()
    (tx_id,) = await rig.send_from_wallet(f"{scene.name}/bridge", claim, terms)
    await rig.devnet.mine(1)
    assert (await node(rig, "eth_getTransactionReceipt", tx_id))["status"] == "0x0"
    scan = await watcher.look()
    shown = [event for event in scan.events if isinstance(event, Revealed)]
    assert {event.tx_id for event in shown} == {tx_id}
    assert SECRET in [event.preimage for event in shown]
    assert len(shown) == len(scan.events)


async def test_what_cannot_be_read_is_set_aside_and_stops_nothing(
    scene: Scene, rig: EthereumRig, proxy: LyingRpc, port: EvmPort
) -> None:
    ours, theirs = await scene.port("bridge"), await scene.port("user")
    watcher = Watcher(port)
    await watcher.look()
    tx = await scene.done(theirs, LockAction(await scene.terms(theirs, ours, SECRET)))

    def strange(call: dict[str, Any], answer: dict[str, Any]) -> dict[str, Any]:
        if call["method"] == "eth_getBlockByHash" and call["params"][1]:
            odd = {"type": "0x99", "hash": "0x" + "99" * 32, "payload": ["not", "calldata"]}
            return {**answer, "result": {**answer["result"], "transactions": [odd, None]}}
        return answer

    proxy.mangle = strange
    scan = await watcher.look()
    assert [item.item for item in scan.set_aside] == ["0x" + "99" * 32, "transaction 1"]
    assert all(item.block == scan.blocks[-1] for item in scan.set_aside)
    assert [event.tx_id for event in scan.events] == [tx.tx_id]


async def test_a_block_whose_transactions_nobody_serves_is_set_aside(
    scene: Scene, rig: EthereumRig, proxy: LyingRpc, port: EvmPort
) -> None:
    ours, theirs = await scene.port("bridge"), await scene.port("user")
    watcher = Watcher(port)
    await watcher.look()
    tx = await scene.done(theirs, LockAction(await scene.terms(theirs, ours, SECRET)))

    def broken(call: dict[str, Any], answer: dict[str, Any]) -> dict[str, Any]:
        if call["method"] == "eth_getBlockByHash":
            return refused(call, -32000, "unsupported transaction type")
        return answer

    proxy.mangle = broken
    for _ in range(10):
        try:
            scan = await watcher.look()
        except PortUnavailableError:
            continue
        break
    assert [item.item for item in scan.set_aside] == [scan.blocks[-1].id]
    assert [event.tx_id for event in scan.events] == [tx.tx_id]


# ---------------------------------------------------------------------- history


async def test_what_nobody_kept_is_not_absent(
    scene: Scene, rig: EthereumRig, proxy: LyingRpc, port: EvmPort
) -> None:
    """An endpoint without old blocks or receipts answers [] where the claim was."""
    ours, theirs = await scene.port("bridge"), await scene.port("user")
    terms = await scene.terms(theirs, ours, SECRET)
    lock = await scene.done(theirs, LockAction(terms))
    before = BlockHeight((await port.tip()).block.height - 1)
    claim = await scene.done(ours, ClaimAction(terms, SECRET))
    lock_id = port.lock_id(terms)
    assert await port.read_lock(lock_id, terms, since=before) is LockStatus.CLAIMED
    pruned_from = before + 1
    await rig.devnet.mine(3)

    def pruned(call: dict[str, Any], answer: dict[str, Any]) -> dict[str, Any]:
        match call["method"]:
            case "eth_getLogs":
                return {**answer, "result": []}
            case "eth_getBlockByNumber" if call["params"][0].startswith("0x"):
                kept = int(call["params"][0], 16) > pruned_from
                return answer if kept else {**answer, "result": None}
            case "eth_getTransactionReceipt":
                return {**answer, "result": None}
        return answer

    proxy.mangle = pruned
    assert await port.read_lock(lock_id, terms, since=before) is LockStatus.UNKNOWN
    status = await port.tx_status(msgspec.structs.replace(claim, signed_height=BlockHeight(before)))
    assert status.state is TxState.UNSURE
    del lock


async def test_a_log_index_that_is_behind_makes_nothing_absent(
    scene: Scene, rig: EthereumRig, proxy: LyingRpc, port: EvmPort
) -> None:
    """Spends are not found, the lock's own log is, and the lock is not open: that does not fit together."""
    ours, theirs = await scene.port("bridge"), await scene.port("user")
    terms = await scene.terms(theirs, ours, SECRET)
    before = (await port.tip()).block.height
    await scene.done(theirs, LockAction(terms))
    await scene.done(ours, ClaimAction(terms, SECRET))

    def behind(call: dict[str, Any], answer: dict[str, Any]) -> dict[str, Any]:
        if call["method"] == "eth_getLogs" and call["params"][0]["topics"][1] == port.lock_id(terms):
            return {**answer, "result": []}
        return answer

    proxy.mangle = behind
    assert await port.read_lock(port.lock_id(terms), terms, since=before) is LockStatus.UNKNOWN


async def test_two_endpoints_must_agree_where_money_moves(
    scene: Scene, rig: EthereumRig, proxy: LyingRpc
) -> None:
    ours, theirs = await scene.port("bridge"), await scene.port("user")
    terms = await scene.terms(theirs, ours, SECRET)
    before = (await ours.tip()).block.height
    tx = await scene.done(theirs, LockAction(terms))
    port = through(rig, rig.devnet.rpc_url, proxy.url)
    lock_id = port.lock_id(terms)
    assert await port.read_lock(lock_id, terms, since=before, agreed=True) is LockStatus.OPEN
    assert (await port.tx_status(tx, agreed=True)).state is TxState.INCLUDED

    def denies(call: dict[str, Any], answer: dict[str, Any]) -> dict[str, Any]:
        if call["method"] == "eth_call":
            return {**answer, "result": "0x" + "00" * 32}
        if call["method"] == "eth_getTransactionReceipt":
            return {**answer, "result": None}
        return answer

    proxy.mangle = denies
    assert await port.read_lock(lock_id, terms, since=before, agreed=True) is LockStatus.UNKNOWN
    assert (await port.tx_status(tx, agreed=True)).state is TxState.UNSURE
    await port.close()


async def test_a_status_read_while_the_chain_moved_is_read_again(
    scene: Scene, rig: EthereumRig, proxy: LyingRpc
) -> None:
    ours, theirs = await scene.port("bridge"), await scene.port("user")
    tx = await scene.done(theirs, LockAction(await scene.terms(theirs, ours, SECRET)))
    port = through(rig, rig.devnet.rpc_url, proxy.url)
    gone = 2

    def moved(call: dict[str, Any], answer: dict[str, Any]) -> dict[str, Any]:
        nonlocal gone
        if call["method"] != "eth_getBlockByHash" or not gone:
            return answer
        gone -= 1
        return {**answer, "result": None}

    proxy.mangle = moved
    assert (await port.tx_status(tx, agreed=True)).state is TxState.INCLUDED
    assert not gone
    await port.close()


async def test_a_refund_is_one_by_the_contracts_own_log(
    scene: Scene, rig: EthereumRig, port: EvmPort
) -> None:
    ours, theirs = await scene.port("bridge"), await scene.port("user")
    terms = await scene.terms(theirs, ours, SECRET, lifetime=100)
    watcher = Watcher(port)
    await watcher.look()
    await scene.done(theirs, LockAction(terms))
    await rig.devnet.advance_time(200)
    await scene.done(theirs, RefundAction(terms))
    locked, refunded = (await watcher.look()).events
    assert isinstance(locked, Locked)
    assert isinstance(refunded, Refunded)
    assert refunded.lock_id == port.lock_id(terms)
    assert await port.read_lock(port.lock_id(terms), terms) is LockStatus.REFUNDED
    other = LockId("0x" + "00" * 32)
    assert await port.read_lock(other, terms) is LockStatus.ABSENT


async def test_claims_of_bytes_are_claims(scene: Scene, rig: EthereumRig, port: EvmPort) -> None:
    ours, theirs = await scene.port("bridge"), await scene.port("user")
    short = Preimage(b"seven")
    terms = await scene.terms(theirs, ours, short)
    watcher = Watcher(port)
    await watcher.look()
    await scene.done(theirs, LockAction(terms))
    tx = await ours.prepare(ClaimAction(terms, short), await ours.next_sequence(), FeeLevel())
    await ours.broadcast(tx)
    await rig.devnet.mine(1)
    _, claimed = (await watcher.look()).events
    assert isinstance(claimed, Claimed)
    assert claimed.preimage == short
