"""Configuration: one TOML file plus environment, checked strictly, frozen once read.

The file is `--config`, else `$RAINBOW_CONFIG`, else `./rainbow.toml`. Environment variables override it:
`RAINBOW_` + the path of the key in capitals joined by two underscores, e.g. `RAINBOW_API__PORT=9000`;
lists and tables are given as JSON. Unknown keys are refused, in the file and in the environment.

Money in the file is written as decimal text in whole coins ("0.5"), never as a float.
"""

from __future__ import annotations

import difflib
import os
import re
import tomllib
from collections.abc import Iterator, Mapping
from enum import StrEnum
from fractions import Fraction
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError, model_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict, SettingsError

from bridge.chains.config import (
    SECONDS_PER_DAY,
    SECTIONS,
    AnyChainConfig,
    AssetConfig,
    ChainsConfig,
    EthereumConfig,
)
from bridge.chains.config_fields import DecimalText, Section, to_text, to_units
from bridge.protocol.types import Asset, ChainId

__all__ = ["ConfigError", "Network", "Settings", "find_file", "load", "parse", "to_text", "to_units"]

ENV_PREFIX = "RAINBOW_"
CONFIG_VARIABLE = "RAINBOW_CONFIG"
DEFAULT_FILE = "rainbow.toml"
OTHER_VARIABLES = frozenset(
    {
        CONFIG_VARIABLE,
        "RAINBOW_KEYSTORE_PASSWORD",
        "RAINBOW_KEYSTORE_PASSWORD_FILE",
        "RAINBOW_API_URL",
        "RAINBOW_ANVIL",
        "RAINBOW_NODE_MODULES",
        "RAINBOW_CLIENT_TOKEN",
        "RAINBOW_RECOVERY_DIR",
        "RAINBOW_RECOVERY_PASSWORD",
    }
)
"""Variables with our prefix that are no configuration keys."""


class ConfigError(Exception):
    """The configuration cannot be used. `problems` has one line each, with its hint."""

    def __init__(self, problems: list[str], hint: str = "") -> None:
        super().__init__("; ".join(problems))
        self.problems = problems
        self.hint = hint


class Network(StrEnum):
    """Which network of every chain: a local one, the public test networks, or real money."""

    DEV = "dev"
    TEST = "test"
    MAIN = "main"


class DatabaseConfig(Section):
    """Where swaps are kept: SQLite in the data directory unless `url` says otherwise."""

    url: SecretStr = SecretStr("")
    """`sqlite:///file.db` or `postgresql://user@host/name`; "": SQLite in `data_dir`."""


class ApiKey(Section):
    """An operator's key: `sha256` is the hex digest of the key itself, which is never stored."""

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9._-]{0,62}$")
    """Who holds the key; it stands in the audit log."""
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    """SHA-256 of the key, 64 hex digits. The key itself is stored nowhere."""
    scopes: tuple[Literal["read", "pause", "retry"], ...] = ("read",)
    """What the key allows: `read`, `pause`, `retry`."""


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
    """Web origins that may call the API and open the WebSocket."""
    trusted_proxies: tuple[str, ...] = ()
    """Peers whose `X-Forwarded-For` header is believed."""
    keys: tuple[ApiKey, ...] = ()
    stream_limit: int = Field(500, ge=1)
    """The most WebSocket and SSE streams open at once, all clients together."""
    streams_per_client: int = Field(10, ge=1)
    """The most streams that one client address may have open at once."""
    stream_seconds: float = Field(900, gt=0, le=86_400)
    """Seconds after which an SSE stream ends. Clients resume with `Last-Event-ID`, as browsers do by
    themselves."""
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
    """The bridge's spread in parts per million."""
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
    """`static` takes the table `static`; `http` reads `url`."""
    static: dict[str, DecimalText] = Field(default_factory=dict)
    """By asset key, what one whole coin is worth in the common unit."""
    url: str = ""
    """Answers `{"time": <Unix seconds>, "prices": {"zion:ZION": "0.5"}}`."""
    poll_interval: float = Field(10.0, ge=1, le=3_600)
    """Seconds between two readings of `url`."""
    max_age: int = Field(60, ge=1, le=SECONDS_PER_DAY)
    """Seconds after which a price is stale and quoting stops. The static table never ages."""

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
    """Seconds for which a quote is valid and holds its inventory."""
    user_window: int = Field(3_600, ge=60, le=7 * SECONDS_PER_DAY)
    """Seconds the user has to claim once the bridge's lock is final."""
    lock_window: int = Field(900, ge=30, le=SECONDS_PER_DAY)
    """Seconds after acceptance within which the user's lock must be included."""
    outage_budget: int = Field(3_600, ge=0, le=7 * SECONDS_PER_DAY)
    """Seconds for which the service may be down and still claim in time."""
    open_quotes_per_client: int = Field(3, ge=1)
    """The most open quotes of one client address: open quotes hold inventory and cost nothing."""
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


