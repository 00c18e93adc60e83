"""Several claims in one transaction: cheap, signed once, and not stopped by who claims one of them first."""

from __future__ import annotations

import msgspec
import pytest
from pycardano import Transaction

from bridge.chains.actions import Action, ClaimAction, LockAction
from bridge.chains.errors import ActionRefusedError
from bridge.chains.port import BroadcastOutcome, Claimed, FeeLevel, LockStatus, TxState
from bridge.protocol.types import Amount, LockTerms, Preimage, UnixSeconds
from relayers.cardano.adapter import CardanoPort
from relayers.cardano.devnet import DEMO_TOKEN, CardanoDevnet
from relayers.cardano.settings import ADA
from tests.unit.cardano.conftest import Opener

pytestmark = pytest.mark.asyncio(loop_scope="session")
PREIMAGES = [Preimage(bytes([number]) * 32) for number in range(9)]


class Counter:
    """A user who locks for the bridge, several locks at a time, and a stranger."""

    def __init__(self, devnet: CardanoDevnet, opened: Opener, name: str) -> None:
        self.devnet = devnet
        self.bridge, self.user, self.stranger = (
            opened(devnet.settings, f"{name}/{role}") for role in ("bridge", "user", "stranger")
        )

    async def open(self, count: int, asset: object = ADA) -> list[LockTerms]:
        """Return the terms of `count` open locks."""
        for port in (self.bridge, self.user, self.stranger):
            await self.devnet.fund(port.account, ADA, 200_000_000)
        if asset == DEMO_TOKEN:
            await self.devnet.fund(self.user.account, DEMO_TOKEN, 10_000_000 * count)
        deadline = (await self.user.tip()).time + 5_000
        terms = [
            LockTerms(
                chain=self.user.chain,
                contract=self.user.contract,
                sender=self.user.account,
                recipient=self.bridge.account,
                asset=asset,  # type: ignore[arg-type]
                amount=Amount(5_000_000 + number),
                hashlock=PREIMAGES[number].hashlock(),
                deadline=UnixSeconds(deadline),
            )
            for number in range(count)
        ]
        for one in terms:
            await self.send(self.user, LockAction(one))
        await self.devnet.mine(1)
        return terms

    async def send(self, port: CardanoPort, action: Action) -> str:
        tx = await port.prepare(action, None, FeeLevel())
        assert (await port.broadcast(tx)).outcome is BroadcastOutcome.ACCEPTED
        return tx.tx_id

    async def statuses(self, terms: list[LockTerms]) -> list[LockStatus]:
        return [await self.bridge.read_lock(self.bridge.lock_id(one), one) for one in terms]


def batch(terms: list[LockTerms]) -> ClaimAction:
    first, *others = [
        ClaimAction(one, next(each for each in PREIMAGES if each.opens(one.hashlock))) for one in terms
    ]
    return msgspec.structs.replace(first, others=tuple(others))


@pytest.mark.parametrize("asset", [ADA, DEMO_TOKEN], ids=["ada", "tokens"])
async def test_eight_locks_are_claimed_at_once_with_one_signature_for_less_than_three_fees(
    devnet: CardanoDevnet, asset: object, opened: Opener
) -> None:
    counter = Counter(devnet, opened, f"batches/eight/{asset}")
    bridge = counter.bridge
    terms = await counter.open(8, asset)
    ring = (await bridge.scan((), 10)).blocks
    before = await bridge.balance(bridge.account, ADA)
    alone = (await bridge.prepare(batch(terms[:1]), None, FeeLevel())).fee["fee"]
    tx = await bridge.prepare(batch(terms), None, FeeLevel())
    assert (tx.fee["locks"], tx.fee["fee"] < 3 * alone) == (8, True)
    witnesses = Transaction.from_cbor(tx.raw).transaction_witness_set
    assert len(witnesses.vkey_witnesses) == 1
    await bridge.broadcast(tx)
    await devnet.mine(1)
    assert (await bridge.tx_status(tx)).state is TxState.INCLUDED
    scan = await bridge.scan(ring, 10)
    seen = {(event.lock_id, event.preimage) for event in scan.events if isinstance(event, Claimed)}
    assert seen == {(bridge.lock_id(one), PREIMAGES[number]) for number, one in enumerate(terms)}
    gained = await bridge.balance(bridge.account, ADA) - before
    bound = 8 * 2_000_000 if asset == DEMO_TOKEN else sum(one.amount for one in terms)
    assert gained == bound - tx.fee["fee"] >= bound - tx.max_cost
    if asset == DEMO_TOKEN:
        assert await bridge.balance(bridge.account, DEMO_TOKEN) == sum(one.amount for one in terms)


