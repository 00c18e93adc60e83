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
from bridge.chains.config_fields import DecimalText, Section
from bridge.protocol.amounts import to_text, to_units
from bridge.protocol.types import Asset, ChainId
from kernels.errors import RainbowError

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


class ConfigError(RainbowError):
    """The configuration cannot be used. `problems` has one line each, with its hint."""

    exit_code = 3
    headline = "the configuration cannot be used"

    def __init__(self, problems: list[str], hint: str = "") -> None:
        super().__init__("; ".join(problems), hint)
        self.problems = problems


class Network(StrEnum):
    """Which network of every chain: a local one, the public test networks, or real money."""

    DEV = "dev"
    TEST = "test"
    MAIN = "main"


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
    data_dir: Path = Path("data")
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
    """Seconds between anchors of the transparency log on ZION; nothing new is not anchored again."""

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
