"""What must fit together in a configuration: small checks, each of which tells all that it finds."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Iterator

from pydantic import ValidationError

from bridge.chains.config_fields import to_units
from bridge.chains.network import Network
from bridge.config.safety import is_safe_on_main
from bridge.config.sections import PairConfig
from bridge.config.settings import Settings
from bridge.protocol.types import Asset, ChainId

Check = Callable[[Settings], Iterator[str]]


def problems(settings: Settings) -> list[str]:
    """Return everything that is wrong, a line each, in the order of the file; empty when all is well."""
    return list(dict.fromkeys(problem for check in CHECKS for problem in check(settings)))


def nearest(word: str, candidates: Iterable[str]) -> str:
    """Return a suggestion to append to a message about an unknown word, "" when nothing is near."""
    close = difflib.get_close_matches(word, list(candidates), n=1, cutoff=0.5)
    return f"; did you mean {close[0]!r}?" if close else ""


def _sections(settings: Settings) -> Iterator[str]:
    for chain, section in settings.chains.items():
        try:
            section.timing_on(settings.network)
        except ValidationError as error:
            for item in error.errors():
                yield f"chains.{chain}.timing: {str(item['msg']).removeprefix('Value error, ')}"
        for problem in section.problems(settings.network):
            yield f"chains.{chain}: {problem}"


def _assets_are_distinct(settings: Settings) -> Iterator[str]:
    seen: set[str] = set()
    for entry in settings.assets:
        if entry.asset.key in seen:
            yield f"assets {entry.asset.key}: two entries have the same chain and symbol"
        seen.add(entry.asset.key)


def _assets_exist_on_their_chains(settings: Settings) -> Iterator[str]:
    for entry in settings.assets:
        chain = ChainId(entry.chain)
        try:
            section = settings.chains.get(chain)
        except ValueError as error:
            yield f"assets {entry.asset.key}: {error}"
            continue
        yield from section.asset_problems(chain, entry)


def _kept_amounts_are_exact(settings: Settings) -> Iterator[str]:
    for entry in settings.assets:
        try:
            to_units(entry.keep, entry.decimals)
        except ValueError as error:
            yield f"assets {entry.asset.key}: keep: {error}"


def _depths_grow_with_known_assets(settings: Settings) -> Iterator[str]:
    assets = settings.assets_by_key()
    for chain, section in settings.chains.items():
        for key in section.timing.value_per_block or ():
            if key not in assets:
                yield f"chains.{chain}.timing.value_per_block: no asset {key!r}{nearest(key, assets)}"


def _pairs_are_distinct(settings: Settings) -> Iterator[str]:
    seen: set[tuple[str, str]] = set()
    for pair in settings.pairs:
        if (pair.source, pair.destination) in seen:
            yield f"{_name(pair)}: listed twice"
        seen.add((pair.source, pair.destination))


def _pairs_name_known_assets(settings: Settings) -> Iterator[str]:
    assets = settings.assets_by_key()
    for pair in settings.pairs:
        for key in (pair.source, pair.destination):
            if key not in assets:
                yield f"{_name(pair)}: no asset {key!r}{nearest(key, assets)}"


def _pairs_have_prices(settings: Settings) -> Iterator[str]:
    if settings.prices.source != "static":
        return
    assets = settings.assets_by_key()
    for pair in settings.pairs:
        for key in (pair.source, pair.destination):
            if pair.enabled and key in assets and key not in settings.prices.static:
                yield f"{_name(pair)}: prices.static has no price for {key!r}"


def _feeds_can_agree(settings: Settings) -> Iterator[str]:
    prices = settings.prices
    if prices.source == "http" and len(prices.feeds) < 2 and settings.network is not Network.DEV:
        yield (
            "prices: one feed alone gives no price on this network, for nobody could tell when it is wrong; "
            "name at least two in prices.urls"
        )
    assets = settings.assets_by_key()
    for what, keys in (("max_ages", prices.max_ages), ("pegged", prices.pegged)):
        for key in keys:
            if key not in assets:
                yield f"prices.{what}: no asset {key!r}{nearest(key, assets)}"


def _pairs_join_two_chains(settings: Settings) -> Iterator[str]:
    for pair, source, destination in _known_pairs(settings):
        if source.chain == destination.chain:
            yield f"{_name(pair)}: both assets are on one chain; a swap needs two"


def _limits_are_exact_and_ordered(settings: Settings) -> Iterator[str]:
    for pair, source, destination in _known_pairs(settings):
        try:
            low, high = (to_units(text, source.decimals) for text in (pair.min, pair.max))
            to_units(pair.target_inventory, destination.decimals)
        except ValueError as error:
            yield f"{_name(pair)}: {error}"
            continue
        if not 0 < low <= high:
            yield f"{_name(pair)}: needs 0 < min ≤ max"


def _spread_covers_skew(settings: Settings) -> Iterator[str]:
    for pair in settings.pairs:
        if pair.skew_ppm > pair.spread_ppm:
            yield f"{_name(pair)}: skew_ppm is above spread_ppm: a full inventory would be sold at a loss"


def _users_have_time_to_claim(settings: Settings) -> Iterator[str]:
    for _, _, destination in _known_pairs(settings):
        try:
            inclusion = settings.chains.timing_config(destination.chain).inclusion_p99
        except ValueError:  # reported with the section
            continue
        if settings.swaps.user_window <= inclusion:
            yield (
                f"swaps.user_window: {settings.swaps.user_window} s leave nobody time to claim on "
                f"{destination.chain}, where inclusion_p99 is {inclusion} s"
            )


def _fees_can_be_paid(settings: Settings) -> Iterator[str]:
    for _, source, destination in _known_pairs(settings):
        for asset in (source, destination):
            try:
                settings.native_asset(asset.chain)
            except ValueError as error:
                yield str(error)


CHECKS: tuple[Check, ...] = (
    _sections,
    _assets_are_distinct,
    _assets_exist_on_their_chains,
    _kept_amounts_are_exact,
    _depths_grow_with_known_assets,
    _pairs_are_distinct,
    _pairs_name_known_assets,
    _pairs_have_prices,
    _feeds_can_agree,
    _pairs_join_two_chains,
    _limits_are_exact_and_ordered,
    _spread_covers_skew,
    _users_have_time_to_claim,
    _fees_can_be_paid,
    is_safe_on_main,
)


def _name(pair: PairConfig) -> str:
    return f"pairs {pair.source} → {pair.destination}"


def _known_pairs(settings: Settings) -> Iterator[tuple[PairConfig, Asset, Asset]]:
    """Yield the pairs whose assets are listed; the others are reported by `_pairs_name_known_assets`."""
    assets = settings.assets_by_key()
    for pair in settings.pairs:
        source, destination = assets.get(pair.source), assets.get(pair.destination)
        if source is not None and destination is not None:
            yield pair, source, destination
