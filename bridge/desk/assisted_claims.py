"""Handing a claim over to the relayer: what the user has to sign for it, and taking what was signed.

Where anybody may claim for a recipient, the preimage alone is enough, and its cost is in the price of a
`gasless` quote. Where only the recipient can, the recipient's signature comes with it. And who
did not quote `gasless` may still let the relayer claim, for a fee out of the amount that the signature caps,
where the contract can take one (Ethereum).
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

import msgspec

from bridge.chains.errors import ActionRefusedError, BadAuthorizationError, PortError
from bridge.chains.port import Authorizer, UnsignedTx
from bridge.desk.chain_queries import Asking
from bridge.desk.market import Market
from bridge.desk.orders import KeylessPort, SwapService, is_gasless
from bridge.desk.refused import Reason, RefusedError
from bridge.protocol.assisted_claim import Needed
from bridge.protocol.legs import OPEN
from bridge.protocol.rules import too_early_or_late
from bridge.protocol.types import Amount, ChainId, Preimage, Swap, SwapId
from bridge.store import Store
from bridge.store.records import StoredSwap

FEE_HEADROOM_PERCENT = 150
"""Of the present cost: what a signature is asked to allow. It must still be worth something when the next
blocks are more expensive."""


class ClaimTerms(msgspec.Struct, frozen=True):
    """On what terms the relayer claims for a user. `max_fee` is in units of the destination asset; `request`
    is what to sign, None where nothing is or not yet: `detail` says why."""

    needed: Needed
    max_fee: Amount
    request: UnsignedTx | None
    detail: str


class Handover:
    """Tells users on what terms the relayer claims for them, and takes preimage and signature."""

    def __init__(
        self,
        store: Store,
        market: Market,
        swaps: SwapService,
        ports: Mapping[ChainId, KeylessPort],
        asking: Asking,
    ) -> None:
        self._store = store
        self._market = market
        self._swaps = swaps
        self._ports = ports
        self._asking = asking

    async def terms(self, swap_id: SwapId) -> ClaimTerms:
        """Return the terms as they are now, with what is to be signed. Raises `RefusedError`."""
        swap, authorizer, needed, fee = await asyncio.to_thread(self._read, swap_id)
        max_fee = Amount(-(-fee * FEE_HEADROOM_PERCENT // 100) if needed is Needed.FEE else 0)
        advice = _advice(swap)
        if needed is Needed.NOTHING:
            return ClaimTerms(needed, Amount(0), None, advice)
        if needed is Needed.UNAVAILABLE or authorizer is None:
            return ClaimTerms(
                needed, Amount(0), None, "it was not quoted with `gasless`: claim with your own wallet"
            )
        if max_fee >= swap.destination.terms.amount:
            return ClaimTerms(Needed.UNAVAILABLE, Amount(0), None, "a claim would cost more than the amount")
        if swap.destination.state not in OPEN:
            return ClaimTerms(needed, max_fee, None, "the bridge's lock is not on its chain")
        destination = swap.destination.terms
        try:
            request = await self._asking.ask(
                destination.chain, lambda: authorizer.request(destination, max_fee)
            )
        except ActionRefusedError as error:
            return ClaimTerms(needed, max_fee, None, str(error))
        except PortError as error:
            raise _unavailable(swap, error) from None
        return ClaimTerms(needed, max_fee, request, f"sign this; {advice}")

    async def take(self, swap_id: SwapId, preimage: Preimage, signed: Mapping[str, str] | None) -> StoredSwap:
        """Take a preimage, with what the recipient signed where that is needed. Raises `RefusedError`."""
        # Who does not know the preimage, or shows it too early or too late, makes us ask no chain.
        await asyncio.to_thread(self._swaps.may_reveal, swap_id, preimage)
        swap, authorizer, needed, fee = await asyncio.to_thread(self._read, swap_id)
        authorization = b""
        if signed and needed in {Needed.SIGNATURE, Needed.FEE} and authorizer is not None:
            authorization = await self._checked(authorizer, swap, signed, fee)
        elif needed is Needed.SIGNATURE and not swap.secret_shared:
            raise RefusedError(
                Reason.WRONG_STATE,
                f"a claim on {swap.destination.terms.chain} needs the recipient's signature",
                "GET the swap's /claim: it gives what to sign; hand it over with the preimage",
            )
        return await asyncio.to_thread(self._swaps.share_secret, swap_id, preimage, authorization)

    def _needed(self, swap: Swap, *, gasless: bool) -> tuple[Authorizer | None, Needed]:
        authorizer = self._ports[swap.destination.terms.chain].authorizer
        if authorizer is not None and authorizer.required:
            return authorizer, Needed.SIGNATURE if gasless else Needed.UNAVAILABLE
        if gasless:
            return authorizer, Needed.NOTHING
        return authorizer, Needed.UNAVAILABLE if authorizer is None else Needed.FEE

    def _read(self, swap_id: SwapId) -> tuple[Swap, Authorizer | None, Needed, Amount]:
        """Return a swap, what is needed to claim for its user, and the fee where that is what is needed."""
        stored = self._swaps.get(swap_id)
        swap = stored.swap
        with self._store.reading() as tx:
            authorizer, needed = self._needed(swap, gasless=is_gasless(tx, stored))
            fee = Amount(0)
            if needed is Needed.FEE:
                fee = self._market.claim_cost(tx, swap.destination.terms.asset)
        return swap, authorizer, needed, fee

    async def _checked(
        self, authorizer: Authorizer, swap: Swap, signed: Mapping[str, str], min_fee: Amount
    ) -> bytes:
        terms = swap.destination.terms
        try:
            return await self._asking.ask(terms.chain, lambda: authorizer.check(terms, signed, min_fee))
        except BadAuthorizationError as error:
            raise RefusedError(
                Reason.BAD_AUTHORIZATION,
                str(error),
                error.hint or "ask for the claim's terms again, and sign",
            ) from None
        except PortError as error:
            raise _unavailable(swap, error) from None


def _advice(swap: Swap) -> str:
    refusal = None if swap.secret_shared else too_early_or_late(swap)
    if refusal is None:
        return "check the bridge's lock on its chain, then hand the preimage over"
    return f"do not hand the preimage over now: {refusal.message}; {refusal.hint or 'nothing is left to do'}"


def _unavailable(swap: Swap, error: PortError) -> RefusedError:
    chain = swap.destination.terms.chain
    return RefusedError(
        Reason.CHAIN_UNAVAILABLE, f"{chain} cannot be asked now: {error}", "try again soon", 5
    )
