"""What to pay for a transaction: an inclusion bid, ten times as much for a replacement, and its resources."""

from __future__ import annotations

from typing import Any

import msgspec
from stellar_sdk import xdr

from bridge.chains.errors import ActionRefusedError, TooDearError
from bridge.chains.port import FeeLevel
from relayers.stellar.settings import FeeCaps
from relayers.stellar.simulation import Simulated

BASE_FEE = 100
"""Stroops per operation, the network's least inclusion fee."""
REPLACEMENT_FACTOR = 10
"""stellar-core replaces a pending transaction only by a fee bump of ten times its rate (FEE_MULTIPLIER)."""
_MORE_INSTRUCTIONS = 8
"""An eighth more instructions than the simulation needed: the ledger may differ a little by then."""
_MORE_FEE = 4
"""A quarter more for resources; most of what is not used comes back (rent and events)."""
_MAX_INSTRUCTIONS = 100_000_000
"""`txMaxInstructions` of the public network (stellar/laboratory, networkLimits.ts, July 2026): 400 million
since protocol 26; the lower number of before is kept as a bound for our small calls."""


class Market(msgspec.Struct, frozen=True):
    """Stroops per operation: what is charged at present, and what gets us in soon."""

    charged: int
    bid: int


def read_market(stats: dict[str, Any], caps: FeeCaps, *, contract_call: bool) -> Market:
    """Read getFeeStats. The bid is a ceiling: in quiet times only the least fee is charged of it."""
    told = stats["sorobanInclusionFee" if contract_call else "inclusionFee"]
    charged = max(BASE_FEE, int(told["p50"]))
    bid = max(caps.minimum, 2 * BASE_FEE, 2 * int(told["p95"]))
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


def with_headroom(simulated: Simulated, caps: FeeCaps, *, keeps: bool = False) -> xdr.SorobanTransactionData:
    """Return the resources to ask for: those that were simulated and a little more of what may move.

    Raises `TooDearError` when they cost more than the cap; of what only keeps entries alive (`keeps`), more
    than a day's budget for that.
    """
    told = simulated.data.resources
    instructions = told.instructions.uint32
    more = min(instructions + instructions // _MORE_INSTRUCTIONS, max(instructions, _MAX_INSTRUCTIONS))
    fee = simulated.fee + simulated.fee // _MORE_FEE
    if keeps and fee > caps.keeping:
        raise TooDearError(
            f"keeping the contract from being archived would cost up to {fee} stroops, above the budget of "
            f"{caps.keeping} for a day",
            "wait, or raise max_keeping_per_day of the chain",
        )
    if fee > caps.resources:
        raise TooDearError(
            f"the call would pay {fee} stroops for its resources, above the cap of {caps.resources}",
            "wait, or raise max_resource_fee of the chain",
        )
    resources = xdr.SorobanResources(told.footprint, xdr.Uint32(more), told.disk_read_bytes, told.write_bytes)
    return xdr.SorobanTransactionData(simulated.data.ext, resources, xdr.Int64(fee))
