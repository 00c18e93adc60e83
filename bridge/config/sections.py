"""The configuration's sections that belong to no chain."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Literal

from pydantic import ConfigDict, Field, IPvAnyNetwork, SecretStr, model_validator

from bridge.chains.config import SECONDS_PER_DAY
from bridge.chains.config_fields import DecimalText, Section


class DatabaseConfig(Section):
    """Where swaps are kept: SQLite in the data directory unless `url` says otherwise."""

    url: SecretStr = SecretStr("")
    """`sqlite:///file.db` or `postgresql://user@host/name`; "": SQLite in `data_dir`."""
    keep_quotes_days: float = Field(7, ge=1, le=3_650)
    """Days after which quotes that nobody took are deleted."""
    keep_events_days: float = Field(180, ge=1, le=3_650)
    """Days after which the events and status changes of swaps that have ended are deleted. The swaps
    themselves and their receipts stay."""


class ApiKey(Section):
    """An operator's key: `sha256` is the hex digest of the key itself, which is never stored."""

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9._-]{0,62}$")
    """Who holds the key; it stands in the audit log."""
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    """SHA-256 of the key, 64 hex digits. The key itself is stored nowhere."""
    scopes: tuple[Literal["read", "pause", "retry", "settle"], ...] = ("read",)
    """What the key allows: `read`, `pause`, `retry`, and `settle`: to say how a lock was spent where nobody
    can prove it. What such a key says moves money."""


class ApiConfig(Section):
    """The HTTP server."""

    host: str = "127.0.0.1"
    """The address to listen on. Put a TLS proxy in front of anything but loopback."""
    port: int = Field(8080, ge=0, le=65_535)
    """The port to listen on; 0 takes a free one."""
    max_body_bytes: int = Field(16_384, ge=1_024, le=1_048_576)
    """Larger request bodies are refused."""
    requests_per_minute: int = Field(300, ge=1)
    """Requests of one client address (IPv6: one /64) in a minute. Each API process counts for itself, so n
    processes allow n times as many."""
    quotes_per_minute: int = Field(30, ge=1)
    """Quotes of one client address in a minute, counted in the same way."""
    swaps_per_minute: int = Field(30, ge=1)
    """New swaps of one client address in a minute, counted in the same way."""
    cors_origins: tuple[str, ...] = ()
    """Web origins that may call the API and open the WebSocket; `"*"`: all."""
    trusted_proxies: tuple[IPvAnyNetwork, ...] = ()
    """Peers whose `X-Forwarded-For` header is believed: addresses or networks (`10.0.0.0/8`)."""
    keys: tuple[ApiKey, ...] = ()
    stream_limit: int = Field(500, ge=1)
    """The most WebSocket and SSE streams open at once, all clients together."""
    connection_limit: int = Field(1_000, ge=1)
    """The most TCP connections open at once. WebSockets are counted as streams instead."""
    connections_per_client: int = Field(50, ge=1)
    """The most TCP connections that one peer (IPv6: one /64) may have open at once. Trusted proxies, which
    speak for many clients, may have all of them."""
    streams_per_client: int = Field(10, ge=1)
    """The most streams that one client address may have open at once."""
    stream_seconds: float = Field(900, gt=0, le=86_400)
    """Seconds after which an SSE stream or a WebSocket ends. Clients of SSE resume with `Last-Event-ID`, as
    browsers do by themselves; those of a WebSocket subscribe again after the last event they got."""
    metrics: Literal["open", "key"] = "open"
    """`"key"`: /metrics needs an operator's key with scope `read`."""


class KeysConfig(Section):
    """Keystores that belong to no chain."""

    password_file: Path | None = None
    """A private file (mode 0600) whose first line is the password of all keystores."""
    storage: Path = Path("keys/storage.json")
    """The keystore of the key that seals preimages in the database. Back it up with the database: without it
    sealed preimages are lost."""
    quotes: Path = Path("keys/quotes.json")
    """The keystore of the key that signs quotes."""


