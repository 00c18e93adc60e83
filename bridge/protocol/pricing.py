"""Prices: how much of one asset for how much of the other, exactly.

Everything is integer or rational arithmetic in smallest units. A rate is a fraction, percentages are parts
per million, and each rounding goes against the requester: what the bridge pays is rounded down, what it takes
is rounded up. With a source amount `a`, a rate `r` (destination units per source unit), `p = spread + skew`:

    gross       = floor(a · r)
    percentage  = ceil(gross · p / 10⁶)
    destination = gross − percentage − network fees − gasless claim − reserve
"""

from __future__ import annotations

from decimal import Decimal
from enum import StrEnum
from fractions import Fraction

import msgspec

from bridge.protocol.amounts import to_text
from bridge.protocol.refusals import ProtocolError
from bridge.protocol.types import Amount, Asset

PPM = 1_000_000

MAX_PRICE_EXPONENT = 60
"""Prices beyond 10^±60 are mistakes."""

NO_CHAIN_HOLDS_MORE = Amount(2**256 - 1)
"""Amounts are at most uint256 on every chain."""


class PriceRefusalCode(StrEnum):
    """Why no price is given."""

    BELOW_MINIMUM = "below_minimum"
    ABOVE_MAXIMUM = "above_maximum"
    COSTS_EXCEED_AMOUNT = "costs_exceed_amount"
    AMOUNT_OVERFLOW = "amount_overflow"


class PriceRefusedError(ProtocolError):
    """There is no price for this request; `code` says which limit it meets."""

    def __init__(self, code: PriceRefusalCode, message: str, hint: str = "") -> None:
        super().__init__(message, hint)
        self.code = code


class FixedSide(StrEnum):
    """Which amount the requester named; the other one is computed."""

    SOURCE = "source"
    DESTINATION = "destination"


