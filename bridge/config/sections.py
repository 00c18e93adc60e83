"""The configuration's sections that belong to no chain."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Literal

from pydantic import ConfigDict, Field, SecretStr, model_validator

from bridge.chains.config import SECONDS_PER_DAY
from bridge.chains.config_fields import DecimalText, Section


class DatabaseConfig(Section):
    """Where swaps are kept: SQLite in the data directory unless `url` says otherwise."""

    url: SecretStr = SecretStr("")


class ApiKey(Section):
    """An operator's key: `sha256` is the hex digest of the key itself, which is never stored."""

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9._-]{0,62}$")
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    scopes: tuple[Literal["read", "pause", "retry"], ...] = ("read",)


class ApiConfig(Section):
    """The HTTP server."""

    host: str = "127.0.0.1"
    port: int = Field(8080, ge=0, le=65_535)
    max_body_bytes: int = Field(16_384, ge=1_024, le=1_048_576)
    requests_per_minute: int = Field(300, ge=1)
    quotes_per_minute: int = Field(30, ge=1)
    swaps_per_minute: int = Field(30, ge=1)
    cors_origins: tuple[str, ...] = ()
    trusted_proxies: tuple[str, ...] = ()
    keys: tuple[ApiKey, ...] = ()
    stream_limit: int = Field(500, ge=1)
    """Open WebSocket and SSE streams at most, all clients together."""
    streams_per_client: int = Field(10, ge=1)
    stream_seconds: float = Field(900, gt=0, le=86_400)
    """After which an SSE stream ends; clients come again with Last-Event-ID, as browsers do by themselves."""
    metrics: Literal["open", "key"] = "open"
    """Whether /metrics needs an operator's key with scope `read`."""


class KeysConfig(Section):
    """Keystores that belong to no chain."""

    password_file: Path | None = None
    storage: Path = Path("keys/storage.json")
    quotes: Path = Path("keys/quotes.json")


class PairConfig(Section):
    """A direction on offer, from the user's asset to the bridge's. `min` and `max` are in `from` coins."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)

    source: str = Field(alias="from")
    destination: str = Field(alias="to")
    enabled: bool = True
    spread_ppm: int = Field(3_000, ge=0, le=500_000)
    skew_ppm: int = Field(0, ge=0, le=500_000)
    """Added to the spread in proportion to how much of the destination inventory is promised or gone."""
    target_inventory: DecimalText = "0"
    """Destination coins at which the skew is nothing; 0 switches the skew off."""
    min: DecimalText
    max: DecimalText
    gasless: bool = True
    """Whether the relayer may claim the destination for users who hand the preimage over."""


class PricesConfig(Section):
    """What each asset is worth in one common unit of account, and where that is learnt."""

    source: Literal["static", "http"] = "static"
    static: dict[str, DecimalText] = Field(default_factory=dict)
    url: str = ""
    poll_interval: float = Field(10.0, ge=1, le=3_600)
    max_age: int = Field(60, ge=1, le=SECONDS_PER_DAY)
    """Seconds after which a price is stale and quoting stops; the static table never ages."""

    @model_validator(mode="after")
    def _complete(self) -> PricesConfig:
        if self.source == "http" and not self.url:
            raise ValueError('source = "http" needs a `url`')
        if self.source == "http" and self.static:
            raise ValueError('give either `static` prices or source = "http", not both')
        for key, text in self.static.items():
            if Fraction(text) <= 0:
                raise ValueError(f"the price of {key} must be above 0")
        return self


class SwapsConfig(Section):
    """Quotes and the time given to people."""

    quote_ttl: int = Field(30, ge=5, le=600)
    user_window: int = Field(3_600, ge=60, le=7 * SECONDS_PER_DAY)
    """Seconds the user has, after the bridge's lock is final, to claim."""
    lock_window: int = Field(900, ge=30, le=SECONDS_PER_DAY)
    """Seconds after acceptance until which the user's lock must have been included."""
    outage_budget: int = Field(3_600, ge=0, le=7 * SECONDS_PER_DAY)
    """Seconds the bridge may be down and still claim in time."""
    open_quotes_per_client: int = Field(3, ge=1)
    open_swaps_per_client: int = Field(10, ge=1)
    open_quotes: int = Field(1_000, ge=1)
    """Open quotes at most, all clients together."""
    unfunded_swaps_per_client: int = Field(3, ge=1)
    """Accepted swaps that still wait for their lock, at most, for each client address."""
    gas_margin_percent: int = Field(200, ge=100, le=2_000)
    """How much of the present fee estimate is set aside for each transaction still to come."""
    chain_max_age: int = Field(60, ge=5, le=3_600)
    """Seconds without news of a chain after which nothing is sold on it."""


class LogConfig(Section):
    """What is logged."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    format: Literal["text", "json"] = "text"
