"""The demonstration itself: swaps of all kinds at the same time, some with users who walk away, one person's
way around all chains, and an audit of every unit."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field
from typing import Any

import httpx

from bridge.chains.errors import PortError
from bridge.chains.family import LOCKS
from bridge.chains.port import ChainPort
from bridge.demo.accounting import AssetAudit, Snapshot, audit
from bridge.demo.board import Board, Verdict
from bridge.demo.books import Books
from bridge.demo.chaos import Chaos
from bridge.demo.circle import Traveller
from bridge.demo.people import Person, SwapWentWrongError
from bridge.demo.plans import ASSETS, CIRCLE, PLANS
from bridge.demo.site import Site
from bridge.demo.supervisor import ProcessFailedError
from bridge.protocol.types import BlockHeight, ChainId
from kernels.errors import RainbowError

Swapper = Person | Traveller

PATIENCE_SECONDS = 60.0
CHAOS_PATIENCE_SECONDS = 90.0
STEPS_AT_MOST = 2
"""All of a person's steps together may take this many times the patience for one step."""
SETTLE_SECONDS = 30.0
"""How long the books may take to close after the last swap."""


@dataclass
class Outcome:
    """The outcome of the demonstration; `problems` is empty when everything went as it should."""

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
        except (ProcessFailedError, PortError, httpx.HTTPError, RuntimeError, TimeoutError) as error:
            outcome.problems.append(f"{type(error).__name__}: {error}".removesuffix(": "))
        outcome.problems += self.site.dead()
        outcome.seconds = time.monotonic() - begun
        return outcome

    async def _set_up(self) -> None:
        self.site.configure()
        await self.site.start_chains()
        names = [local.title for local in self.site.chains.values()]
        self.board.step(f"{', '.join(names[:-1])} and {names[-1]} run")
        await self.site.start_bridge()
        self.board.step(f"the bridge has money, the API and {len(names)} relayers run")

    async def _swap(self, outcome: Outcome) -> None:
        people = [Person(self.site, plan, self.board, self._patience) for plan in PLANS]
        everybody: list[Swapper] = [*people, Traveller(self.site, CIRCLE, self.board, self._patience)]
        books = Books(self.site, everybody)
        try:
            await asyncio.gather(*(one.fund() for one in everybody))
            self.board.step(f"{len(everybody)} people have money of their own")
            outcome.before, since = await books.read()
            with self.board:
                await self._with_chaos(everybody, outcome)
            outcome.problems += [
                f"{card.name} ({card.route}): {card.reason}"
                for card in self.board.cards
                if card.verdict is not Verdict.AS_EXPECTED
            ]
            await self._close_the_books(books, outcome, since)
            begun = [one for one in everybody if one.card.swap_id or one.card.hops]
            await asyncio.gather(*(self._collected(one, outcome) for one in begun))
        finally:
            for one in everybody:
                await one.close()
            await books.close()

    async def _collected(self, one: Swapper, outcome: Outcome) -> None:
        try:
            await one.collect()
        except RainbowError as error:
            outcome.problems.append(f"{one.name}: {error}")

    async def _with_chaos(self, everybody: list[Swapper], outcome: Outcome) -> None:
        if self._chaos_seed is None:
            await self._everybody(everybody)
            return
        chaos = Chaos(self.site, self.board, self._chaos_seed)
        hurting = asyncio.create_task(chaos.run())
        try:
            await self._everybody(everybody, hurting)
            await hurting
        finally:
            hurting.cancel()
            outcome.killed = chaos.killed

    async def _everybody(self, people: list[Swapper], hurting: asyncio.Task[None] | None = None) -> None:
        """Let everybody swap at the same time; then let the deadlines of abandoned swaps pass."""
        walking = [one for one in people if isinstance(one, Person) and one.plan.walks_away]
        staying = [one for one in people if one not in walking]
        await asyncio.gather(
            *(self._judged(one, one.swap_through(), last=True) for one in staying),
            *(self._judged(one, one.lock(), last=False) for one in walking),
        )
        if hurting is not None:
            await hurting
        left = [person for person in walking if person.card.verdict is Verdict.RUNNING]
        if left:
            await self._pass_deadlines(left)
        await asyncio.gather(*(self._judged(person, person.refund(), last=True) for person in left))

    async def _judged(self, person: Swapper, step: Any, *, last: bool) -> None:
        swaps = len(person.plan.steps) if isinstance(person, Traveller) else 1
        try:
            async with asyncio.timeout(swaps * STEPS_AT_MOST * self._patience):
                await step
        except Exception as error:
            person.card.finish(ok=False, reason=f"{type(error).__name__}: {error}")
            if not isinstance(error, SwapWentWrongError):
                self.board.note(f"[red]{person.name}: {type(error).__name__}: {error}[/]")
            return
        if last:
            person.card.finish(ok=True)

    async def _pass_deadlines(self, people: list[Person]) -> None:
        """Move the chains' clocks past every deadline of these swaps."""
        latest = 0
        readers: dict[ChainId, ChainPort] = {}
        for person in people:
            readers |= {chain: wallet.port for chain, wallet in person.wallets.items()}
            if person.swap is not None:
                record = person.swap.record
                latest = max(latest, record.source.deadline, record.destination.deadline)
        for chain, port in readers.items():
            ahead = max(0, latest - (await port.tip()).time) + 1
            await self.site.devnet(chain).advance_time(ahead)
            self.board.note(f"  [dim]{chain}: the clock moves {ahead} s ahead[/]")

    async def _close_the_books(
        self, books: Books, outcome: Outcome, since: dict[ChainId, BlockHeight]
    ) -> None:
        """Add up. While transactions are still on their way the sums may not match, so there is a grace
        period."""
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
                f"{key}: {outcome.after.balances[(key, LOCKS)]} units are still locked"
                for key in outcome.audits
                if outcome.after.balances.get((key, LOCKS))
            ]
            if not problems:
                return
            if time.monotonic() > deadline:
                outcome.problems += problems
                return
            await asyncio.sleep(1)
