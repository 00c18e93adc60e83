"""The demonstration itself: five swaps, two of which the user walks away from, and an audit of every unit."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field
from typing import Any

from bridge.demo.accounting import AssetAudit, Snapshot, audit
from bridge.demo.board import Board, Verdict
from bridge.demo.chaos import Chaos
from bridge.demo.people import Person, Plan, WentWrong
from bridge.demo.site import ASSETS, DEMO, Site
from bridge.protocol.types import Asset, Chain
from bridge.supervisor import ProcessFailed
from relayers import keystore
from relayers.ethereum import accounting as ethereum_accounting
from relayers.ethereum.settings import ETH
from relayers.port import ChainPort
from relayers.zion import accounting as zion_accounting
from relayers.zion.settings import ZION

PLANS = (
    Plan("alice", ETH, ZION, 5 * 10**17, gasless=True),
    Plan("bob", ZION, ETH, 600 * 10**8),
    Plan("carol", DEMO, ZION, 250 * 10**6, gasless=True),
    Plan("dave", ETH, ZION, 2 * 10**17, walks_away=True),
    Plan("erin", ZION, ETH, 300 * 10**8, walks_away=True),
)

PATIENCE_SECONDS = 60.0
CHAOS_PATIENCE_SECONDS = 90.0
STEPS_AT_MOST = 2
"""Times the patience for one step: what all of a person's steps may take together."""
SETTLE_SECONDS = 30.0
"""How long the books may take to close after the last swap."""


@dataclass
class Outcome:
    """What the demonstration found; `problems` is empty when all went as it should."""

    problems: list[str] = field(default_factory=list)
    before: Snapshot = field(default_factory=lambda: Snapshot({}))
    after: Snapshot = field(default_factory=lambda: Snapshot({}))
    audits: dict[str, AssetAudit] = field(default_factory=dict)
    seconds: float = 0.0
    killed: list[str] = field(default_factory=list)

    def as_json(self, board: Board) -> dict[str, Any]:
        """Everything for `--json`; amounts as text, in smallest units."""
        return {
            "ok": not self.problems,
            "problems": self.problems,
            "seconds": round(self.seconds, 2),
            "setup": [{"step": step, "seconds": round(spent, 2)} for step, spent in board.steps],
            "swaps": [card.as_json() for card in board.cards],
            "killed": self.killed,
            "balances": [
                {
                    "asset": key,
                    "account": owner,
                    "before": str(amount),
                    "after": str(self.after.balances[(key, owner)]),
                }
                for (key, owner), amount in self.before.balances.items()
            ],
            "audit": [
                {"asset": key, "fees": str(one.fees), "difference": str(one.difference)}
                for key, one in self.audits.items()
            ],
        }


class Books:
    """Reads all watched balances at a moment when no block comes between two of them."""

    def __init__(self, site: Site, people: list[Person]) -> None:
        self._site = site
        self._people = people
        self._ports: dict[Chain, ChainPort] = {
            chain: site.port(chain, keystore.devnet_key(f"{chain.value}/bridge"))
            for chain in (Chain.ETHEREUM, Chain.ZION)
        }

    async def read(self) -> tuple[Snapshot, dict[Chain, int]]:
        """Return the balances and the heights they belong to."""
        balances: dict[tuple[str, str], int] = {}
        heights: dict[Chain, int] = {}
        for chain, port in self._ports.items():
            while True:
                height = (await port.tip()).block.height
                found = {
                    (asset.key, owner): await port.balance(address, asset)
                    for asset in ASSETS
                    if asset.chain is chain
                    for owner, address in self._accounts(chain, asset).items()
                }
                if chain is Chain.ZION:
                    found[(ZION.key, "locks")] = await zion_accounting.locked(self._site.zion.rpc_url)
                if (await port.tip()).block.height == height:
                    break
            balances |= found
            heights[chain] = height
        return Snapshot(balances), heights

    async def fees(self, since: dict[Chain, int], until: dict[Chain, int]) -> dict[str, int]:
        """Return what the watched accounts paid in fees in the blocks after `since` up to `until`."""
        ethereum = await ethereum_accounting.fees_paid(
            self._site.ethereum.rpc_url,
            set(self._accounts(Chain.ETHEREUM, ETH).values()),
            since[Chain.ETHEREUM] + 1,
            until[Chain.ETHEREUM],
        )
        zion = await zion_accounting.fees_paid(
            self._site.zion.rpc_url,
            set(self._accounts(Chain.ZION, ZION).values()),
            since[Chain.ZION] + 1,
            until[Chain.ZION],
        )
        return {ETH.key: ethereum, DEMO.key: 0, ZION.key: zion}

    def _accounts(self, chain: Chain, asset: Asset) -> dict[str, str]:
        accounts = {
            person.plan.name: person.wallets[chain].address
            for person in self._people
            if chain in person.wallets and (not asset.contract or person.plan.source == asset)
        }
        accounts["bridge"] = self._ports[chain].account
        if chain is Chain.ETHEREUM:
            accounts["locks"] = self._ports[chain].contract
        return accounts

    async def close(self) -> None:
        """Close the connections."""
        for port in self._ports.values():
            await port.close()


