"""What the endpoints work with, made once per application."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, cast

import msgspec
from fastapi import Depends
from starlette.requests import HTTPConnection

from bridge.api.metrics import Metrics
from bridge.api.streams import Follower
from bridge.config import Settings
from bridge.engine.inventory import Inventory
from bridge.engine.market import Market
from bridge.engine.prices import PriceSource
from bridge.engine.quotes import QuoteBook, QuoteSigner
from bridge.engine.service import OfflinePort, SwapService
from bridge.protocol.types import Chain
from bridge.store import Store


class Services(msgspec.Struct, frozen=True):
    """Everything behind the API."""

    settings: Settings
    store: Store
    prices: PriceSource
    inventory: Inventory
    market: Market
    quotes: QuoteBook
    swaps: SwapService
    metrics: Metrics
    follower: Follower


def build(
    settings: Settings,
    store: Store,
    *,
    prices: PriceSource,
    signer: QuoteSigner,
    ports: Mapping[Chain, OfflinePort],
) -> Services:
    """Wire the services together."""
    inventory = Inventory(settings)
    market = Market(settings, prices, inventory)
    metrics = Metrics()
    metrics.watch(store, inventory)
    return Services(
        settings=settings,
        store=store,
        prices=prices,
        inventory=inventory,
        market=market,
        quotes=QuoteBook(settings, store, market, inventory, signer),
        swaps=SwapService(settings, store, market, ports),
        metrics=metrics,
        follower=Follower(store, settings.api, metrics),
    )


def services_of(connection: HTTPConnection) -> Services:
    """Return the services of the application that serves this connection."""
    return cast(Services, connection.app.state.services)


Use = Annotated[Services, Depends(services_of)]
