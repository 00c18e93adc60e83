"""Whether tokens have the decimals that the configuration says. The ledger knows none: issuers write them
into the token registry (CIP-26) or into a datum (CIP-68), and hosted services show both."""

from __future__ import annotations

from collections.abc import Sequence

from bridge.chains.errors import PortError, PortUnavailableError
from bridge.protocol.types import Asset
from relayers.cardano.services import Service


class Tokens:
    """The tokens of one port, each asked for until one service has told of it."""

    def __init__(self, services: Sequence[Service]) -> None:
        self._services = services
        self._checked: set[Asset] = set()

    async def check(self, *assets: Asset) -> None:
        """Raise `PortError` for a token that is said to have other decimals than it is configured with.

        Nobody has to register a token, and your own node shows no registry: what nothing is said of, and what
        no service can be asked now, is believed. A registry moves no money: one service's word is enough.
        """
        for asset in assets:
            if asset.contract and asset not in self._checked:
                await self._check(asset)

    async def _check(self, asset: Asset) -> None:
        for service in self._services:
            try:
                told = await service.view.decimals(asset.contract)
            except PortUnavailableError:
                continue
            if told is None:
                continue
            for source, decimals in told.items():
                if decimals != asset.decimals:
                    raise PortError(
                        f"{asset.symbol} ({asset.contract}) has {decimals} decimals in {source}, "
                        f"the configuration says {asset.decimals}",
                        "correct the asset's decimals: amounts would be wrong by powers of ten",
                    )
            self._checked.add(asset)
            return