class PairConfig(Section):
    """A direction on offer, from the user's asset to the bridge's. `min` and `max` are in `from` coins."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)

    source: str = Field(alias="from")
    """The asset that the user pays with, `chain:SYMBOL`."""
    destination: str = Field(alias="to")
    """The asset that the user gets, `chain:SYMBOL`."""
    enabled: bool = True
    """false: the pair is not on offer."""
    spread_ppm: int = Field(3_000, ge=0, le=500_000)
    """The operator's own part of the spread, parts per million. A quote asks for more, often for several
    times as much, while the user's choice to finish is worth more: see `[desk]`."""
    skew_ppm: int = Field(0, ge=0, le=500_000)
    """The price moves by up to this much as the destination inventory falls below or rises above its target.
    Not above the spread."""
    target_inventory: DecimalText = "0"
    """Destination coins at which the skew is zero; 0 switches the skew off."""
    min: DecimalText
    """The smallest amount of a swap, in `from` coins."""
    max: DecimalText
    """The largest amount of a swap, in `from` coins."""
    gasless: bool = True
    """Whether the relayer may claim the destination for users who hand the preimage over. The price contains
    what that costs."""


class PricesConfig(Section):
    """What each asset is worth in one common unit of account, and where that is learnt."""

    source: Literal["static", "http"] = "static"
    """`static` takes the table `static`; `http` reads `url` and `urls`."""
    static: dict[str, DecimalText] = Field(default_factory=dict)
    """By asset key, what one whole coin is worth in the common unit."""
    url: str = ""
    """A feed. It answers `{"time": <Unix seconds>, "prices": {"zion:ZION": "0.5"}}`, and may say in `times`,
    by asset, when a price was true."""
    urls: tuple[str, ...] = ()
    """More feeds of the same form. The price is the median of those that agree: more than half of all, and at
    least two. Outside network `dev` one feed alone gives no price."""
    poll_interval: float = Field(10.0, ge=1, le=3_600)
    """Seconds between two readings of all feeds."""
    max_age: int = Field(60, ge=1, le=SECONDS_PER_DAY)
    """Seconds after which a price is stale and quoting stops."""
    max_ages: dict[str, int] = Field(default_factory=dict)
    """By asset key, a `max_age` of its own: 300 for an asset that is traded seldom."""
    max_range_ppm: int = Field(10_000, ge=1, le=500_000)
    """How far apart the feeds that count may lie, parts per million; above it there is no price."""
    pegged: tuple[str, ...] = ()
    """Assets that promise to be worth one unit of account. One that is off by more than 50 basis points
    costs the difference, by more than 200 it pauses."""
    volatility_ppm: int = Field(800_000, ge=10_000, le=4_000_000)
    """The volatility of a pair, parts per million a year, that is assumed until two hours of prices are
    known.
    """
    volatility_floor_ppm: int = Field(300_000, ge=0, le=4_000_000)
    """The least volatility a year that a pair is priced with; between two pegged assets a sixth of it."""
    volatility_cap_ppm: int = Field(4_000_000, ge=100_000, le=4_000_000)
    """The volatility a year above which a pair is not sold."""

    @property
    def feeds(self) -> tuple[str, ...]:
        """All feeds, each once."""
        return tuple(dict.fromkeys(url for url in (self.url, *self.urls) if url))

    @model_validator(mode="after")
    def _complete(self) -> PricesConfig:
        if self.source == "http" and not self.feeds:
            raise ValueError('source = "http" needs a `url`')
        if self.source == "http" and self.static:
            raise ValueError('give either `static` prices or source = "http", not both')
        for key, text in self.static.items():
            if Fraction(text) <= 0:
                raise ValueError(f"the price of {key} must be above 0")
        for key, seconds in self.max_ages.items():
            if not 1 <= seconds <= SECONDS_PER_DAY:
                raise ValueError(f"max_ages of {key}: give seconds from 1 to {SECONDS_PER_DAY}")
        return self


