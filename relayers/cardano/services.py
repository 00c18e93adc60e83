"""From the settings to the service that shows the chain."""

from __future__ import annotations

from relayers.cardano.blockfrost import Blockfrost
from relayers.cardano.hosted import HostedService
from relayers.cardano.service import Service
from relayers.cardano.settings import CardanoSettings


def open_service(settings: CardanoSettings) -> Service:
    """Return the service of the settings. Nothing is contacted before its first use."""
    return HostedService(Blockfrost(settings.blockfrost_url, settings.project_id, settings.timeout))
