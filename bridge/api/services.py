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
from bridge.engine.handover import Handover
from bridge.engine.inventory import Inventory
from bridge.engine.market import Market
from bridge.engine.paperwork import Paperwork
from bridge.engine.prices import PriceSource
from bridge.engine.quotes import QuoteBook, QuoteSigner
from bridge.engine.service import KeylessPort, SwapService
from bridge.protocol.types import Chain
from bridge.store import Store
from relayers.port import WalletBuilder


class Services(msgspec.Struct, frozen=True):
    """Everything behind the API."""

    settings: Settings
    store: Store
    prices: PriceSource
    inventory: Inventory
    market: Market
    quotes: QuoteBook
    swaps: SwapService
    handover: Handover
    paperwork: Paperwork
    ports: Mapping[Chain, KeylessPort]
    builders: Mapping[Chain, WalletBuilder]
    metrics: Metrics
    follower: Follower

    async def close(self) -> None:
        """Release the connections to chains."""
        for port in self.ports.values():
            await port.close()
        for builder in self.builders.values():
            await builder.close()


def build(
    settings: Settings,
    store: Store,
    *,
    prices: PriceSource,
    signer: QuoteSigner,
    ports: Mapping[Chain, KeylessPort],
    builders: Mapping[Chain, WalletBuilder] | None = None,
) -> Services:
    """Wire the services together."""
    inventory = Inventory(settings)
    market = Market(settings, prices, inventory)
    metrics = Metrics()
    metrics.watch(store, inventory)
    swaps = SwapService(settings, store, market, ports)
    builders = builders or {}
    return Services(
        settings=settings,
        store=store,
        prices=prices,
        inventory=inventory,
        market=market,
        quotes=QuoteBook(settings, store, market, inventory, signer),
        swaps=swaps,
        handover=Handover(store, market, swaps, ports),
        paperwork=Paperwork(ports, builders),
        ports=ports,
        builders=builders,
        metrics=metrics,
        follower=Follower(store, settings.api, metrics),
    )


def services_of(connection: HTTPConnection) -> Services:
    """Return the services of the application that serves this connection."""
    return cast(Services, connection.app.state.services)


Use = Annotated[Services, Depends(services_of)]
