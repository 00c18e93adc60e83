"""When a swap wants to hear the time: so that an engine stores a `Tick` only if it can change something."""

from __future__ import annotations

from bridge.protocol import timelocks
from bridge.protocol.legs import CLAIMED
from bridge.protocol.payback import latest_payback
from bridge.protocol.refusals import RefusalCode
from bridge.protocol.rules import may_counterlock
from bridge.protocol.types import ChainId, Swap, UnixSeconds

_HEALED_BY_TIME = frozenset({RefusalCode.CLOCKS_APART, RefusalCode.CHAIN_TIME_UNKNOWN})


def next_alarm(swap: Swap, chain: ChainId) -> UnixSeconds | None:
    """Return the earliest time of that chain's clock at which a `Tick` can change what must be done.

    A tick before it only moves `times` and `heights`. 0 if the swap has not heard that chain's time yet, None
    if no later time matters (or the chain is none of the swap's).
    """
    source, destination = swap.source.terms, swap.destination.terms
    if chain not in {source.chain, destination.chain}:
        return None
    now = swap.times.get(chain)
    if now is None:
        return UnixSeconds(0)
    refusal = may_counterlock(swap)
    if refusal is not None and refusal.code in _HEALED_BY_TIME:
        return UnixSeconds(now + 1)
    if chain == source.chain:
        dates = [
            timelocks.expiry_time(swap.policy) + 1,
            timelocks.latest_counterlock_by_source(swap.policy, source.deadline) + 1,
            timelocks.latest_claim_start(swap.policy, source.deadline),
            source.deadline,
            *(stray.terms.deadline for stray in swap.source.strays),
        ]
        if swap.source.state in CLAIMED:
            dates.append(latest_payback(swap) + 1)
        if refusal is None:
            dates.append(_clocks_part(swap))
    else:
        dates = [
            timelocks.latest_counterlock(swap.policy, destination.deadline) + 1,
            destination.deadline,
            *(stray.terms.deadline for stray in swap.destination.strays),
        ]
    return min((UnixSeconds(date) for date in dates if date > now), default=None)


def _clocks_part(swap: Swap) -> int:
    source, destination = swap.source.terms, swap.destination.terms
    last = timelocks.clocks_agree_until(
        swap.policy,
        source_deadline=source.deadline,
        destination_deadline=destination.deadline,
        now_destination=swap.times[destination.chain],
    )
    return last + 1
