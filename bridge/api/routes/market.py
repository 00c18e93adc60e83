"""Chains, pairs and quotes."""

from __future__ import annotations

from fastapi import APIRouter

from bridge.api.auth import OPTIONAL, ClientAddress, Owner, RequiredOwner
from bridge.api.problems import Kind, responses
from bridge.api.services import Services, Use
from bridge.api.views import quote_view
from bridge.config import PairConfig, to_units
from bridge.desk.market import pause_of_chain
from bridge.desk.quotes import QuoteAsk
from bridge.desk.refused import RefusedError
from bridge.protocol.lock_fee import FeePoint, value_text
from bridge.protocol.pricing import FixedSide
from bridge.protocol.types import Amount, ChainId
from bridge.store import Transaction
from bridge.wire.base import Moment, Money
from bridge.wire.market import (
    AssetView,
    ChainList,
    ChainView,
    CreditView,
    FeeChoice,
    KeyView,
    PairList,
    PairTiming,
    PairView,
    QuoteView,
    Side,
)
from bridge.wire.requests import QuoteRequest

router = APIRouter(prefix="/v1", tags=["market"])


@router.get("/chains")
def list_chains(services: Use) -> ChainList:
    """List the chains with their heights, health and finality."""
    with services.store.reading() as tx:
        return ChainList(chains=[_chain(services, tx, chain) for chain in services.settings.enabled_chains()])


@router.get("/pairs")
def list_pairs(services: Use) -> PairList:
    """List the directions on offer with rates, limits and computed timelocks."""
    with services.store.reading() as tx:
        return PairList(pairs=[_pair(services, tx, pair) for pair in services.market.pairs() if pair.enabled])


@router.get("/keys")
def get_keys(services: Use) -> KeyView:
    """Return the key that signs quotes; pin it."""
    return KeyView(algorithm="ed25519", public_key=services.quotes.public_key)


@router.get("/credit", responses=responses(Kind.UNAUTHORIZED))
def get_credit(services: Use, owner: RequiredOwner) -> CreditView:
    """Show the credit of your client token, from which lock fees are held."""
    with services.store.reading() as tx:
        credit = tx.credits.of(owner)
    return CreditView(
        client=owner,
        available=value_text(credit.available),
        held=value_text(credit.held),
        kept=value_text(credit.kept),
    )


@router.post(
    "/quotes",
    status_code=201,
    openapi_extra=OPTIONAL,
    responses=responses(
        Kind.UNKNOWN_PAIR,
        Kind.AMOUNT_OUT_OF_RANGE,
        Kind.INVALID_REQUEST,
        Kind.LIMIT_REACHED,
        Kind.PAUSED,
        Kind.NO_INVENTORY,
        Kind.NO_PRICE,
        Kind.CHAIN_UNAVAILABLE,
    ),
)
def make_quote(request: QuoteRequest, services: Use, client: ClientAddress, owner: Owner) -> QuoteView:
    """Ask for a quote: a signed offer with all fees and both deadlines, reserved for you until it expires. A
    client whose token has a record of finished swaps holds the inventory with it; anybody else holds it from
    their lock on."""
    ask = QuoteAsk(
        firm=request.firm,
        fee=_fee(request.lock_fee),
        without_fee=request.lock_fee is FeeChoice.NONE,
        source=request.source,
        destination=request.destination,
        amount=Amount(int(request.amount)),
        fixed=FixedSide.SOURCE if request.side is Side.SOURCE else FixedSide.DESTINATION,
        gasless=request.gasless,
        client=client,
        owner=owner,
    )
    return quote_view(services.quotes.make(ask))


def _chain(services: Services, tx: Transaction, chain: ChainId) -> ChainView:
    timing = services.settings.chains.timing_config(chain)
    status = tx.chains.get(chain)
    try:
        services.market.reliable(tx, chain, tx.now_ms // 1000)
        trouble = ""
    except RefusedError as refused:
        trouble = str(refused)
    tip = status.tip if status else None
    return ChainView(
        chain=chain,
        network=services.settings.network.value,
        healthy=not trouble,
        paused=tx.controls.get(pause_of_chain(chain)) is not None,
        detail=trouble,
        height=tip.block.height if tip else None,
        block=tip.block.id if tip else None,
        chain_time=Moment.at(tip.time) if tip else None,
        scanned=status.scanned if status else None,
        lag_blocks=max(0, tip.block.height - status.scanned) if status and tip else None,
        seen=Moment.at_ms(status.seen_ms) if status and status.seen_ms else None,
        contract=status.contract if status else "",
        bridge_address=status.account if status else "",
        block_interval=timing.block_interval,
        finality_base=timing.finality_base,
    )


def _fee(choice: FeeChoice | None) -> FeePoint | None:
    return None if choice is None or choice is FeeChoice.NONE else FeePoint(choice.value)


def _pair(services: Services, tx: Transaction, pair: PairConfig) -> PairView:
    source, destination = (services.market.asset(key) for key in (pair.source, pair.destination))
    limits = services.market.limits(tx, pair)
    rate: str | None = None
    price_time: Moment | None = None
    timing: PairTiming | None = None
    reason = ""
    minimum = limits.min_source
    spread_ppm = pair.spread_ppm
    try:
        offer = services.market.offer(tx, pair.source, pair.destination, gasless=False)
        rate, price_time = offer.rate_text, Moment.at(offer.price_at)
        spread_ppm = offer.spread.total
        minimum = services.market.least_source(offer)
        chains = services.settings.chains
        at_source = chains.timing(source, minimum)
        at_destination = chains.timing(destination, Amount(1))
        deadlines = services.quotes.deadlines(offer, at_source, at_destination)
        timing = PairTiming(
            lock_window=services.settings.swaps.lock_window,
            source_finality=at_source.finality,
            destination_finality=at_destination.finality,
            destination_deadline=deadlines.destination - offer.destination_status.time,
            source_deadline=deadlines.source - offer.source_status.time,
        )
    except RefusedError as refused:
        reason = str(refused)
    maximum = limits.max_source if limits.max_source is not None else to_units(pair.max, source.decimals)
    return PairView(
        source=AssetView.of(source),
        destination=AssetView.of(destination),
        available=not reason,
        reason=reason,
        rate=rate,
        price_time=price_time,
        spread_ppm=spread_ppm,
        minimum=Money.of(source, minimum),
        maximum=Money.of(source, maximum),
        gasless_claim=pair.gasless,
        timing=timing,
    )
