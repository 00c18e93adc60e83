"""How much a price moves: the yearly volatility of a price or of a ratio of two, from irregular samples.

Integers throughout, so that every process that folds the same samples into the same state gets the same bits.
Squared returns and the time that they took decay together, by half in `half_life` seconds: gaps and bursts
need no grid. Beside the plain estimate stands the bipower one (Barndorff-Nielsen and Shephard, Journal of
Financial Econometrics 2, 2004), which a jump hardly touches: it is the yardstick by which a jump is known.
"""

from __future__ import annotations

from fractions import Fraction
from math import isqrt
from typing import Final

import msgspec
from msgspec.structs import replace

from bridge.protocol.option import PPB, PPM, YEAR

_ONE: Final = 1 << 32
_DIGITS: Final = 96
"""Bits kept of a price: far more than a return in ppb needs."""
_MICRO: Final = 10**6
MAX_GAP: Final = 30 * 86_400
"""A longer silence counts as this many seconds: what was known before it is forgotten all the same."""


class Level(msgspec.Struct, frozen=True):
    """A positive price as `mantissa · 2^exponent`, cut to 96 bits."""

    mantissa: int
    exponent: int

    @classmethod
    def of(cls, price: Fraction) -> Level:
        """Cut a price. Raises ValueError unless it is positive."""
        if price <= 0:
            raise ValueError("a price is positive")
        exponent = price.numerator.bit_length() - price.denominator.bit_length() - _DIGITS
        if exponent >= 0:
            return cls(price.numerator // (price.denominator << exponent), exponent)
        return cls((price.numerator << -exponent) // price.denominator, exponent)


def move_ppb(before: Level, after: Level) -> int:
    """Return the relative change from one price to another, ppb, the same with its sign turned the other way
    round: 2·(b − a)/(a + b), which is the difference of logarithms up to its third power. At most ±2·10⁹."""
    least = min(before.exponent, after.exponent)
    if abs(before.exponent - after.exponent) > _DIGITS:
        return 2 * PPB if after.exponent > before.exponent else -2 * PPB
    a, b = before.mantissa << before.exponent - least, after.mantissa << after.exponent - least
    size = 2 * PPB * abs(b - a) // (a + b)
    return size if b >= a else -size


class Ewma(msgspec.Struct, frozen=True):
    """One estimate. `per_second` is what is left after a second of what was known, 32-bit fixed point;
    `squares` the decayed squared returns in ppb², `time` the decayed time in 10⁻⁶ s, and the same for the
    products of neighbouring returns. `last` is the size of the newest return, ppb for one root second, −1
    before there is one.
    """

    per_second: int
    squares: int = 0
    time: int = 0
    products: int = 0
    products_time: int = 0
    last: int = -1

    @classmethod
    def of_half_life(cls, seconds: int) -> Ewma:
        """Return an estimate that knows nothing yet. Raises ValueError for a half-life below a second."""
        if seconds < 1:
            raise ValueError("a half-life is at least one second")
        return cls(_ONE - _root_of_half(seconds))

    def add(self, move: int, seconds: int) -> Ewma:
        """Fold a return of `move` ppb over `seconds` (at least 1)."""
        seconds = max(1, min(seconds, MAX_GAP))
        left = _power(self.per_second, seconds)
        size = abs(move) * 1_000 // isqrt(seconds * _MICRO)
        products, products_time = self.products, self.products_time
        if self.last >= 0:
            products = (products * left >> 32) + size * self.last * seconds
            products_time = (products_time * left >> 32) + seconds * _MICRO
        return replace(
            self,
            squares=(self.squares * left >> 32) + move * move,
            time=(self.time * left >> 32) + seconds * _MICRO,
            products=products,
            products_time=products_time,
            last=size,
        )

    @property
    def seconds(self) -> int:
        """Over how long the estimate reaches, decayed, seconds."""
        return self.time // _MICRO

    def yearly_ppm(self, assumed: int = 0, within: int = 0) -> int:
        """Return the volatility a year with jumps, ppm; 0 before the first return. What the estimate lacks of
        `within` seconds is filled up with a volatility of `assumed` ppm: one move in the first minute says
        little of a year."""
        lacking = max(0, within - self.seconds)
        squares = self.squares + (assumed * PPB // PPM) ** 2 * lacking // YEAR
        return _yearly(squares, self.time + lacking * _MICRO)

    def yearly_without_jumps_ppm(self) -> int:
        """Return the bipower volatility a year, ppm; 0 before the second return. π/2 is 355/226."""
        return _yearly(self.products * 355 // 226, self.products_time)


class Sampled(msgspec.Struct, frozen=True):
    """An estimate with the price and the time (Unix seconds) of its newest sample. A sample counts when the
    last one is `spacing` seconds old or older: nearer ones would count a feed's noise as movement."""

    estimate: Ewma
    spacing: int
    price: Level | None = None
    at: int = 0

    def observe(self, price: Level, at: int) -> Sampled:
        """Fold a price. One from before the newest sample, or too near to it, changes nothing."""
        if self.price is None:
            return replace(self, price=price, at=at)
        if at - self.at < self.spacing:
            return self
        estimate = self.estimate.add(move_ppb(self.price, price), at - self.at)
        return replace(self, estimate=estimate, price=price, at=at)


FAST_HALF_LIFE: Final = 1_800
FAST_SPACING: Final = 60
SLOW_HALF_LIFE: Final = 86_400
SLOW_SPACING: Final = 300
WARM_SECONDS: Final = 7_200
"""The slow estimate must reach over this long before it takes the place of the configured volatility."""


class PairVolatility(msgspec.Struct, frozen=True):
    """What is known of the ratio of two prices: an estimate of the last hour and one of the last day."""

    fast: Sampled
    slow: Sampled

    @classmethod
    def unknown(cls) -> PairVolatility:
        """Return the state before the first price."""
        return cls(
            Sampled(Ewma.of_half_life(FAST_HALF_LIFE), FAST_SPACING),
            Sampled(Ewma.of_half_life(SLOW_HALF_LIFE), SLOW_SPACING),
        )

    def observe(self, ratio: Fraction, at: int) -> PairVolatility:
        """Fold the ratio of two prices at a time, Unix seconds."""
        level = Level.of(ratio)
        fast, slow = self.fast.observe(level, at), self.slow.observe(level, at)
        return self if fast is self.fast and slow is self.slow else PairVolatility(fast, slow)

    def yearly_ppm(self, *, floor: int, assumed: int) -> int:
        """Return the volatility to price with: the larger of both estimates, at least `floor`, and at least
        `assumed` until there are two hours of samples; ppm a year."""
        measured = max(
            self.fast.estimate.yearly_ppm(assumed, FAST_HALF_LIFE),
            self.slow.estimate.yearly_ppm(assumed, WARM_SECONDS),
            floor,
        )
        return measured if self.slow.estimate.seconds >= WARM_SECONDS else max(measured, assumed)


def _yearly(squares: int, time: int) -> int:
    if not time:
        return 0
    # σ² = Σr²/Σt · year: ppb² over 10⁻⁶ s; isqrt(… · 10⁶) is in ppb.
    return isqrt(squares * YEAR * _MICRO // time) * PPM // PPB


def _power(base: int, exponent: int) -> int:
    """base^exponent in 32-bit fixed point, by squaring, each product rounded down."""
    result = _ONE
    while exponent:
        if exponent & 1:
            result = result * base >> 32
        base = base * base >> 32
        exponent >>= 1
    return result


def _root_of_half(seconds: int) -> int:
    """1 − 2^(−1/seconds) in 32-bit fixed point, rounded: by bisection on integers, so that no processor's
    floating point has a say."""
    low, high, wide = 0, 1 << 96, 96
    while high - low > 1:
        middle = (low + high) // 2
        power, base, rest = 1 << wide, middle, seconds
        while rest:
            if rest & 1:
                power = power * base >> wide
            base = base * base >> wide
            rest >>= 1
        if power >= 1 << (wide - 1):
            high = middle
        else:
            low = middle
    return _ONE - ((high + (1 << 63)) >> 64)