class Settings(BaseSettings):
    """The whole configuration. Paths are absolute once loaded with `load`."""

    model_config = SettingsConfigDict(
        env_prefix=ENV_PREFIX,
        env_nested_delimiter="__",
        extra="forbid",
        frozen=True,
        nested_model_default_partial_update=True,
    )

    network: Network = Network.DEV
    """`dev`, `test` or `main`, of every chain. The published devnet keys are refused on the other two."""
    data_dir: Path = Path("data")
    """Where the SQLite database and the logs are."""
    database: DatabaseConfig = DatabaseConfig()
    api: ApiConfig = ApiConfig()
    keys: KeysConfig = KeysConfig()
    chains: ChainsConfig = ChainsConfig()
    assets: tuple[AssetConfig, ...] = ()
    pairs: tuple[PairConfig, ...] = ()
    prices: PricesConfig = PricesConfig()
    swaps: SwapsConfig = SwapsConfig()
    log: LogConfig = LogConfig()
    anchor_interval: float = Field(600.0, ge=1, le=SECONDS_PER_DAY)
    """Seconds between two anchors of the transparency log on ZION. A root is anchored once only."""

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],  # noqa: ARG003
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """The environment wins over the file, whose content arrives as arguments."""
        return env_settings, init_settings

    @model_validator(mode="after")
    def _consistent(self) -> Settings:
        assets = self.assets_by_key()
        if len(assets) != len(self.assets):
            raise ValueError("assets: two entries have the same chain and symbol")
        seen: set[tuple[str, str]] = set()
        for pair in self.pairs:
            name = f"pairs {pair.source} → {pair.destination}"
            for key in (pair.source, pair.destination):
                if key not in assets:
                    raise ValueError(f"{name}: no asset {key!r}{_nearest(key, assets)}")
                if self.prices.source == "static" and pair.enabled and key not in self.prices.static:
                    raise ValueError(f"{name}: prices.static has no price for {key!r}")
            if assets[pair.source].chain == assets[pair.destination].chain:
                raise ValueError(f"{name}: both assets are on one chain; a swap needs two")
            if (pair.source, pair.destination) in seen:
                raise ValueError(f"{name}: listed twice")
            seen.add((pair.source, pair.destination))
            try:
                low, high = (to_units(text, assets[pair.source].decimals) for text in (pair.min, pair.max))
                to_units(pair.target_inventory, assets[pair.destination].decimals)
            except ValueError as error:
                raise ValueError(f"{name}: {error}") from None
            if not 0 < low <= high:
                raise ValueError(f"{name}: needs 0 < min ≤ max")
            inclusion = self.chains.get(assets[pair.destination].chain).timing.inclusion_p99
            if self.swaps.user_window <= inclusion:
                raise ValueError(
                    f"swaps.user_window: {self.swaps.user_window} s leave nobody time to claim on "
                    f"{assets[pair.destination].chain}, where inclusion_p99 is {inclusion} s"
                )
            if pair.skew_ppm > pair.spread_ppm:
                raise ValueError(
                    f"{name}: skew_ppm is above spread_ppm: a full inventory would be sold at a loss"
                )
            for key in (pair.source, pair.destination):
                self.native_asset(assets[key].chain)
        for chain, section in self.chains.items():
            for key in section.timing.value_per_block:
                if key not in assets:
                    raise ValueError(
                        f"chains.{chain}.timing.value_per_block: no asset {key!r}{_nearest(key, assets)}"
                    )
        for entry in self.assets:
            self.chains.get(entry.chain)
            to_units(entry.keep, entry.decimals)
            SECTIONS[entry.chain].check_asset(entry)
        return self

    def assets_by_key(self) -> dict[str, Asset]:
        """Return the assets by their key `chain:SYMBOL`."""
        return {entry.asset.key: entry.asset for entry in self.assets}

    def enabled_chains(self) -> dict[ChainId, AnyChainConfig]:
        """Return the sections of the chains that are switched on."""
        return {chain: section for chain, section in self.chains.items() if section.enabled}

    def native_asset(self, chain: ChainId) -> Asset:
        """Return the coin that pays for transactions on `chain`. Raises ValueError when it is not listed."""
        for entry in self.assets:
            if entry.chain == chain and not entry.contract:
                return entry.asset
        raise ValueError(f"assets: list the native coin of {chain} too: fees are paid in it")

    def kept(self, asset: str) -> int:
        """Return the smallest units of an asset that are never offered."""
        return next(
            (to_units(entry.keep, entry.decimals) for entry in self.assets if entry.asset.key == asset), 0
        )

    def pair(self, source: str, destination: str) -> PairConfig | None:
        """Return the direction's section, None if it is not on offer."""
        for pair in self.pairs:
            if (pair.source, pair.destination) == (source, destination):
                return pair
        return None

    def database_url(self) -> str:
        """Return the database's URL; SQLite in the data directory by default. May hold a password."""
        return self.database.url.get_secret_value() or f"sqlite:///{self.data_dir / 'rainbow.db'}"


