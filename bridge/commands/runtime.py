"""What several commands need: the configuration, the keys, the store, and logging."""

from __future__ import annotations

import logging
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import structlog
import typer

from bridge import config
from bridge.chains import registry
from bridge.config import LogConfig, Network, Settings
from bridge.keys.keystore import SecretKey, find_password, load
from bridge.protocol.types import ChainId

if TYPE_CHECKING:
    from bridge.desk.prices import PriceSource
    from bridge.store import Store

log = structlog.get_logger("store")

_LEVELS = {"debug": 10, "info": 20, "warning": 30, "error": 40}


def load_settings(path: Path | None) -> Settings:
    """Read the configuration and set logging up. Raises `ConfigError`."""
    settings = config.load(path)
    set_up_logging(settings.log)
    return settings


def set_up_logging(log: LogConfig) -> None:
    """Log to standard error, one event a line. Libraries say nothing below a warning: they quote requests."""
    level = _LEVELS[log.level]
    renderer: structlog.types.Processor = structlog.processors.JSONRenderer()
    if log.format == "text":
        renderer = structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )
    logging.basicConfig(level=max(level, logging.WARNING), stream=sys.stderr, force=True)


def chain_named(settings: Settings, name: str) -> ChainId:
    """Return the chain that a command names. Raises `ConfigError` for one that the configuration could have,
    `typer.BadParameter` for a name that says nothing."""
    known = [chain for chain, _ in settings.chains.items()]
    if name in known:
        return ChainId(name)
    if name in registry.names():
        try:
            settings.chains.get(ChainId(name))
        except ValueError as error:
            installed = ", ".join(registry.names())
            hint = f"the configuration has {', '.join(known)}; installed families: {installed}"
            raise config.ConfigError([str(error)], hint) from None
    raise typer.BadParameter(f"no chain {name!r} in the configuration; it has {', '.join(known)}")


class KeyRing:
    """Opens the configured keystores, each of them once: that takes a second. Asks for the password once."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._password: str | None = None
        self._opened: dict[Path, SecretKey] = {}

    def chain(self, chain: ChainId) -> SecretKey:
        """Return the bridge's key on a chain. Raises `KeystoreError`."""
        return self._load(self._settings.chains.get(chain).keystore)

    def storage(self) -> SecretKey:
        """Return the key that seals preimages in the database. Raises `KeystoreError`."""
        return self._load(self._settings.keys.storage)

    def quotes(self) -> SecretKey:
        """Return the key that signs quotes. Raises `KeystoreError`."""
        return self._load(self._settings.keys.quotes)

    def _load(self, path: Path) -> SecretKey:
        if path in self._opened:
            return self._opened[path]
        if self._password is None:
            self._password = find_password(self._settings.keys.password_file)
        chains = tuple(str(chain) for chain, _ in self._settings.chains.items())
        self._opened[path] = load(path, self._password, self._settings.network.value, chains)
        return self._opened[path]


def open_store(settings: Settings, ring: KeyRing) -> Store:
    """Open the database with the key that seals secrets, bringing it up to date. Raises `StoreError`."""
    from bridge.store import Store  # takes a second, which commands without a database need not wait for

    settings.data_dir.mkdir(parents=True, exist_ok=True)
    store = Store.open(settings.database_url(), secrets_key=ring.storage().reveal())
    with store.reading() as tx:
        opens = tx.secrets.opens_canary()
    if opens is None:
        with store.transaction() as tx:
            opens = tx.secrets.plant_canary()
    if not opens:
        log.critical("storage_key_is_another", hint="secrets stored so far cannot be read: use the old key")
    return store


def price_source(settings: Settings, store: Store | None = None) -> PriceSource:
    """Return the configured source of prices. With a `store`, what is learnt is kept there, and the relayers
    look at it, and assets that are sold no more are priced as long as open swaps need it."""

    from bridge.desk.price_feeds import HttpFeed, StaticFeed
    from bridge.desk.prices import PriceBook

    def clock() -> int:
        return int(time.time())

    prices = settings.prices
    is_static = prices.source == "static"
    feeds = [StaticFeed(prices.static, clock)] if is_static else [HttpFeed(url) for url in prices.feeds]
    return PriceBook(
        prices,
        feeds,
        sorted(settings.priced_assets() | (_still_priced(settings, store) if store else set())),
        clock,
        store,
        alone=is_static or settings.network is Network.DEV,
    )


def _still_priced(settings: Settings, store: Store) -> set[str]:
    """Return the assets of open swaps, also of pairs that were taken out: before the bridge locks, it looks
    at the price again."""
    with store.reading() as tx:
        needed = tx.identities.open_assets()
    listed = settings.assets_by_key().keys()
    priced = listed if settings.prices.source != "static" else listed & settings.prices.static.keys()
    return needed & priced