class Demo:
    """One run over one site."""

    def __init__(self, site: Site, board: Board, *, chaos_seed: int | None = None) -> None:
        self.site = site
        self.board = board
        self._chaos_seed = chaos_seed
        self._patience = PATIENCE_SECONDS if chaos_seed is None else CHAOS_PATIENCE_SECONDS

    async def run(self) -> Outcome:
        """Set everything up, swap, and close the books."""
        begun = time.monotonic()
        outcome = Outcome()
        try:
            await self._set_up()
            await self._swap(outcome)
        except (ProcessFailed, RuntimeError, TimeoutError) as error:
            outcome.problems.append(str(error) or type(error).__name__)
        outcome.problems += self.site.dead()
        outcome.seconds = time.monotonic() - begun
        return outcome

    async def _set_up(self) -> None:
        await self.site.start_chains()
        self.board.step("a ZION node and an Ethereum node run")
        await self.site.configure()
        self.board.step("accounts are funded, the bridge is configured")
        await self.site.start_bridge()
        self.board.step("the API and two relayers run")

    async def _swap(self, outcome: Outcome) -> None:
        people = [Person(self.site, plan, self.board, self._patience) for plan in PLANS]
        books = Books(self.site, people)
        try:
            for person in people:
                await person.fund()
            self.board.step("five people have money of their own")
            outcome.before, since = await books.read()
            with self.board:
                await self._with_chaos(people, outcome)
            outcome.problems += [
                f"{card.name} ({card.route}): {card.reason}"
                for card in self.board.cards
                if card.verdict is not Verdict.AS_EXPECTED
            ]
            await self._close_the_books(books, outcome, since)
            for person in people:
                if person.swap is not None:
                    await person.collect()
        finally:
            for person in people:
                await person.close()
            await books.close()

    async def _with_chaos(self, people: list[Person], outcome: Outcome) -> None:
        if self._chaos_seed is None:
            await self._everybody(people)
            return
        chaos = Chaos(self.site, self.board, self._chaos_seed)
        hurting = asyncio.create_task(chaos.run())
        try:
            await self._everybody(people, hurting)
            await hurting
        finally:
            hurting.cancel()
            outcome.killed = chaos.killed

    async def _everybody(self, people: list[Person], hurting: asyncio.Task[None] | None = None) -> None:
        """Let all swap at once; then let the deadlines of those who were left pass."""
        staying = [person for person in people if not person.plan.walks_away]
        walking = [person for person in people if person.plan.walks_away]

        async def trade(person: Person) -> None:
            await person.lock()
            await person.finish()

        await asyncio.gather(
            *(self._judged(person, trade(person), last=True) for person in staying),
            *(self._judged(person, person.lock(), last=False) for person in walking),
        )
        if hurting is not None:
            await hurting
        left = [person for person in walking if person.card.verdict is Verdict.RUNNING]
        if left:
            await self._pass_deadlines(left)
        await asyncio.gather(*(self._judged(person, person.refund(), last=True) for person in left))

    async def _judged(self, person: Person, step: Any, *, last: bool) -> None:
        try:
            async with asyncio.timeout(STEPS_AT_MOST * self._patience):
                await step
        except Exception as error:
            person.card.finish(ok=False, reason=f"{type(error).__name__}: {error}")
            if not isinstance(error, WentWrong):
                self.board.note(f"[red]{person.plan.name}: {type(error).__name__}: {error}[/]")
            return
        if last:
            person.card.finish(ok=True)

    async def _pass_deadlines(self, people: list[Person]) -> None:
        """Move both chains' clocks past every deadline of these swaps."""
        latest = 0
        for person in people:
            if person.swap is not None:
                record = person.swap.record
                latest = max(latest, record.source.deadline, record.destination.deadline)
        for chain in (Chain.ETHEREUM, Chain.ZION):
            now = (await people[0].wallets[chain].port.tip()).time
            ahead = max(0, latest - now) + 1
            await self.site.devnet(chain).advance_time(ahead)
            self.board.note(f"  [dim]{chain.value}: the clock moves {ahead} s ahead[/]")

    async def _close_the_books(self, books: Books, outcome: Outcome, since: dict[Chain, int]) -> None:
        """Add up; while transactions are still on their way the sums may not match, so it has a moment."""
        deadline = time.monotonic() + SETTLE_SECONDS
        while True:
            outcome.after, until = await books.read()
            fees = await books.fees(since, until)
            outcome.audits = {
                asset.key: audit(asset, outcome.before, outcome.after, fees[asset.key]) for asset in ASSETS
            }
            problems = [
                f"{key} does not add up: {one.difference} units are unaccounted for"
                for key, one in outcome.audits.items()
                if one.difference
            ] + [
                f"{key}: {outcome.after.balances[(key, 'locks')]} units are still locked"
                for key in outcome.audits
                if outcome.after.balances.get((key, "locks"))
            ]
            if not problems:
                return
            if time.monotonic() > deadline:
                outcome.problems += problems
                return
            await asyncio.sleep(1)
