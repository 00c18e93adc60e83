"""One price from what several sources say: the median of those that agree, or no price and why.

Pure, and the same for one source or ten. At most ⌊(n − 1)/2⌋ sources that lie cannot move the median outside
what the honest ones say.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import Final

import msgspec

from bridge.desk.price_feeds import Print
from bridge.protocol.option import PPB, PPM, deviation
from kernels.errors import RainbowError

MAX_FUTURE_SECONDS: Final = 30
"""A price from further ahead of our clock is not believed."""
TOLERANCE_PPM: Final = 5_000
"""Sources within 50 basis points of the median always count."""


class NoAgreementError(RainbowError):
    """The sources give no price. `left_out` names those that were not believed, with the reason."""

    def __init__(self, message: str, hint: str, left_out: Mapping[str, str]) -> None:
        super().__init__(message, hint)
        self.left_out = dict(left_out)


class Rules(msgspec.Struct, frozen=True):
    """What is asked of the sources of one asset. `max_age`: seconds; `quorum`: how many must agree;
    `max_range_ppm`: how far those that count may lie apart; `volatility_ppm`: how much the price moves in a
    year, which is what prints of different age may differ by."""

    max_age: int
    quorum: int
    max_range_ppm: int
    volatility_ppm: int


class Agreed(msgspec.Struct, frozen=True):
    """The median of the sources that count, the least and the most that they say, when the oldest of them
    was true (Unix seconds), and who was left out, with the reason."""

    value: Fraction
    low: Fraction
    high: Fraction
    at: int
    sources: tuple[str, ...]
    left_out: dict[str, str]


def quorum_of(sources: int) -> int:
    """Return how many of `sources` must agree: more than half, and at least two where there are two."""
    return min(sources, max(2, sources // 2 + 1))


def agree(prints: Mapping[str, Print | None], rules: Rules, now: int) -> Agreed:
    """Return what the sources agree on; `prints` by source, None for one that says nothing of the asset.

    Raises:
        NoAgreementError: if fewer than the quorum are live, agree, or lie close enough together.
    """
    left_out: dict[str, str] = {}
    live: dict[str, Print] = {}
    for source, seen in prints.items():
        trouble = _too_old(seen, rules, now)
        if trouble or seen is None:
            left_out[source] = trouble
        else:
            live[source] = seen
    _require(len(live), rules, prints, left_out)
    middle = median([seen.value for seen in live.values()])
    scatter = median([abs(seen.value - middle) for seen in live.values()])
    allowed = max(middle * TOLERANCE_PPM / PPM, scatter * Fraction(59304, 10_000))  # 4 · 1.4826
    for source, seen in list(live.items()):
        aged = middle * 3 * deviation(rules.volatility_ppm, max(0, now - seen.at)) / PPB
        distance = abs(seen.value - middle)
        if distance > max(allowed, aged):
            left_out[source] = f"{_percent(distance, middle)} away from the others"
            del live[source]
    _require(len(live), rules, prints, left_out)
    values = [seen.value for seen in live.values()]
    low, high = min(values), max(values)
    if (high - low) * PPM > middle * rules.max_range_ppm:
        raise NoAgreementError(
            f"the sources differ by {_percent(high - low, middle)}",
            "wait until they agree, or look which of them is wrong",
            left_out,
        )
    oldest = min(seen.at for seen in live.values())
    return Agreed(median(values), low, high, oldest, tuple(sorted(live)), left_out)


def median(values: Sequence[Fraction]) -> Fraction:
    """Return the middle value, or the mean of the two middle ones. Raises IndexError for none."""
    ordered = sorted(values)
    half = len(ordered) // 2
    if len(ordered) % 2:
        return ordered[half]
    return (ordered[half - 1] + ordered[half]) / 2


def _too_old(seen: Print | None, rules: Rules, now: int) -> str:
    if seen is None:
        return "it gives no price"
    if now - seen.at > rules.max_age:
        return f"its price is {now - seen.at} s old, {rules.max_age} s are allowed"
    if seen.at - now > MAX_FUTURE_SECONDS:
        return "its time lies in the future"
    return ""


def _require(
    count: int, rules: Rules, prints: Mapping[str, Print | None], left_out: Mapping[str, str]
) -> None:
    if count >= rules.quorum and count > 0:
        return
    why = "; ".join(f"{source}: {reason}" for source, reason in left_out.items())
    raise NoAgreementError(
        f"{count} of {len(prints)} sources can be used, {max(1, rules.quorum)} are needed"
        + (f" ({why})" if why else ""),
        "try again in a minute; `rainbow check` asks every source",
        left_out,
    )


def _percent(part: Fraction, whole: Fraction) -> str:
    """The share in percent with two decimals; a huge one is only called huge."""
    hundredths = part * 10_000 // whole
    return "more than 1,000 %" if hundredths > 100_000 else f"{hundredths / 100:.2f} %"
