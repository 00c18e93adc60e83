"""Small amounts settle by depth; all else waits until the network itself calls the block final, too."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
import pytest_asyncio
from prometheus_client import CollectorRegistry

from bridge.chains.actions import LockAction
from bridge.chains.config import TimingConfig
from bridge.chains.errors import PortUnavailableError
from bridge.chains.network import Network
from bridge.chains.port import ChainPort
from bridge.client.swap import LockWatch
from bridge.engine.ingest import Ingest
from bridge.engine.metrics import Metrics
from bridge.protocol.types import Amount, LegState, LockTerms, Preimage, Swap
from bridge.store import Store
from bridge.store.records import SwapMeta
from relayers.daemon.status import StatusKeeper
from relayers.daemon.watcher import ChainWatcher
from relayers.evm.adapter import EvmPort, open_port
from relayers.evm.plugin import EvmSection
from relayers.evm.profiles import profile_for
from tests import instances
from tests.conformance.ethereum_calls import rpc
from tests.conformance.ethereum_rig import EthereumRig
from tests.conformance.lying_rpc import LyingRpc
from tests.conformance.rig import Rig, Scene, Watcher
from tests.unit import samples

ETHER = 10**18
EPOCH = 50
"""anvil then calls the 100th block below the head final, which is not a head of 96 confirmations yet."""


@pytest_asyncio.fixture(loop_scope="session", scope="module")
async def rig(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[EthereumRig]:
    made = EthereumRig(tmp_path_factory.mktemp("finality"), epoch=EPOCH)
    await made.start()
    yield made
    await made.stop()


def as_rig(rig: Any) -> Rig:
    made: Rig = rig
    return made


async def finalized(rig: EthereumRig) -> int:
    return int((await rpc(rig, "eth_getBlockByNumber", "finalized", False))["number"], 16)


# ---------------------------------------------------------------------- what the port reads


async def test_the_tip_says_what_the_network_calls_final(rig: EthereumRig) -> None:
    port = rig.port("reader")
    await rig.devnet.mine(2 * EPOCH + 7)
    tip = await port.tip()
    assert tip.finalized == await finalized(rig) == tip.block.height - 2 * EPOCH
    assert (await port.scan([], 10)).tip == tip


async def test_where_finalized_means_nothing_it_is_not_asked_for(rig: EthereumRig) -> None:
    async with LyingRpc(rig.devnet.rpc_url) as between:
        settings = msgspec.structs.replace(
            rig.devnet.settings, rpc_urls=(between.url,), reads_finalized=False
        )
        port = open_port(settings, bytes(31) + b"\7")
        asked: list[Any] = []

        def note(call: dict[str, Any], answer: dict[str, Any]) -> dict[str, Any]:
            asked.append(call["params"])
            return answer

        between.mangle = note
        assert (await port.tip()).finalized is None
        assert (await port.scan([], 10)).tip.finalized is None
        await port.close()
    assert asked
    assert not any("finalized" in params for params in asked)


@pytest.mark.parametrize(
    "nothing", [{"error": {"code": -39001, "message": "Unknown block"}}, {"result": None}]
)
async def test_before_there_is_a_final_block_the_chain_is_followed_all_the_same(
    rig: EthereumRig, nothing: dict[str, Any]
) -> None:
    async with LyingRpc(rig.devnet.rpc_url) as between:
        port = through(rig, between)
        between.mangle = answered("finalized", nothing)
        scan = await port.scan([], 10)
        assert len(scan.blocks) == 1
        assert scan.tip.finalized is None
        await port.close()


async def test_a_final_block_of_another_branch_is_not_believed(rig: EthereumRig) -> None:
    """An endpoint of several nodes: one is on a branch that the other has left."""
    watcher = Watcher(rig.port("reader"))
    await watcher.look()
    await rig.devnet.mine(2 * EPOCH + 3)
    while (await watcher.look(60)).blocks:
        continue
    block = await rpc(rig, "eth_getBlockByNumber", "finalized", False)
    async with LyingRpc(rig.devnet.rpc_url) as between:
        port = through(rig, between)
        between.mangle = answered("finalized", {"result": {**block, "hash": "0x" + "ab" * 32}})
        with pytest.raises(PortUnavailableError):
            await port.scan(watcher.ring, 10)
        between.mangle = None
        assert (await port.scan(watcher.ring, 10)).tip.finalized == int(block["number"], 16)
        await port.close()


def through(rig: EthereumRig, between: LyingRpc) -> EvmPort:
    settings = msgspec.structs.replace(rig.devnet.settings, rpc_urls=(between.url,), ws_url="")
    return open_port(settings, bytes(31) + b"\7")


def answered(tag: str, changed: dict[str, Any]) -> Any:
    def mangle(call: dict[str, Any], answer: dict[str, Any]) -> dict[str, Any]:
        if call["params"] and call["params"][0] == tag:
            return {"jsonrpc": "2.0", "id": call["id"], **changed}
        return answer

    return mangle


# ---------------------------------------------------------------------- what the bridge does with it


def following(port: ChainPort, store: Store) -> ChainWatcher:
    """The part of the daemon that follows a chain and settles what is final."""
    metrics = Metrics(CollectorRegistry())
    status = StatusKeeper(port, store, metrics, (), 5.0)
    return ChainWatcher(port, store, Ingest(store, port.chain), status, metrics, 200)


def mainnet(chain_id: int) -> TimingConfig:
    return EvmSection(chain_id=chain_id).timing_on(Network.MAIN)


def ethereum_swap(number: int, secret: Preimage, source: LockTerms) -> Swap:
    """A swap as it would be sold on Ethereum itself: its amount decides what is final."""
    model = samples.swap(number)
    timing = mainnet(1).for_amount(source.asset, source.amount)
    return msgspec.structs.replace(
        model,
        hashlock=secret.hashlock(),
        source=msgspec.structs.replace(model.source, terms=source),
        destination=msgspec.structs.replace(
            model.destination,
            terms=msgspec.structs.replace(model.destination.terms, hashlock=secret.hashlock()),
        ),
        policy=msgspec.structs.replace(model.policy, source=timing, lock_by=2**40),
        accepted=True,
    )


async def test_one_wei_settles_at_64_blocks_and_a_large_amount_at_96_only_when_ethereum_calls_it_final(
    rig: EthereumRig, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    scene = Scene(as_rig(rig), request.node.name)
    ours, user = await scene.port("bridge"), await scene.port("user")
    await rig.devnet.fund(user.account, rig.native, 2_000_000 * ETHER)
    store = Store.open(f"sqlite:///{tmp_path}/bridge.db", secrets_key=bytes(32))
    watcher = following(ours, store)
    await watcher.watch()

    swaps = {}
    for number, amount in ((1, 1), (2, 1_000_000 * ETHER)):
        secret = samples.preimage(number)
        terms = msgspec.structs.replace(await scene.terms(user, ours, secret), amount=amount)
        swaps[amount] = ethereum_swap(number, secret, terms)
        with store.transaction() as tx:
            tx.swaps.add(swaps[amount], SwapMeta())
        await scene.sent(user, LockAction(terms))
        await rig.devnet.mine(1)
    small, large = swaps[1], swaps[1_000_000 * ETHER]
    assert (small.policy.source.finality_depth, small.policy.source.needs_finalized) == (64, False)
    assert (large.policy.source.finality_depth, large.policy.source.needs_finalized) == (96, True)

    async def states(deeper: int) -> list[LegState]:
        await rig.devnet.mine(deeper)
        await watcher.watch()
        with store.reading() as tx:
            found = [tx.swaps.get(swap.id) for swap in (small, large)]
        return [stored.swap.source.state for stored in found if stored is not None]

    # The small lock lies one block below the large one.
    assert await states(61) == [LegState.SEEN, LegState.SEEN]
    assert await states(1) == [LegState.FINAL, LegState.SEEN]
    assert await states(95 - 62) == [LegState.FINAL, LegState.SEEN], "96 confirmations, but not final"
    assert await finalized(rig) < (await ours.tip()).block.height - 95
    assert await states(2 * EPOCH - 95 - 1) == [LegState.FINAL, LegState.SEEN]
    assert await states(1) == [LegState.FINAL, LegState.FINAL]
    store.close()


async def test_an_endpoint_that_knows_no_final_block_settles_nothing_large(
    rig: EthereumRig, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    scene = Scene(as_rig(rig), request.node.name)
    ours, user = await scene.port("bridge"), await scene.port("user")
    store = Store.open(f"sqlite:///{tmp_path}/bridge.db", secrets_key=bytes(32))
    async with LyingRpc(rig.devnet.rpc_url) as between:
        port = through(rig, between)
        watcher = following(port, store)
        between.mangle = answered("finalized", {"error": {"code": -32602, "message": "invalid block tag"}})
        await watcher.watch()
        secret = samples.preimage(3)
        terms = await scene.terms(user, ours, secret)
        terms = msgspec.structs.replace(terms, recipient=port.account, amount=1)
        sold = ethereum_swap(3, secret, terms)
        timing = msgspec.structs.replace(sold.policy.source, finality_depth=2, finalized_after=10)
        sold = msgspec.structs.replace(sold, policy=msgspec.structs.replace(sold.policy, source=timing))
        with store.transaction() as tx:
            tx.swaps.add(sold, SwapMeta())
        await scene.done(user, LockAction(terms))
        await rig.devnet.mine(2 * EPOCH + 5)

        async def state() -> LegState:
            await watcher.watch()
            with store.reading() as tx:
                stored = tx.swaps.get(sold.id)
            assert stored is not None
            return stored.swap.source.state

        assert await state() is LegState.SEEN
        between.mangle = None
        await rig.devnet.mine(1)
        assert await state() is LegState.FINAL
        await port.close()
    store.close()


async def test_a_user_waits_for_the_same_before_the_secret_goes_out(
    rig: EthereumRig, request: pytest.FixtureRequest
) -> None:
    scene = Scene(as_rig(rig), request.node.name)
    ours, user = await scene.port("bridge"), await scene.port("user")
    terms = await scene.terms(ours, user, samples.preimage(4))
    await scene.done(ours, LockAction(terms))
    watch = LockWatch(user, terms)
    await watch.look()
    await rig.devnet.mine(2 * EPOCH - 1)
    evidence = await watch.look()
    assert (evidence.confirmations, evidence.finalized) == (2 * EPOCH, False)
    await rig.devnet.mine(1)
    assert (await watch.look()).finalized


def test_the_default_configuration_is_the_profile_of_ethereum() -> None:
    timing, profile = mainnet(1), profile_for(1, "main")
    asset = samples.ETH
    assert asset.chain == instances.ETHEREUM
    threshold = int(profile.finalized_above) * ETHER
    assert timing.for_amount(asset, Amount(threshold)) == profile.timing(small=True)
    assert timing.for_amount(asset, Amount(threshold + 1)) == profile.timing()
    token = msgspec.structs.replace(asset, symbol="USDC", decimals=6, contract="0x" + "11" * 20)
    assert timing.for_amount(token, Amount(1)) == profile.timing(), "what a token is worth is not known"