@pytest.mark.parametrize("gone", [0, 1, 2], ids=["first", "middle", "last"])
async def test_a_lock_that_is_spent_is_left_out_and_the_rest_is_claimed(
    devnet: CardanoDevnet, gone: int, opened: Opener
) -> None:
    counter = Counter(devnet, opened, f"batches/left out/{gone}")
    terms = await counter.open(3)
    await counter.send(counter.stranger, batch([terms[gone]]))
    await devnet.mine(1)
    tx = await counter.bridge.prepare(batch(terms), None, FeeLevel())
    assert tx.fee["locks"] == 2
    await counter.bridge.broadcast(tx)
    await devnet.mine(1)
    assert (await counter.bridge.tx_status(tx)).state is TxState.INCLUDED
    assert await counter.statuses(terms) == [LockStatus.CLAIMED] * 3
    with pytest.raises(ActionRefusedError, match="claimed"):
        await counter.bridge.prepare(batch(terms), None, FeeLevel())


async def test_a_batch_overtaken_by_a_strangers_claim_can_never_land_and_is_made_anew(
    devnet: CardanoDevnet, opened: Opener
) -> None:
    counter = Counter(devnet, opened, "batches/overtaken")
    terms = await counter.open(3)
    stale = await counter.bridge.prepare(batch(terms), None, FeeLevel())
    await counter.send(counter.stranger, batch([terms[1]]))
    await devnet.mine(1)
    assert (await counter.bridge.broadcast(stale)).outcome is BroadcastOutcome.SEQUENCE_USED
    assert (await counter.bridge.tx_status(stale)).state is TxState.REPLACED
    anew = await counter.bridge.prepare(batch(terms), None, FeeLevel())
    await counter.bridge.broadcast(anew)
    await devnet.mine(1)
    assert await counter.statuses(terms) == [LockStatus.CLAIMED] * 3


async def test_a_batch_by_a_stranger_pays_the_recipient_for_every_lock(
    devnet: CardanoDevnet, opened: Opener
) -> None:
    counter = Counter(devnet, opened, "batches/stranger")
    terms = await counter.open(8)
    before = await counter.bridge.balance(counter.bridge.account, ADA)
    await counter.send(counter.stranger, batch(terms))
    await devnet.mine(1)
    paid = await counter.bridge.balance(counter.bridge.account, ADA) - before
    assert paid == sum(one.amount for one in terms)


async def test_what_makes_no_batch_is_refused(devnet: CardanoDevnet, opened: Opener) -> None:
    counter = Counter(devnet, opened, "batches/refused")
    terms, second = await counter.open(2)
    good = batch([terms])
    elsewhere = msgspec.structs.replace(good, terms=msgspec.structs.replace(terms, recipient=terms.sender))
    token = msgspec.structs.replace(good, terms=msgspec.structs.replace(terms, asset=DEMO_TOKEN))
    for others in ((good,) * 8, (elsewhere,), (token,)):
        with pytest.raises(ActionRefusedError) as refusal:
            await counter.bridge.prepare(msgspec.structs.replace(good, others=others), None, FeeLevel())
        assert refusal.value.hint
    wrong = msgspec.structs.replace(batch([second]), preimage=PREIMAGES[5])
    tx = await counter.bridge.prepare(msgspec.structs.replace(good, others=(wrong,)), None, FeeLevel())
    assert tx.fee["locks"] == 1
