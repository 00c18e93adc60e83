"""What to bid: EIP-1559 fees from the fee history, escalation, replacement bumps and caps.

All fees are wei per gas. The base fee is burnt and follows the protocol; the priority fee buys the place.
"""

from __future__ import annotations

import msgspec

from bridge.chains.errors import PortUnavailableError, TooDearError
from bridge.chains.port import FeeLevel
from bridge.protocol.types import Purpose
from relayers.evm.rpc import Call, quantity, record

HISTORY_BLOCKS = 20
PERCENTILES = (50, 75, 90, 95)
"""Of the priority fees paid in recent blocks; attempt 0 bids the first, later attempts climb."""

BASE_FEE_HEADROOM = 2
"""A base fee grows at most by 1/8 per block (EIP-1559): twice the base fee lasts for five full blocks."""

BUMP_NUMERATOR, BUMP_DENOMINATOR = 1125, 1000
"""A replacement raises both fields by at least 12.5 %: go-ethereum asks for 10 %, others up to 12.5 %."""

URGENT = frozenset({Purpose.CLAIM, Purpose.REFUND, Purpose.COOPERATIVE_REFUND})
"""What saves money already at stake may bid up to the urgent cap; a new lock can wait."""


class FeeCaps(msgspec.Struct, frozen=True):
    """The most we ever bid, wei per gas: in all for ordinary and for urgent actions, and as priority fee.

    `minimum_priority` keeps a bid acceptable on idle networks. A replacement may exceed `priority`, which
    only limits what the market talks us into.
    """

    ordinary: int = 300 * 10**9
    urgent: int = 3_000 * 10**9
    priority: int = 10 * 10**9
    minimum_priority: int = 10**7


class Market(msgspec.Struct, frozen=True):
    """The next block's base fee and the median of recent priority fees at each of `PERCENTILES`."""

    base_fee: int
    priority: tuple[int, ...]


class Bid(msgspec.Struct, frozen=True):
    """maxFeePerGas and maxPriorityFeePerGas."""

    max_fee: int
    priority: int


def market_call() -> Call:
    """Return the call whose result `read_market` understands."""
    return Call("eth_feeHistory", (hex(HISTORY_BLOCKS), "latest", list(PERCENTILES)))


def read_market(result: object) -> Market:
    """Read eth_feeHistory: its last base fee is the next block's; empty blocks paid no priority fee and do
    not count, or the bid on a quiet network would be none."""
    history = record(result)
    base_fees = history.get("baseFeePerGas")
    if not isinstance(base_fees, list) or not base_fees:
        raise PortUnavailableError("the RPC gave no fee history", "use an endpoint with eth_feeHistory")
    rewards = history.get("reward") or []
    ratios = history.get("gasUsedRatio") or []
    rows = [
        [quantity(value) for value in row]
        for row, ratio in zip(rewards, ratios, strict=False)
        if ratio and len(row) == len(PERCENTILES)
    ]
    columns = list(zip(*rows, strict=True)) or [(0,)] * len(PERCENTILES)
    return Market(quantity(base_fees[-1]), tuple(_median(column) for column in columns))


def bid(market: Market, level: FeeLevel, purpose: Purpose, caps: FeeCaps) -> Bid:
    """Return what to offer.

    A replacement rises over both fields of `level.previous` by the pool's rule, and to the market where that
    has moved further. Raises `TooDearError` when the cap forbids an ordinary action at today's fees,
    or any action to rise once more: both pass when the fees fall, and what is in the pool stays valid.
    """
    cap = caps.urgent if purpose in URGENT else caps.ordinary
    wanted = market.priority[min(level.attempt, len(market.priority) - 1)]
    priority = min(max(wanted, caps.minimum_priority), caps.priority)
    max_fee = BASE_FEE_HEADROOM * market.base_fee + priority
    if level.previous is not None:
        priority = max(priority, _bumped(level.previous["priority"]))
        floor = max(_bumped(level.previous["max_fee"]), priority)
        if floor > cap:
            raise TooDearError(
                f"replacing this {purpose} would bid {floor} wei/gas, over the cap of {cap}",
                "it stays in the mempool; raise the fee cap in the configuration if it must move now",
            )
        max_fee = max(max_fee, floor)
    elif purpose not in URGENT and market.base_fee + priority > cap:
        raise TooDearError(
            f"a {purpose} needs {market.base_fee + priority} wei/gas now, over the cap of {cap}",
            "wait for lower fees or raise the fee cap in the configuration",
        )
    max_fee = min(max_fee, cap)
    return Bid(max_fee, min(priority, max_fee))


def _bumped(value: int) -> int:
    return -(-value * BUMP_NUMERATOR // BUMP_DENOMINATOR)


def _median(values: tuple[int, ...]) -> int:
    return sorted(values)[len(values) // 2]
