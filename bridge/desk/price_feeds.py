"""Where prices are read: JSON feeds over HTTP, or the table of the configuration.

A price is what one whole coin of an asset is worth in a unit of account that all prices share. Nothing that
a feed says is believed here; it is only read, within bounds that cost nothing to check.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from decimal import Decimal
from fractions import Fraction
from typing import Final, Protocol
from urllib.parse import urlsplit

import httpx
import msgspec

from bridge.protocol.pricing import MAX_PRICE_EXPONENT
from kernels.errors import RainbowError

MAX_FEED_BYTES: Final = 262_144
MAX_PRICES: Final = 2_000
"""Prices in one answer."""
MAX_DIGITS: Final = 32
"""Digits of one price. More add work, not precision."""
READ_SECONDS = 10.0
"""For a whole answer: a feed that sends a byte now and then would hold up all the others."""


class FeedError(RainbowError):
    """A feed could not be read. `hint` says what to do."""


class Print(msgspec.Struct, frozen=True):
    """What one source says of one asset: worth of one whole coin in the common unit, and the Unix second at
    which that was true."""

    value: Fraction
    at: int


class Feed(Protocol):
    """One source of prices."""

    @property
    def name(self) -> str:
        """How people know the source."""
        ...

    def read(self) -> Mapping[str, Print]:
        """Return what the source says now, by asset key. Raises `FeedError`. May wait for a network."""
        ...


class StaticFeed:
    """The table of the configuration: always of now."""

    name = "configuration"

    def __init__(self, table: Mapping[str, str], clock: Callable[[], int]) -> None:
        self._table = {asset: Fraction(text) for asset, text in table.items()}
        self._clock = clock

    def read(self) -> Mapping[str, Print]:
        """See `Feed`."""
        now = self._clock()
        return {asset: Print(value, now) for asset, value in self._table.items()}


class HttpFeed:
    """A JSON feed: `{"time": 1700000000, "prices": {"zion:ZION": "0.5"}, "times": {"zion:ZION":
    1699999990}}`.

    `times` says, by asset, when a price was true, Unix seconds; `time` holds for those that it does not name.
    Numbers are read as exact decimals, as text or as JSON numbers.
    """

    def __init__(self, url: str, transport: httpx.AsyncBaseTransport | None = None) -> None:
        self._url = url
        self._transport = transport
        self._tls = httpx.create_ssl_context()
        self.name = _host(url)

    def read(self) -> Mapping[str, Print]:
        """See `Feed`."""
        try:
            body = asyncio.run(asyncio.wait_for(self._fetch(), READ_SECONDS))
        except (httpx.HTTPError, httpx.InvalidURL, UnicodeError, ValueError, TimeoutError) as error:
            raise FeedError(
                f"the price feed {self.name} cannot be read ({type(error).__name__})",
                "check prices.url and prices.urls",
            ) from None
        try:
            feed = msgspec.json.decode(body, type=_Answer)
        except msgspec.DecodeError as error:
            raise FeedError(
                f"the price feed {self.name} is not understood: {error}", "check prices.url and prices.urls"
            ) from None
        if len(feed.prices) > MAX_PRICES:
            raise FeedError(
                f"the price feed {self.name} gives more than {MAX_PRICES} prices", "ask for fewer"
            )
        found: dict[str, Print] = {}
        for asset, number in feed.prices.items():
            value = exact(number)
            if value is not None:
                found[asset] = Print(value, feed.times.get(asset, feed.time))
        return found

    async def _fetch(self) -> bytes:
        async with (
            httpx.AsyncClient(
                timeout=5.0, follow_redirects=False, transport=self._transport, verify=self._tls
            ) as client,
            client.stream("GET", self._url) as response,
        ):
            if response.status_code != httpx.codes.OK:
                raise FeedError(
                    f"the price feed {self.name} answered {response.status_code}",
                    "check prices.url and prices.urls",
                )
            body = bytearray()
            async for part in response.aiter_bytes():
                body += part
                if len(body) > MAX_FEED_BYTES:
                    raise FeedError(
                        f"the answer of the price feed {self.name} is too large", "ask for fewer prices"
                    )
        return bytes(body)


def exact(number: Decimal) -> Fraction | None:
    """Return a price exactly, None for what is none: not positive, not finite, of more than `MAX_DIGITS`
    digits, or beyond 10^±60. The bounds are looked at before any power is taken: `1e3000000` would cost
    seconds."""
    if not number.is_finite() or number <= 0:
        return None
    if len(number.as_tuple().digits) > MAX_DIGITS or abs(number.adjusted()) > MAX_PRICE_EXPONENT:
        return None
    return Fraction(number)


def _host(url: str) -> str:
    """Name a feed by its host; never by its path, which may hold a key."""
    try:
        return urlsplit(url).hostname or "feed"
    except ValueError:
        return "feed"


class _Answer(msgspec.Struct):
    time: int
    prices: dict[str, Decimal]
    times: dict[str, int] = {}
