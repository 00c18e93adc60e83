"""What is on offer: pairs with their prices, costs, limits and timing, from one reading of the store."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

import msgspec

from bridge.chains.port import FeeEstimate
from bridge.config import PairConfig, Settings, to_units
from bridge.desk.inventory import Inventory, Need
from bridge.desk.prices import PriceSource, PriceUnavailableError
from bridge.desk.refused import Reason, RefusedError
from bridge.desk.spread import TooRiskyError, fee_of, range_of_amount, skew_ppm, spread_items, windows
from bridge.protocol.lock_fee import FeePoint
from bridge.protocol.pricing import (
    Costs,
    FixedSide,
    Limits,
    PriceRefusedError,
    Rate,
    SpreadItems,
    Terms,
    price,
)
from bridge.protocol.timelocks import Deadlines, counterlock_slack, plan_deadlines
from bridge.protocol.types import Amount, Asset, ChainId, ChainTiming, PriceTerms, UnixSeconds
from bridge.store import Transaction
from bridge.store.records import ChainStatus

RETRY_SECONDS = 15


def pause_of_chain(chain: ChainId) -> str:
    """Return the name of the switch that pauses a chain."""
    return f"pause:{chain}"


def pause_of_pair(source: str, destination: str) -> str:
    """Return the name of the switch that pauses one direction."""
    return f"pause:{source}>{destination}"


class Offer(msgspec.Struct, frozen=True):
    """One direction as it stands now: all that a price, a reservation and a lock need.

    `source_status` and `destination_status` are the relayers' last readings; `price_at` is the Unix second
    of the older of the prices used. `range_ppb`: how far the amount may follow the price, up or down, until
    the destination is locked; 0 where the quote fixes it. `fee_ppb`: what the user stakes on
    finishing.
    """

    pair: PairConfig
    source: Asset
    destination: Asset
    source_status: ChainStatus
    destination_status: ChainStatus
    terms: Terms
    spread: SpreadItems
    price_terms: PriceTerms
    range_ppb: int
    fee_ppb: int
    rate_text: str
    price_at: UnixSeconds
    gas: tuple[Need, ...]


class Market:
    """Works out offers."""

    def __init__(self, settings: Settings, prices: PriceSource, inventory: Inventory) -> None:
        self._settings = settings
        self._prices = prices
        self._inventory = inventory
        self._assets = settings.assets_by_key()

    @property
    def prices(self) -> PriceSource:
        """Where the prices come from."""
        return self._prices

    def asset(self, key: str) -> Asset:
        """Return a configured asset."""
        return self._assets[key]

    def pairs(self) -> tuple[PairConfig, ...]:
        """Return all configured directions."""
        return self._settings.pairs

    def offer(
        self,
        tx: Transaction,
        source: str,
        destination: str,
        *,
        gasless: bool,
        amount: Amount | None = None,
        fixed: FixedSide = FixedSide.SOURCE,
        firm: bool = False,
        fee: FeePoint | None = None,
    ) -> Offer:
        """Return the direction's offer for an amount on the side that is fixed, for the least one without.
        `firm`: the quote fixes what the user gets, which costs more; `fee`: what the user stakes on
        finishing, which costs less. Raises `RefusedError` when there is none now."""
        pair = self._settings.pair(source, destination)
        if pair is None or not pair.enabled:
            raise RefusedError(
                Reason.UNKNOWN_PAIR,
                f"{source} → {destination} is not on offer",
                "GET /v1/pairs lists what is",
            )
        if gasless and not pair.gasless:
            raise RefusedError(
                Reason.UNKNOWN_PAIR,
                f"the relayer does not claim {destination} for users",
                "quote without `gasless` and claim with your own wallet",
            )
        sent, received = self._assets[source], self._assets[destination]
        self.refuse_paused(tx, sent, received)
        now = tx.now_ms // 1000
        statuses = [self.reliable(tx, asset.chain, now) for asset in (sent, received)]
        rate, price_at = self._rate(sent, received)
        units = Rate.of(rate * Fraction(10) ** (received.decimals - sent.decimals))
        limits = self.limits(tx, pair)
        timings = self._timings(sent, received, units, amount, fixed, limits)
        spread, price_terms, range_ppb, stake = self._spread(
            tx, pair, (sent, received), statuses[1], timings, firm=firm, fee=fee
        )
        costs, gas = self._costs(sent, received, statuses, gasless=gasless)
        return Offer(
            pair=pair,
            source=sent,
            destination=received,
            source_status=statuses[0],
            destination_status=statuses[1],
            terms=Terms(
                rate=units,
                spread_ppm=spread.spread,
                skew_ppm=spread.skew,
                costs=costs,
                limits=limits,
                source_capacity=self._settings.traits(sent.chain).max_amount,
                destination_capacity=self._settings.traits(received.chain).max_amount,
            ),
            spread=spread,
            price_terms=price_terms,
            range_ppb=range_ppb,
            fee_ppb=stake,
            rate_text=rate_text(rate),
            price_at=price_at,
            gas=gas,
        )

    def deadlines(
        self, statuses: Sequence[ChainStatus], source: ChainTiming, destination: ChainTiming
    ) -> Deadlines:
        """Return the computed deadlines of a swap sold now; the quote's own life counts as time to lock."""
        swaps = self._settings.swaps
        return plan_deadlines(
            statuses[0].time,
            statuses[1].time,
            source=source,
            destination=destination,
            user_window=swaps.user_window,
            outage_budget=swaps.outage_budget,
            halt_budget=swaps.halt_budget,
            lock_window=swaps.quote_ttl + swaps.lock_window,
        )

    def _timings(
        self,
        source: Asset,
        destination: Asset,
        rate: Rate,
        amount: Amount | None,
        fixed: FixedSide,
        limits: Limits,
    ) -> tuple[ChainTiming, ChainTiming]:
        """Return both chains' timing for about that amount; the side that is not known yet is taken too
        large.
        """
        sent = limits.min_source if amount is None else amount
        received = rate.up(sent)
        if amount is not None and fixed is FixedSide.DESTINATION:
            received = amount
            sent = rate.inverse().up(Amount(amount + amount // 10))
        chains = self._settings.chains
        return chains.timing(source, sent), chains.timing(destination, received)

    def _spread(
        self,
        tx: Transaction,
        pair: PairConfig,
        assets: tuple[Asset, Asset],
        status: ChainStatus,
        timings: tuple[ChainTiming, ChainTiming],
        *,
        firm: bool,
        fee: FeePoint | None,
    ) -> tuple[SpreadItems, PriceTerms, int, int]:
        """`status`: of the destination's chain."""
        source, destination = assets
        window, slack = self._settings.swaps.user_window, counterlock_slack(timings[1])
        within = windows(*timings, user_window=window, slack=slack)
        try:
            moves = self._prices.movement(source.key, destination.key, within.to_decide)
            stake = fee_of(moves, within, fee)
            items, tolerance = spread_items(
                self._settings.desk,
                moves,
                within,
                least_ppm=pair.spread_ppm,
                skew_ppm=self._skew(tx, pair, destination, status),
                firm=firm,
                fee=stake,
            )
            middle = self._prices.price(source.key).value / self._prices.price(destination.key).value
        except PriceUnavailableError as error:
            raise RefusedError(Reason.NO_PRICE, str(error), error.hint, RETRY_SECONDS) from None
        except TooRiskyError:
            raise RefusedError(
                Reason.NO_PRICE,
                f"the price of {source.key} in {destination.key} moves too much while a swap lasts",
                "try again when it is calmer",
                RETRY_SECONDS,
            ) from None
        range_ppb = 0 if firm else range_of_amount(self._settings.desk, moves, within)
        return items, PriceTerms(middle.numerator, middle.denominator, tolerance), range_ppb, stake

    def limits(self, tx: Transaction, pair: PairConfig) -> Limits:
        """Return the amounts a direction takes: no more than the source chain's finality cap pays for, and no
        less than a lock on either chain can hold, as far as its relayer has told."""
        asset = self._assets[pair.source]
        most = to_units(pair.max, asset.decimals)
        secured = self._settings.chains.secured(asset)
        return Limits(
            min_source=max(to_units(pair.min, asset.decimals), _least(tx, asset)),
            max_source=most if secured is None else min(most, secured),
            min_destination=max(Amount(1), _least(tx, self._assets[pair.destination])),
        )

    def least_source(self, offer: Offer) -> Amount:
        """Return the least source amount that the offer takes now: it must leave, after all costs, what a
        lock on the destination can hold. Raises `RefusedError` when the pair's maximum does not."""
        limits = offer.terms.limits
        free = msgspec.structs.replace(offer.terms, limits=Limits())
        try:
            needed = price(
                free,
                source=offer.source,
                destination=offer.destination,
                fixed=FixedSide.DESTINATION,
                amount=limits.min_destination,
            ).source
        except PriceRefusedError as error:
            raise RefusedError(Reason.AMOUNT_OUT_OF_RANGE, str(error), error.hint) from None
        least = max(limits.min_source, needed)
        if limits.max_source is not None and least > limits.max_source:
            raise RefusedError(
                Reason.AMOUNT_OUT_OF_RANGE,
                f"the costs now ask for at least {least} {offer.source.key}, more than the maximum",
                "try again when fees are lower",
                RETRY_SECONDS,
            )
        return least

    def refuse_paused(self, tx: Transaction, source: Asset, destination: Asset) -> None:
        """Raise `RefusedError` (PAUSED) when an operator paused the direction or one of its chains."""
        for name, what in (
            (pause_of_chain(source.chain), source.chain),
            (pause_of_chain(destination.chain), destination.chain),
            (pause_of_pair(source.key, destination.key), f"{source.key} → {destination.key}"),
        ):
            if tx.controls.get(name) is not None:
                raise RefusedError(
                    Reason.PAUSED,
                    f"{what} is paused by the operator",
                    "swaps already begun go on; new ones have to wait",
                    60,
                )

    def reliable(self, tx: Transaction, chain: ChainId, now: int) -> ChainStatus:
        """Return a chain's status if it can be sold on. Raises `RefusedError` (CHAIN_UNAVAILABLE)."""
        trouble = ""
        status = tx.chains.get(chain)
        if not self._settings.chains.get(chain).enabled:
            trouble = "it is switched off"
        elif status is None or status.tip is None:
            trouble = "its relayer has not reported yet"
        elif not status.healthy:
            trouble = status.detail or "its relayer reports trouble"
        elif status.is_ahead(now * 1000):
            trouble = "its last report is from the future: was the clock of this machine set back?"
        elif (age := now - status.seen_ms // 1000) > self._settings.swaps.chain_max_age:
            trouble = f"nothing was heard of it for {age} s"
        elif (age := status.tip_age(now * 1000)) > self._settings.chains.timing_config(chain).patience:
            trouble = f"it has made no block for {age} s"
        elif (
            status.resumed_ms
            and (calm := now - status.resumed_ms // 1000) < self._settings.swaps.calm_after_halt
        ):
            trouble = f"it had stood still until {max(0, calm)} s ago"
        if trouble or status is None:
            raise RefusedError(
                Reason.CHAIN_UNAVAILABLE,
                f"{chain} cannot be relied on now: {trouble}",
                "try again soon; GET /v1/chains shows its state",
                RETRY_SECONDS,
            )
        return status

    def _rate(self, source: Asset, destination: Asset) -> tuple[Fraction, UnixSeconds]:
        """Return whole destination coins for one whole source coin, and when it was true."""
        try:
            sent, received = self._prices.price(source.key), self._prices.price(destination.key)
        except PriceUnavailableError as error:
            raise RefusedError(
                Reason.NO_PRICE, str(error), error.hint or "try again soon", RETRY_SECONDS
            ) from None
        # Half of what the sources disagree about is charged on each side.
        return sent.low / received.high, UnixSeconds(min(sent.at, received.at))

    def _costs(
        self, source: Asset, destination: Asset, statuses: list[ChainStatus], *, gasless: bool
    ) -> tuple[Costs, tuple[Need, ...]]:
        """Return the costs of finishing in the destination asset, and the gas to set aside in native coins.

        The price holds what happens when all goes well; what is set aside also covers our refund.
        """
        at_source, at_destination = (
            self._fees(asset, status) for asset, status in zip((source, destination), statuses, strict=True)
        )
        native_source = self._settings.native_asset(source.chain)
        native_destination = self._settings.native_asset(destination.chain)
        claim_for_user = (at_destination.gasless_claim or at_destination.claim) if gasless else Amount(0)
        locking = Amount(at_destination.lock - at_destination.deposit)
        desk = self._settings.desk
        clearing = _raised(Amount(locking + at_destination.refund), desk.gas_stress_percent)
        share = Amount(-(-clearing * desk.default_per_mille // (1_000 - desk.default_per_mille)))
        costs = Costs(
            source_network=self._converted(at_source.claim, native_source, destination),
            destination_network=self._converted(locking, native_destination, destination),
            gasless_claim=self._converted(claim_for_user, native_destination, destination),
            default=self._converted(share, native_destination, destination),
        )
        margin = self._settings.swaps.gas_margin_percent
        later = max(at_destination.refund, claim_for_user)
        gas = (
            Need(native_source, _raised(at_source.claim, margin), after_lock=True),
            Need(native_destination, _raised(at_destination.lock, margin)),
            Need(native_destination, _raised(later, margin), after_lock=True),
        )
        return costs, gas

    def claim_cost(self, tx: Transaction, asset: Asset) -> Amount:
        """Return what a claim that its recipient signed for costs us now, in units of `asset`, rounded up.
        Raises `RefusedError` when the chain or a price cannot be relied on."""
        fees = self._fees(asset, self.reliable(tx, asset.chain, tx.now_ms // 1000))
        native = self._settings.native_asset(asset.chain)
        return self._converted(fees.authorized_claim or fees.claim, native, asset)

    def _fees(self, asset: Asset, status: ChainStatus) -> FeeEstimate:
        fees = status.fees.get(asset.key)
        if fees is None:
            raise RefusedError(
                Reason.CHAIN_UNAVAILABLE,
                f"the fees of {asset.key} are not known yet",
                "try again soon",
                RETRY_SECONDS,
            )
        return fees

    def _converted(self, amount: Amount, native: Asset, asset: Asset) -> Amount:
        """Express native units in units of `asset`, rounded up."""
        if amount == 0 or native == asset:
            return amount
        rate, _ = self._rate(asset, native)
        return Rate.of(1 / rate * Fraction(10) ** (asset.decimals - native.decimals)).up(amount)

    def _skew(self, tx: Transaction, pair: PairConfig, asset: Asset, status: ChainStatus) -> int:
        target = to_units(pair.target_inventory, asset.decimals)
        if not target or not pair.skew_ppm:
            return 0
        available = self._inventory.holding(tx, asset, status).available
        return skew_ppm(available, target, pair.skew_ppm)


def _raised(amount: Amount, percent: int) -> Amount:
    """That many percent of an amount, rounded up."""
    return Amount(-(-amount * percent // 100))


def _least(tx: Transaction, asset: Asset) -> Amount:
    """The least amount that a lock of an asset can hold, 0 where there is none or it is not known yet."""
    status = tx.chains.get(asset.chain)
    fees = status.fees.get(asset.key) if status else None
    return fees.minimum if fees else Amount(0)


def rate_text(rate: Fraction, digits: int = 18) -> str:
    """Write a rate with `digits` significant digits, for people; the amounts are what counts."""
    scale = 0
    while rate * 10**scale < 10 ** (digits - 1) and scale < 60:
        scale += 1
    text = str(int(rate * 10**scale)).rjust(scale + 1, "0")
    if not scale:
        return text
    return f"{text[:-scale]}.{text[-scale:]}".rstrip("0").rstrip(".")
