"""What stands between an agreed price and a quote: steps and lost pegs make the asset wait. Pure.

A price that steps further than it usually moves is not sold at until it has stood for a while: a step that
stays is true, one that goes away was a mistake of somebody. A coin that promises to be worth one unit and is
not costs the difference, and is not sold at all when it is far off.
"""

from __future__ import annotations

from fractions import Fraction
from typing import Final

import msgspec
from msgspec.structs import replace

from bridge.desk.volatility import SLOW_HALF_LIFE, Ewma, Level, Sampled, move_ppb
from bridge.protocol.option import PPB, deviation

LEAST_STEP: Final = 5_000_000
"""ppb: 50 basis points are never a step."""
STEP_DEVIATIONS: Final = 5
STANDS_SECONDS: Final = 30
STANDS_PRICES: Final = 3
LARGE_STANDS_SECONDS: Final = 600
SAMPLE_SECONDS: Final = 60
LEAST_VOLATILITY: Final = 300_000
"""ppm a year: what is assumed of an asset that seems to stand still."""
KEPT: Final = 130
"""Candidates kept: ten minutes and more at one every five seconds."""
KEPT_SPACING: Final = 5
JUMPS_HALF_LIFE: Final = 15 * 86_400
"""Jumps are remembered over about a month."""

PEG_NEAR: Final = 5_000_000
PEG_LOST: Final = 20_000_000
PEG_FOUND: Final = 10_000_000
"""ppb from 1: above the first for a minute the difference is charged, above the second the asset pauses,
until it has been within the third for half an hour."""
PEG_WAIT_SECONDS: Final = 60
PEG_CALM_SECONDS: Final = 1_800


class Candidate(msgspec.Struct, frozen=True):
    """A price that has to stand first."""

    level: Level
    at: int


