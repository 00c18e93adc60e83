"""Ethereum: an RPC that lags, lies empty, disagrees with itself, hangs or is another network's."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest
import pytest_asyncio

from bridge.chains.actions import ClaimAction, LockAction
from bridge.chains.endpoints.selection import Rules
from bridge.chains.errors import PortError, PortUnavailableError
from bridge.chains.port import BroadcastOutcome, FeeLevel, LockStatus, TxState
from bridge.keys.devkeys import devnet_key
from bridge.protocol.types import Preimage
from relayers.evm import artifacts
from relayers.evm.adapter import EvmPort, open_port
from relayers.evm.settings import EvmSettings
from tests.conformance.conftest import Rigs
from tests.conformance.ethereum_rig import EthereumRig
from tests.conformance.lying_rpc import LyingRpc
from tests.conformance.rig import Scene, Watcher
from tests.conformance.test_endpoint_faults import pool_of

SECRET = Preimage(b"thirty-two bytes against liars..")


@pytest_asyncio.fixture(loop_scope="session", scope="session")
async def rig(rigs: Rigs) -> EthereumRig:
    made: EthereumRig = await rigs.get("ethereum")
    return made


@pytest_asyncio.fixture(loop_scope="session")
async def rpc(rig: EthereumRig) -> AsyncIterator[LyingRpc]:
    async with LyingRpc(rig.devnet.rpc_url) as proxy:
        yield proxy


def through(rig: EthereumRig, *urls: str, **changes: Any) -> EvmPort:
    changed = msgspec.structs.replace(rig.devnet.settings, rpc_urls=urls, ws_url="", **changes)
    return open_port(changed, devnet_key("watcher"))


async def test_a_lagging_log_index_hides_no_lock(scene: Scene, rig: EthereumRig, rpc: LyingRpc) -> None:
    ours, theirs = await scene.port("bridge"), await scene.port("user")
    port = through(rig, rpc.url)
    watcher = Watcher(port)
    await watcher.look()
    terms = await scene.terms(theirs, ours, SECRET)
    tx = await scene.done(theirs, LockAction(terms))
    rpc.mangle = lambda call, answer: {**answer, "result": []} if call["method"] == "eth_getLogs" else answer
    scan = await watcher.look()
    assert [event.tx_id for event in scan.events] == [tx.tx_id]
    await port.close()


async def test_a_lagging_node_orphans_nothing(scene: Scene, rig: EthereumRig, rpc: LyingRpc) -> None:
    port = through(rig, rpc.url)
    watcher = Watcher(port)
    await watcher.look()
    await rig.devnet.mine(5)
    await watcher.look()
    ring = list(watcher.ring)
    rpc.mangle = heads_at(ring[-3].height, await headers(rig, ring[-3].height))
    scan = await port.scan(ring, 10)
    assert (scan.orphaned, scan.blocks, scan.events) == ((), (), ())
    assert scan.tip.block.height == ring[-3].height
    rpc.mangle = heads_at(1, await headers(rig, 1))
    with pytest.raises(PortUnavailableError):
        await port.scan(ring, 10)
    await port.close()


async def test_a_node_that_never_agrees_with_itself_is_unavailable(
    scene: Scene, rig: EthereumRig, rpc: LyingRpc
) -> None:
    port = through(rig, rpc.url)
    watcher = Watcher(port)
    await watcher.look()
    await rig.devnet.mine(3)

    def breaks_the_chain(call: dict[str, Any], answer: dict[str, Any]) -> dict[str, Any]:
        if call["method"] == "eth_getBlockByNumber" and call["params"][0] != "latest":
            block = answer["result"]
            if int(block["number"], 16) == watcher.ring[-1].height + 2:
                return {**answer, "result": {**block, "parentHash": "0x" + "ab" * 32}}
        return answer

    rpc.mangle = breaks_the_chain
    with pytest.raises(PortUnavailableError):
        await watcher.look()
    rpc.mangle = None
    assert len((await watcher.look()).blocks) == 3
    await port.close()


async def test_a_block_that_is_missing_below_the_head_is_no_reorg(rig: EthereumRig, rpc: LyingRpc) -> None:
    port = through(rig, rpc.url)
    watcher = Watcher(port)
    await watcher.look()
    await rig.devnet.mine(3)
    await watcher.look()
    await rig.devnet.mine(2)
    gone = {hex(block.height) for block in watcher.ring[-2:]}

    def without(call: dict[str, Any], answer: dict[str, Any]) -> dict[str, Any]:
        lacks = call["method"] == "eth_getBlockByNumber" and call["params"][0] in gone
        return {**answer, "result": None} if lacks else answer

    rpc.mangle = without
    with pytest.raises(PortUnavailableError):
        await port.scan(watcher.ring, 10)
    await port.close()


async def test_a_block_that_is_missing_for_a_moment_is_no_reorg(rig: EthereumRig, rpc: LyingRpc) -> None:
    """The next question finds it again: to call it replaced would give up what still stands."""
    port = through(rig, rpc.url)
    watcher = Watcher(port)
    await watcher.look()
    await rig.devnet.mine(3)
    await watcher.look()
    await rig.devnet.mine(2)
    missing = {hex(block.height) for block in watcher.ring[-2:]}

    def without_once(call: dict[str, Any], answer: dict[str, Any]) -> dict[str, Any]:
        if call["method"] != "eth_getBlockByNumber" or call["params"][0] not in missing:
            return answer
        missing.remove(call["params"][0])
        return {**answer, "result": None}

    rpc.mangle = without_once
    scan = await watcher.look()
    assert len(missing) < 2, "one was asked for"
    assert (scan.orphaned, len(scan.blocks)) == ((), 2)
    await port.close()


async def test_blocks_that_were_read_are_not_read_again_after_a_failure(
    scene: Scene, rig: EthereumRig, rpc: LyingRpc
) -> None:
    """Else an endpoint that fails now and then never gives a long range of blocks with transactions."""
    ours, theirs = await scene.port("bridge"), await scene.port("user")
    port = through(rig, rpc.url)
    watcher = Watcher(port)
    await watcher.look()
    for number in range(8):
        terms = await scene.terms(theirs, ours, Preimage(bytes([number]) * 32))
        await scene.done(theirs, LockAction(terms))
    asked: list[str] = []

    def every_third_fails(call: dict[str, Any], answer: dict[str, Any]) -> dict[str, Any]:
        if call["method"] != "eth_getBlockByHash":
            return answer
        asked.append(call["params"][0])
        return {**answer, "result": 7} if len(asked) % 3 == 0 else answer

    rpc.mangle = every_third_fails
    scan = await watcher.look()
    assert len(scan.events) == 8
    assert len(asked) <= len(set(asked)) * 3 // 2 + 1
    await port.close()


async def test_logs_of_another_branch_are_not_believed(scene: Scene, rig: EthereumRig, rpc: LyingRpc) -> None:
    ours, theirs = await scene.port("bridge"), await scene.port("user")
    port = through(rig, rpc.url)
    watcher = Watcher(port)
    await watcher.look()
    await scene.done(theirs, LockAction(await scene.terms(theirs, ours, SECRET)))

    def elsewhere(call: dict[str, Any], answer: dict[str, Any]) -> dict[str, Any]:
        if call["method"] == "eth_getLogs":
            logs = [{**log, "blockHash": "0x" + "cd" * 32} for log in answer["result"]]
            return {**answer, "result": logs}
        return answer

    rpc.mangle = elsewhere
    with pytest.raises(PortUnavailableError):
        await watcher.look()
    await port.close()


async def test_another_network_is_refused_with_a_hint(rig: EthereumRig) -> None:
    port = through(rig, rig.devnet.rpc_url, chain_id=1)
    with pytest.raises(PortError, match="31337") as refusal:
        await port.tip()
    assert "chain id" in refusal.value.hint
    await port.close()


async def test_an_address_without_a_contract_is_refused_with_a_hint(rig: EthereumRig) -> None:
    port = through(rig, rig.devnet.rpc_url, contract=rig.other_address())
    with pytest.raises(PortError, match="no contract") as refusal:
        await port.tip()
    assert refusal.value.hint
    await port.close()


async def test_a_contract_of_other_code_is_refused_before_anything_is_sent_to_it(rig: EthereumRig) -> None:
    port = through(rig, rig.devnet.rpc_url, contract=rig.token.contract)
    with pytest.raises(PortError, match="not this version's HTLC") as refusal:
        await port.next_sequence()
    assert refusal.value.hint
    await port.close()


async def test_the_record_of_a_deployment_names_the_contract(rig: EthereumRig, tmp_path: Path) -> None:
    path = tmp_path / "anvil.json"
    record = artifacts.Deployment(
        network="ethereum-anvil",
        chain_id=rig.devnet.settings.chain_id,
        address=rig.devnet.contract,
        block=1,
        transaction=None,
        runtime_keccak="0x" + artifacts.load().runtime_keccak.hex(),
    )
    artifacts.write_deployment(path, record)
    port = through(rig, rig.devnet.rpc_url, contract=str(path))
    assert port.contract == rig.devnet.contract
    assert (await port.tip()).block.height > 0
    await port.close()
    artifacts.write_deployment(path, msgspec.structs.replace(record, chain_id=1))
    for wrong in (path, tmp_path / "missing.json"):
        with pytest.raises(PortError) as refusal:
            through(rig, rig.devnet.rpc_url, contract=str(wrong))
        assert refusal.value.hint


@pytest.mark.parametrize("fault", ["http 500", "http 429", "garbage", "silence", "busy"])
async def test_a_broken_line_is_unavailable_and_its_key_stays_secret(
    rig: EthereumRig, rpc: LyingRpc, fault: str
) -> None:
    port = through(rig, rpc.url, timeout=1.0)
    await port.tip()
    pool_of(port)._rules = Rules(patience=0.0)
    match fault:
        case "garbage":
            rpc.garbage = True
        case "silence":
            rpc.delay = 5
        case "busy":
            rpc.mangle = lambda call, answer: {
                "jsonrpc": "2.0",
                "id": call["id"],
                "error": {"code": -32005, "message": "limit exceeded"},
            }
        case _:
            rpc.status = int(fault.split()[1])
    with pytest.raises(PortUnavailableError) as failure:
        await port.tip()
    assert failure.value.hint
    shown = f"{failure.value} {failure.value.hint} {port!r} {through_settings(port)!r}"
    assert "secret-api-key" not in shown
    await port.close()


def through_settings(port: EvmPort) -> EvmSettings:
    return port._settings


async def test_the_next_url_serves_when_the_first_is_down(rig: EthereumRig, rpc: LyingRpc) -> None:
    port = through(rig, rpc.url, rig.devnet.rpc_url)
    await port.tip()
    rpc.status = 503
    before = len(rpc.seen)
    await port.tip()
    tried = len(rpc.seen)
    assert tried > before
    await port.tip()
    assert len(rpc.seen) == tried, "it stays with the one that works"
    await port.close()


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (-32603, "Internal error"),
        (-32000, "header not found"),
        (-32007, "50/second request limit reached"),
        (-32097, "rate limited"),
        (35, "Request timeout on the free tier"),
    ],
)
async def test_an_endpoint_that_answers_with_its_own_error_is_left_for_the_next(
    rig: EthereumRig, rpc: LyingRpc, code: int, words: str
) -> None:
    port = through(rig, rpc.url, rig.devnet.rpc_url)
    watcher = Watcher(port)
    await watcher.look()
    error = {"code": code, "message": words}
    rpc.mangle = lambda call, _: {"jsonrpc": "2.0", "id": call["id"], "error": error}
    await port.tip()
    await watcher.look()
    await port.next_sequence()
    await port.fees(rig.native)
    await port.close()


@pytest.mark.parametrize("code", [-32603, -32000, -32007, -1, 0])
async def test_only_the_ports_own_errors_leave_it(rig: EthereumRig, rpc: LyingRpc, code: int) -> None:
    port = through(rig, rpc.url)
    watcher = Watcher(port)
    await watcher.look()
    pool_of(port)._rules = Rules(patience=0.0)
    error = {"code": code, "message": "the endpoint's own words"}
    rpc.mangle = lambda call, _: {"jsonrpc": "2.0", "id": call["id"], "error": error}
    for job in (port.tip, watcher.look, port.next_sequence, lambda: port.fees(rig.native)):
        with pytest.raises(PortUnavailableError, match="the endpoint's own words") as failure:
            await job()
        assert failure.value.hint
        assert "endpoint 1 of 1 (127.0.0.1)" in str(failure.value)
    await port.close()


async def test_a_transaction_that_one_endpoint_loses_is_taken_by_the_other(
    scene: Scene, rig: EthereumRig, rpc: LyingRpc
) -> None:
    ours, theirs = await scene.port("bridge"), await scene.port("user")
    tx = await ours.prepare(
        LockAction(await scene.terms(ours, theirs, SECRET)), await ours.next_sequence(), FeeLevel()
    )
    port = through(rig, rpc.url, rig.devnet.rpc_url)
    await port.tip()
    rpc.mangle = lambda call, answer: (
        {"jsonrpc": "2.0", "id": call["id"], "error": {"code": -32000, "message": "replacement underpriced"}}
        if call["method"] == "eth_sendRawTransaction"
        else answer
    )
    assert (await port.broadcast(tx)).outcome in {BroadcastOutcome.ACCEPTED, BroadcastOutcome.ALREADY_KNOWN}
    await rig.devnet.mine(1)
    await port.close()


async def test_a_lost_answer_to_a_broadcast_is_no_harm(scene: Scene, rig: EthereumRig, rpc: LyingRpc) -> None:
    ours, theirs = await scene.port("bridge"), await scene.port("user")
    tx = await ours.prepare(
        LockAction(await scene.terms(ours, theirs, SECRET)), await ours.next_sequence(), FeeLevel()
    )
    port = through(rig, rpc.url)
    await port.tip()
    rpc.status = 502
    with pytest.raises(PortUnavailableError):
        await port.broadcast(tx)
    rpc.status = 200
    assert (await port.broadcast(tx)).outcome is BroadcastOutcome.ALREADY_KNOWN
    await rig.devnet.mine(1)
    assert (await port.tx_status(tx)).state is TxState.INCLUDED
    await port.close()


async def test_the_fate_of_a_lock_is_found_where_log_ranges_are_limited(
    scene: Scene, rig: EthereumRig, rpc: LyingRpc
) -> None:
    ours, theirs = await scene.port("bridge"), await scene.port("user")
    terms = await scene.terms(theirs, ours, SECRET)
    await scene.done(theirs, LockAction(terms))
    await scene.done(ours, ClaimAction(terms, SECRET))
    await rig.devnet.mine(600)

    def limited(call: dict[str, Any], answer: dict[str, Any]) -> dict[str, Any]:
        if call["method"] == "eth_getLogs":
            first, last = (int(call["params"][0][key], 16) for key in ("fromBlock", "toBlock"))
            if last - first >= 500:
                error = {"code": -32600, "message": "block range too wide"}
                return {"jsonrpc": "2.0", "id": call["id"], "error": error}
        return answer

    rpc.mangle = limited
    port = through(rig, rpc.url)
    assert await port.read_lock(port.lock_id(terms), terms) is LockStatus.CLAIMED
    await port.close()


async def test_a_claim_gets_through_a_hundredfold_fee_spike(scene: Scene, rig: EthereumRig) -> None:
    ours, theirs = await scene.port("bridge"), await scene.port("user")
    await rig.devnet.fund(ours.account, rig.native, 10**18)
    terms = await scene.terms(theirs, ours, SECRET)
    await scene.done(theirs, LockAction(terms))
    slow = await scene.sent(ours, ClaimAction(terms, SECRET))
    async with httpx.AsyncClient() as client:
        call = {"jsonrpc": "2.0", "id": 1, "method": "anvil_setNextBlockBaseFeePerGas", "params": [10**11]}
        await client.post(rig.devnet.rpc_url, json=call)
    await rig.devnet.mine(1)
    assert (await ours.tx_status(slow)).state in {TxState.PENDING, TxState.UNKNOWN}
    fast = await ours.prepare(ClaimAction(terms, SECRET), slow.sequence, FeeLevel(1, slow.fee))
    assert (await ours.broadcast(fast)).outcome is BroadcastOutcome.ACCEPTED
    await rig.devnet.mine(1)
    assert (await ours.tx_status(fast)).state is TxState.INCLUDED


async def headers(rig: EthereumRig, height: int) -> dict[str, Any]:
    async with httpx.AsyncClient() as client:
        call = {"jsonrpc": "2.0", "id": 1, "method": "eth_getBlockByNumber", "params": [hex(height), False]}
        return dict((await client.post(rig.devnet.rpc_url, json=call)).json()["result"])


def heads_at(height: int, header: dict[str, Any]) -> Any:
    """The node as it was when `height` was its head."""

    def mangle(call: dict[str, Any], answer: dict[str, Any]) -> dict[str, Any]:
        if call["method"] != "eth_getBlockByNumber":
            return answer
        wanted = call["params"][0]
        if wanted == "latest":
            return {**answer, "result": header}
        if wanted == "finalized":
            return {**answer, "result": None}
        return answer if int(wanted, 16) <= height else {**answer, "result": None}

    return mangle
