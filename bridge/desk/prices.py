"""Where prices come from: a static table, or a JSON feed whose stale prices stop quoting.

A price is what one whole coin of an asset is worth in a unit of account that all prices share; the rate of
a pair is the quotient of two prices, so that network fees of any chain can be expressed in any asset.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from decimal import Decimal
from fractions import Fraction
from typing import Protocol

import httpx
import msgspec

from kernels.errors import RainbowError

MAX_FEED_BYTES = 262_144
MAX_FUTURE_SECONDS = 30
"""A feed whose time lies further ahead of our clock is not believed."""


class PriceUnavailableError(RainbowError):
    """There is no price, or only a stale one. `hint` says what to do."""


class Price(msgspec.Struct, frozen=True):
    """Worth of one whole coin in the common unit, and the Unix second it was true."""

    value: Fraction
    at: int


class PriceSource(Protocol):
    """The port through which the bridge learns prices."""

    def price(self, asset: str) -> Price:
        """Return the price of an asset by its key. Raises `PriceUnavailableError`. Must not wait for a
        network."""
        ...

    def refresh(self) -> None:
        """Fetch again; called periodically from a thread. Raises `PriceUnavailableError`."""
        ...


class StaticPrices:
    """The table of the configuration; it never ages."""

    def __init__(self, table: Mapping[str, str], clock: Callable[[], int]) -> None:
        self._table = {asset: Fraction(text) for asset, text in table.items()}
        self._clock = clock

    def price(self, asset: str) -> Price:
        """See `PriceSource`."""
        value = self._table.get(asset)
        if value is None:
            raise PriceUnavailableError(f"no price for {asset}", f'add prices.static."{asset}"')
        return Price(value, self._clock())

    def refresh(self) -> None:
        """See `PriceSource`; there is nothing to fetch."""


class HttpPrices:
    """A JSON feed: `{"time": 1700000000, "prices": {"zion:ZION": "0.5", …}}`.

    `time` is when the prices were true, Unix seconds. Numbers are read as exact decimals, as text or as
    JSON numbers. A feed that cannot be read leaves the last prices standing until they are stale.
    """

    def __init__(
        self, url: str, max_age: int, clock: Callable[[], int], client: httpx.Client | None = None
    ) -> None:
        self._url = url
        self._max_age = max_age
        self._clock = clock
        self._client = client or httpx.Client(timeout=5.0, follow_redirects=False)
        self._lock = threading.Lock()
        self._prices: dict[str, Fraction] = {}
        self._at = 0
        self._trouble = "the feed was not read yet"

    def price(self, asset: str) -> Price:
        """See `PriceSource`."""
        with self._lock:
            prices, at, trouble = self._prices, self._at, self._trouble
        age = self._clock() - at
        if age > self._max_age:
            what = f"prices are {age} s old, {self._max_age} s are allowed" if at else "no prices yet"
            raise PriceUnavailableError(f"{what}; {trouble}" if trouble else what, "try again in a minute")
        if asset not in prices:
            raise PriceUnavailableError(f"the feed has no price for {asset}", "ask for another pair")
        return Price(prices[asset], at)

    def refresh(self) -> None:
        """See `PriceSource`."""
        try:
            prices, at = self._fetch()
        except PriceUnavailableError as trouble:
            with self._lock:
                self._trouble = str(trouble)
            raise
        with self._lock:
            if at >= self._at:  # a cache in between may serve an older answer
                self._prices, self._at = prices, at
            self._trouble = ""

    def _fetch(self) -> tuple[dict[str, Fraction], int]:
        hint = "check prices.url"
        try:
            with self._client.stream("GET", self._url) as response:
                if response.status_code != httpx.codes.OK:
                    raise PriceUnavailableError(f"the price feed answered {response.status_code}", hint)
                body = bytearray()
                for part in response.iter_bytes():
                    body += part
                    if len(body) > MAX_FEED_BYTES:
                        raise PriceUnavailableError("the price feed's answer is too large", hint)
        except httpx.HTTPError as error:
            raise PriceUnavailableError(
                f"the price feed cannot be read ({type(error).__name__})", hint
            ) from None
        try:
            feed = msgspec.json.decode(bytes(body), type=_Feed)
        except msgspec.DecodeError as error:
            raise PriceUnavailableError(f"the price feed is not understood: {error}", hint) from None
        if feed.time > self._clock() + MAX_FUTURE_SECONDS:
            raise PriceUnavailableError("the price feed's time lies in the future", "check both clocks")
        prices = {asset: Fraction(value) for asset, value in feed.prices.items() if value.is_finite()}
        return {asset: value for asset, value in prices.items() if value > 0}, feed.time


class _Feed(msgspec.Struct):
    time: int
    prices: dict[str, Decimal]
