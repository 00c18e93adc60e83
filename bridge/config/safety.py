"""What a configuration of network `main` may not weaken.

How fast and how sure a chain is its family knows; an operator may wait longer, but not less. A lock that
counts as final too early is paid for by the bridge, and with a clock that is taken to be exact, or no time
for an outage, a claim that is on time is not.
"""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from typing import TYPE_CHECKING

from pydantic import ValidationError

from bridge.chains.config import TimingConfig
from bridge.chains.network import Network
from bridge.protocol.types import ChainId

if TYPE_CHECKING:
    from bridge.config.settings import Settings

LEAST_OUTAGE = 900
"""Seconds that the bridge must be able to be down on `main`: a restart, an update, a person who is woken."""

_NOT_BELOW = ("finality_base", "finality_cap", "clock_skew", "inclusion_p99")


def is_safe_on_main(settings: Settings) -> Iterator[str]:
    """Yield what is weaker than it may be on `main`; nothing on other networks."""
    if settings.network is not Network.MAIN:
        return
    for chain, section in settings.chains.items():
        try:
            timing = section.timing_on(settings.network)
        except ValidationError:
            continue  # reported with the section
        yield from _timing(chain, timing, section.default_timing(settings.network))
    if settings.swaps.outage_budget < LEAST_OUTAGE:
        yield (
            f"swaps.outage_budget: {settings.swaps.outage_budget} s on main: whenever the bridge is down for "
            f"longer, claims come too late; at least {LEAST_OUTAGE}"
        )


def _timing(chain: ChainId, timing: TimingConfig, own: TimingConfig) -> Iterator[str]:
    where = f"chains.{chain}.timing"
    for name in _NOT_BELOW:
        set_to, least = getattr(timing, name), getattr(own, name)
        if set_to < least:
            yield f"{where}.{name}: {set_to} is less than this chain needs on main; at least {least}"
    if own.finalized_after and not timing.finalized_after:
        yield (
            f"{where}.finalized_after: 0 lets depth alone decide, and this chain calls blocks final itself; "
            f"leave it out, or give about {own.finalized_after}"
        )
    for coins, blocks in own.depth_from.items():
        given = max(
            (depth for least, depth in timing.depth_from.items() if Fraction(least) <= Fraction(coins)),
            default=0,
        )
        if max(given, timing.finality_base) < blocks:
            yield f"{where}.depth_from: from {coins} coins on this chain needs {blocks} confirmations on main"
