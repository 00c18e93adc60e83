"""The services that show one Cardano network: which there are, whose they are, and what is asked of one.

Each has its own view and its own memory. What one of them said is never taken for another one's word: where
one has shown a lock, the others are only told where to look (`lock_index.Hints`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from bridge.chains.endpoints.ancestry import Ancestry
from bridge.chains.endpoints.answers import Answer, EndpointError
from bridge.chains.endpoints.names import endpoint_names
from bridge.chains.endpoints.pool import Pool
from bridge.chains.endpoints.selection import Head, Rules
from bridge.chains.errors import PortError
from bridge.protocol.types import BlockRef
from relayers.cardano.blockfrost import Blockfrost
from relayers.cardano.chain_view import ChainMovedError, ChainView
from relayers.cardano.drafting import Drafting
from relayers.cardano.hosted import HostedView
from relayers.cardano.htlc import Reader
from relayers.cardano.kupo import Kupo
from relayers.cardano.lock_index import Hints, LockIndex
from relayers.cardano.ogmios import Ogmios
from relayers.cardano.own_node import OwnNodeView
from relayers.cardano.settings import CardanoSettings

WHAT = "the Cardano service"


class Service:
    """One service: what must fit together is asked here."""

    def __init__(
        self, view: ChainView, name: str, settings: CardanoSettings, reader: Reader, hints: Hints
    ) -> None:
        self.view = view
        self.name = name
        self.drafting = Drafting(view, reader, settings, LockIndex(view, reader, hints))
        self.history = self.drafting.history

    def __repr__(self) -> str:
        return f"Service({self.name})"

    async def close(self) -> None:
        """Close the connections."""
        await self.view.close()


def open_services(settings: CardanoSettings) -> Pool[Service]:
    """Return the services of the settings, your own node first. Nothing is contacted before the first use.

    Raises `PortError` when none is named, or only one of Ogmios and Kupo.
    """
    if bool(settings.ogmios_url) is not bool(settings.kupo_url):
        raise PortError("Ogmios and Kupo go together", "set both ogmios_url and kupo_url, or neither")
    hosted = [(settings.blockfrost_url, settings.project_id)] if settings.blockfrost_url else []
    hosted += settings.other_blockfrosts
    own = [settings.ogmios_url] if settings.ogmios_url else []
    urls = [*own, *(url for url, _ in hosted)]
    if not urls:
        raise PortError(
            "Cardano needs a service to look at the chain", "set blockfrost_url, or ogmios_url and kupo_url"
        )
    names = endpoint_names(urls, WHAT)
    views: list[OwnNodeView | HostedView] = []
    if own:
        ogmios = Ogmios(settings.ogmios_url, settings.timeout, names[0])
        kupo = Kupo(settings.kupo_url, settings.timeout, f"{names[0]}, Kupo")
        views.append(OwnNodeView(ogmios, kupo, settings))
    for (url, project_id), name in zip(hosted, names[len(own) :], strict=True):
        views.append(HostedView(Blockfrost(url, project_id, settings.timeout, name)))
    reader, hints = Reader(settings), Hints()
    services = [Service(view, name, settings, reader, hints) for view, name in zip(views, names, strict=True)]
    pool = Pool(
        services,
        names,
        WHAT,
        rules=Rules(max_age=settings.max_head_age),
        identify=lambda service: identify(service, settings),
        head=read_head,
        ancestry=Ancestry(_recent, _shows),
    )
    for service, view in zip(services, views, strict=True):
        view.watch_connections(_told(pool, service))
    return pool


async def _recent(service: Service) -> Sequence[BlockRef]:
    return await service.view.newest_blocks()


async def _shows(service: Service, block: BlockRef) -> bool:
    return await service.view.shows(block)


def _told(pool: Pool[Service], service: Service) -> Callable[[], None]:
    return lambda: pool.reconnected(service)


async def identify(service: Service, settings: CardanoSettings) -> None:
    """Raise `PortError` for a service of another network: another magic number, another start of its clock,
    or (your own node) a Kupo that follows another chain than Ogmios."""
    network = await service.view.network()
    if network.magic != settings.magic:
        raise PortError(
            f"the service is on network {network.magic}, not on {settings.network.value}",
            "correct the service's URL or the network",
        )
    start = settings.system_start
    if start is not None and network.start != start:
        raise PortError(
            f"the service's chain began at {network.start} (Unix time), {settings.network.value} at {start}",
            "it is another chain with the same number: correct the service's URL, or zero_time",
        )


async def read_head(service: Service) -> Head:
    """Return a service's newest block of which everything can be asked."""
    try:
        head = await service.view.head()
    except ChainMovedError:
        raise EndpointError(
            f"{service.name} shows two branches of the chain", "it is asked again", kind=Answer.PASSING
        ) from None
    return Head(head.height, head.time)
