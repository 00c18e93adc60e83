"""Stellar's side of whole swaps, to the last stroop: who holds what at the end, with nothing left over."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest_asyncio
from stellar_sdk import ChangeTrust, Payment

from bridge.chains.actions import Action, ClaimAction, CloseAction, LockAction, RefundAction
from bridge.chains.family import LOCKS
from bridge.chains.port import FeeLevel, LockStatus, TxState
from bridge.protocol.types import Address, Amount, Asset, BlockHeight, LockTerms
from relayers.stellar import htlc
from relayers.stellar.accounting import GATES, StellarLedger
from relayers.stellar.adapter import StellarPort
from relayers.stellar.assets import to_stellar
from relayers.stellar.settings import XLM
from relayers.stellar.wallet import StellarWallet
from tests.unit.stellar.conftest import SECRET, Net

SWAPPED = 10 * 10**7


class Books:
    """What the parties hold of XLM and of the issued asset, checked to add up whenever they are read."""

    def __init__(self, net: Net, usd: Asset) -> None:
        self.net = net
        self.usd = usd
        self.ledger = StellarLedger(net.settings(usd))
        self.accounts = {name: Address(net.key(name).public_key) for name in ("ours", "user", "issuer")}
        self.start = 0
        self.first: dict[str, dict[str, Amount]] = {}

    async def open(self) -> None:
        self.start = self.net.node.network.header.sequence + 1
        self.first = await self._read()

    async def _read(self) -> dict[str, dict[str, Amount]]:
        return {each.symbol: await self.ledger.holdings(self.accounts, each) for each in (XLM, self.usd)}

    async def changes(self, asset: Asset = XLM) -> dict[str, int]:
        """Return what changed since the opening, without what did not; fees are the rest."""
        now = (await self._read())[asset.symbol]
        found = {owner: now[owner] - before for owner, before in self.first[asset.symbol].items()}
        fees = await self.ledger.fees_paid(
            set(self.accounts.values()), BlockHeight(self.start), BlockHeight(self._head)
        )
        assert sum(found.values()) == (-fees if asset == XLM else 0)
        return {owner: change for owner, change in found.items() if change}

    @property
    def _head(self) -> int:
        return self.net.node.network.header.sequence


@pytest_asyncio.fixture
async def books(net: Net) -> AsyncIterator[Books]:
    await net.port("ours")
    usd = await net.asset("issuer", "ours")
    made = Books(net, usd)
    yield made
    await made.ledger.close()


async def claimed_for(net: Net, ours: StellarPort, user: StellarPort, terms: LockTerms) -> None:
    """The user signs, hands that and the preimage over, and the bridge claims."""
    assert ours.authorizer is not None
    assert user.authorizer is not None
    assert await user.read_lock(user.lock_id(terms), terms) is LockStatus.OPEN
    signed = await user.authorizer.sign(terms, await ours.authorizer.request(terms, Amount(0)), Amount(0))
    kept = await ours.authorizer.check(terms, signed)
    await sent(net, ours, ClaimAction(terms, SECRET, authorization=kept))


async def sent(net: Net, port: StellarPort, action: Action) -> None:
    tx = await port.prepare(action, None, FeeLevel())
    await port.broadcast(tx)
    await net.node.close()
    assert (await port.tx_status(tx)).state is TxState.INCLUDED


async def gates_can_be_closed(net: Net) -> None:
    for _ in range(htlc.SEQUENCE_LEDGERS):
        await net.node.close()


async def test_xlm_for_a_user_without_account_who_never_sends_anything(net: Net, books: Books) -> None:
    ours, user = await net.port("ours"), await net.port("user", xlm=0)
    await books.open()
    terms = net.terms(ours, user)
    await net.done(ours, LockAction(terms))
    assert await books.changes() == {
        "ours": -SWAPPED - 25_000_000 - 700,
        LOCKS: SWAPPED,
        GATES: 25_000_000,
    }
    await claimed_for(net, ours, user, terms)
    await gates_can_be_closed(net)
    await sent(net, ours, CloseAction(terms))
    assert await books.changes() == {
        "ours": -SWAPPED - 25_000_000 - 700 - 500 - 200,
        "user": SWAPPED + 25_000_000,
    }


async def test_xlm_for_a_user_who_claims_alone_and_takes_the_deposit(net: Net, books: Books) -> None:
    ours, user = await net.port("ours"), await net.port("user")
    await books.open()
    terms = net.terms(ours, user)
    await net.done(ours, LockAction(terms))
    await net.done(user, ClaimAction(terms, SECRET))
    assert await ours.revealed(terms) == SECRET
    await gates_can_be_closed(net)
    await sent(net, user, CloseAction(terms))
    assert await books.changes() == {
        "ours": -SWAPPED - 25_000_000 - 700,
        "user": SWAPPED + 25_000_000 - 300 - 200,
    }


async def test_an_issued_asset_for_a_user_with_nothing_but_a_trustline(net: Net, books: Books) -> None:
    ours, user = await net.port("ours"), await net.port("user", xlm=2)
    await net.send("user", [ChangeTrust(to_stellar(books.usd))])
    await books.open()
    terms = net.terms(ours, user, asset=books.usd)
    await net.done(ours, LockAction(terms))
    await claimed_for(net, ours, user, terms)
    await gates_can_be_closed(net)
    await sent(net, ours, CloseAction(terms))
    assert await books.changes(books.usd) == {"ours": -SWAPPED, "user": SWAPPED}
    assert await books.changes() == {
        "ours": -30_000_000 - 800 - 500 - 300,
        "user": 30_000_000,
    }


async def test_a_user_who_walks_away_leaves_the_bridge_its_lock_and_its_deposit(
    net: Net, books: Books
) -> None:
    ours, user = await net.port("ours"), await net.port("user")
    await net.send("user", [ChangeTrust(to_stellar(books.usd))])
    await books.open()
    for asset in (XLM, books.usd):
        terms = net.terms(ours, user, asset=asset, lifetime=500)
        await net.done(ours, LockAction(terms))
        await net.node.advance(500)
        await net.done(ours, RefundAction(terms))
        await gates_can_be_closed(net)
        await sent(net, ours, CloseAction(terms))
    assert await books.changes(books.usd) == {}
    assert await books.changes() == {"ours": -(700 + 200 + 200) - (800 + 200 + 300)}


async def test_a_user_whose_lock_was_in_vain_refunds_it_and_gets_the_deposit_back(
    net: Net, books: Books, wallet: StellarWallet
) -> None:
    ours, user = await net.port("ours"), await net.port("user")
    await net.send("user", [ChangeTrust(to_stellar(books.usd))])
    await net.send("issuer", [Payment(user.account, to_stellar(books.usd), "50")])
    await books.open()
    for asset, closing in ((XLM, "bridge"), (books.usd, "user")):
        terms = net.terms(user, ours, asset=asset, lifetime=500)
        for build in (wallet.lock, wallet.refund):
            built = await build(terms)
            built.envelope.sign(net.key("user"))
            await net.submit_xdr(built.envelope.to_xdr())
            await net.node.advance(500)
        await gates_can_be_closed(net)
        if closing == "bridge":
            await sent(net, ours, CloseAction(terms))
        else:
            await net.submit_xdr(await wallet.reclaim(terms, net.key("user")))
    assert await books.changes(books.usd) == {}
    assert await books.changes() == {
        "ours": -200,
        "user": -(600 + 100) - (700 + 100) - 300,
    }
