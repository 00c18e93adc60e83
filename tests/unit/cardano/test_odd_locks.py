"""Locks on the chain that are not as agreed: none is taken for the one that was, and all can be had back."""

from __future__ import annotations

from collections.abc import AsyncIterator

import msgspec
import pytest
import pytest_asyncio
from pycardano import (
    Address,
    DatumHash,
    PaymentSigningKey,
    TransactionBuilder,
    TransactionOutput,
    Value,
    VerificationKeyHash,
    datum_hash,
)

from bridge.chains.actions import Action, ClaimAction, CooperativeRefundAction, RefundAction
from bridge.chains.errors import ActionRefusedError
from bridge.chains.port import BroadcastOutcome, FeeLevel, Locked, LockStatus, Refunded, TxState
from bridge.keys.devkeys import devnet_key
from bridge.protocol.types import Amount, Asset, LockTerms, Preimage, Purpose, UnixSeconds
from relayers.cardano import building, htlc
from relayers.cardano.adapter import CardanoPort, open_port, sign
from relayers.cardano.building import token
from relayers.cardano.devnet import DEMO_TOKEN, CardanoDevnet
from relayers.cardano.script import HtlcDatum, validator_hash
from relayers.cardano.settings import ADA
from relayers.cardano.wallet import CardanoWallet
from tests.conformance.cardano_rig import witness

pytestmark = pytest.mark.asyncio(loop_scope="session")
SECRET = Preimage(b"a preimage for locks that are odd")
STAKE = VerificationKeyHash(b"\x07" * 28)


class Pair:
    """A bridge that waits for a lock, and a user whose wallet is odd."""

    def __init__(self, devnet: CardanoDevnet, name: str, *, own_node: bool) -> None:
        self.devnet = devnet
        self.settings = devnet.own_node_settings if own_node else devnet.settings
        self.key = PaymentSigningKey(devnet_key(f"{name}/user"))
        self.bridge = open_port(self.settings, devnet_key(f"{name}/bridge"))
        self.user = open_port(self.settings, devnet_key(f"{name}/user"))

    async def terms(self, asset: Asset) -> LockTerms:
        return LockTerms(
            chain=self.user.chain,
            contract=self.user.contract,
            sender=self.user.account,
            recipient=self.bridge.account,
            asset=asset,
            amount=Amount(5_000_000),
            hashlock=SECRET.hashlock(),
            deadline=UnixSeconds((await self.user.tip()).time + 200),
        )

    async def put(self, output: TransactionOutput) -> str:
        """Send an output as some wallet would, and mine it."""
        service = self.user._pool.clients[0]
        context = await service.drafting.context(self.user._payer, await service.view.head())
        builder = TransactionBuilder(building.PycardanoContext(context))
        builder.add_output(output)
        builder.ttl = context.slot + 200
        draft = building._finish(context, builder, context.slot + 200, 0)
        tx_id = await service.view.submit(sign(draft.tx, self.key).to_cbor())
        await self.devnet.mine(1)
        return tx_id

    async def done(self, port: CardanoPort, action: Action) -> str:
        tx = await port.prepare(action, None, FeeLevel())
        assert (await port.broadcast(tx)).outcome is BroadcastOutcome.ACCEPTED
        await self.devnet.mine(1)
        assert (await port.tx_status(tx)).state is TxState.INCLUDED
        return tx.tx_id

    async def close(self) -> None:
        await self.bridge.close()
        await self.user.close()


@pytest_asyncio.fixture(loop_scope="session")
async def pair(devnet: CardanoDevnet, request: pytest.FixtureRequest) -> AsyncIterator[Pair]:
    made = Pair(devnet, request.node.name, own_node=request.param == "own_node")
    for port in (made.bridge, made.user):
        await devnet.fund(port.account, ADA, 100_000_000)
    await devnet.fund(made.user.account, DEMO_TOKEN, 10_000_000)
    yield made
    await made.close()


