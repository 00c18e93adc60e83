"""What a service does not have is not what never was, and dust at the validator is read once."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import cbor2
import msgspec
import pytest
import pytest_asyncio
from cbor2 import CBORTag
from pycardano import Address, RawPlutusData, TransactionOutput, Value

from bridge.chains.actions import ClaimAction, LockAction
from bridge.chains.errors import PortError, PortUnavailableError
from bridge.chains.port import FeeLevel, Locked, LockStatus, TxState
from bridge.keys.devkeys import devnet_key
from bridge.protocol.types import BlockHeight
from relayers.cardano import hosted as hosted_view
from relayers.cardano.adapter import CardanoPort, open_port
from relayers.cardano.devnet import CardanoDevnet
from relayers.cardano.htlc import credential, datum_of, key_hash
from relayers.cardano.settings import ADA
from tests.unit.cardano.lying_web import LyingWeb
from tests.unit.cardano.test_odd_locks import Pair
from tests.unit.cardano.test_service_faults import SECRET, SERVICES, Client, opened

pytestmark = pytest.mark.asyncio(loop_scope="session")


@pytest_asyncio.fixture(params=SERVICES, loop_scope="session")
async def client(devnet: CardanoDevnet, request: pytest.FixtureRequest) -> AsyncIterator[Client]:
    async with LyingWeb(devnet) as liar:
        async for made in opened(devnet, liar, request.param, request.node.name):
            yield made


def afresh(client: Client) -> CardanoPort:
    """The same account after a restart: nothing is remembered."""
    return open_port(client.settings, devnet_key(f"faults/{client.service}/{client.name}"))


async def claimed(client: Client) -> Any:
    terms, _ = await client.locked()
    await client.sent(ClaimAction(terms, SECRET))
    await client.devnet.mine(1)
    return terms


LACKING = {
    "the list of transactions of a credential": ("hosted", f"{credential()}/transactions"),
    "the lists of transactions": ("hosted", "/transactions"),
    "the list of unspent outputs of a credential": ("hosted", f"{credential()}/utxos"),
    "datums": ("hosted", "scripts/datum"),
    "old blocks": ("hosted", "/blocks/1"),
    "matches": ("own_node", "kupo/matches"),
}


@pytest.mark.parametrize("what", LACKING)
async def test_a_service_that_lacks_something_calls_no_claimed_lock_absent(
    devnet: CardanoDevnet, what: str
) -> None:
    service, path = LACKING[what]
    async with LyingWeb(devnet) as liar:
        async for client in opened(devnet, liar, service, f"lacking {what}"):
            terms = await claimed(client)
            port = afresh(client)

            def lacking(asked: str, honest: Any) -> Any:
                empty: list[object] | None = [] if service == "own_node" else None
                return empty if path in asked else honest

            liar.mangle = lacking
            for since in (None, BlockHeight(1)):
                try:
                    status = await port.read_lock(port.lock_id(terms), terms, since=since)
                except PortUnavailableError:
                    continue
                assert status in {LockStatus.UNKNOWN, LockStatus.CLAIMED}
            other = msgspec.structs.replace(terms, amount=5_000_001)
            if what != "the list of unspent outputs of a credential":
                assert await port.read_lock(port.lock_id(other), other) is LockStatus.UNKNOWN
                with pytest.raises(PortUnavailableError, match="cannot tell"):
                    await port.prepare(LockAction(other), None, FeeLevel())
            liar.honest()
            assert await port.read_lock(port.lock_id(other), other) is LockStatus.ABSENT
            assert await port.read_lock(port.lock_id(terms), terms) is LockStatus.CLAIMED
            await port.close()


async def test_a_kupo_that_does_not_follow_the_locks_is_not_asked(devnet: CardanoDevnet) -> None:
    async with LyingWeb(devnet) as liar:
        async for client in opened(devnet, liar, "own_node", "without a pattern"):
            terms = await claimed(client)
            port = afresh(client)
            liar.mangle = lambda asked, honest: [] if "kupo/patterns" in asked else honest
            with pytest.raises(PortError, match="does not follow the outputs of the HTLC") as refused:
                await port.read_lock(port.lock_id(terms), terms)
            assert "/*" in refused.value.hint
            assert not isinstance(refused.value, PortUnavailableError)
            await port.close()


async def test_blocks_from_before_kupo_began_are_not_without_events(devnet: CardanoDevnet) -> None:
    async with LyingWeb(devnet) as liar:
        async for client in opened(devnet, liar, "own_node", "scan begins late"):
            await scans_begin_late(client)


async def scans_begin_late(client: Client) -> None:
    start = (await client.port.tip()).block
    terms, _ = await client.locked()
    after = (await client.port.tip()).block
    slot = client.settings.slot_at(after.time)
    await client.devnet.mine(2)

    def late(path: str, honest: Any) -> Any:
        if "kupo/checkpoints/" in path:
            return honest if honest is not None and honest["slot_no"] > slot else None
        if "kupo/matches" in path:
            return [match for match in honest if match["created_at"]["slot_no"] > slot]
        return honest

    client.liar.mangle = late
    port = afresh(client)
    with pytest.raises(PortUnavailableError, match="it began later") as missed:
        await port.scan((start,), 100)
    assert "--since" in missed.value.hint
    assert len((await port.scan((after,), 100)).blocks) == 2, "what it has read is read"
    client.liar.honest()
    events = (await port.scan((start,), 100)).events
    assert [event.lock_id for event in events if isinstance(event, Locked)] == [port.lock_id(terms)]
    await port.close()


async def test_places_outside_the_blocks_are_not_asked_again_after_a_failure(devnet: CardanoDevnet) -> None:
    """Else a scan of old blocks with many newer claims never ends where requests fail now and then."""
    async with LyingWeb(devnet) as liar:
        async for client in opened(devnet, liar, "hosted", "many newer claims"):
            await scans_below_claims(client)


async def scans_below_claims(client: Client) -> None:
    start = (await client.port.tip()).block
    await client.devnet.mine(2)
    for _ in range(4):
        await claimed(client)
    port = afresh(client)
    asked: list[str] = []

    def third_fails(path: str, honest: Any) -> Any:
        if "/txs/" not in path or not isinstance(honest, dict) or "block_height" not in honest:
            return honest
        asked.append(path)
        return 7 if len(asked) == 3 else honest

    client.liar.mangle = third_fails
    assert len((await port.scan((start,), 2)).blocks) == 2
    assert len(asked) == len(set(asked)) + 1, "only the one that failed is asked again"
    await port.close()


async def test_a_kupo_that_has_not_read_a_block_does_not_show_it_empty(devnet: CardanoDevnet) -> None:
    async with LyingWeb(devnet) as liar:
        async for client in opened(devnet, liar, "own_node", "kupo behind"):
            start = (await client.port.tip()).block
            terms, _ = await client.locked()
            port = afresh(client)
            # Two of them behind one URL: one has read the newest block, the other one is asked for matches.
            liar.lagging = {"kupo/matches": client.settings.slot_at(start.time)}
            with pytest.raises(PortUnavailableError, match="keeps moving"):
                await port.scan((start,), 100)
            liar.honest()
            events = (await port.scan((start,), 100)).events
            assert [event.lock_id for event in events if isinstance(event, Locked)] == [port.lock_id(terms)]
            await port.close()


async def test_an_error_of_ogmios_leaves_the_port_as_one_of_its_endpoint(devnet: CardanoDevnet) -> None:
    async with LyingWeb(devnet) as liar:
        async for client in opened(devnet, liar, "own_node", "errors of Ogmios"):
            port, start = afresh(client), (await client.port.tip()).block
            await client.devnet.mine(2)
            for method in ("nextBlock", "findIntersection", "queryNetwork/genesisConfiguration"):

                def failing(called: str, answer: Any, method: str = method) -> Any:
                    told = {"code": -32603, "message": "Internal error"}
                    changed = {key: answer[key] for key in ("jsonrpc", "method", "id")}
                    return {**changed, "error": told} if called == method else answer

                liar.mangle_call = failing
                with pytest.raises(PortUnavailableError, match=f"-32603: {method}"):
                    await port.scan((start,), 100)
                liar.honest()
                assert len((await port.scan((start,), 100)).blocks) == 2
                await port.close()


async def test_an_index_that_begins_late_knows_nothing_of_what_was_before(devnet: CardanoDevnet) -> None:
    async with LyingWeb(devnet) as liar:
        async for client in opened(devnet, liar, "own_node", "begins late"):
            await begins_late(client)


async def begins_late(client: Client) -> None:
    terms, _ = await client.locked()
    never = await client.port.prepare(LockAction(await client.terms()), None, FeeLevel())
    height = (await client.port.tip()).block.height
    slot = client.settings.slot_at((await client.port.tip()).time)
    await client.devnet.mine(2)
    other = msgspec.structs.replace(terms, amount=5_000_001)

    def late(path: str, honest: Any) -> Any:
        if path.endswith("kupo/checkpoints"):
            return [point for point in honest if point["slot_no"] >= slot]
        if "kupo/checkpoints/" in path and honest is not None and honest["slot_no"] < slot:
            return None
        return honest

    port = afresh(client)
    assert await port.read_lock(port.lock_id(other), other) is LockStatus.ABSENT
    client.liar.mangle = late  # built again from a later block on, and without a new connection
    for since, known in ((None, False), (height - 1, False), (height, True)):
        at = None if since is None else BlockHeight(since)
        status = await port.read_lock(port.lock_id(other), other, since=at)
        assert status is (LockStatus.ABSENT if known else LockStatus.UNKNOWN)
        signed = msgspec.structs.replace(never, signed_height=at)
        state = (await port.tx_status(signed)).state
        assert state is (TxState.UNKNOWN if known else TxState.UNSURE)
    await port.close()


async def test_the_height_of_signing_goes_along(client: Client) -> None:
    tip = await client.port.tip()
    tx = await client.port.prepare(LockAction(await client.terms()), None, FeeLevel())
    assert tx.signed_height == tip.block.height
    assert (await client.port.tx_status(tx)).state is TxState.UNKNOWN


async def test_a_service_without_its_transactions_is_not_sure(devnet: CardanoDevnet) -> None:
    async with LyingWeb(devnet) as liar:
        async for client in opened(devnet, liar, "hosted", "no transactions"):
            terms = await client.terms()
            tx = await client.port.prepare(LockAction(terms), None, FeeLevel())
            liar.mangle = lambda path, honest: None if "/txs/" in path else honest
            assert (await afresh(client).tx_status(tx)).state is TxState.UNSURE


async def test_a_lock_in_another_encoding_is_found_again_from_a_height_on(client: Client) -> None:
    pair = Pair(client.devnet, f"odd/{client.service}", own_node=client.service == "own_node")
    await client.devnet.fund(pair.user.account, ADA, 100_000_000)
    terms = msgspec.structs.replace(
        await client.terms(), sender=pair.user.account, recipient=client.port.account
    )
    since = (await client.port.tip()).block.height
    keys = [key_hash(terms.sender), key_hash(terms.recipient)]
    odd = RawPlutusData(CBORTag(102, [0, [*keys, terms.hashlock, terms.deadline * 1000]]))
    assert odd.to_cbor() != datum_of(terms).to_cbor()
    await pair.put(TransactionOutput(Address.from_primitive(terms.contract), Value(terms.amount), datum=odd))
    assert await client.status(terms) is LockStatus.OPEN
    await client.sent(ClaimAction(terms, SECRET))
    await client.devnet.mine(1)
    assert await client.status(terms) is LockStatus.CLAIMED
    port = afresh(client)
    assert await port.read_lock(port.lock_id(terms), terms, since=since) is LockStatus.CLAIMED
    await port.close()
    await pair.close()


async def test_more_than_can_be_read_is_not_nothing(
    devnet: CardanoDevnet, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with LyingWeb(devnet) as liar:
        async for client in opened(devnet, liar, "hosted", "too much"):
            terms = await claimed(client)
            await claimed(client)
            port = afresh(client)
            monkeypatch.setattr(hosted_view, "_MOST_READ", 1)
            assert await port.read_lock(port.lock_id(terms), terms) is LockStatus.UNKNOWN
            monkeypatch.undo()
            assert await port.read_lock(port.lock_id(terms), terms) is LockStatus.CLAIMED
            await port.close()


async def test_dust_is_read_once_and_then_only_what_is_new(client: Client) -> None:
    pair = Pair(client.devnet, f"dust/{client.service}", own_node=client.service == "own_node")
    await client.devnet.fund(pair.user.account, ADA, 1_000_000_000)
    terms, _ = await client.locked()
    port = afresh(client)
    assert await port.read_lock(port.lock_id(terms), terms) is LockStatus.OPEN
    datum = RawPlutusData(cbor2.loads(b"\x01"))
    for _ in range(3):
        await pair.put(
            TransactionOutput(Address.from_primitive(terms.contract), Value(1_500_000), datum=datum)
        )
    client.liar.seen.clear()
    assert await port.read_lock(port.lock_id(terms), terms) is LockStatus.OPEN
    assert not [path for path in client.liar.seen if "utxos" in path and credential() in path]
    assert len(client.liar.seen) <= 3
    await port.close()
    await pair.close()


async def test_claims_alone_show_that_a_service_has_datums(devnet: CardanoDevnet) -> None:
    async with LyingWeb(devnet) as liar:
        async for client in opened(devnet, liar, "hosted", "claims alone"):
            terms, _ = await client.locked()
            await client.sent(ClaimAction(terms, SECRET))
            await client.devnet.mine(1)

            def newest_alone(path: str, honest: Any) -> Any:
                return honest[:1] if path.endswith(f"{credential()}/transactions") else honest

            liar.mangle = newest_alone
            port = afresh(client)
            other = msgspec.structs.replace(terms, amount=5_000_001)
            assert await port.read_lock(port.lock_id(other), other) is LockStatus.ABSENT
            await port.close()
