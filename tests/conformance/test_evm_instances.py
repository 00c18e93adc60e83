"""Two EVM networks side by side, with the same accounts: nothing made for one holds on the other."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import httpx
import msgspec
import pytest
import pytest_asyncio

from bridge.chains.actions import ClaimAction, CooperativeRefundAction, LockAction, RefundAction
from bridge.chains.errors import ActionRefusedError, BadAuthorizationError, PortError
from bridge.chains.port import (
    BroadcastOutcome,
    Claimed,
    FeeLevel,
    Locked,
    LockStatus,
    SignedTx,
)
from bridge.protocol.types import Amount, Asset, ChainId, LockId, LockTerms, Preimage, Purpose
from relayers.evm.adapter import EvmPort, open_port
from relayers.evm.settings import ETH
from tests import instances
from tests.conformance.conftest import Rigs
from tests.conformance.ethereum_calls import fields, function, selector
from tests.conformance.ethereum_rig import EthereumRig
from tests.conformance.rig import Scene, Watcher

POLYGON = ChainId("polygon")
SECRET = Preimage(b"one secret for two networks, say")
TERMS = "(address,address,address,uint256,bytes32,uint64,uint32)"
FOR_A_FEE = selector(f"claimFor(bytes,{TERMS},uint256,uint256,uint256,uint256,bytes)")
ORDINARY = selector("claimNative(uint256,bytes32,bytes32)")


@dataclass
class Pair:
    """The same lock, on both networks: equal in everything but the names of the chain and its asset."""

    ethereum: Scene
    polygon: Scene
    on_ethereum: LockTerms
    on_polygon: LockTerms

    async def port(self, chain: ChainId, role: str) -> EvmPort:
        scene = self.ethereum if chain == instances.ETHEREUM else self.polygon
        port = await scene.port(role)
        assert isinstance(port, EvmPort)
        return port


@pytest_asyncio.fixture(loop_scope="session")
async def pair(rigs: Rigs, request: pytest.FixtureRequest) -> Pair:
    ethereum = Scene(await rigs.get("ethereum"), request.node.name)
    polygon = Scene(await rigs.get("polygon"), request.node.name)
    ours, theirs = await ethereum.port("bridge"), await ethereum.port("user")
    times = [(await (await scene.port("bridge")).tip()).time for scene in (ethereum, polygon)]
    terms = await ethereum.terms(ours, theirs, SECRET)
    terms = msgspec.structs.replace(terms, deadline=max(times) + 10_000)
    await polygon.port("user")
    return Pair(
        ethereum,
        polygon,
        terms,
        msgspec.structs.replace(terms, chain=POLYGON, asset=polygon.rig.native),
    )


async def test_accounts_and_contract_are_the_same_on_both_and_lock_ids_are_not(pair: Pair) -> None:
    here = await pair.port(instances.ETHEREUM, "bridge")
    there = await pair.port(POLYGON, "bridge")
    assert (here.account, here.contract) == (there.account, there.contract)
    assert (here.chain, there.chain) == (instances.ETHEREUM, POLYGON)
    assert here.lock_id(pair.on_ethereum) != there.lock_id(pair.on_polygon)


async def test_a_lock_is_seen_on_its_own_network_alone_and_by_its_name(pair: Pair) -> None:
    here = await pair.port(instances.ETHEREUM, "bridge")
    there = await pair.port(POLYGON, "bridge")
    watchers = [Watcher(here), Watcher(there)]
    for watcher in watchers:
        await watcher.look()
    await pair.polygon.done(there, LockAction(pair.on_polygon))
    await pair.ethereum.rig.devnet.mine(1)
    scans = [await watcher.look() for watcher in watchers]
    assert scans[0].events == ()
    (event,) = scans[1].events
    assert isinstance(event, Locked)
    assert event.terms == pair.on_polygon
    assert event.terms.asset == Asset(POLYGON, "POL", 18)
    assert await there.read_lock(event.lock_id, pair.on_polygon) is LockStatus.OPEN


async def test_each_network_has_a_demo_token_of_its_own(pair: Pair) -> None:
    tokens = [pair.ethereum.rig.token, pair.polygon.rig.token]
    assert [token.key for token in tokens if token] == ["ethereum:DEMO", "polygon:DEMO"]
    port = await pair.polygon.port("bridge", *[token for token in tokens[1:] if token])
    terms = msgspec.structs.replace(pair.on_polygon, asset=tokens[1])
    watcher = Watcher(port)
    await watcher.look()
    await pair.polygon.done(port, LockAction(terms))
    (event,) = (await watcher.look()).events
    assert isinstance(event, Locked)
    assert event.terms == terms


@pytest.mark.parametrize(
    ("make", "role"),
    [(LockAction, "bridge"), (RefundAction, "bridge"), (CooperativeRefundAction, "user")],
)
async def test_a_lock_of_the_other_network_is_refused(pair: Pair, make: Any, role: str) -> None:
    here = await pair.port(instances.ETHEREUM, role)
    with pytest.raises(ActionRefusedError, match="polygon") as refusal:
        await here.prepare(make(pair.on_polygon), 0, FeeLevel())
    assert refusal.value.hint
    mixed = msgspec.structs.replace(pair.on_ethereum, asset=pair.on_polygon.asset)
    with pytest.raises(ActionRefusedError, match="polygon:POL"):
        here.unsigned(Purpose.LOCK, mixed)
    with pytest.raises(ActionRefusedError):
        await here.read_lock(LockId("0x00"), pair.on_polygon)


async def test_a_signed_transaction_lands_on_its_own_network_alone(pair: Pair) -> None:
    here = await pair.port(instances.ETHEREUM, "bridge")
    there = await pair.port(POLYGON, "bridge")
    tx = await here.prepare(LockAction(pair.on_ethereum), await here.next_sequence(), FeeLevel())
    assert (await there.broadcast(tx)).outcome is BroadcastOutcome.REJECTED
    assert (await here.broadcast(tx)).outcome is BroadcastOutcome.ACCEPTED
    await pair.ethereum.rig.devnet.mine(1)
    assert await here.read_lock(here.lock_id(pair.on_ethereum), pair.on_ethereum) is LockStatus.OPEN


async def test_a_signed_claim_for_one_network_gives_no_fee_on_the_other(pair: Pair) -> None:
    """The user signs for the lock on Polygon; with that the bridge can take nothing on Ethereum."""
    here, there = await pair.port(instances.ETHEREUM, "bridge"), await pair.port(POLYGON, "bridge")
    user = await pair.port(POLYGON, "user")
    await pair.ethereum.done(here, LockAction(pair.on_ethereum))
    await pair.polygon.done(there, LockAction(pair.on_polygon))
    assert there.authorizer is not None
    assert user.authorizer is not None
    assert here.authorizer is not None
    most = pair.on_polygon.amount // 2
    request = await there.authorizer.request(pair.on_polygon, Amount(most))
    signed = await user.authorizer.sign(pair.on_polygon, request, Amount(most))
    authorization = await there.authorizer.check(pair.on_polygon, signed, Amount(0))

    with pytest.raises(BadAuthorizationError, match="was not signed by"):
        await here.authorizer.check(pair.on_ethereum, signed, Amount(0))
    misused = await prepared(here, pair.on_ethereum, authorization)
    assert function(misused) == ORDINARY
    assert function(await prepared(there, pair.on_polygon, authorization)) == FOR_A_FEE


async def prepared(port: EvmPort, terms: LockTerms, authorization: bytes) -> SignedTx:
    action = msgspec.structs.replace(ClaimAction(terms, SECRET), authorization=authorization)
    return await port.prepare(action, await port.next_sequence(), FeeLevel())


async def test_a_user_signs_no_request_for_the_other_network(pair: Pair) -> None:
    there = await pair.port(POLYGON, "bridge")
    user = await pair.port(instances.ETHEREUM, "user")
    assert there.authorizer is not None
    assert user.authorizer is not None
    request = await there.authorizer.request(pair.on_polygon, Amount(1_000))
    with pytest.raises(BadAuthorizationError, match="does not fit the lock"):
        await user.authorizer.sign(pair.on_ethereum, request, Amount(1_000))


async def test_a_lock_given_back_on_one_network_is_not_given_back_on_the_other(pair: Pair) -> None:
    """What the recipient signed for Polygon, sent to the contract on Ethereum, reverts there."""
    here, there = await pair.port(instances.ETHEREUM, "bridge"), await pair.port(POLYGON, "bridge")
    user = await pair.port(POLYGON, "user")
    await pair.ethereum.done(here, LockAction(pair.on_ethereum))
    await pair.polygon.done(there, LockAction(pair.on_polygon))
    tx = await user.prepare(CooperativeRefundAction(pair.on_polygon), await user.next_sequence(), FeeLevel())
    assert "error" in await called(pair.ethereum.rig, tx)
    assert "error" not in await called(pair.polygon.rig, tx)


async def called(rig: Any, tx: SignedTx) -> dict[str, Any]:
    request = {"to": rig.devnet.contract, "data": "0x" + bytes(fields(tx)["data"]).hex(), "from": tx.account}
    body = {"jsonrpc": "2.0", "id": 1, "method": "eth_call", "params": [request, "latest"]}
    async with httpx.AsyncClient() as client:
        answer: dict[str, Any] = (await client.post(rig.devnet.rpc_url, json=body)).json()
    return answer


async def test_a_claim_on_one_network_shows_the_secret_and_spends_nothing_on_the_other(pair: Pair) -> None:
    here, there = await pair.port(instances.ETHEREUM, "bridge"), await pair.port(POLYGON, "bridge")
    await pair.ethereum.done(here, LockAction(pair.on_ethereum))
    await pair.polygon.done(there, LockAction(pair.on_polygon))
    user = await pair.port(POLYGON, "user")
    watcher = Watcher(there)
    await watcher.look()
    tx = await pair.polygon.done(user, ClaimAction(pair.on_polygon, SECRET))
    (event,) = (await watcher.look()).events
    assert event == Claimed(watcher.ring[-1], tx.tx_id, there.lock_id(pair.on_polygon), SECRET)
    assert await here.read_lock(here.lock_id(pair.on_ethereum), pair.on_ethereum) is LockStatus.OPEN


async def test_a_port_at_the_other_networks_node_is_refused(pair: Pair) -> None:
    rig: Any = pair.polygon.rig
    elsewhere = msgspec.structs.replace(
        rig.devnet.settings, rpc_urls=(pair.ethereum.rig.devnet.describe()["ethereum rpc"],)
    )
    port = open_port(elsewhere, bytes(31) + b"\1")
    with pytest.raises(PortError, match="serves chain id 31337; polygon is 31338"):
        await port.tip()
    await port.close()


async def test_assets_of_another_instance_are_no_settings(pair: Pair) -> None:
    rig: Any = pair.polygon.rig
    assert isinstance(rig, EthereumRig)
    for change in ({"native": ETH}, {"assets": (ETH,)}):
        with pytest.raises(PortError, match="ethereum:ETH") as refusal:
            msgspec.structs.replace(rig.devnet.settings, **change)
        assert refusal.value.hint
