"""The prices that the desk sells at: agreed between sources, guarded, and kept in the database.

`PriceBook.refresh` asks every source, folds what they agree on into the stored states (one transaction,
the same in every process), and stores the prices for the relayers, which look at them before they lock. The
rate of a pair is the quotient of two prices, so that network fees of any chain can be expressed in any asset.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from fractions import Fraction
from typing import Final, Protocol, TypeVar

import msgspec
import structlog

from bridge.config.sections import PricesConfig
from bridge.desk.consensus import Agreed, NoAgreementError, Rules, agree, quorum_of
from bridge.desk.price_feeds import Feed, FeedError, Print
from bridge.desk.price_guard import LEAST_VOLATILITY, Guard, observe, peg_cost
from bridge.desk.volatility import PairVolatility
from bridge.protocol.option import PPB
from bridge.store import Store, Transaction
from bridge.store.records import MarketPrice
from bridge.store.repositories.market import price_name
from kernels.errors import RainbowError

log = structlog.get_logger("rainbow.prices")

T = TypeVar("T")

LARGE_STEP: Final = PPB // 4
"""A step of a quarter must stand for ten minutes."""
ALARM_AFTER: Final = 3
"""A source that was left out so often in a row is an alarm."""
_PARALLEL: Final = 8


class PriceUnavailableError(RainbowError):
    """There is no price, only a stale one, or one that must wait. `hint` says what to do."""


class Price(msgspec.Struct, frozen=True):
    """Worth of one whole coin in the common unit, and the Unix second at which it was true. `low` and
    `high`: what the lowest and the highest source that counts say; the difference is charged to who asks."""

    value: Fraction
    at: int
    low: Fraction
    high: Fraction
    left_out: dict[str, str] = {}

    @classmethod
    def exactly(cls, value: Fraction, at: int) -> Price:
        """A price that all sources name alike."""
        return cls(value, at, value, value)


class Movement(msgspec.Struct, frozen=True):
    """How the ratio of two prices moves: its volatility in ppm a year, and what jumps cost the seller of an
    option over the seconds that were asked for, and what lost pegs cost, both in ppb."""

    volatility_ppm: int
    jumps: int = 0
    pegs: int = 0


class PriceSource(Protocol):
    """The port through which the bridge learns prices."""

    def price(self, asset: str) -> Price:
        """Return the price of an asset by its key. Raises `PriceUnavailableError`. Must not wait for a
        network.
        """
        ...

    def movement(self, source: str, destination: str, seconds: int) -> Movement:
        """Return how the ratio of two assets moves, with the cost of jumps over so many seconds. Raises
        `PriceUnavailableError` where it moves too much. Must not wait for a network."""
        ...

    def refresh(self) -> None:
        """Fetch again; called periodically from a thread. Raises `PriceUnavailableError`."""
        ...


class _View(msgspec.Struct, frozen=True):
    """What the last refresh left: read without a lock, replaced as a whole."""

    prices: dict[str, MarketPrice] = {}
    guards: dict[str, Guard] = {}
    pairs: dict[str, PairVolatility] = {}
    missing: dict[str, str] = {}


class PriceBook:
    """The prices of all configured assets. `store` None keeps the states in memory, which only asks."""

    def __init__(
        self,
        config: PricesConfig,
        feeds: Sequence[Feed],
        assets: Sequence[str],
        clock: Callable[[], int],
        store: Store | None = None,
        *,
        alone: bool = False,
    ) -> None:
        """`assets`: keys of those that are priced; `clock`: Unix seconds; `alone`: one feed is enough where
        there is only one."""
        self._config = config
        self._feeds = _named(feeds)
        self._assets = tuple(dict.fromkeys(assets))
        self._clock = clock
        self._store = store
        self._alone = alone
        self._prints: dict[str, Mapping[str, Print]] = {name: {} for name in self._feeds}
        self._left_out: dict[tuple[str, str], int] = {}
        self._refreshing = threading.Lock()
        self._view = _View()

    # -- what is asked -----------------------------------------------------------------------

    def price(self, asset: str) -> Price:
        """See `PriceSource`."""
        view = self._view
        stored = view.prices.get(asset)
        missing = view.missing.get(asset, "")
        if stored is None:
            raise PriceUnavailableError(
                f"there is no price for {asset} yet" + (f": {missing}" if missing else ""),
                "try again in a minute",
            )
        trouble = stored.trouble(self._clock())
        if trouble:
            raise PriceUnavailableError(
                trouble + (f": {missing}" if missing else ""), "try again in a minute"
            )
        return Price(
            Fraction(stored.numerator, stored.denominator),
            stored.at,
            Fraction(*stored.low),
            Fraction(*stored.high),
            stored.left_out,
        )

    def movement(self, source: str, destination: str, seconds: int) -> Movement:
        """See `PriceSource`."""
        view, config = self._view, self._config
        floor = config.volatility_floor_ppm
        if source in config.pegged and destination in config.pegged:
            floor //= 6
        known = view.pairs.get(pair_name(source, destination)) or PairVolatility.unknown()
        volatility = known.yearly_ppm(floor=floor, assumed=config.volatility_ppm)
        if volatility > config.volatility_cap_ppm:
            raise PriceUnavailableError(
                f"the price of {source} in {destination} moves too much to be sold "
                f"({volatility // 10_000} % a year)",
                "try again when it is calmer",
            )
        guards = [view.guards[asset] for asset in (source, destination) if asset in view.guards]
        return Movement(
            volatility,
            jumps=sum(guard.jump_cost(seconds) for guard in guards),
            pegs=sum(
                peg_cost(view.guards[asset])
                for asset in (source, destination)
                if asset in view.guards and asset in config.pegged
            ),
        )

    # -- what is learnt ----------------------------------------------------------------------

    def refresh(self) -> None:
        """See `PriceSource`. A source that fails leaves what it said last, until that is too old. Raises
        when no source could be read."""
        with self._refreshing:
            troubles = self._read()
            now = self._clock()
            agreed, missing = self._agree(now)
            if self._store is None:
                self._view = self._folded(self._view, agreed, missing)
            else:
                with self._store.transaction() as tx:
                    tx.lock("market")
                    known = self._stored(tx)
                    view = self._folded(known, agreed, missing)
                    tx.market.put(_changes(known, view))
                self._view = view
        if troubles and len(troubles) == len(self._feeds):
            raise PriceUnavailableError("; ".join(troubles), "check prices.url and prices.urls")

    def _read(self) -> list[str]:
        """Ask every source at once; return the troubles of those that did not answer."""

        def ask(name: str) -> str:
            try:
                self._prints[name] = dict(self._feeds[name].read())
            except FeedError as error:
                return str(error)
            except Exception as error:  # one bad source stops nothing
                return f"{name} cannot be read ({type(error).__name__})"
            return ""

        with ThreadPoolExecutor(max_workers=max(1, min(_PARALLEL, len(self._feeds)))) as pool:
            troubles = [trouble for trouble in pool.map(ask, self._feeds) if trouble]
        for trouble in troubles:
            log.warning("price_source_silent", reason=trouble)
        return troubles

    def rules(self, asset: str, guard: Guard | None) -> Rules:
        """Return what is asked of the sources of an asset."""
        count = len(self._feeds)
        return Rules(
            max_age=self._config.max_ages.get(asset, self._config.max_age),
            quorum=1 if self._alone and count == 1 else max(2, quorum_of(count)),
            max_range_ppm=self._config.max_range_ppm,
            volatility_ppm=guard.volatility_ppm() if guard is not None else LEAST_VOLATILITY,
        )

    def _agree(self, now: int) -> tuple[dict[str, Agreed], dict[str, str]]:
        agreed: dict[str, Agreed] = {}
        missing: dict[str, str] = {}
        for asset in self._assets:
            rules = self.rules(asset, self._view.guards.get(asset))
            try:
                agreed[asset] = agree(
                    {name: said.get(asset) for name, said in self._prints.items()}, rules, now
                )
                left_out = agreed[asset].left_out
            except NoAgreementError as error:
                missing[asset] = str(error)
                left_out = error.left_out
            self._note_left_out(asset, left_out)
        return agreed, missing

    def _note_left_out(self, asset: str, left_out: Mapping[str, str]) -> None:
        for name in self._feeds:
            key = (asset, name)
            if name not in left_out:
                self._left_out.pop(key, None)
                continue
            self._left_out[key] = self._left_out.get(key, 0) + 1
            if self._left_out[key] == ALARM_AFTER:
                log.error("price_source_left_out", asset=asset, source=name, reason=left_out[name])

    def _folded(self, known: _View, agreed: Mapping[str, Agreed], missing: dict[str, str]) -> _View:
        """Return the view with what was agreed on folded in. A price older than the stored one changes
        nothing: another process was faster."""
        guards, prices, pairs = dict(known.guards), dict(known.prices), dict(known.pairs)
        for asset, found in agreed.items():
            before = guards.get(asset) or Guard.fresh()
            guard = observe(
                before, found.value, found.at, large_step=LARGE_STEP, pegged=asset in self._config.pegged
            )
            guards[asset] = guard
            if guard.accepted is None:
                continue
            last = prices.get(asset)
            if guard.at == found.at or last is None:
                prices[asset] = self._price(asset, found, guard.wait)
            elif guard.wait != last.wait:
                prices[asset] = msgspec.structs.replace(last, wait=guard.wait)
        for one, other in self._pairs():
            if one in guards and other in guards:
                first, second = guards[one].price, guards[other].price
                if first is not None and second is not None:
                    state = pairs.get(pair_name(one, other)) or PairVolatility.unknown()
                    at = min(guards[one].at, guards[other].at)
                    pairs[pair_name(one, other)] = state.observe(first / second, at)
        return _View(prices, guards, pairs, missing)

    def _price(self, asset: str, found: Agreed, wait: str) -> MarketPrice:
        return MarketPrice(
            asset,
            found.value.numerator,
            found.value.denominator,
            found.low.as_integer_ratio(),
            found.high.as_integer_ratio(),
            found.at,
            self._config.max_ages.get(asset, self._config.max_age),
            wait,
            found.sources,
            found.left_out,
        )

    def _pairs(self) -> list[tuple[str, str]]:
        ordered = sorted(self._assets)
        return [(one, other) for index, one in enumerate(ordered) for other in ordered[index + 1 :]]

    def _stored(self, tx: Transaction) -> _View:
        names = [name for asset in self._assets for name in (price_name(asset), _guard_name(asset))]
        names += [pair_name(*pair) for pair in self._pairs()]
        bodies = tx.market.bodies(names)
        prices = {asset: _decoded(bodies, price_name(asset), MarketPrice) for asset in self._assets}
        guards = {asset: _decoded(bodies, _guard_name(asset), Guard) for asset in self._assets}
        pairs = {name: _decoded(bodies, name, PairVolatility) for name in map(_of_pair, self._pairs())}
        return _View(_known(prices), _known(guards), _known(pairs))


def pair_name(one: str, other: str) -> str:
    """Return the name under which the volatility of a pair is stored: the same for both directions."""
    first, second = sorted((one, other))
    return f"volatility:{first}|{second}"


def _of_pair(pair: tuple[str, str]) -> str:
    return pair_name(*pair)


def _guard_name(asset: str) -> str:
    return f"guard:{asset}"


def _decoded(bodies: Mapping[str, str], name: str, kind: type[T]) -> T | None:
    """Return a stored state; one that cannot be read begins from nothing, and is an alarm."""
    if name not in bodies:
        return None
    try:
        return msgspec.json.decode(bodies[name], type=kind)
    except msgspec.DecodeError as error:
        log.error("market_state_unreadable", name=name, reason=str(error), hint="it begins from nothing")
        return None


def _known(found: Mapping[str, T | None]) -> dict[str, T]:
    return {name: value for name, value in found.items() if value is not None}


def _changes(before: _View, after: _View) -> dict[str, str]:
    """Return what has to be stored."""
    changed: dict[str, str] = {}
    for asset, price in after.prices.items():
        if before.prices.get(asset) != price:
            changed[price_name(asset)] = msgspec.json.encode(price).decode()
    for asset, guard in after.guards.items():
        if before.guards.get(asset) != guard:
            changed[_guard_name(asset)] = msgspec.json.encode(guard).decode()
    for name, pair in after.pairs.items():
        if before.pairs.get(name) != pair:
            changed[name] = msgspec.json.encode(pair).decode()
    return changed


def _named(feeds: Sequence[Feed]) -> dict[str, Feed]:
    """Give feeds of one host names of their own."""
    named: dict[str, Feed] = {}
    for feed in feeds:
        name, count = feed.name, 1
        while name in named:
            count += 1
            name = f"{feed.name}#{count}"
        named[name] = feed
    return named
