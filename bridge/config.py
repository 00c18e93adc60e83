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
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SecretStr,
    ValidationError,
    model_validator,
)
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict, SettingsError

from bridge.protocol.timelocks import finality_depth, max_secured_amount
from bridge.protocol.types import Asset, Chain, ChainTiming

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

SECONDS_PER_DAY = 86_400
STELLAR_DECIMALS = 7


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


def _no_float(value: object) -> object:
    if isinstance(value, float):
        raise ValueError('write it in quotes, e.g. "0.5": floats lose money')
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    return value


def _decimal(text: str) -> str:
    if not re.fullmatch(r"\d{1,40}(\.\d{1,40})?", text):
        raise ValueError(f'{text!r} is not a decimal number such as "0.5"')
    return text


DecimalText = Annotated[str, BeforeValidator(_no_float), AfterValidator(_decimal)]
"""A non-negative decimal number as text."""


def to_units(text: str, decimals: int) -> int:
    """Turn decimal text in whole coins into smallest units; ValueError when it does not fit exactly."""
    whole, _, part = _decimal(text).partition(".")
    part = part.rstrip("0")
    if len(part) > decimals:
        raise ValueError(f"{text} has more than {decimals} decimals")
    return int(whole + part.ljust(decimals, "0"))


def to_text(units: int, decimals: int) -> str:
    """Turn smallest units into decimal text without trailing zeros: the exact inverse of `to_units`."""
    sign = "-" if units < 0 else ""
    whole, part = divmod(abs(units), 10**decimals)
    digits = str(part).rjust(decimals, "0").rstrip("0") if part else ""
    return f"{sign}{whole}.{digits}" if digits else f"{sign}{whole}"


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class DatabaseConfig(_Section):
    """Where swaps are kept: SQLite in the data directory unless `url` says otherwise."""

    url: SecretStr = SecretStr("")


class ApiKey(_Section):
    """An operator's key: `sha256` is the hex digest of the key itself, which is never stored."""

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9._-]{0,62}$")
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    scopes: tuple[Literal["read", "pause", "retry"], ...] = ("read",)


class ApiConfig(_Section):
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


class KeysConfig(_Section):
    """Keystores that belong to no chain."""

    password_file: Path | None = None
    storage: Path = Path("keys/storage.json")
    quotes: Path = Path("keys/quotes.json")


class TimingConfig(_Section):
    """What is assumed of a chain's clock and blocks; seconds, blocks, whole native coins."""

    block_interval: int = Field(ge=1, le=SECONDS_PER_DAY)
    finality_base: int = Field(ge=1)
    finality_cap: int = Field(ge=1)
    value_per_block: dict[str, DecimalText] = {}
    """By asset key: each started portion of this many coins at stake demands one block more."""
    inclusion_p99: int = Field(ge=1)
    clock_skew: int = Field(ge=0)

    @model_validator(mode="after")
    def _ordered(self) -> TimingConfig:
        if self.finality_cap < self.finality_base:
            raise ValueError("finality_cap is below finality_base")
        return self


class ChainConfig(_Section):
    """One chain: where its nodes are, who we are on it, and what may be spent on fees."""

    enabled: bool = True
    keystore: Path
    poll_interval: float = Field(ge=0.05, le=300)
    rpc_timeout: float = Field(10.0, gt=0, le=120)
    max_blocks_per_scan: int = Field(100, ge=1, le=10_000)
    timing: TimingConfig

    @property
    def urls(self) -> tuple[str, ...]:
        """Where its nodes answer; empty while none is configured."""
        raise NotImplementedError


class NodesConfig(ChainConfig):
    """A chain that is read and written through the RPC of its nodes."""

    rpc_urls: tuple[str, ...] = ()
    ws_url: str = ""
    contract: str = ""

    @property
    def urls(self) -> tuple[str, ...]:
        """The nodes, used in turn when one is down."""
        return self.rpc_urls


class ZionConfig(NodesConfig):
    """The ZION chain; `chain_id` follows from the network."""

    keystore: Path = Path("keys/zion.json")
    poll_interval: float = Field(5.0, ge=0.05, le=300)
    max_fee: DecimalText = "1"
    """Highest fee for one ordinary transaction, whole ZION."""
    urgent_max_fee: DecimalText = "10"
    """Highest fee for a claim or refund, which saves money at stake."""
    timing: TimingConfig = TimingConfig(
        block_interval=60, finality_base=10, finality_cap=120, inclusion_p99=600, clock_skew=600
    )


class EthereumConfig(NodesConfig):
    """Ethereum; `chain_id` guards against an RPC of another network."""

    chain_id: int = Field(1, ge=1)
    keystore: Path = Path("keys/ethereum.json")
    poll_interval: float = Field(3.0, ge=0.05, le=300)
    max_fee_per_gas_gwei: int = Field(300, ge=1)
    urgent_max_fee_per_gas_gwei: int = Field(3_000, ge=1)
    """For claims and refunds, which save money at stake."""
    max_priority_fee_per_gas_gwei: int = Field(10, ge=0)
    timing: TimingConfig = TimingConfig(
        block_interval=12, finality_base=64, finality_cap=96, inclusion_p99=300, clock_skew=60
    )


class StellarConfig(ChainConfig):
    """Stellar through one Horizon server; `passphrase` guards against a Horizon of another network."""

    horizon_url: str = ""
    passphrase: str = ""
    """Empty: that of the public network, the testnet or a standalone network, as `network` says."""
    keystore: Path = Path("keys/stellar.json")
    poll_interval: float = Field(2.0, ge=0.05, le=300)
    channels: int = Field(0, ge=0, le=100)
    """Accounts that lend their sequences; change it only while nothing is pending."""
    max_fee_per_operation: DecimalText = "1"
    """Highest bid, whole XLM per operation; replacements come near it, quiet times never do."""
    timing: TimingConfig = TimingConfig(
        block_interval=6, finality_base=1, finality_cap=1, inclusion_p99=60, clock_skew=60
    )

    @property
    def urls(self) -> tuple[str, ...]:
        """The Horizon server."""
        return (self.horizon_url,) if self.horizon_url else ()


