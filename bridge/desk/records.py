"""Who is known: a client token with a record of finished swaps.

Everybody else is a stranger. What a stranger asks for holds no inventory, so that asking costs the others
nothing; the stranger's lock does, from when it is seen, first come first served, within a pool.
"""

from __future__ import annotations

from fractions import Fraction
from typing import Final

from bridge.config.sections import DeskConfig
from bridge.desk.prices import PriceSource, PriceUnavailableError
from bridge.protocol.types import Amount, Asset
from bridge.store import Transaction

FINISHED_PER_LEFT: Final = 10
"""So many finished swaps make good for one that was left."""


class Records:
    """Looks up what clients have done."""

    def __init__(self, config: DeskConfig, prices: PriceSource, assets: dict[str, Asset]) -> None:
        self._config = config
        self._prices = prices
        self._assets = assets

    def is_known(self, tx: Transaction, owner: str) -> bool:
        """Tell whether a client's quotes hold inventory. `owner`: of the client's token, "" without one."""
        config = self._config
        if not config.known_after_swaps:
            return True
        if not owner:
            return False
        finished = tx.swaps.completed_by(owner)
        if len(finished) < config.known_after_swaps:
            return False
        if tx.swaps.walked_away(owner) * FINISHED_PER_LEFT > len(finished):
            return False
        worth = sum((self._worth(asset, amount) for asset, amount in finished), Fraction(0))
        return worth >= Fraction(config.known_after_value)

    def units_worth(self, asset: Asset, value: Fraction) -> Amount:
        """Return how many smallest units are worth that much, 0 while there is no price."""
        try:
            price = self._prices.price(asset.key).value
        except PriceUnavailableError:
            return Amount(0)
        return Amount(int(value / price * 10**asset.decimals))

    def _worth(self, key: str, amount: Amount) -> Fraction:
        asset = self._assets.get(key)
        if asset is None:
            return Fraction(0)
        try:
            return self._prices.price(key).value * Fraction(amount, 10**asset.decimals)
        except PriceUnavailableError:
            return Fraction(0)
