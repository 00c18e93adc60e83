"""How the desk stands: what it holds of each asset, what is promised and why, and what is open on each chain.

All of it is read from the store, in one transaction: no chain and no feed is asked.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from fractions import Fraction

import msgspec

from bridge.config import Settings, to_units
from bridge.desk.inventory import Inventory
from bridge.protocol.legs import OPEN
from bridge.protocol.types import Amount, Asset, ChainId, Leg, LegState, Swap, SwapId
from bridge.store import Transaction, UnreadableRowError
from bridge.store.records import Reservation, StoredSwap


class Position(msgspec.Struct, frozen=True):
    """One asset, smallest units. `reserved` has not left the balance yet; `asked` does not count until a lock
    is seen; `locked` is in our open locks, `coming` in users' locks that we may claim when they finish.
    `target` 0: none is configured. `value` of balance and our locks, in the unit of prices; None without a
    price."""

    asset: Asset
    balance: Amount | None
    kept: Amount
    reserved: Amount
    asked: Amount
    available: Amount
    locked: Amount
    coming: Amount
    target: Amount
    value: Fraction | None


class Exposure(msgspec.Struct, frozen=True):
    """One chain: how many swaps are open on it, and what their locks on it hold, in the unit of prices. None
    where a price is missing."""

    chain: ChainId
    swaps: int
    value: Fraction | None


class Holder(msgspec.Struct, frozen=True):
    """Something that is promised or asked for: how much, to whom, and why. `counts`: nobody else can have
    it."""

    asset: str
    amount: Amount
    swap_id: SwapId
    quote_id: str
    counts: bool
    why: str


class Overview(msgspec.Struct, frozen=True):
    """The whole desk at one moment."""

    positions: tuple[Position, ...]
    exposures: tuple[Exposure, ...]
    holders: tuple[Holder, ...]


def overview(tx: Transaction, settings: Settings) -> Overview:
    """Return how the desk stands now."""
    inventory = Inventory(settings)
    chains = settings.enabled_chains()
    by_id = {stored.id: stored for chain in chains for stored in tx.swaps.open(chain)}
    swaps = [stored.swap for stored in by_id.values()]
    live = tx.reservations.all_live()
    positions = tuple(
        _position(tx, settings, inventory, entry.asset, swaps, live) for entry in settings.assets
    )
    return Overview(
        positions=positions,
        exposures=tuple(_exposure(tx, chain, swaps) for chain in chains),
        holders=tuple(_holder(reservation, by_id) for reservation in live),
    )


def _position(
    tx: Transaction,
    settings: Settings,
    inventory: Inventory,
    asset: Asset,
    swaps: Iterable[Swap],
    live: Iterable[Reservation],
) -> Position:
    holding = inventory.holding(tx, asset)
    locked = coming = 0
    for swap in swaps:
        locked += _standing(swap.destination, asset)
        coming += _standing(swap.source, asset)
    targets = (pair.target_inventory for pair in settings.pairs if pair.destination == asset.key)
    return Position(
        asset=asset,
        balance=holding.balance,
        kept=holding.kept,
        reserved=holding.reserved,
        asked=Amount(sum(one.amount for one in live if one.asset == asset.key and one.firm_ms is None)),
        available=holding.available,
        locked=Amount(locked),
        coming=Amount(coming),
        target=Amount(max((to_units(target, asset.decimals) for target in targets), default=0)),
        value=_worth(tx, {asset: (holding.balance or 0) + locked}),
    )


def _exposure(tx: Transaction, chain: ChainId, swaps: Iterable[Swap]) -> Exposure:
    held: dict[Asset, int] = defaultdict(int)
    count = 0
    for swap in swaps:
        legs = [leg for leg in (swap.source, swap.destination) if leg.terms.chain == chain]
        standing = [leg for leg in legs if leg.state in OPEN]
        count += bool(standing)
        for leg in standing:
            held[leg.terms.asset] += leg.terms.amount
    return Exposure(chain, count, _worth(tx, held))


def _standing(leg: Leg, asset: Asset) -> int:
    return leg.terms.amount if leg.state in OPEN and leg.terms.asset.key == asset.key else 0


def _worth(tx: Transaction, amounts: dict[Asset, int]) -> Fraction | None:
    total = Fraction(0)
    for asset, amount in amounts.items():
        try:
            price = tx.market.price(asset.key)
        except UnreadableRowError:
            price = None
        if price is None:
            return None
        total += Fraction(price.numerator, price.denominator) * Fraction(amount, 10**asset.decimals)
    return total


def _holder(reservation: Reservation, swaps: dict[SwapId, StoredSwap]) -> Holder:
    stored = swaps.get(reservation.swap_id)
    return Holder(
        asset=reservation.asset,
        amount=reservation.amount,
        swap_id=reservation.swap_id,
        quote_id=reservation.quote_id,
        counts=reservation.firm_ms is not None,
        why=_why(reservation, stored.swap if stored else None),
    )


def _why(reservation: Reservation, swap: Swap | None) -> str:
    if swap is None:
        return "a quote that may still be taken" if not reservation.swap_id else "a swap that has just ended"
    if reservation.after_lock:
        return "fees of our claim, or of our refund"
    if swap.source.state is LegState.NONE:
        return "a swap whose user has not locked yet"
    if swap.destination.state in {LegState.NONE, LegState.INTENT}:
        return "a swap whose user has locked: our lock comes next"
    return f"our lock, {swap.state.value}"
