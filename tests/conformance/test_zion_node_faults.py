"""ZION: a node that lags, tampers with blocks, breaks or is another network's."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest
import pytest_asyncio

from bridge.chains.actions import ClaimAction, LockAction
from bridge.chains.errors import PortError, PortUnavailableError, TooDearError
from bridge.chains.port import FeeLevel, TxState
from bridge.keys.devkeys import devnet_key
from bridge.protocol.types import Preimage
from chain.rules.params import Network
from relayers.zion.adapter import ZionPort, open_port
from tests.conformance.conftest import Rigs
from tests.conformance.lying_rpc import LyingRpc
from tests.conformance.rig import Scene, Watcher
from tests.conformance.zion_rig import ZionRig

SECRET = Preimage(b"32 bytes against tampering nodes")


@pytest_asyncio.fixture(loop_scope="session", scope="session")
async def rig(rigs: Rigs) -> ZionRig:
    made: ZionRig = await rigs.get("zion")
    return made


@pytest_asyncio.fixture(loop_scope="session")
async def rpc(rig: ZionRig) -> AsyncIterator[LyingRpc]:
    async with LyingRpc(rig.devnet.rpc_url) as proxy:
        yield proxy


def through(rig: ZionRig, *urls: str, **changes: Any) -> ZionPort:
    changed = msgspec.structs.replace(rig.devnet.settings, rpc_urls=urls, **changes)
    return open_port(changed, devnet_key("watcher"))


@pytest.mark.parametrize("what", ["the preimage", "the amount", "left out"])
async def test_a_block_that_was_tampered_with_is_not_believed(
    scene: Scene, rig: ZionRig, rpc: LyingRpc, what: str
) -> None:
    ours, theirs = await scene.port("bridge"), await scene.port("user")
    port = through(rig, rpc.url)
    terms = await scene.terms(theirs, ours, SECRET)
    await scene.done(theirs, LockAction(terms))
    watcher = Watcher(port)
    await watcher.look()
    await scene.done(ours, ClaimAction(terms, SECRET))

    def tamper(call: dict[str, Any], answer: dict[str, Any]) -> dict[str, Any]:
        if call["method"] != "getBlock":
            return answer
        coinbase, claiming = answer["result"]["transactions"]
        raw = bytearray.fromhex(claiming["raw"])
        if what == "the preimage":
            raw[128 + 98] ^= 1
        else:
            raw[16] ^= 1
        changed = [coinbase] if what == "left out" else [coinbase, {**claiming, "raw": raw.hex()}]
        return {**answer, "result": {**answer["result"], "transactions": changed}}

    rpc.mangle = tamper
    with pytest.raises(PortUnavailableError, match="not its id's"):
        await watcher.look()
    rpc.mangle = None
    assert len((await watcher.look()).events) == 1
    await port.close()


async def test_a_header_that_was_tampered_with_is_not_believed(rig: ZionRig, rpc: LyingRpc) -> None:
    port = through(rig, rpc.url)

    def tamper(call: dict[str, Any], answer: dict[str, Any]) -> dict[str, Any]:
        if call["method"] != "getHeader":
            return answer
        raw = bytearray.fromhex(answer["result"]["raw"])
        raw[3] ^= 1
        return {**answer, "result": {**answer["result"], "raw": raw.hex()}}

    rpc.mangle = tamper
    with pytest.raises(PortUnavailableError, match="not its id's"):
        await port.tip()
    await port.close()


async def test_two_nodes_one_block_apart_agree_where_a_transaction_is(
    scene: Scene, rig: ZionRig, rpc: LyingRpc
) -> None:
    ours, theirs = await scene.port("bridge"), await scene.port("user")
    port = through(rig, rig.devnet.rpc_url, rpc.url)
    tx = await scene.sent(theirs, LockAction(await scene.terms(theirs, ours, SECRET)))
    await rig.devnet.mine(3)

    def one_behind(call: dict[str, Any], answer: dict[str, Any]) -> dict[str, Any]:
        if call["method"] != "getHeader":
            return answer
        fewer = answer["result"]["confirmations"] - 1
        return {**answer, "result": {**answer["result"], "confirmations": fewer}}

    rpc.mangle = one_behind
    status = await port.tx_status(tx, agreed=True)
    assert (status.state, status.confirmations) == (TxState.INCLUDED, 2), "the smaller of 3 and 2"
    await port.close()


async def test_a_lagging_node_orphans_nothing(scene: Scene, rig: ZionRig, rpc: LyingRpc) -> None:
    port = through(rig, rpc.url)
    watcher = Watcher(port)
    await watcher.look()
    await rig.devnet.mine(5)
    await watcher.look()
    ring = list(watcher.ring)
    behind = ring[-3]

    def lag(call: dict[str, Any], answer: dict[str, Any]) -> dict[str, Any]:
        if call["method"] == "getInfo":
            return {**answer, "result": {**answer["result"], "height": behind.height, "best_id": behind.id}}
        return answer

    rpc.mangle = lag
    scan = await port.scan(ring, 10)
    assert (scan.orphaned, scan.blocks, scan.events) == ((), (), ())
    assert scan.tip.block == behind
    await port.close()


async def test_another_network_is_refused_with_a_hint(rig: ZionRig) -> None:
    port = through(rig, rig.devnet.rpc_url, network=Network.MAIN)
    with pytest.raises(PortError, match="dev network") as refusal:
        await port.tip()
    assert refusal.value.hint
    await port.close()


@pytest.mark.parametrize("fault", ["http 500", "garbage", "silence"])
async def test_a_broken_line_is_unavailable_and_its_key_stays_secret(
    rig: ZionRig, rpc: LyingRpc, fault: str
) -> None:
    port = through(rig, rpc.url, timeout=1.0)
    await port.tip()
    rpc.garbage, rpc.delay = fault == "garbage", 5.0 * (fault == "silence")
    rpc.status = 500 if fault == "http 500" else 200
    with pytest.raises(PortUnavailableError) as failure:
        await port.tip()
    assert failure.value.hint
    assert "secret-api-key" not in f"{failure.value} {failure.value.hint} {port!r} {port._settings!r}"
    await port.close()


async def test_the_next_url_serves_when_the_first_is_down(rig: ZionRig, rpc: LyingRpc) -> None:
    port = through(rig, rpc.url, rig.devnet.rpc_url)
    await port.tip()
    rpc.status = 503
    before = len(rpc.seen)
    await port.tip()
    await port.tip()
    assert len(rpc.seen) == before + 1, "it stays with the one that works"
    await port.close()


async def test_fees_over_the_cap_are_not_paid(scene: Scene, rig: ZionRig) -> None:
    ours, theirs = await scene.port("bridge"), await scene.port("user")
    tx = await scene.sent(ours, LockAction(await scene.terms(ours, theirs, SECRET)))
    terms = await scene.terms(ours, theirs, SECRET)
    with pytest.raises(TooDearError, match="cap"):
        await ours.prepare(LockAction(terms), tx.sequence, FeeLevel(1, {"fee": 10**8}))