def find_file(path: Path | None = None) -> Path:
    """Return the configuration file to use; raises `ConfigError` when there is none."""
    chosen = path or Path(os.environ.get(CONFIG_VARIABLE) or DEFAULT_FILE)
    if not chosen.is_file():
        raise ConfigError(
            [f"no configuration file {chosen}"],
            f"`rainbow init` writes one; or name yours with --config or {CONFIG_VARIABLE}",
        )
    return chosen.absolute()


def load(path: Path | None = None) -> Settings:
    """Read, check and freeze the configuration. Raises `ConfigError` naming every problem at once.

    Relative paths inside the file are taken from the file's own directory.
    """
    file = find_file(path)
    try:
        content = tomllib.loads(file.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError([f"{file}: {error}"], "the file must be TOML") from None
    return parse(content, file.parent)


def parse(content: Mapping[str, Any], base: Path) -> Settings:
    """Check a configuration given as nested tables; relative paths start at `base`."""
    problems = list(_unknown_variables(os.environ))
    try:
        settings = Settings(**content)
    except ValidationError as error:
        problems += [_explain(item) for item in error.errors()]
        raise ConfigError(problems, "docs/configuration.md explains every key") from None
    except (SettingsError, TypeError) as error:
        raise ConfigError(
            [*problems, f"environment: {error}"], "lists and tables are given as JSON"
        ) from None
    if problems:
        raise ConfigError(problems, "unset what is misspelt: it would be ignored silently")
    return _absolute(settings, base)


def _absolute_paths(section: AnyChainConfig, base: Path) -> dict[str, object]:
    paths: dict[str, object] = {"keystore": base / section.keystore}
    if isinstance(section, EthereumConfig) and section.contract.endswith(".json"):
        paths["contract"] = str(base / section.contract)
    return paths


def _absolute(settings: Settings, base: Path) -> Settings:
    keys = settings.keys
    chains = settings.chains
    password = keys.password_file
    database = settings.database
    url = database.url.get_secret_value()
    if match := re.fullmatch(r"(sqlite(?:\+\w+)?):///(?!/)(?!:memory:)(.+)", url):
        database = DatabaseConfig(url=SecretStr(f"{match[1]}:///{base / match[2]}"))
    return settings.model_copy(
        update={
            "data_dir": base / settings.data_dir,
            "database": database,
            "keys": keys.model_copy(
                update={
                    "password_file": base / password if password else None,
                    "storage": base / keys.storage,
                    "quotes": base / keys.quotes,
                }
            ),
            "chains": chains.model_copy(
                update={
                    chain: section.model_copy(update=_absolute_paths(section, base))
                    for chain, section in chains.items()
                }
            ),
        }
    )


def _explain(item: Any) -> str:
    path = [str(part) for part in item["loc"]]
    where = ".".join(path)
    if item["type"] == "extra_forbidden":
        return f"{where}: unknown key{_nearest(path[-1], _keys_at(path[:-1]))}"
    if item["type"] == "missing":
        return f"{where}: missing"
    message = str(item["msg"]).removeprefix("Value error, ")
    return f"{where}: {message}" if where else message


def _keys_at(path: list[str]) -> list[str]:
    """Return the key names allowed in the section at `path`."""
    model: Any = Settings
    for part in path:
        if part.isdigit():
            continue
        for name, field in model.model_fields.items():
            if part in (name, field.alias):
                model = _section_of(field.annotation)
                break
        else:
            return []
        if model is None:
            return []
    return [field.alias or name for name, field in model.model_fields.items()]


def _section_of(annotation: Any) -> Any:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    for argument in getattr(annotation, "__args__", ()):
        if (found := _section_of(argument)) is not None:
            return found
    return None


def _nearest(word: str, candidates: Any) -> str:
    close = difflib.get_close_matches(word, list(candidates), n=1, cutoff=0.5)
    return f"; did you mean {close[0]!r}?" if close else ""


def _unknown_variables(environment: Mapping[str, str]) -> Iterator[str]:
    for name in sorted(environment):
        if not name.startswith(ENV_PREFIX) or name in OTHER_VARIABLES:
            continue
        path = name.removeprefix(ENV_PREFIX).lower().split("__")
        for depth, part in enumerate(path):
            allowed = _keys_at(path[:depth])
            if part not in allowed:
                known = [ENV_PREFIX + "__".join([*path[:depth], key]).upper() for key in allowed]
                if allowed or depth == 0:
                    yield f"{name}: unknown variable{_nearest(name, [*known, *OTHER_VARIABLES])}"
                    break
