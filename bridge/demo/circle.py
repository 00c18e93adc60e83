"""The full circle: one person's value goes through every chain and comes back, one swap after the other."""

from __future__ import annotations

import asyncio

from bridge.client.swap import UserWallet
from bridge.config import to_text
from bridge.demo.board import Board, SwapCard
from bridge.demo.people import Person, SwapWentWrongError
from bridge.demo.plans import GAS_MONEY, NATIVE, Plan, Round
from bridge.demo.site import Site
from bridge.keys.keystore import SecretKey
from bridge.protocol.types import Amount, Asset


class Traveller:
    """Makes a `Round`: each swap sends what the swap before brought, less what its own lock costs in fees.

    A swap is over for its user once the money is there; the next begins while the bridge claims its side.
    """

    def __init__(self, site: Site, plan: Round, board: Board, patience: float) -> None:
        self.site = site
        self.plan = plan
        self.board = board
        self.patience = patience
        route = " → ".join(asset.symbol for asset in plan.route)
        self.card = board.add(SwapCard(plan.name, route, "completed"))
        self.wallets = {
            asset.chain: UserWallet(site.port(asset.chain, SecretKey.generate())) for asset in plan.route
        }
        self.hops: list[Person] = []

    @property
    def name(self) -> str:
        """Who it is."""
        return self.plan.name

    @property
    def assets(self) -> frozenset[Asset]:
        """What passes through this person's hands."""
        return frozenset(self.plan.route)

    async def fund(self) -> None:
        """Receive the first amount with its gas; this person has nothing on the other chains yet."""
        first = self.plan.route[0]
        amount = Amount(self.plan.amount + GAS_MONEY[first.chain])
        await self.site.fund(self.wallets[first.chain].address, first, amount)

    async def swap_through(self) -> None:
        """Swap from each chain to the next until the value is back where it started."""
        plan, card = self.plan, self.card
        card.begin()
        card.sends = _money(plan.amount, plan.route[0])
        amount = plan.amount
        received = 0
        settling: list[asyncio.Task[None]] = []
        try:
            for number, (source, destination) in enumerate(plan.steps, start=1):
                person = self._step(number, source, destination, amount)
                received = await self._hop(person)
                settling.append(asyncio.create_task(_settle(person)))
                self.board.reached(card, f"has {_money(received, destination)}")
                amount = received - plan.gas.get(destination.chain, 0)
            await asyncio.gather(*settling)
        finally:
            for task in settling:
                task.cancel()
        card.receives = _money(received, plan.route[-1])
        self.board.reached(card, "completed")
        lost = plan.amount - received
        kept = ", ".join(_money(gas, NATIVE[chain]) for chain, gas in plan.gas.items() if gas)
        card.note = (
            f"the way cost {_money(lost, plan.route[0])}, {100 * lost / plan.amount:.1f} %; "
            f"{kept} were kept for gas"
        )

    def _step(self, number: int, source: Asset, destination: Asset, amount: int) -> Person:
        """Return the traveller as the user of one swap, with its own card."""
        name = f"{self.name}-{number}"
        plan = Plan(name, source, destination, amount, gasless=True)
        card = SwapCard(name, plan.route, plan.expected.value)
        person = Person(self.site, plan, self.board, self.patience, purse=self.wallets, card=card)
        self.hops.append(person)
        self.card.hops.append(card)
        return person

    async def _hop(self, person: Person) -> int:
        """Make one swap, until its money is here; return how much, in smallest units."""
        await person.lock()
        await person.receive()
        if person.swap is None:
            raise SwapWentWrongError(f"{person.plan.route} was never begun")
        return person.swap.record.destination.amount

    async def collect(self) -> None:
        """Fill the card with the transactions of all swaps."""
        self.card.transactions = []
        for hop in self.hops:
            await hop.collect()
            self.card.transactions += hop.card.transactions
        self.card.proof = "; ".join(hop.card.proof for hop in self.hops)

    async def close(self) -> None:
        """Close the connections."""
        for hop in self.hops:
            await hop.client.close()
        for wallet in self.wallets.values():
            await wallet.port.close()


async def _settle(person: Person) -> None:
    await person.settle()
    person.card.finish(ok=True)


def _money(units: int, asset: Asset) -> str:
    return f"{to_text(units, asset.decimals)} {asset.symbol}"
