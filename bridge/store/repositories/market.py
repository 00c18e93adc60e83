"""What the desk knows of the market: agreed prices, and the states that they are made from."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import msgspec
from sqlalchemy import select, update

from bridge.store.errors import UnreadableRowError
from bridge.store.records import MarketPrice
from bridge.store.repositories.base import Repository, in_parts
from bridge.store.tables import MarketRow, table_of

_market = table_of(MarketRow)
_price = msgspec.json.Decoder(MarketPrice)


class Market(Repository):
    """Names and JSON bodies; take `tx.lock("market")` before you read, change and write."""

    def bodies(self, names: Iterable[str]) -> dict[str, str]:
        """Return what is stored under these names."""
        found: dict[str, str] = {}
        for part in in_parts(names):
            statement = select(_market.c.name, _market.c.body).where(_market.c.name.in_(part))
            found |= {row.name: row.body for row in self._all(statement)}
        return found

    def put(self, bodies: Mapping[str, str]) -> None:
        """Replace what is stored under these names."""
        for name in sorted(bodies):
            values = {"body": bodies[name], "updated_ms": self.now_ms}
            if not self._run(update(_market).where(_market.c.name == name).values(**values)):
                self._insert(_market, {"name": name, **values}, f"market state {name}")

    def price(self, asset: str) -> MarketPrice | None:
        """Return the agreed price of an asset, None before there was one. Raises `UnreadableRowError`."""
        body = self.bodies([price_name(asset)]).get(price_name(asset))
        if body is None:
            return None
        try:
            return _price.decode(body)
        except msgspec.DecodeError as error:
            raise UnreadableRowError(
                f"the stored price of {asset} cannot be read", "run the API: it stores a new one"
            ) from error


def price_name(asset: str) -> str:
    """Return the name under which an asset's agreed price is stored."""
    return f"price:{asset}"