def odd(terms: LockTerms, how: str) -> TransactionOutput:
    """Return the output of a lock with one thing that is not as `terms` have it."""
    network = Address.from_primitive(terms.contract).network
    address = Address(
        validator_hash(), STAKE if how == "a stake key in its address" else None, network=network
    )
    value = Value(terms.amount)
    if terms.asset.contract:
        value = Value(2_000_000, token(terms.asset.contract, terms.amount))
    datum = htlc.datum_of(terms)
    fields = {"sender": datum.sender, "recipient": datum.recipient, "hashlock": datum.hashlock}
    match how:
        case "a lovelace less" | "a token less":
            value -= Value(0, token(terms.asset.contract, 1)) if terms.asset.contract else Value(1)
        case "a lovelace more":
            value += Value(1)
        case "dust tokens beside it":
            value += Value(0, token(DEMO_TOKEN.contract, 1))
        case "another hashlock":
            datum = HtlcDatum(**{**fields, "hashlock": bytes(32)}, deadline=datum.deadline)
        case "an earlier deadline":
            datum = HtlcDatum(**fields, deadline=datum.deadline - 1_000)
        case "a deadline within the second":
            datum = HtlcDatum(**fields, deadline=datum.deadline + 1)
        case "the user as its recipient":
            datum = HtlcDatum(**{**fields, "recipient": datum.sender}, deadline=datum.deadline)
    return TransactionOutput(address, value, datum=datum)


CASES = {
    "a lovelace less": ADA,
    "a lovelace more": ADA,
    "a token less": DEMO_TOKEN,
    "dust tokens beside it": ADA,
    "a stake key in its address": ADA,
    "another hashlock": ADA,
    "an earlier deadline": ADA,
    "a deadline within the second": ADA,
    "the user as its recipient": ADA,
}


BOTH = ("dust tokens beside it", "a stake key in its address")
"""What the two services have different words for."""
SEEN = [("hosted", how) for how in CASES] + [("own_node", how) for how in BOTH]


@pytest.mark.parametrize(("pair", "how"), SEEN, indirect=["pair"])
async def test_an_odd_lock_is_seen_as_what_it_is_and_refunded_at_its_own_deadline(
    pair: Pair, how: str
) -> None:
    agreed = await pair.terms(CASES[how])
    ring = (await pair.bridge.scan((), 10)).blocks
    await pair.put(odd(agreed, how))
    (seen,) = (await pair.bridge.scan(ring, 10)).events
    assert isinstance(seen, Locked)
    assert seen.terms != agreed
    assert await pair.bridge.read_lock(pair.bridge.lock_id(agreed), agreed) is LockStatus.ABSENT
    assert await pair.bridge.read_lock(seen.lock_id, seen.terms) is LockStatus.OPEN
    for port in (pair.bridge, pair.user):
        with pytest.raises(ActionRefusedError, match="absent"):
            await port.prepare(ClaimAction(agreed, SECRET), None, FeeLevel())
    if seen.terms.recipient == pair.bridge.account and how not in {"an earlier deadline", "another hashlock"}:
        back = await pair.done(pair.bridge, CooperativeRefundAction(seen.terms))
    else:
        await pair.devnet.advance_time(300)
        back = await pair.done(pair.user, RefundAction(seen.terms))
    events = (await pair.bridge.scan(ring, 10)).events
    (refunded,) = events[1:]
    assert isinstance(refunded, Refunded)
    assert (refunded.lock_id, refunded.tx_id) == (seen.lock_id, back)
    assert await pair.user.balance(pair.user.account, DEMO_TOKEN) == 10_000_000


@pytest.mark.parametrize("pair", ["hosted", "own_node"], indirect=True)
async def test_a_lock_with_a_datum_hash_is_not_seen_but_its_sender_has_it_back(pair: Pair) -> None:
    agreed = await pair.terms(ADA)
    ring = (await pair.bridge.scan((), 10)).blocks
    hashed = DatumHash(datum_hash(htlc.datum_of(agreed)).payload)
    await pair.put(
        TransactionOutput(Address.from_primitive(agreed.contract), Value(5_000_000), datum_hash=hashed)
    )
    assert (await pair.bridge.scan(ring, 10)).events == ()
    assert await pair.bridge.read_lock(pair.bridge.lock_id(agreed), agreed) is LockStatus.ABSENT
    with pytest.raises(ActionRefusedError):
        await pair.bridge.prepare(ClaimAction(agreed, SECRET), None, FeeLevel())
    with pytest.raises(ActionRefusedError, match="ahead of the chain's clock"):
        await pair.user.prepare(RefundAction(agreed), None, FeeLevel())
    await pair.devnet.advance_time(300)
    other = msgspec.structs.replace(agreed, amount=5_000_001)
    with pytest.raises(ActionRefusedError):
        await pair.user.prepare(RefundAction(other), None, FeeLevel())
    before = await pair.user.balance(pair.user.account, ADA)
    async with CardanoWallet(pair.settings) as wallet:
        refund = (await wallet.unsigned(Purpose.REFUND, agreed)).payload["cbor"]
        await wallet.submit(refund, witness(refund, pair.key))
    await pair.devnet.mine(1)
    assert await pair.user.balance(pair.user.account, ADA) > before + 4_000_000
