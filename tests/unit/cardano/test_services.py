"""Several Cardano services: identity, the age of heads, what two must agree on, and who gets transactions."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest
import pytest_asyncio

from bridge.chains.actions import ClaimAction, LockAction
from bridge.chains.errors import PortError, PortUnavailableError
from bridge.chains.family import Instance
from bridge.chains.network import Network as NetworkKind
from bridge.chains.port import BroadcastOutcome, FeeLevel, Locked, LockStatus, SignedTx, TxState
from bridge.keys.devkeys import devnet_key
from bridge.protocol.types import Amount, LockTerms, UnixSeconds
from relayers.cardano.adapter import CardanoPort, open_port
from relayers.cardano.devnet import CardanoDevnet
from relayers.cardano.plugin import OLDEST_HEAD, CardanoSection, settings_of
from relayers.cardano.settings import ADA, NETWORKS, CardanoSettings, Network
from tests import instances
from tests.unit.cardano.lying_web import SECRET_PATH, LyingWeb
from tests.unit.cardano.test_service_faults import SECRET

pytestmark = pytest.mark.asyncio(loop_scope="session")
KINDS = ("two hosted", "own node and hosted")


class Two:
    """A port with two services, each behind a proxy of its own that may lie."""

    def __init__(self, kind: str, devnet: CardanoDevnet, first: LyingWeb, second: LyingWeb) -> None:
        self.devnet, self.first, self.second = devnet, first, second
        other = second.hosted(devnet).blockfrost_url
        base = first.hosted(devnet) if kind == KINDS[0] else first.own_node(devnet)
        self.settings: CardanoSettings = msgspec.structs.replace(base, other_blockfrosts=((other, ""),))
        self.key = devnet_key(f"two services/{kind}")
        self.port: CardanoPort = open_port(self.settings, self.key)

    def opened_again(self, **changes: Any) -> CardanoPort:
        return open_port(msgspec.structs.replace(self.settings, **changes), self.key)

    async def terms(self) -> LockTerms:
        return LockTerms(
            chain=self.port.chain,
            contract=self.port.contract,
            sender=self.port.account,
            recipient=self.port.account,
            asset=ADA,
            amount=Amount(5_000_000),
            hashlock=SECRET.hashlock(),
            deadline=UnixSeconds((await self.port.tip()).time + 1_000),
        )

    async def locked(self) -> tuple[LockTerms, SignedTx]:
        terms = await self.terms()
        tx = await self.port.prepare(LockAction(terms), None, FeeLevel())
        assert (await self.port.broadcast(tx)).outcome is BroadcastOutcome.ACCEPTED
        await self.devnet.mine(1)
        return terms, tx

    async def status(self, terms: LockTerms, *, agreed: bool = True) -> LockStatus:
        return await self.port.read_lock(self.port.lock_id(terms), terms, agreed=agreed)


@pytest_asyncio.fixture(params=KINDS, loop_scope="session")
async def two(devnet: CardanoDevnet, request: pytest.FixtureRequest) -> AsyncIterator[Two]:
    async with LyingWeb(devnet) as first, LyingWeb(devnet) as second:
        made = Two(request.param, devnet, first, second)
        await devnet.fund(made.port.account, ADA, 100_000_000)
        yield made
        await made.port.close()


async def test_one_that_fails_is_left_for_the_other(two: Two) -> None:
    ring = (await two.port.scan((), 10)).blocks
    terms, _ = await two.locked()
    two.first.status = 500
    (event,) = (await two.port.scan(ring, 10)).events
    assert isinstance(event, Locked)
    assert await two.status(terms, agreed=False) is LockStatus.OPEN
    # What the first one has shown, the second one is asked for by its place.
    assert not any("/utxos" in path and "addresses" in path for path in two.second.seen)


@pytest.mark.parametrize("changed", ["network_magic", "system_start"])
async def test_a_service_of_another_network_is_left_and_told_of(two: Two, changed: str) -> None:
    two.second.mangle = lambda path, honest: (
        honest | {changed: honest[changed] + 1} if path.endswith("genesis") else honest
    )
    terms, _ = await two.locked()
    assert await two.status(terms, agreed=False) is LockStatus.OPEN
    assert await two.status(terms) is LockStatus.UNKNOWN, "two must say it"
    own, foreign = await two.port.examine()
    assert own.trouble is None
    assert foreign.trouble is not None
    assert "endpoint 2 of 2 (127.0.0.1)" in foreign.name
    assert (
        str(NETWORKS[Network.DEV].magic + 1) in foreign.trouble.reason or "began at" in foreign.trouble.reason
    )
    assert "correct the service's URL" in foreign.trouble.hint


async def test_a_service_that_is_another_one_after_a_reconnection_is_left(two: Two) -> None:
    assert await two.port.tip()
    two.first.status = 500  # every line is dropped
    two.second.mangle = lambda path, honest: (
        honest | {"network_magic": 7} if path.endswith("genesis") else honest
    )
    await two.port.tip()  # by the second one, looked at before it was foreign
    for service in two.port._pool.clients:
        await service.close()
        two.port._pool.reconnected(service)
    with pytest.raises(PortError):
        await two.port.tip()


async def test_two_services_must_agree_what_became_of_a_lock(two: Two) -> None:
    terms, lock = await two.locked()
    assert await two.status(terms) is LockStatus.OPEN
    claim = await two.port.prepare(ClaimAction(terms, SECRET), None, FeeLevel())
    await two.port.broadcast(claim)
    await two.devnet.mine(1)
    assert await two.status(terms) is LockStatus.CLAIMED
    assert (await two.port.tx_status(claim, agreed=True)).state is TxState.INCLUDED

    def unspent(path: str, honest: Any) -> Any:
        """The second one does not know of the claim."""
        if path.endswith(f"txs/{lock.tx_id}/utxos"):
            for output in honest["outputs"]:
                output["consumed_by_tx"] = None
        return None if path.endswith(f"txs/{claim.tx_id}") else honest

    two.second.mangle = unspent
    assert await two.status(terms) is LockStatus.UNKNOWN
    assert await two.status(terms, agreed=False) is LockStatus.CLAIMED
    told = await two.port.tx_status(claim, agreed=True)
    assert told.state is TxState.UNSURE
    assert "do not say the same" in told.reason
    assert (await two.port.tx_status(claim)).state is TxState.INCLUDED
    two.second.status = 503
    assert await two.status(terms) is LockStatus.UNKNOWN
    assert "only" in (await two.port.tx_status(claim, agreed=True)).reason


async def test_one_service_alone_agrees_with_itself(two: Two) -> None:
    terms, tx = await two.locked()
    alone = two.opened_again(other_blockfrosts=())
    assert await alone.read_lock(alone.lock_id(terms), terms, agreed=True) is LockStatus.OPEN
    assert (await alone.tx_status(tx, agreed=True)).state is TxState.INCLUDED
    await alone.close()


async def test_a_transaction_goes_to_both_and_one_that_takes_it_is_enough(two: Two) -> None:
    tx = await two.port.prepare(LockAction(await two.terms()), None, FeeLevel())
    two.first.status = 500
    assert (await two.port.broadcast(tx)).outcome is BroadcastOutcome.ACCEPTED
    assert any("submit" in path for path in two.second.seen)
    two.first.honest()
    again = await two.port.prepare(LockAction(await two.terms()), None, FeeLevel())
    two.first.seen.clear()
    two.second.seen.clear()
    # The devnet is one: the second to come finds it there.
    assert (await two.port.broadcast(again)).outcome is BroadcastOutcome.ACCEPTED
    for web in (two.first, two.second):
        assert any("mempool" in path or "Mempool" in path for path in web.seen)


async def test_a_service_whose_head_is_old_is_left_and_says_so(two: Two) -> None:
    port = two.opened_again(max_head_age=3_000.0)
    pool = port._pool
    # Other tests have moved the devnet's clock.
    pool._rules = pool._selection.rules = msgspec.structs.replace(pool._rules, ahead=1e9)
    await port.tip()
    pool._clock = lambda: time.time() + 10_000_000.0
    pool._monotonic = lambda: time.monotonic() + 10_000_000.0
    with pytest.raises(PortUnavailableError, match="stands still") as old:
        await port.tip()
    assert "endpoint 1 of 2 (127.0.0.1)" in str(old.value)
    for report in await port.examine():
        assert report.trouble is not None
        assert "its newest block is" in report.trouble.reason
    await port.close()


async def test_kupo_of_another_chain_than_ogmios_is_told_of(devnet: CardanoDevnet) -> None:
    async with LyingWeb(devnet) as liar:
        liar.mangle = lambda path, honest: (
            [{**point, "header_hash": "ab" * 32} for point in honest]
            if path.endswith("kupo/checkpoints")
            else honest
        )
        port = open_port(liar.own_node(devnet), devnet_key("kupo elsewhere"))
        with pytest.raises(PortError, match="another chain than Ogmios") as failure:
            await port.tip()
        assert not isinstance(failure.value, PortUnavailableError)
        await port.close()


QUOTAS = [(402, "used up"), (418, "banned"), (429, "HTTP 429"), (425, "full mempool")]


@pytest.mark.parametrize(("status", "words"), QUOTAS)
async def test_what_a_service_will_not_serve_is_told_by_its_name(
    devnet: CardanoDevnet, status: int, words: str
) -> None:
    async with LyingWeb(devnet) as liar:
        port = open_port(liar.hosted(devnet), devnet_key("quota"))
        port._pool._rules = msgspec.structs.replace(port._pool._rules, patience=0.1)
        await port.tip()
        liar.status = status
        with pytest.raises(PortUnavailableError, match=words) as failure:
            await port.tip()
        assert "the Cardano service, endpoint 1 of 1 (127.0.0.1)" in str(failure.value)
        assert SECRET_PATH not in f"{failure.value} {failure.value.hint}"
        liar.honest()
        await port.close()


async def test_a_daily_limit_is_kept(devnet: CardanoDevnet) -> None:
    async with LyingWeb(devnet) as liar:
        port = open_port(liar.hosted(devnet), devnet_key("daily limit"))
        liar.status = 402
        for _ in range(3):
            with pytest.raises(PortUnavailableError, match="used up"):
                await port.tip()
        assert len(liar.seen) < 3, "it is left alone for a while"
        await port.close()


async def test_a_hint_of_another_service_proves_nothing(two: Two) -> None:
    terms, lock = await two.locked()
    other = msgspec.structs.replace(terms, amount=terms.amount + 1)
    hints = two.port._pool.clients[0].drafting.index._hints
    hints.add(other, (lock.tx_id, 0))
    hints.add(other, ("ab" * 32, 3))
    assert await two.status(other) in {LockStatus.ABSENT, LockStatus.UNKNOWN}
    assert await two.status(terms) is LockStatus.OPEN


@pytest.mark.parametrize("network", list(NetworkKind))
async def test_the_head_may_be_old_on_local_networks_alone(network: NetworkKind) -> None:
    section = CardanoSection(
        family="cardano", blockfrost_url="http://b", other_blockfrost_urls=("http://c", "http://d")
    )
    settings = settings_of(Instance(instances.CARDANO, network, section, ()))
    assert settings.max_head_age == (0.0 if network is NetworkKind.DEV else OLDEST_HEAD)
    assert settings.other_blockfrosts == (("http://c", ""), ("http://d", ""))


async def test_the_start_of_each_network_follows_from_its_first_shelley_slot() -> None:
    """As shelley-genesis.json of each network has it (systemStart)."""
    starts = {Network.MAINNET: 1_506_203_091, Network.PREPROD: 1_654_041_600, Network.PREVIEW: 1_666_656_000}
    for network, start in starts.items():
        assert CardanoSettings("http://b", network).system_start == start
    assert CardanoSettings("http://b", Network.DEV).system_start is None


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ({"metadata": {"decimals": 3, "name": "x"}}, "3 decimals in the token registry"),
        (
            {"onchain_metadata": {"decimals": 2}, "onchain_metadata_standard": "CIP68v2"},
            "2 decimals in its issuer's datum",
        ),
        ({"onchain_metadata": {"decimals": 2}, "onchain_metadata_standard": "CIP25v2"}, None),
        ({"metadata": {"decimals": 6}, "onchain_metadata": None, "onchain_metadata_standard": None}, None),
        ({"metadata": {"decimals": "six"}}, None),
        (None, None),
    ],
)
async def test_what_is_said_of_a_tokens_decimals(devnet: CardanoDevnet, said: Any, told: str | None) -> None:
    async with LyingWeb(devnet) as liar:
        port = open_port(liar.hosted(devnet), devnet_key("decimals"))
        liar.mangle = lambda path, honest: said if "/assets/" in path else honest
        if told is None:
            assert (await port.fees(devnet.token)).lock > 0
        else:
            with pytest.raises(PortError, match=told):
                await port.fees(devnet.token)
        await port.close()
