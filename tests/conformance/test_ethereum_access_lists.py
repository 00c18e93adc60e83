"""Ethereum: access lists where they pay, and no harm from an endpoint that has none or a wrong one."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest
import pytest_asyncio

from bridge.chains.actions import ClaimAction, LockAction, RefundAction
from bridge.chains.port import BroadcastOutcome, FeeLevel, TxState
from bridge.keys.devkeys import devnet_key
from bridge.protocol.types import Preimage
from relayers.evm.access import KEY_COST
from relayers.evm.adapter import EvmPort, open_port
from tests.conformance.conftest import Rigs
from tests.conformance.ethereum_calls import fields, gas_used
from tests.conformance.ethereum_rig import EthereumRig
from tests.conformance.lying_rpc import LyingRpc
from tests.conformance.rig import Scene

SECRET = Preimage(b"lists are paid for before use...")


@pytest_asyncio.fixture(loop_scope="session", scope="session")
async def rig(rigs: Rigs) -> EthereumRig:
    made: EthereumRig = await rigs.get("ethereum")
    return made


@pytest_asyncio.fixture(loop_scope="session")
async def rpc(rig: EthereumRig) -> AsyncIterator[LyingRpc]:
    async with LyingRpc(rig.devnet.rpc_url) as proxy:
        yield proxy


def through(rig: EthereumRig, rpc: LyingRpc, label: str) -> EvmPort:
    settings = msgspec.structs.replace(rig.devnet.settings, rpc_urls=(rpc.url,), ws_url="")
    return open_port(settings, devnet_key(label))


def answers(entries: list[dict[str, Any]] | None) -> Any:
    """The endpoint proposes this list, or says that it knows no such method."""

    def mangle(request: dict[str, Any], answer: dict[str, Any]) -> dict[str, Any]:
        if request["method"] != "eth_createAccessList":
            return answer
        if entries is None:
            error = {"code": -32601, "message": "the method eth_createAccessList does not exist"}
            return {"jsonrpc": "2.0", "id": request["id"], "error": error}
        return {**answer, "result": {"accessList": entries, "gasUsed": "0x5208"}}

    return mangle


@pytest.mark.parametrize("lane", [0, 4])
async def test_a_tokens_lock_claim_and_refund_list_the_token_and_cost_less(
    scene: Scene, rig: EthereumRig, rpc: LyingRpc, lane: int
) -> None:
    ours, theirs = await scene.port("bridge", rig.token), await scene.port("user", rig.token)
    without = through(rig, rpc, f"{scene.name}/bridge")
    rpc.mangle = answers(None)
    used: dict[EvmPort, list[int]] = {without: [], rig.port(f"{scene.name}/bridge"): []}
    warmup = await scene.terms(ours, theirs, SECRET, asset=rig.token)
    warmup = msgspec.structs.replace(warmup, lane=lane)
    await scene.done(ours, LockAction(warmup))
    await scene.done(theirs, ClaimAction(warmup, SECRET))
    for port, spent in used.items():
        terms = await scene.terms(ours, theirs, SECRET, asset=rig.token, lifetime=1_000)
        terms = msgspec.structs.replace(terms, lane=lane, amount=terms.amount + len(spent))
        for action in (LockAction(terms), ClaimAction(terms, SECRET), LockAction(terms)):
            spent.append(await gas_used(rig, await scene.done(port, action)))
        await rig.devnet.advance_time(1_001)
        tx = await scene.done(port, RefundAction(terms))
        spent.append(await gas_used(rig, tx))
        listed = [entry["address"] for entry in fields(tx)["accessList"]]
        assert [bytes(address) for address in listed] == (
            [] if port is without else [bytes.fromhex(rig.token.contract[2:])]
        )
    saved = [a - b for a, b in zip(*used.values(), strict=True)]
    # 100 for each slot and the token, less a fifth where the refund of gas is at its cap (EIP-3529), and the
    # deadlines' bytes differ by some gas.
    assert all(200 <= gas <= 440 for gas in saved), saved
    await without.close()


async def test_ether_paid_to_somebody_else_lists_the_account_and_to_oneself_nothing(scene: Scene) -> None:
    ours, theirs = await scene.port("bridge"), await scene.port("user")
    terms = await scene.terms(ours, theirs, SECRET)
    tx = await scene.done(ours, LockAction(terms))
    assert list(fields(tx)["accessList"]) == []
    own = await theirs.prepare(ClaimAction(terms, SECRET), await theirs.next_sequence(), FeeLevel())
    assert list(fields(own)["accessList"]) == []
    (entry,) = fields(await scene.done(ours, ClaimAction(terms, SECRET)))["accessList"]
    assert bytes(entry["address"]) == bytes.fromhex(theirs.account[2:])


async def test_a_list_of_things_that_are_never_touched_costs_gas_but_fails_nothing(
    scene: Scene, rig: EthereumRig, rpc: LyingRpc
) -> None:
    ours = await scene.port("bridge", rig.token)
    port = through(rig, rpc, f"{scene.name}/bridge")
    useless = [{"address": "0x" + "77" * 20, "storageKeys": [f"0x{key:064x}" for key in range(25)]}]
    rpc.mangle = answers(useless)
    terms = await scene.terms(ours, ours, SECRET, asset=rig.token)
    tx = await port.prepare(LockAction(terms), await port.next_sequence(), FeeLevel())
    assert tx.fee["gas"] > 25 * KEY_COST
    assert (await port.broadcast(tx)).outcome is BroadcastOutcome.ACCEPTED
    await rig.devnet.mine(1)
    assert (await ours.tx_status(tx)).state is TxState.INCLUDED
    await port.close()
