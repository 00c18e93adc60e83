"""The users of the demonstration: each has its own keys and uses only the REST API and the typed client."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import time
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import TypeVar

from bridge.chains.errors import InsufficientFundsError, PortError, PortUnavailableError
from bridge.client.client import BridgeClient, new_token
from bridge.client.errors import BridgeRefusedError, BridgeUnreachableError
from bridge.client.recovery import LIGHT, RecoveryDir
from bridge.client.swap import LockWatch, UserSwap, UserWallet
from bridge.config import to_text
from bridge.demo.board import Board, SwapCard
from bridge.demo.plans import CLAIM_FEE_PERCENT, GAS_MONEY, NATIVE, Plan
from bridge.demo.prover import prove
from bridge.demo.site import Site
from bridge.keys.keystore import SecretKey
from bridge.protocol.legs import CLAIMED, REFUNDED
from bridge.protocol.types import Amount, Asset, ChainId, LegState, SwapState
from bridge.wire.swaps import SwapView
from kernels.errors import RainbowError

T = TypeVar("T")

POLL_SECONDS = 0.25
RESEND_SECONDS = 4.0
_PASSING_PROBLEMS = frozenset(
    {"busy", "rate-limited", "chain-unavailable", "no-price", "no-inventory", "not-ready", "internal"}
)


class SwapWentWrongError(RainbowError):
    """A swap did not end as it should."""


class Person:
    """One user with one swap. `patience` is how many seconds each step may take in all.

    With `purse` and `card` the swap is one step of several: its wallets and its card are given.
    """

    def __init__(
        self,
        site: Site,
        plan: Plan,
        board: Board,
        patience: float,
        *,
        purse: Mapping[ChainId, UserWallet] | None = None,
        card: SwapCard | None = None,
    ) -> None:
        self.site = site
        self.plan = plan
        self.board = board
        self.patience = patience
        self.card = card or board.add(SwapCard(plan.name, plan.route, plan.expected.value))
        self.wallets: Mapping[ChainId, UserWallet] = purse or {
            asset.chain: UserWallet(site.port(asset.chain, SecretKey.generate()))
            for asset in (plan.source, plan.destination)
        }
        self.client = BridgeClient(site.api_url, token=new_token())
        self.recovery = RecoveryDir(Path(site.directory) / "people" / plan.name)
        self._password = secrets.token_urlsafe(16)
        self.swap: UserSwap | None = None

    @property
    def name(self) -> str:
        """Who it is."""
        return self.plan.name

    @property
    def assets(self) -> frozenset[Asset]:
        """What passes through this person's hands."""
        plan = self.plan
        return frozenset({plan.source, plan.destination, *(NATIVE[chain] for chain in self.wallets)})

    async def fund(self) -> None:
        """Receive from the devnets' treasuries exactly what the swap needs."""
        plan = self.plan
        address = self.wallets[plan.source.chain].address
        gas, amount = GAS_MONEY[plan.source.chain], Amount(plan.amount)
        if plan.source.contract:
            await self.site.fund(address, NATIVE[plan.source.chain], Amount(gas))
            if self.site.needs_consent(plan.source.chain):
                await self._approve(plan.source)  # nobody can be given such an asset before
            await self.site.fund(address, plan.source, amount)
        else:
            await self.site.fund(address, plan.source, Amount(amount + gas))
        chain = plan.destination.chain
        consents = bool(plan.destination.contract) and self.site.needs_consent(chain)
        if consents or not (plan.is_claimed_for or plan.walks_away):
            await self.site.fund(self.wallets[chain].address, NATIVE[chain], Amount(GAS_MONEY[chain]))
        if consents:
            await self._approve(plan.destination)

    async def lock(self) -> None:
        """Quote, accept, lock, and wait for the bridge's lock; a user who walks away waits until it is
        final."""
        plan, card = self.plan, self.card
        card.begin()
        swap = self.swap = await self._begun()
        card.swap_id = swap.id
        card.sends = f"{to_text(swap.record.source.amount, plan.source.decimals)} {plan.source.symbol}"
        received = swap.record.destination.amount
        card.receives = f"{to_text(received, plan.destination.decimals)} {plan.destination.symbol}"
        self.board.reached(card, "accepted")
        wallet = self.wallets[plan.source.chain]
        await self._approve(plan.source)
        await self._patiently(lambda: swap.lock(wallet))
        self.board.reached(card, "lock sent")
        enough = {LegState.FINAL} if plan.walks_away else {LegState.SEEN, LegState.FINAL}
        await self._until(
            lambda view: view.destination.state in enough,
            again=lambda: swap.lock(wallet),
            unless=lambda view: view.source.state is not LegState.NONE,
        )

    async def _approve(self, asset: Asset) -> None:
        """Allow the contract to take a token, or open the trustline, if the asset needs it."""
        if not asset.contract:
            return
        wallet = self.wallets[asset.chain]
        for signed in await self._patiently(lambda: wallet.approvals(asset)):
            await self._patiently(lambda signed=signed: wallet.settled(signed, pause=POLL_SECONDS))  # type: ignore[misc]

    async def receive(self) -> None:
        """Reveal the secret once the user's own node shows the bridge's lock deep enough; wait for the
        money."""
        swap, plan = self._begun_swap(), self.plan
        wallet = self.wallets[plan.destination.chain]
        watch = LockWatch(wallet.port, swap.record.destination)
        deadline = time.monotonic() + self.patience
        while not await self._patiently(lambda: swap.may_reveal_now(watch)):
            self._check_time(deadline, "the bridge's lock is not deep enough on the user's own node")
            await asyncio.sleep(POLL_SECONDS)
        self.board.reached(self.card, "lock verified")
        await self._until(lambda view: view.destination.state is LegState.FINAL)
        if plan.is_claimed_for:
            authorizer = wallet.port.authorizer
            share = CLAIM_FEE_PERCENT if plan.pays_claim else 0
            fee = Amount(swap.record.destination.amount * share // 100)
            await self._patiently(lambda: swap.reveal_to_bridge(self._password, watch, authorizer, fee))
            self.board.reached(self.card, "secret handed over")
            await self._until(_received)
            return
        await self._patiently(lambda: swap.claim(self._password, watch, wallet))
        self.board.reached(self.card, "claim sent")
        await self._until(
            _received,
            again=lambda: swap.claim(self._password, watch, wallet),
            unless=lambda view: view.destination.state in CLAIMED,
        )

    async def settle(self) -> None:
        """See the swap through to its end: both claims final."""
        await self._until(lambda view: view.status is SwapState.COMPLETED)

    async def refund(self) -> None:
        """The source's deadline has passed: take the money back with the user's own wallet; nobody is
        asked."""
        swap = self._begun_swap()
        wallet = self.wallets[self.plan.source.chain]

        async def send() -> None:
            await swap.refund(wallet)
            self.board.reached(self.card, "own refund sent")

        await self._until(
            lambda view: view.status is SwapState.REFUNDED,
            again=send,
            unless=lambda view: view.source.state in REFUNDED,
            at_once=True,
        )

    async def swap_through(self) -> None:
        """The whole swap of a user who stays."""
        await self.lock()
        await self.receive()
        await self.settle()

    async def close(self) -> None:
        """Close the connections."""
        await self.client.close()
        for wallet in self.wallets.values():
            await wallet.port.close()

    def _begun_swap(self) -> UserSwap:
        if self.swap is None:
            raise SwapWentWrongError("the swap was never begun")
        return self.swap

    async def _begun(self) -> UserSwap:
        """Begin the swap or, when the answer got lost, continue from the recovery file."""

        async def attempt() -> UserSwap:
            open_records = [record for record in self.recovery.readable()[0] if not record.swap_id]
            if open_records:
                swap = UserSwap.resume(self.client, self.recovery, open_records[-1])
                await swap.place()
                return swap
            plan = self.plan
            quote = await self.client.quote(
                plan.source.key, plan.destination.key, plan.amount, gasless=plan.gasless
            )
            return await UserSwap.begin(
                self.client,
                self.recovery,
                quote,
                refund_address=self.wallets[plan.source.chain].address,
                recipient=self.wallets[plan.destination.chain].address,
                password=self._password,
                bridge_url=self.site.api_url,
                cost=LIGHT,
            )

        return await self._patiently(attempt)

    async def _until(
        self,
        reached: Callable[[SwapView], bool],
        again: Callable[[], Awaitable[object]] | None = None,
        unless: Callable[[SwapView], bool] = lambda _view: True,
        *,
        at_once: bool = False,
    ) -> SwapView:
        """Follow the swap until a view is `reached`. A killed node has forgotten what it had not yet put into
        a block, so the user's last transaction is sent `again`, `unless` the view shows that it worked.
        `at_once`: it was not sent yet."""
        swap = self._begun_swap()
        deadline = time.monotonic() + self.patience
        resend = time.monotonic() + (0 if at_once else RESEND_SECONDS)
        while True:
            view = await self._patiently(swap.status)
            stage = _stage(view)
            if stage:
                self.board.reached(self.card, stage)
            if reached(view):
                return view
            if view.status in _ENDED and view.status is not self.plan.expected:
                raise SwapWentWrongError(
                    f"it ended {view.status.value}, not {self.plan.expected.value}: {view.detail}"
                )
            self._check_time(deadline, f"it is still {view.status.value}: {view.detail}")
            if again is not None and time.monotonic() > resend and not unless(view):
                # It may have been refused because somebody else was faster: the next view will show.
                with contextlib.suppress(BridgeUnreachableError, PortError):
                    await again()
                resend = time.monotonic() + RESEND_SECONDS
            await asyncio.sleep(POLL_SECONDS)

    async def _patiently(self, step: Callable[[], Awaitable[T]]) -> T:
        """Repeat a step while the bridge or a node does not answer: every step is safe to repeat."""
        deadline = time.monotonic() + self.patience
        while True:
            try:
                return await step()
            except (BridgeUnreachableError, PortUnavailableError, InsufficientFundsError) as error:
                # A killed node may have to include again the transaction that paid this account.
                self._check_time(deadline, str(error))
            except BridgeRefusedError as error:
                if error.kind not in _PASSING_PROBLEMS:
                    raise SwapWentWrongError(f"the bridge refused: {error} ({error.hint})") from None
                self._check_time(deadline, str(error))
            await asyncio.sleep(POLL_SECONDS)

    def _check_time(self, deadline: float, why: str) -> None:
        if time.monotonic() > deadline:
            raise SwapWentWrongError(f"nothing moved for {self.patience:.0f} s: {why}")

    async def collect(self) -> None:
        """Fill the card with the proof of the outcome, and with the transactions of both legs and their
        confirmations."""
        swap = self._begun_swap()
        self.card.proof = await self._patiently(
            lambda: prove(self.site, self.client, swap.id, swap.record.bridge_key)
        )
        view = await self._patiently(self._begun_swap().status)
        self.card.transactions = []
        for who, leg in (("user's", view.source), ("bridge's", view.destination)):
            spend = "claim" if leg.state is LegState.CLAIM_FINAL else "refund"
            for what, tx_id, height in (
                (f"{who} lock", leg.lock_tx, leg.lock_height),
                (f"{who} lock's {spend}", leg.spend_tx, leg.spend_height),
            ):
                if not tx_id or height is None:
                    continue
                tip = await self._patiently(self.wallets[leg.terms.chain].port.tip)
                depth = tip.block.height - height + 1
                self.card.transactions.append(
                    {
                        "chain": leg.terms.chain,
                        "what": what,
                        "tx_id": tx_id,
                        "confirmations": str(depth),
                    }
                )


def _received(view: SwapView) -> bool:
    return view.status is SwapState.COMPLETED or view.destination.state in CLAIMED


_ENDED = frozenset({SwapState.COMPLETED, SwapState.REFUNDED, SwapState.EXPIRED_UNFUNDED})

_STAGES: tuple[tuple[Callable[[SwapView], bool], str], ...] = (
    (lambda view: view.status is SwapState.COMPLETED, "completed"),
    (lambda view: view.status is SwapState.REFUNDED, "refunded"),
    (lambda view: view.source.state is LegState.CLAIM_SEEN, "bridge claimed"),
    (lambda view: view.source.state is LegState.REFUND_SEEN, "user has it back"),
    (lambda view: view.destination.state is LegState.CLAIM_SEEN, "user has it"),
    (lambda view: view.destination.state is LegState.REFUND_SEEN, "bridge refunded"),
    (lambda view: view.destination.state is LegState.FINAL and not view.secret_shared, "bridge's lock final"),
    (lambda view: view.destination.state is LegState.SEEN, "bridge locked"),
    (
        lambda view: view.source.state is LegState.FINAL and view.destination.state is LegState.NONE,
        "lock final",
    ),
    (lambda view: view.source.state is LegState.SEEN, "lock seen"),
)


def _stage(view: SwapView) -> str:
    """Name the furthest stage that a view shows; later stages are checked first."""
    return next((name for shows, name in _STAGES if shows(view)), "")
