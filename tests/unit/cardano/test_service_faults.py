"""Services that lie, lag, half-answer or break: the adapter says so, and nobody's money is moved by it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Any

import msgspec
import pytest
import pytest_asyncio

from bridge.chains.actions import Action, ClaimAction, CooperativeRefundAction, LockAction
from bridge.chains.errors import ActionRefusedError, InsufficientFundsError, PortError, PortUnavailableError
from bridge.chains.port import (
    BroadcastOutcome,
    Claimed,
    FeeLevel,
    Locked,
    LockStatus,
    Revealed,
    SignedTx,
    Spent,
    TxState,
)
from bridge.keys.devkeys import devnet_key
from bridge.protocol.types import Amount, BlockRef, LockTerms, Preimage, UnixSeconds
from relayers.cardano import blockfrost
from relayers.cardano.adapter import CardanoPort, open_port
from relayers.cardano.devnet import CardanoDevnet
from relayers.cardano.htlc import credential
from relayers.cardano.settings import ADA, Network
from tests.unit.cardano.lying_web import SECRET_PATH, LyingWeb

pytestmark = pytest.mark.asyncio(loop_scope="session")
SECRET = Preimage(b"a preimage for lying services...")
SERVICES = ("hosted", "own_node")


@pytest_asyncio.fixture(loop_scope="session")
async def liar(devnet: CardanoDevnet) -> AsyncIterator[LyingWeb]:
    async with LyingWeb(devnet) as made:
        yield made


class Client:
    """An account that sees the chain through the liar."""

    def __init__(self, devnet: CardanoDevnet, liar: LyingWeb, service: str, name: str) -> None:
        self.devnet, self.liar, self.service, self.name = devnet, liar, service, name
        self.settings = getattr(liar, service)(devnet)
        self.port: CardanoPort = open_port(self.settings, devnet_key(f"faults/{service}/{name}"))

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

    async def sent(self, action: Action) -> SignedTx:
        tx = await self.port.prepare(action, None, FeeLevel())
        assert (await self.port.broadcast(tx)).outcome is BroadcastOutcome.ACCEPTED
        return tx

    async def locked(self) -> tuple[LockTerms, SignedTx]:
        terms = await self.terms()
        tx = await self.sent(LockAction(terms))
        await self.devnet.mine(1)
        return terms, tx

    async def ring(self) -> tuple[BlockRef, ...]:
        return (await self.port.scan((), 10)).blocks

    async def status(self, terms: LockTerms) -> LockStatus:
        return await self.port.read_lock(self.port.lock_id(terms), terms)


@pytest_asyncio.fixture(params=SERVICES, loop_scope="session")
async def client(
    devnet: CardanoDevnet, liar: LyingWeb, request: pytest.FixtureRequest
) -> AsyncIterator[Client]:
    async for made in opened(devnet, liar, request.param, request.node.name):
        yield made


@pytest_asyncio.fixture(loop_scope="session")
async def hosted(
    devnet: CardanoDevnet, liar: LyingWeb, request: pytest.FixtureRequest
) -> AsyncIterator[Client]:
    async for made in opened(devnet, liar, "hosted", request.node.name):
        yield made


@pytest_asyncio.fixture(loop_scope="session")
async def own_node(
    devnet: CardanoDevnet, liar: LyingWeb, request: pytest.FixtureRequest
) -> AsyncIterator[Client]:
    async for made in opened(devnet, liar, "own_node", request.node.name):
        yield made


async def opened(devnet: CardanoDevnet, liar: LyingWeb, service: str, name: str) -> AsyncIterator[Client]:
    made = Client(devnet, liar, service, name)
    await devnet.fund(made.port.account, ADA, 100_000_000)
    yield made
    await made.port.close()


# ---------------------------------------------------------------------- lines that break


@pytest.mark.parametrize(
    "fault",
    [
        {"status": 500},
        pytest.param({"status": 429}, marks=pytest.mark.long),  # its rest is kept: 15 seconds
        {"garbage": True},
        {"cut": True},
        {"hang_up": True},
        {"delay": 1.5},
    ],
)
async def test_a_broken_line_is_unavailable_without_its_url_and_mends(
    client: Client, fault: dict[str, Any]
) -> None:
    before = await client.port.tip()
    for name, value in fault.items():
        setattr(client.liar, name, value)
    with pytest.raises(PortUnavailableError) as failure:
        await client.port.scan((), 10)
    shown = f"{failure.value} {failure.value.hint} {failure.value.__cause__!r} {client.port!r}"
    assert SECRET_PATH not in shown
    client.liar.honest()
    assert (await client.port.tip()).block == before.block


async def test_another_network_is_said_and_nothing_is_sent_there(
    devnet: CardanoDevnet, liar: LyingWeb
) -> None:
    for service in SERVICES:
        settings = msgspec.structs.replace(getattr(liar, service)(devnet), network=Network.PREPROD)
        port = open_port(settings, devnet_key("lost"))
        with pytest.raises(PortError, match="on network 42, not on preprod") as failure:
            await port.tip()
        assert not isinstance(failure.value, PortUnavailableError)
        await port.close()


async def test_a_refused_project_id_is_no_passing_trouble(hosted: Client) -> None:
    hosted.liar.status = 403
    with pytest.raises(PortError, match="project id") as failure:
        await hosted.port.tip()
    assert not isinstance(failure.value, PortUnavailableError)


async def test_a_page_that_fails_is_no_shorter_list(hosted: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    for _ in range(3):
        await hosted.devnet.fund(hosted.port.account, ADA, 10_000_000)
    monkeypatch.setattr(blockfrost, "_PAGE", 2)
    assert await hosted.port.balance(hosted.port.account, ADA) == 130_000_000
    pages = 0

    def second_fails(path: str, honest: Any) -> Any:
        nonlocal pages
        pages += "utxos" in path
        return {"message": "backend unavailable"} if pages > 1 else honest

    hosted.liar.mangle = second_fails
    with pytest.raises(PortUnavailableError):
        await hosted.port.balance(hosted.port.account, ADA)


# ---------------------------------------------------------------------- services that are behind


async def test_a_service_that_lags_yields_nothing_and_orphans_nothing(client: Client) -> None:
    old = (await client.port.tip()).block
    ring = await client.ring()
    terms, tx = await client.locked()
    seen = await client.port.scan(ring, 10)
    ring += seen.blocks

    def stand_still(path: str, honest: Any) -> Any:
        if path.endswith("blocks/latest"):
            parent = old.parent
            return honest | {"height": old.height, "hash": old.id, "time": old.time, "previous_block": parent}
        if "kupo/checkpoints" in path and honest["header_hash"] == seen.tip.block.id:
            return {"slot_no": client.settings.slot_at(old.time), "header_hash": old.id}
        return honest

    client.liar.mangle = stand_still
    unknown = msgspec.structs.replace(ring[-1], height=ring[-1].height + 1, id="ab" * 32, parent=ring[-1].id)
    for known in (ring, (*ring, unknown)):
        behind = await client.port.scan(known, 10)
        assert (behind.orphaned, behind.blocks, behind.tip.block.height) == ((), (), old.height)
    client.liar.honest()
    await client.devnet.mine(1)
    after = await client.port.scan(ring, 10)
    assert (after.orphaned, len(after.blocks)) == ((), 1)
    assert await client.status(terms) is LockStatus.OPEN
    assert (await client.port.tx_status(tx)).confirmations == 2


async def test_a_block_that_a_service_does_not_know_is_no_reorg(hosted: Client) -> None:
    ring = await hosted.ring()
    await hosted.devnet.mine(2)
    hosted.liar.mangle = lambda path, honest: None if path.endswith(f"blocks/{ring[0].height}") else honest
    with pytest.raises(PortUnavailableError):
        await hosted.port.scan(ring, 10)
    hosted.liar.honest()
    assert (await hosted.port.scan(ring, 10)).orphaned == ()


async def test_blocks_that_do_not_follow_each_other_are_not_taken(client: Client) -> None:
    ring = await client.ring()
    await client.devnet.mine(3)

    def skip(path: str, honest: Any) -> Any:
        return honest[:1] + honest[2:] if path.endswith("/next") else honest

    def skip_call(method: str, answer: Any) -> Any:
        if method == "nextBlock" and answer["result"]["direction"] == "forward":
            answer["result"]["block"]["ancestor"] = "11" * 32
        return answer

    client.liar.mangle, client.liar.mangle_call = skip, skip_call
    with pytest.raises(PortUnavailableError):
        await client.port.scan(ring, 10)
    client.liar.honest()
    assert len((await client.port.scan(ring, 10)).blocks) == 3


# ---------------------------------------------------------------------- locks that are not shown as they are


async def test_a_lock_that_is_missing_among_the_unspent_is_not_made_twice(client: Client) -> None:
    terms, _ = await client.locked()

    def forget(path: str, honest: Any) -> Any:
        return [] if path.endswith((f"{credential()}/utxos", "/*?unspent")) else honest

    client.liar.mangle = forget
    # Its own output is asked for, once the history has shown it.
    assert await client.status(terms) is LockStatus.OPEN
    with pytest.raises(ActionRefusedError, match="made before"):
        await client.port.prepare(LockAction(terms), None, FeeLevel())


async def test_an_account_shown_empty_makes_nothing(client: Client) -> None:
    terms = await client.terms()

    def empty(path: str, honest: Any) -> Any:
        account = client.port.account
        return [] if path.endswith((f"{account}/utxos", f"{account}?unspent")) else honest

    client.liar.mangle = empty
    with pytest.raises(InsufficientFundsError):
        await client.port.prepare(LockAction(terms), None, FeeLevel())
    client.liar.honest()
    await client.port.prepare(LockAction(terms), None, FeeLevel())


async def test_a_listed_transaction_that_cannot_be_read_holds_its_block_back(hosted: Client) -> None:
    ring = await hosted.ring()
    terms, tx = await hosted.locked()
    for hidden in (f"txs/{tx.tx_id}", f"txs/{tx.tx_id}/utxos"):
        hosted.liar.mangle = lambda path, honest, hidden=hidden: None if path.endswith(hidden) else honest
        with pytest.raises(PortUnavailableError):
            await hosted.port.scan(ring, 10)
    hosted.liar.honest()
    (event,) = (await hosted.port.scan(ring, 10)).events
    assert isinstance(event, Locked)
    assert event.terms == terms


async def test_a_transaction_that_is_said_to_be_in_another_block_holds_its_block_back(hosted: Client) -> None:
    ring = await hosted.ring()
    _, tx = await hosted.locked()
    hosted.liar.mangle = lambda path, honest: (
        {**honest, "block": "ab" * 32} if path.endswith(f"txs/{tx.tx_id}") else honest
    )
    with pytest.raises(PortUnavailableError):
        await hosted.port.scan(ring, 10)


async def test_inputs_that_are_not_those_of_the_bytes_are_not_believed(hosted: Client) -> None:
    """Else a service could make a redeemer count for another input than it was for."""
    terms, _ = await hosted.locked()
    ring = await hosted.ring()
    claim = await hosted.sent(ClaimAction(terms, SECRET))
    await hosted.devnet.mine(1)

    def another_input(path: str, honest: Any) -> Any:
        if path.endswith(f"txs/{claim.tx_id}/utxos"):
            honest["inputs"][0] = {**honest["inputs"][0], "tx_hash": "00" * 32}
        return honest

    hosted.liar.mangle = another_input
    with pytest.raises(PortUnavailableError, match="other inputs"):
        await hosted.port.scan(ring, 10)
    hosted.liar.honest()
    (event,) = (await hosted.port.scan(ring, 10)).events
    assert isinstance(event, Claimed)


async def test_the_bytes_of_another_transaction_are_no_claim(hosted: Client) -> None:
    other, _ = await hosted.locked()
    given_back = await hosted.sent(CooperativeRefundAction(other))
    terms, lock = await hosted.locked()
    ring = await hosted.ring()
    claim = await hosted.sent(ClaimAction(terms, SECRET))
    await hosted.devnet.mine(1)
    forged = claim.raw.replace(SECRET.reveal(), SECRET.reveal()[::-1])
    torn = claim.raw[:40]
    for raw in (given_back.raw, lock.raw, torn, b""):
        wrong = {"cbor": raw.hex()}
        hosted.liar.mangle = lambda path, honest, wrong=wrong: wrong if path.endswith("/cbor") else honest
        with pytest.raises(PortUnavailableError):
            await hosted.port.scan(ring, 10)
    # The redeemer is not part of a transaction's id: it is checked against the hashlock.
    assert forged != claim.raw
    wrong = {"cbor": forged.hex()}
    hosted.liar.mangle = lambda path, honest: wrong if path.endswith("/cbor") else honest
    hosted.port._pool.clients[0].view._contents.clear()  # type: ignore[attr-defined]
    spent, *shown = (await hosted.port.scan(ring, 10)).events
    assert isinstance(spent, Spent)
    assert (spent.tx_id, spent.lock_id) == (claim.tx_id, hosted.port.lock_id(terms))
    assert {type(event) for event in shown} == {Revealed}
    assert repr(SECRET.reveal())[2:-1] not in spent.reason


async def test_kupo_must_say_what_spent_a_lock_and_show_its_datum(own_node: Client) -> None:
    terms, _ = await own_node.locked()
    ring = await own_node.ring()
    await own_node.sent(ClaimAction(terms, SECRET))
    await own_node.devnet.mine(1)

    def without(where: str, field: str) -> Callable[[str, Any], Any]:
        def mangle(path: str, honest: Any) -> Any:
            for one in honest if "kupo/matches" in path else ():
                place = one if where == "match" else one[where]
                if place is not None and field in place:
                    place[field] = None
            return honest

        return mangle

    for where, field in (("spent_at", "transaction_id"), ("match", "datum")):
        own_node.liar.mangle = without(where, field)
        with pytest.raises(PortUnavailableError):
            await own_node.port.scan(ring, 10)
    # The redeemer is the node's own: what Kupo says of it does not matter.
    for mangle in (without("spent_at", "redeemer"), without("spent_at", "input_index"), None):
        own_node.liar.mangle = mangle
        (event,) = (await own_node.port.scan(ring, 10)).events
        assert isinstance(event, Claimed)


async def test_kupo_on_another_branch_than_the_node_is_not_believed(own_node: Client) -> None:
    await own_node.port.tip()
    await own_node.devnet.mine(2)

    def elsewhere(path: str, honest: Any) -> Any:
        return honest | {"header_hash": "ab" * 32} if path.endswith(f"checkpoints/{2**53}") else honest

    own_node.liar.mangle = elsewhere
    with pytest.raises(PortUnavailableError):
        await own_node.port.scan((), 10)


async def test_a_transaction_in_a_block_that_kupo_has_not_read_is_pending_and_not_sent_again(
    own_node: Client,
) -> None:
    old = (await own_node.port.tip()).block
    slot = own_node.settings.slot_at(old.time)
    terms = await own_node.terms()
    tx = await own_node.sent(LockAction(terms))
    await own_node.devnet.mine(1)

    def behind(path: str, honest: Any) -> Any:
        if path.endswith(f"checkpoints/{2**53}"):
            return {"slot_no": slot, "header_hash": old.id}
        if "kupo/matches" in path:
            return [one for one in honest if one["created_at"]["slot_no"] <= slot]
        return honest

    own_node.liar.mangle = behind
    assert (await own_node.port.tip()).block == old
    assert (await own_node.port.tx_status(tx)).state is TxState.PENDING
    assert (await own_node.port.broadcast(tx)).outcome is BroadcastOutcome.ALREADY_KNOWN
    own_node.liar.honest()
    assert (await own_node.port.tx_status(tx)).state is TxState.INCLUDED


# ---------------------------------------------------------------------- transactions that go astray


async def test_a_transaction_gone_from_chain_and_mempool_is_sent_again_or_made_anew(client: Client) -> None:
    terms, tx = await client.locked()
    await client.devnet.reorg(1, drop=[tx.tx_id])
    assert (await client.port.tx_status(tx)).state is TxState.UNKNOWN
    assert (await client.port.broadcast(tx)).outcome is BroadcastOutcome.ACCEPTED
    await client.devnet.mine(1)
    assert (await client.port.tx_status(tx)).state is TxState.INCLUDED

    claim = await client.sent(ClaimAction(terms, SECRET))
    await client.devnet.mine(1)
    await client.devnet.reorg(1, drop=[claim.tx_id])
    other = await client.sent(CooperativeRefundAction(terms))
    await client.devnet.mine(1)
    status = await client.port.tx_status(claim)
    assert (status.state, other.tx_id in status.reason) == (TxState.REPLACED, True)
    assert (await client.port.broadcast(claim)).outcome is BroadcastOutcome.SEQUENCE_USED


async def test_a_lost_answer_to_a_broadcast_is_no_second_transaction(client: Client) -> None:
    terms = await client.terms()
    tx = await client.port.prepare(LockAction(terms), None, FeeLevel())
    client.liar.lose_answer = "tx/submit" if client.service == "hosted" else "submitTransaction"
    with pytest.raises(PortUnavailableError):
        await client.port.broadcast(tx)
    client.liar.honest()
    assert (await client.port.tx_status(tx)).state is TxState.PENDING
    assert (await client.port.broadcast(tx)).outcome is BroadcastOutcome.ALREADY_KNOWN
    await client.devnet.mine(1)
    assert (await client.port.tx_status(tx)).state is TxState.INCLUDED


async def test_a_service_that_answers_with_another_id_is_not_believed(client: Client) -> None:
    tx = await client.port.prepare(LockAction(await client.terms()), None, FeeLevel())

    def mangle_call(method: str, answer: Any) -> Any:
        if method == "submitTransaction":
            answer["result"]["transaction"]["id"] = "11" * 32
        return answer

    client.liar.mangle = lambda path, honest: "11" * 32 if path.endswith("tx/submit") else honest
    client.liar.mangle_call = mangle_call
    with pytest.raises(PortUnavailableError, match="some other transaction"):
        await client.port.broadcast(tx)


async def test_a_failing_evaluation_signs_nothing(client: Client) -> None:
    terms, _ = await client.locked()

    def no_evaluation(path: str, honest: Any) -> Any:
        return {"result": {"EvaluationResult": {"spend:0": 7}}} if path.endswith("evaluate") else honest

    def no_evaluation_call(method: str, answer: Any) -> Any:
        if method == "evaluateTransaction":
            answer["result"] = [{"validator": "spend:0"}]
        return answer

    client.liar.mangle, client.liar.mangle_call = no_evaluation, no_evaluation_call
    with pytest.raises(PortUnavailableError):
        await client.port.prepare(ClaimAction(terms, SECRET), None, FeeLevel())


async def test_an_answer_to_another_question_is_not_taken(own_node: Client) -> None:
    def shuffled(method: str, answer: Any) -> Any:
        return answer | {"id": 99}

    own_node.liar.mangle_call = shuffled
    with pytest.raises(PortUnavailableError):
        await own_node.port.tip()