AnyChainConfig = ZionConfig | EthereumConfig | StellarConfig


class ChainsConfig(_Section):
    """The chains by name. Stellar is there only when its section is given."""

    zion: ZionConfig = ZionConfig()
    ethereum: EthereumConfig = EthereumConfig()
    stellar: StellarConfig | None = None

    def timing(self, asset: Asset, amount: int) -> ChainTiming:
        """Return the timing of the asset's chain with the finality that this amount demands."""
        timing = self.get(asset.chain).timing
        portion = timing.value_per_block.get(asset.key)
        depth = timing.finality_base
        if portion is not None:
            depth = finality_depth(
                amount,
                base_depth=timing.finality_base,
                value_per_block=to_units(portion, asset.decimals),
                max_depth=timing.finality_cap,
            )
        return ChainTiming(timing.block_interval, depth, timing.inclusion_p99, timing.clock_skew)

    def secured(self, asset: Asset) -> int | None:
        """Return the largest amount that the finality cap pays for, None where depth does not grow."""
        timing = self.get(asset.chain).timing
        portion = timing.value_per_block.get(asset.key)
        if portion is None:
            return None
        return max_secured_amount(
            base_depth=timing.finality_base,
            value_per_block=to_units(portion, asset.decimals),
            max_depth=timing.finality_cap,
        )

    def items(self) -> Iterator[tuple[Chain, AnyChainConfig]]:
        """Yield every configured chain, enabled or not."""
        yield Chain.ZION, self.zion
        yield Chain.ETHEREUM, self.ethereum
        if self.stellar is not None:
            yield Chain.STELLAR, self.stellar

    def get(self, chain: Chain) -> AnyChainConfig:
        """Return the section of `chain`. Raises ValueError for a chain that has none."""
        for name, section in self.items():
            if name is chain:
                return section
        if chain is Chain.STELLAR:
            raise ValueError("chains.stellar: there is no such section; add it with a horizon_url")
        raise ValueError(f"chains.{chain.value}: this version has no adapter for {chain.value}")


class AssetConfig(_Section):
    """An asset that may be swapped; `contract` is empty for a chain's native coin."""

    chain: Chain
    symbol: str = Field(pattern=r"^[A-Za-z0-9]{1,12}$")
    decimals: int = Field(ge=0, le=30)
    contract: str = ""
    keep: DecimalText = "0"
    """Coins never offered to swaps: what the bridge's account needs for itself."""

    @property
    def asset(self) -> Asset:
        """The protocol's value."""
        return Asset(self.chain, self.symbol, self.decimals, self.contract)


class PairConfig(_Section):
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


class PricesConfig(_Section):
    """What each asset is worth in one common unit of account, and where that is learnt."""

    source: Literal["static", "http"] = "static"
    static: dict[str, DecimalText] = {}
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


class SwapsConfig(_Section):
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


class LogConfig(_Section):
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
            if assets[pair.source].chain is assets[pair.destination].chain:
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
            if pair.skew_ppm > pair.spread_ppm:
                raise ValueError(
                    f"{name}: skew_ppm is above spread_ppm: a full inventory would be sold at a loss"
                )
            for key in (pair.source, pair.destination):
                self.native_asset(assets[key].chain)
            if pair.gasless and assets[pair.destination].chain is Chain.STELLAR:
                raise ValueError(
                    f"{name}: a claim on Stellar needs the recipient's own signature, so the relayer cannot "
                    "claim for users; write gasless = false"
                )
        for chain, section in self.chains.items():
            for key in section.timing.value_per_block:
                if key not in assets:
                    raise ValueError(
                        f"chains.{chain}.timing.value_per_block: no asset {key!r}{_nearest(key, assets)}"
                    )
        for entry in self.assets:
            self.chains.get(entry.chain)
            to_units(entry.keep, entry.decimals)
            if entry.chain is Chain.STELLAR:
                _check_stellar_asset(entry)
        return self

    def assets_by_key(self) -> dict[str, Asset]:
        """Return the assets by their key `chain:SYMBOL`."""
        return {entry.asset.key: entry.asset for entry in self.assets}

    def enabled_chains(self) -> dict[Chain, AnyChainConfig]:
        """Return the sections of the chains that are switched on."""
        return {chain: section for chain, section in self.chains.items() if section.enabled}

    def native_asset(self, chain: Chain) -> Asset:
        """Return the coin that pays for transactions on `chain`. Raises ValueError when it is not listed."""
        for entry in self.assets:
            if entry.chain is chain and not entry.contract:
                return entry.asset
        raise ValueError(f"assets: list the native coin of {chain.value} too: fees are paid in it")

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


def _check_stellar_asset(entry: AssetConfig) -> None:
    name = f"assets {entry.asset.key}"
    if entry.decimals != STELLAR_DECIMALS:
        raise ValueError(f"{name}: every asset on Stellar has {STELLAR_DECIMALS} decimals")
    if entry.contract and not re.fullmatch(r"[A-Za-z0-9]{1,12}:G[A-Z2-7]{55}", entry.contract):
        raise ValueError(f"{name}: an issued asset's contract is written CODE:ISSUER")


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
                    chain.value: section.model_copy(update={"keystore": base / section.keystore})
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
