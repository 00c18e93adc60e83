"""The services behind the endpoints, made once per application."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, cast

import msgspec
import structlog
from fastapi import Depends
from starlette.requests import HTTPConnection

from bridge.api.metrics import Metrics
from bridge.api.streams import Follower
from bridge.chains.port import WalletBuilder
from bridge.config import Settings
from bridge.desk.acceptances import AcceptanceBook
from bridge.desk.assisted_claims import Handover
from bridge.desk.chain_queries import Asking
from bridge.desk.inventory import Inventory
from bridge.desk.market import Market
from bridge.desk.orders import KeylessPort, SwapService
from bridge.desk.prices import PriceSource
from bridge.desk.quotes import QuoteBook
from bridge.desk.wallet_transactions import Paperwork
from bridge.engine.journal import Journal
from bridge.keys.quote_signature import QuoteSigner
from bridge.proofs.logbook import LogBook
from bridge.protocol.types import ChainId
from bridge.store import Store

log = structlog.get_logger("rainbow.api")


class Services(msgspec.Struct, frozen=True):
    """Everything behind the API."""

    settings: Settings
    store: Store
    prices: PriceSource
    inventory: Inventory
    market: Market
    quotes: QuoteBook
    swaps: SwapService
    acceptances: AcceptanceBook
    handover: Handover
    paperwork: Paperwork
    log: LogBook
    ports: Mapping[ChainId, KeylessPort]
    builders: Mapping[ChainId, WalletBuilder]
    metrics: Metrics
    follower: Follower

    async def close(self) -> None:
        """Close the connections to chains, each even if closing another fails."""
        connections: list[KeylessPort | WalletBuilder] = [*self.ports.values(), *self.builders.values()]
        for opened in connections:
            try:
                await opened.close()
            except Exception as error:
                log.warning("connection not closed", error=type(error).__name__)


def build(
    settings: Settings,
    store: Store,
    *,
    prices: PriceSource,
    signer: QuoteSigner,
    ports: Mapping[ChainId, KeylessPort],
    builders: Mapping[ChainId, WalletBuilder] | None = None,
    journal: Journal | None = None,
) -> Services:
    """Wire the services together. `journal`: where accepted swaps are written down, beside the database."""
    inventory = Inventory(settings)
    market = Market(settings, prices, inventory)
    metrics = Metrics()
    metrics.watch(store, inventory)
    acceptances = AcceptanceBook(store, signer, journal)
    swaps = SwapService(settings, store, market, ports, acceptances)
    builders = builders or {}
    asking = Asking()
    return Services(
        settings=settings,
        store=store,
        prices=prices,
        inventory=inventory,
        market=market,
        quotes=QuoteBook(settings, store, market, inventory, signer),
        swaps=swaps,
        acceptances=acceptances,
        handover=Handover(store, market, swaps, ports, asking),
        paperwork=Paperwork(ports, builders, asking),
        log=LogBook(store, signer, ports, asking),
        ports=ports,
        builders=builders,
        metrics=metrics,
        follower=Follower(store, settings.api, metrics),
    )


def services_of(connection: HTTPConnection) -> Services:
    """Return the services of the application that serves this connection."""
    return cast(Services, connection.app.state.services)


Use = Annotated[Services, Depends(services_of)]