class Guard(msgspec.Struct, frozen=True):
    """One asset's state. `accepted`: the newest price that may be used, as `numerator/denominator`; `moves`:
    how it has moved; `candidates`: since a step, newest last; `large`: the step is so large that it must
    stand for ten minutes; `jumps`: what the steps that stayed added up to, ppb, decayed, over
    `jumps_seconds`.

    Of a pegged coin: `off_since`, since when it is off its peg, and `calm_since`, since when it is near it
    again, 0 for neither; `lost`: its peg was lost and is not found again yet.
    """

    moves: Sampled
    accepted: tuple[int, int] | None = None
    at: int = 0
    candidates: tuple[Candidate, ...] = ()
    large: bool = False
    jumps: int = 0
    jumps_seconds: int = 0
    off_since: int = 0
    calm_since: int = 0
    lost: bool = False

    @classmethod
    def fresh(cls) -> Guard:
        """Return the state before the first price."""
        return cls(Sampled(Ewma.of_half_life(SLOW_HALF_LIFE), SAMPLE_SECONDS))

    @property
    def price(self) -> Fraction | None:
        """The newest price that may be used."""
        return Fraction(*self.accepted) if self.accepted is not None else None

    @property
    def wait(self) -> str:
        """Why the asset may not be sold now, "" if it may."""
        if self.lost:
            return "it has lost its peg"
        if self.candidates:
            stands = LARGE_STANDS_SECONDS if self.large else STANDS_SECONDS
            return f"its price made a step, which must stand for {stands} s first"
        return ""

    def jump_cost(self, seconds: int) -> int:
        """Return what jumps cost the seller of an option of that many seconds, ppb: half of what they add up
        to in that time, λ·τ·E|J|/2."""
        if not self.jumps_seconds:
            return 0
        return -(-self.jumps * seconds // (2 * max(self.jumps_seconds, 86_400)))

    def volatility_ppm(self) -> int:
        """Return the volatility without jumps, ppm a year: the yardstick of a step."""
        return max(LEAST_VOLATILITY, self.moves.estimate.yearly_without_jumps_ppm())


def observe(guard: Guard, price: Fraction, at: int, *, large_step: int, pegged: bool = False) -> Guard:
    """Fold a price that the sources agreed on at a time, Unix seconds. `large_step`: ppb from which a step
    must stand for ten minutes; `pegged`: the coin promises to be worth one unit."""
    if guard.accepted is not None and at < guard.at:
        return guard
    level = Level.of(price)
    if guard.accepted is None:
        return _peg(_accept(guard, price, level, at, jumped=0), price, at, pegged=pegged)
    before = Level.of(Fraction(*guard.accepted))
    move = move_ppb(before, level)
    seconds = at - guard.at
    usual = max(LEAST_STEP, STEP_DEVIATIONS * deviation(guard.volatility_ppm(), min(seconds, 86_400)))
    if not guard.candidates and abs(move) <= usual:
        return _peg(_accept(guard, price, level, at, jumped=0), price, at, pegged=pegged)
    if guard.candidates and at <= guard.candidates[-1].at:
        return guard
    guard = _with_candidate(guard, Candidate(level, at), large=abs(move) > large_step)
    if not _stands(guard):
        return guard
    jumped = abs(move) if abs(move) > usual else 0
    return _peg(_accept(guard, price, level, at, jumped=jumped), price, at, pegged=pegged)


def _accept(guard: Guard, price: Fraction, level: Level, at: int, *, jumped: int) -> Guard:
    jumps, over = guard.jumps, guard.jumps_seconds
    if guard.at:
        passed = min(at - guard.at, 2 * JUMPS_HALF_LIFE)
        # Linear in between is near enough to halving: 1 − t·ln 2/h, t being seconds to minutes.
        left = max(0, JUMPS_HALF_LIFE * 1_000 - 693 * passed)
        jumps = jumps * left // (JUMPS_HALF_LIFE * 1_000)
        over = over * left // (JUMPS_HALF_LIFE * 1_000) + passed
    return replace(
        guard,
        moves=guard.moves.observe(level, at),
        accepted=(price.numerator, price.denominator),
        at=at,
        candidates=(),
        large=False,
        jumps=jumps + jumped,
        jumps_seconds=over,
    )


def _with_candidate(guard: Guard, new: Candidate, *, large: bool) -> Guard:
    kept = guard.candidates
    if kept and new.at - kept[-1].at < KEPT_SPACING:
        return guard
    return replace(guard, candidates=(*kept, new)[-KEPT:], large=large)


def _stands(guard: Guard) -> bool:
    """Tell whether the newest candidates lie close together for long enough."""
    newest = guard.candidates[-1]
    stands = LARGE_STANDS_SECONDS if guard.large else STANDS_SECONDS
    for count, candidate in enumerate(reversed(guard.candidates), start=1):
        passed = newest.at - candidate.at
        apart = abs(move_ppb(candidate.level, newest.level))
        if apart > max(LEAST_STEP, STEP_DEVIATIONS * deviation(guard.volatility_ppm(), passed)):
            return False
        if passed >= stands and count >= STANDS_PRICES:
            return True
    return False


def off_peg(price: Fraction) -> int:
    """Return how far a price is from 1, ppb, rounded up."""
    return -(-abs(price - 1) * PPB // 1)


def peg_cost(guard: Guard) -> int:
    """Return what is added to the spread for a coin that is off its peg, ppb."""
    price = guard.price
    if price is None or not guard.off_since or guard.at - guard.off_since < PEG_WAIT_SECONDS:
        return 0
    return off_peg(price)


def _peg(guard: Guard, price: Fraction, at: int, *, pegged: bool) -> Guard:
    if not pegged:
        return guard
    off = off_peg(price)
    off_since = (guard.off_since or at) if off > PEG_NEAR else 0
    calm_since = (guard.calm_since or at) if off <= PEG_FOUND else 0
    lost = guard.lost or off > PEG_LOST
    if lost and calm_since and at - calm_since >= PEG_CALM_SECONDS:
        lost = False
    return replace(guard, off_since=off_since, calm_since=calm_since, lost=lost)
