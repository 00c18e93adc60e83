"""The whole configuration as one value, and the chains in it.

Which chains there are and what their sections hold depends on the families that the file names, so
`settings_class` makes the class to read a file with: pydantic then checks file and environment alike.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import lru_cache
from pathlib import Path
from typing import TypeVar, cast

from pydantic import Field, PrivateAttr, create_model, model_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from bridge.chains import registry
from bridge.chains.config import SECONDS_PER_DAY, AssetConfig, ChainSection, TimingConfig
from bridge.chains.config_fields import Section, to_units
from bridge.chains.family import ChainFamily, Instance
from bridge.chains.network import Network
from bridge.chains.traits import Traits
from bridge.config.sections import (
    ApiConfig,
    DatabaseConfig,
    DeskConfig,
    KeysConfig,
    LogConfig,
    PairConfig,
    PricesConfig,
    SwapsConfig,
)
from bridge.protocol.types import Amount, Asset, ChainId, ChainTiming

ENV_PREFIX = "RAINBOW_"

SectionKind = TypeVar("SectionKind", bound=ChainSection)


class ChainsConfig(Section):
    """The chains by name, each a field of the class that `settings_class` makes."""

    _network: Network = PrivateAttr(default=Network.DEV)

    def items(self) -> Iterator[tuple[ChainId, ChainSection]]:
        """Yield every configured chain, enabled or not."""
        for name in type(self).model_fields:
            yield ChainId(name), getattr(self, name)

    def get(self, chain: ChainId) -> ChainSection:
        """Return the section of a chain. Raises ValueError for a chain that has none."""
        if chain not in type(self).model_fields:
            raise ValueError(f"chains.{chain}: there is no such section; {_how_to_add(chain)}")
        section: ChainSection = getattr(self, chain)
        return section

    def family(self, chain: ChainId) -> ChainFamily:
        """Return the family of a chain. Raises ValueError for a chain without a section."""
        return registry.family(self.get(chain).family or chain)

    def timing_config(self, chain: ChainId) -> TimingConfig:
        """Return what is assumed of a chain's clock and blocks."""
        return self.get(chain).timing_on(self._network)

    def timing(self, asset: Asset, amount: Amount) -> ChainTiming:
        """Return the timing of the asset's chain with the finality that this amount demands."""
        return self.timing_config(asset.chain).for_amount(asset, amount)

    def secured(self, asset: Asset) -> Amount | None:
        """Return the largest amount that the finality cap pays for, None where depth does not grow."""
        return self.timing_config(asset.chain).secured(asset)


def _how_to_add(chain: str) -> str:
    if chain in registry.names():
        return f"add it with {registry.family(chain).section.nodes_key}"
    return f'add it with family = "…", one of {", ".join(registry.names())}'


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
    desk: DeskConfig = DeskConfig()
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
    def _tell_chains_their_network(self) -> Settings:
        self.chains._network = self.network
        return self

    def assets_by_key(self) -> dict[str, Asset]:
        """Return the assets by their key `chain:SYMBOL`."""
        return {entry.asset.key: entry.asset for entry in self.assets}

    def priced_assets(self) -> frozenset[str]:
        """Return the keys of the assets whose prices are needed: those of the pairs on offer and the coins
        that pay for their transactions."""
        assets = self.assets_by_key()
        sold = {key for pair in self.pairs if pair.enabled for key in (pair.source, pair.destination)}
        chains = {assets[key].chain for key in sold if key in assets}
        return frozenset(sold) | {
            entry.asset.key for entry in self.assets if entry.chain in chains and not entry.contract
        }

    def enabled_chains(self) -> dict[ChainId, ChainSection]:
        """Return the sections of the chains that are switched on."""
        return {chain: section for chain, section in self.chains.items() if section.enabled}

    def instance(self, chain: ChainId) -> Instance:
        """Return all that a family needs to know of one chain. Raises ValueError without a section."""
        assets = tuple(entry.asset for entry in self.assets if entry.chain == chain)
        accepted = {
            entry.contract: frozenset(entry.issuer_powers)
            for entry in self.assets
            if entry.chain == chain and entry.contract
        }
        return Instance(chain, self.network, self.chains.get(chain), assets, accepted)

    def traits(self, chain: ChainId) -> Traits:
        """Return what sets a chain apart. Raises ValueError for a chain without a section."""
        return self.chains.family(chain).traits(self.instance(chain))

    def native_asset(self, chain: ChainId) -> Asset:
        """Return the coin that pays for transactions on `chain`. Raises ValueError when it is not listed."""
        for entry in self.assets:
            if entry.chain == chain and not entry.contract:
                return entry.asset
        raise ValueError(f"assets: list the native coin of {chain} too: fees are paid in it")

    def kept(self, asset: str) -> Amount:
        """Return the smallest units of an asset that are never offered."""
        return next(
            (to_units(entry.keep, entry.decimals) for entry in self.assets if entry.asset.key == asset),
            Amount(0),
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

    def journal_path(self) -> Path:
        """Return the file in which accepted swaps are written down, beside the database."""
        return self.data_dir / "accepted.journal"


def settings_class(families: Mapping[str, str]) -> type[Settings]:
    """Return the class that reads a configuration with these chains: name → family.

    Raises `FamilyError` for a family that is not installed.
    """
    return _settings_class(tuple(families.items()))


@lru_cache(maxsize=64)
def _settings_class(families: tuple[tuple[str, str], ...]) -> type[Settings]:
    fields: dict[str, tuple[type[ChainSection], ChainSection]] = {}
    for name, family in families:
        kind = registry.family(family).section
        section_model = create_model(
            f"{kind.__name__}:{name}",
            __base__=kind,
            __module__=kind.__module__,
            keystore=(Path, Path(f"keys/{name}.json")),
            family=(str, family),
        )
        section = cast(type[ChainSection], section_model)
        fields[name] = (section, section())
    chains = create_model("ChainsConfig", __base__=ChainsConfig, __module__=__name__, **fields)  # type: ignore[call-overload]
    made: type[Settings] = create_model(
        "Settings", __base__=Settings, __module__=__name__, chains=(chains, chains())
    )
    return made
