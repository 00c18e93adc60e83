"""From the settings to the service that shows the chain."""

from __future__ import annotations

from bridge.chains.errors import PortError
from relayers.cardano.blockfrost import Blockfrost
from relayers.cardano.chain_view import ChainView
from relayers.cardano.hosted import HostedView
from relayers.cardano.kupo import Kupo
from relayers.cardano.ogmios import Ogmios
from relayers.cardano.own_node import OwnNodeView
from relayers.cardano.settings import CardanoSettings


def open_view(settings: CardanoSettings) -> ChainView:
    """Return the service of the settings. Nothing is contacted before its first use.

    Raises `PortError` unless exactly one is named: Blockfrost, or Ogmios together with Kupo.
    """
    own = bool(settings.ogmios_url), bool(settings.kupo_url)
    if own == (True, True) and not settings.blockfrost_url:
        ogmios = Ogmios(settings.ogmios_url, settings.timeout)
        return OwnNodeView(ogmios, Kupo(settings.kupo_url, settings.timeout), settings)
    if own == (False, False) and settings.blockfrost_url:
        return HostedView(Blockfrost(settings.blockfrost_url, settings.project_id, settings.timeout))
    raise PortError(
        "Cardano needs one service to look at the chain",
        "set blockfrost_url, or ogmios_url and kupo_url, and not all of them",
    )