class DeskConfig(Section):
    """What risks cost, and how much of them is taken."""

    option_left_percent: int = Field(1, ge=1, le=100)
    """What the choice to finish a swap or not may still be worth after the spread, in percent of one standard
    deviation of the price. 1 asks about 2 deviations of spread, 14 about 0.7; more is cheaper for honest
    users and pays those who only finish when it suits them."""
    tolerance_percent: int = Field(100, ge=10, le=1_000)
    """How far the price may move against the bridge once the amount is fixed, in percent of one standard
    deviation over the time between the quote and its lock. Beyond it the source is given back at once."""
    range_percent: int = Field(200, ge=10, le=1_000)
    """How far an amount that floats may follow the price between the quote and the bridge's lock, up or down,
    in percent of one standard deviation over that time. Beyond it the source is given back at once; at 200
    that happens to two or three swaps in a hundred on either side."""
    reorg_ppm: int = Field(50, ge=0, le=100_000)
    """What reorganisations that undo a final lock cost on average, parts per million of the amount."""
    default_per_mille: int = Field(50, ge=0, le=900)
    """How many of a thousand swaps of strangers are reckoned to be locked and left: their network fees are
    shared by all."""
    known_after_swaps: int = Field(3, ge=0, le=1_000)
    """A client token is known after so many completed swaps; 0: everybody is known. What strangers ask for
    holds no inventory until their lock is seen."""
    known_after_value: DecimalText = "500"
    """What those swaps must have been worth together, in the unit of the prices."""
    strangers_percent: int = Field(50, ge=1, le=100)
    """The most of an asset that strangers' locks may hold, in percent."""
    strangers_order_percent: int = Field(10, ge=1, le=100)
    """The largest swap of a stranger, in percent of what strangers may still have of the asset."""
    strangers_order_value: DecimalText = "250"
    """A swap of up to this worth, in the unit of the prices, is never too large for a stranger."""
    gas_stress_percent: int = Field(200, ge=100, le=2_000)
    """At how much of today's fees an unfinished swap is reckoned to be cleared up."""


class SwapsConfig(Section):
    """Quotes and the time given to people."""

    quote_ttl: int = Field(30, ge=5, le=600)
    """Seconds for which a quote is valid and holds its inventory."""
    user_window: int = Field(900, ge=60, le=7 * SECONDS_PER_DAY)
    """Seconds the user has to claim once the bridge's lock is final."""
    lock_window: int = Field(900, ge=30, le=SECONDS_PER_DAY)
    """Seconds after acceptance within which the user's lock must be included."""
    outage_budget: int = Field(3_600, ge=0, le=7 * SECONDS_PER_DAY)
    """Seconds for which the service may be down and still claim in time."""
    halt_budget: int = Field(72_000, ge=0, le=7 * SECONDS_PER_DAY)
    """Seconds for which either chain may stand still while a swap is open without costing the bridge both
    locks: the user's lock is refundable so much later. Solana has stood still for 19 hours, Cardano was
    split for 14.5."""
    calm_after_halt: int = Field(1_800, ge=0, le=SECONDS_PER_DAY)
    """Seconds for which nothing is sold on a chain that goes on after it has stood still for ten minutes."""
    open_quotes_per_client: int = Field(3, ge=1)
    """The most open quotes of one client address: they cost nothing, and those of known clients hold
    inventory."""
    open_swaps_per_client: int = Field(10, ge=1)
    """The most open swaps of one client token."""
    open_quotes: int = Field(1_000, ge=1)
    """The most open quotes, all clients together."""
    unfunded_swaps_per_client: int = Field(3, ge=1)
    """The most accepted swaps of one client address that still wait for their lock."""
    gas_margin_percent: int = Field(200, ge=100, le=2_000)
    """How much of the present fee estimate is set aside for each transaction still to come."""
    chain_max_age: int = Field(60, ge=5, le=3_600)
    """Seconds without news of a chain after which nothing is sold on it."""


class LogConfig(Section):
    """What is logged."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    """`debug`, `info`, `warning` or `error`."""
    format: Literal["text", "json"] = "text"
    """`text` for people or `json` for programs."""
