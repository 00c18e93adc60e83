"""What to bid for a transaction: fee statistics, surge pricing, and ten times as much for a replacement."""

from __future__ import annotations

import msgspec

from bridge.chains.errors import ActionRefusedError
from bridge.chains.port import FeeLevel
from relayers.stellar.horizon import Record
from relayers.stellar.settings import FeeCaps

REPLACEMENT_FACTOR = 10
"""stellar-core replaces a pending transaction only by a fee bump of ten times its rate (FEE_MULTIPLIER)."""
_CROWDED = 0.8
"""Share of the ledgers' capacity in use from which on we outbid others instead of the base fee."""


class Market(msgspec.Struct, frozen=True):
    """Stroops per operation: what is charged at present, and what gets us in soon."""

    charged: int
    bid: int


def read_market(stats: Record, caps: FeeCaps) -> Market:
    """Read /fee_stats. The bid is a ceiling: in quiet times only the base fee is charged of it."""
    base = int(stats["last_ledger_base_fee"])
    charged = max(base, int(stats["fee_charged"]["p50"]))
    bid = max(caps.minimum, 2 * base, 2 * int(stats["fee_charged"]["p95"]))
    if float(stats["ledger_capacity_usage"]) >= _CROWDED:
        bid = max(bid, 2 * int(stats["max_fee"]["p90"]))
    return Market(charged, min(bid, caps.maximum))


def rate(market: Market, level: FeeLevel, caps: FeeCaps) -> int:
    """Return the stroops per operation to bid. Raises `ActionRefusedError` above the cap."""
    if level.previous is None:
        return market.bid
    wanted = max(market.bid, REPLACEMENT_FACTOR * level.previous.get("rate", 0))
    if wanted > caps.maximum:
        raise ActionRefusedError(
            f"a replacement must bid {wanted} stroops per operation, above the cap of {caps.maximum}",
            "wait until the pending one lands or its time is over, or raise the cap",
        )
    return wanted
