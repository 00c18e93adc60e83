"""What transactions paid and offered in the last ledgers."""

from __future__ import annotations

from collections import Counter

from relayers.stellar.devnet.frames import ceil_div
from relayers.stellar.devnet.horizon.resources import Json
from relayers.stellar.devnet.network import StandaloneNetwork

LEDGERS = 5
_PERCENTILES = (10, 20, 30, 40, 50, 60, 70, 80, 90, 95, 99)


def fee_stats(network: StandaloneNetwork) -> Json:
    """Return fees per operation over the last five ledgers, as Horizon's /fee_stats."""
    recent = network.ledgers[-LEDGERS:]
    header = network.header
    charged, offered, used = [], [], 0
    for ledger in recent:
        for applied in ledger.transactions:
            count = applied.frame.operation_count
            used += count
            charged.append(applied.result.fee_charged // count)
            offered.append(ceil_div(applied.frame.fee_bid, count))
    usage = used / (header.max_tx_set_size * len(recent))
    return {
        "last_ledger": str(header.sequence),
        "last_ledger_base_fee": str(header.base_fee),
        "ledger_capacity_usage": f"{usage:.2f}",
        "fee_charged": _distribution(charged or [header.base_fee]),
        "max_fee": _distribution(offered or [header.base_fee]),
    }


def _distribution(fees: list[int]) -> Json:
    ordered = sorted(fees)
    shown = {
        "max": str(ordered[-1]),
        "min": str(ordered[0]),
        "mode": str(Counter(ordered).most_common(1)[0][0]),
    }
    for percent in _PERCENTILES:
        shown[f"p{percent}"] = str(ordered[min(len(ordered) - 1, len(ordered) * percent // 100)])
    return shown