class Rate(msgspec.Struct, frozen=True):
    """An exact rate: `numerator / denominator` smallest units of one asset for one of another."""

    numerator: int
    denominator: int

    def __post_init__(self) -> None:
        if self.numerator <= 0 or self.denominator <= 0:
            raise ProtocolError("a rate must be positive", hint="check the price source")

    @classmethod
    def of(cls, value: Fraction) -> Rate:
        """Return the rate in lowest terms."""
        return cls(value.numerator, value.denominator)

    @classmethod
    def from_price(cls, price: Fraction | Decimal | int | str, base: Asset, quote: Asset) -> Rate:
        """Return the rate of smallest units for a price: how many whole `quote` one whole `base` costs.

        Raises:
            ProtocolError: for a price that is not positive and finite, and for floats, which are not exact.
        """
        if isinstance(price, (float, bool)):
            raise ProtocolError("a price is never a float", hint="pass text, Decimal or Fraction")
        try:
            if isinstance(price, (str, Decimal)):
                price = Decimal(price)
                if not price.is_finite() or abs(price.adjusted()) > MAX_PRICE_EXPONENT:
                    raise ValueError("out of range")  # a huge exponent would cost minutes and gigabytes
            exact = Fraction(price)
        except (ValueError, ArithmeticError, TypeError):
            raise ProtocolError(f"no price: {price!r}", hint="write it as a decimal number") from None
        return cls.of(exact * Fraction(10) ** (quote.decimals - base.decimals))

    def fraction(self) -> Fraction:
        """Return the rate as a fraction."""
        return Fraction(self.numerator, self.denominator)

    def inverse(self) -> Rate:
        """Return the rate of the other direction."""
        return Rate(self.denominator, self.numerator)

    def down(self, amount: Amount) -> Amount:
        """Convert an amount, rounding down: for what the bridge pays."""
        return Amount(amount * self.numerator // self.denominator)

    def up(self, amount: Amount) -> Amount:
        """Convert an amount, rounding up: for what the bridge takes."""
        return Amount(-(-amount * self.numerator // self.denominator))


class SpreadItems(msgspec.Struct, frozen=True):
    """Of what a spread is made, parts per million of what the source is worth: `base` is the operator's,
    `option` what the user's choice to finish costs beyond the other items, `jump`, `peg` and `reorg` what
    sudden moves, a coin off its peg and undone blocks cost on average; `skew` depends on the inventory and
    may be a discount.

    They follow from a `volatility` in ppm a year over a `window` of seconds; `strike` is the spread at which
    the choice is worth nothing that matters.
    """

    base: int = 0
    option: int = 0
    jump: int = 0
    peg: int = 0
    reorg: int = 0
    skew: int = 0
    volatility: int = 0
    window: int = 0
    strike: int = 0

    @property
    def named(self) -> tuple[tuple[str, int], ...]:
        """The items of the spread without the skew, in their order."""
        return (
            ("base", self.base),
            ("option", self.option),
            ("jump", self.jump),
            ("peg", self.peg),
            ("reorg", self.reorg),
        )

    @property
    def spread(self) -> int:
        """The sum without the skew."""
        return sum(ppm for _, ppm in self.named)

    @property
    def total(self) -> int:
        """The sum of all items."""
        return self.spread + self.skew

    def amounts(self, gross: Amount) -> tuple[tuple[str, Amount], ...]:
        """Return the spread of an amount by item: they add up to what `price` charges, to the last unit."""
        found: list[tuple[str, Amount]] = []
        so_far = before = 0
        for name, ppm in self.named:
            so_far += ppm
            upto = -(-gross * so_far // PPM)
            found.append((name, Amount(upto - before)))
            before = upto
        return tuple(found)


class Limits(msgspec.Struct, frozen=True):
    """The smallest and largest amounts that are swapped, both sides, smallest units."""

    min_source: Amount = Amount(1)
    max_source: Amount | None = None
    min_destination: Amount = Amount(1)
    max_destination: Amount | None = None


class Costs(msgspec.Struct, frozen=True):
    """What finishing the swap costs the bridge, all in smallest units of the destination asset.

    Convert fees in a chain's native coin with `Rate.up`. `source_network` is the claim of the source,
    `destination_network` the lock and, in reserve, the refund; `gasless_claim` is the claim for a user who
    asked for it (else 0); `reserve` is what the chain keeps (rent, minimum reserve, min-ADA);
    `default` is the asker's share of what unfinished swaps cost.
    """

    source_network: Amount = Amount(0)
    destination_network: Amount = Amount(0)
    gasless_claim: Amount = Amount(0)
    reserve: Amount = Amount(0)
    default: Amount = Amount(0)

    @property
    def parts(self) -> tuple[Amount, ...]:
        """All items."""
        return (
            self.source_network,
            self.destination_network,
            self.gasless_claim,
            self.reserve,
            self.default,
        )

    @property
    def total(self) -> Amount:
        """The sum of all items."""
        return Amount(sum(self.parts))


class Terms(msgspec.Struct, frozen=True):
    """On what terms a pair is quoted: the rate of destination units per source unit, parts per million of
    spread and of inventory skew (negative: a discount, at most the spread), costs and limits. The capacities
    are the most that a lock on each chain can hold, smallest units."""

    rate: Rate
    spread_ppm: int
    skew_ppm: int = 0
    costs: Costs = Costs()
    limits: Limits = Limits()
    source_capacity: Amount = NO_CHAIN_HOLDS_MORE
    destination_capacity: Amount = NO_CHAIN_HOLDS_MORE

    def __post_init__(self) -> None:
        if self.spread_ppm < 0 or not 0 <= self.spread_ppm + self.skew_ppm < PPM:
            raise ProtocolError(
                "spread and skew together must be between 0 and 999999 ppm, the spread at least 0",
                hint="check spread and inventory skew of this pair",
            )
        if min(self.costs.parts) < 0:
            raise ProtocolError("costs cannot be negative")


class Price(msgspec.Struct, frozen=True):
    """An itemised price. `source` is in the source asset, everything else in the destination asset, and
    `gross = destination + spread + skew + costs.total + rounding` holds to the last unit."""

    source: Amount
    destination: Amount
    rate: Rate
    gross: Amount
    spread: Amount
    skew: Amount
    costs: Costs
    rounding: Amount
    """What is left over when the destination is fixed and the source cannot be any smaller."""


def price(terms: Terms, *, source: Asset, destination: Asset, fixed: FixedSide, amount: Amount) -> Price:
    """Return the price of a swap of `amount` smallest units on the fixed side.

    With the source fixed, the destination is the most that the terms allow; with the destination fixed, the
    source is the least that buys it.

    Raises:
        PriceRefused: if an amount is out of its limits, eaten up by costs or too large for its chain.
    """
    if amount <= 0:
        raise PriceRefusedError(
            PriceRefusalCode.BELOW_MINIMUM, "the amount must be positive", "send a positive whole number"
        )
    if fixed is FixedSide.SOURCE:
        _check_overflow(source, amount, terms.source_capacity)
    else:
        _check_overflow(destination, amount, terms.destination_capacity)
    percentage = terms.spread_ppm + terms.skew_ppm
    if fixed is FixedSide.SOURCE:
        source_amount = amount
        gross = terms.rate.down(source_amount)
        net = gross - _share(gross, percentage) - terms.costs.total
        if net <= 0:
            raise PriceRefusedError(
                PriceRefusalCode.COSTS_EXCEED_AMOUNT,
                f"the costs of {to_text(terms.costs.total, destination.decimals)} {destination.key} leave "
                f"nothing of the {to_text(gross, destination.decimals)} that the amount is worth",
                hint="swap a larger amount",
            )
        destination_amount = Amount(net)
    else:
        destination_amount = amount
        # floor(g·(10⁶−p)/10⁶) ≥ n  ⇔  g ≥ n·10⁶/(10⁶−p), and floor(a·r) ≥ g  ⇔  a ≥ g/r.
        least_gross = Amount(-(-(amount + terms.costs.total) * PPM // (PPM - percentage)))
        source_amount = terms.rate.inverse().up(least_gross)
        gross = terms.rate.down(source_amount)
    _check_overflow(source, source_amount, terms.source_capacity)
    _check_overflow(destination, destination_amount, terms.destination_capacity)
    _check_limits(terms.limits, source, source_amount, destination, destination_amount)
    fee = _share(gross, percentage)
    spread = _share(gross, terms.spread_ppm)
    return Price(
        source=source_amount,
        destination=destination_amount,
        rate=terms.rate,
        gross=gross,
        spread=spread,
        # One rounding for both, or a larger amount could buy less; the skew is what the spread leaves.
        skew=Amount(fee - spread),
        costs=terms.costs,
        rounding=Amount(gross - fee - terms.costs.total - destination_amount),
    )


def _share(gross: Amount, ppm: int) -> Amount:
    return Amount(-(-gross * ppm // PPM))


def _check_overflow(asset: Asset, amount: Amount, capacity: Amount) -> None:
    if amount > capacity:
        raise PriceRefusedError(
            PriceRefusalCode.AMOUNT_OVERFLOW,
            f"{amount} is more than a lock on {asset.chain} can hold",
            hint="swap a smaller amount",
        )


def _check_limits(limits: Limits, source: Asset, sent: Amount, destination: Asset, received: Amount) -> None:
    for asset, amount, least, most in (
        (source, sent, limits.min_source, limits.max_source),
        (destination, received, limits.min_destination, limits.max_destination),
    ):
        if amount < least:
            raise PriceRefusedError(
                PriceRefusalCode.BELOW_MINIMUM,
                f"{to_text(amount, asset.decimals)} {asset.key} is below the minimum of "
                f"{to_text(least, asset.decimals)}",
                hint=f"swap at least {to_text(least, asset.decimals)} {asset.key}",
            )
        if most is not None and amount > most:
            raise PriceRefusedError(
                PriceRefusalCode.ABOVE_MAXIMUM,
                f"{to_text(amount, asset.decimals)} {asset.key} is above the maximum of "
                f"{to_text(most, asset.decimals)}",
                hint=f"swap at most {to_text(most, asset.decimals)} {asset.key}",
            )
