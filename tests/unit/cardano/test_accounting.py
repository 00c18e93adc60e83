"""The auditor's view of the devnet: after locks, claims and refunds every unit is somewhere."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from pathlib import Path

import pytest

from bridge.chains.actions import Action, ClaimAction, CooperativeRefundAction, LockAction
from bridge.chains.family import LOCKS
from bridge.chains.port import BroadcastOutcome, FeeLevel, SignedTx, TxState
from bridge.keys.devkeys import devnet_key
from bridge.protocol.types import Address, Amount, Asset, BlockHeight, LockTerms, Preimage, UnixSeconds
from relayers.cardano.accounting import CardanoLedger
from relayers.cardano.adapter import CardanoPort, open_port
from relayers.cardano.devnet import DEMO_TOKEN, CardanoDevnet
from relayers.cardano.settings import ADA

SECRET = Preimage(b"the preimage of the audit's locks")


@pytest.fixture
async def devnet(tmp_path: Path) -> AsyncIterator[CardanoDevnet]:
    made = await CardanoDevnet(tmp_path).start()
    yield made
    await made.stop()


class Firm:
    """A bridge and a user with an auditor."""

    def __init__(self, devnet: CardanoDevnet) -> None:
        self.devnet = devnet
        self.bridge = open_port(devnet.settings, devnet_key("audit/bridge"))
        self.user = open_port(devnet.settings, devnet_key("audit/user"))
        self.ledger = CardanoLedger(devnet.settings)
        self.accounts: Mapping[str, Address] = {"bridge": self.bridge.account, "user": self.user.account}

    async def done(self, port: CardanoPort, action: Action) -> SignedTx:
        tx = await port.prepare(action, None, FeeLevel())
        assert (await port.broadcast(tx)).outcome is BroadcastOutcome.ACCEPTED
        await self.devnet.mine(1)
        assert (await port.tx_status(tx)).state is TxState.INCLUDED
        return tx

    async def terms(self, sender: CardanoPort, recipient: CardanoPort, asset: Asset) -> LockTerms:
        return LockTerms(
            chain=sender.chain,
            contract=sender.contract,
            sender=sender.account,
            recipient=recipient.account,
            asset=asset,
            amount=Amount(7_000_000),
            hashlock=SECRET.hashlock(),
            deadline=UnixSeconds((await sender.tip()).time + 500),
        )

    async def total(self, asset: Asset) -> int:
        return sum((await self.ledger.holdings(self.accounts, asset)).values())

    async def close(self) -> None:
        for one in (self.bridge, self.user, self.ledger):
            await one.close()


async def test_ada_and_tokens_add_up_to_the_last_unit(devnet: CardanoDevnet) -> None:
    firm = Firm(devnet)
    bridge, user = firm.bridge, firm.user
    for port in (bridge, user):
        await devnet.fund(port.account, ADA, 100_000_000)
        await devnet.fund(port.account, DEMO_TOKEN, 50_000_000)
    before = {asset: await firm.total(asset) for asset in (ADA, DEMO_TOKEN)}
    since = (await bridge.tip()).block.height

    kept = await firm.terms(bridge, user, DEMO_TOKEN)
    claimed = await firm.terms(bridge, user, ADA)
    returned = await firm.terms(user, bridge, DEMO_TOKEN)
    for terms in (kept, claimed):
        await firm.done(bridge, LockAction(terms))
    users_own = await firm.done(user, LockAction(returned))
    locked = await firm.ledger.holdings(firm.accounts, DEMO_TOKEN)
    assert locked[LOCKS] == 14_000_000
    assert (await firm.ledger.holdings(firm.accounts, ADA))[LOCKS] == 7_000_000 + 2 * 2_000_000
    await firm.done(bridge, ClaimAction(claimed, SECRET))
    await firm.done(bridge, CooperativeRefundAction(returned))

    head = (await bridge.tip()).block.height
    fees = await firm.ledger.fees_paid(set(firm.accounts.values()), BlockHeight(since + 1), head)
    assert 5 * 160_000 < fees < 5 * 400_000
    assert before[ADA] - await firm.total(ADA) == fees
    assert await firm.total(DEMO_TOKEN) == before[DEMO_TOKEN]
    assert await firm.ledger.fees_paid({user.account}, BlockHeight(since + 1), head) == users_own.fee["fee"]
    assert (
        await firm.ledger.fees_paid(set(firm.accounts.values()), BlockHeight(head + 1), BlockHeight(head + 5))
        == 0
    )
    await firm.close()


@pytest.mark.long
async def test_what_waits_in_the_mempool_outlives_a_kill(devnet: CardanoDevnet) -> None:
    firm = Firm(devnet)
    await devnet.fund(firm.bridge.account, ADA, 100_000_000)
    terms = await firm.terms(firm.bridge, firm.user, ADA)
    tx = await firm.bridge.prepare(LockAction(terms), None, FeeLevel())
    await firm.bridge.broadcast(tx)
    devnet.kill()
    await devnet.restart()
    assert (await firm.bridge.tx_status(tx)).state is TxState.PENDING
    await devnet.mine(1)
    assert (await firm.bridge.tx_status(tx)).state is TxState.INCLUDED
    devnet.kill()
    await devnet.restart()
    assert (await firm.bridge.tx_status(tx)).state is TxState.INCLUDED
    await firm.close()
