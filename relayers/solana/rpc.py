"""JSON-RPC endpoints of Solana: which errors mean what, their heads, and answers with a context."""

from __future__ import annotations

from typing import Any

from bridge.chains.endpoints.answers import Answer
from bridge.chains.endpoints.json_rpc import (
    STANDARD_CODES,
    ErrorTable,
    record,
)
from bridge.chains.errors import PortUnavailableError

ERRORS = ErrorTable(
    codes={
        **STANDARD_CODES,
        -32001: Answer.PERMANENT,  # block cleaned up
        -32002: Answer.REFUSED,  # the simulation before sending failed
        -32003: Answer.REFUSED,  # a signature is wrong
        -32004: Answer.REFUSED,  # block not available: adapters read it
        -32005: Answer.PASSING,  # node unhealthy: it is behind
        -32006: Answer.REFUSED,  # a precompile refused
        -32007: Answer.REFUSED,  # slot skipped, or missing in this node's store: adapters read it
        -32008: Answer.PERMANENT,  # no snapshot
        -32009: Answer.REFUSED,  # slot skipped, or missing in long-term storage: adapters read it
        -32010: Answer.PERMANENT,  # excluded from the account index
        -32011: Answer.PERMANENT,  # keeps no history of transactions
        -32012: Answer.PASSING,  # scan error
        -32013: Answer.REFUSED,  # wrong number of signatures
        -32014: Answer.PASSING,  # status of the block not available yet
        -32015: Answer.REFUSED,  # version of a transaction above what we said we read: adapters set it aside
        -32016: Answer.PASSING,  # has not reached the slot that we have seen elsewhere
        -32017: Answer.PASSING,  # epoch rewards are being paid
        -32018: Answer.REFUSED,  # no epoch boundary
        -32019: Answer.PASSING,  # long-term storage cannot be reached
        -32020: Answer.REFUSED,  # a cursor names a transaction that this node lacks: adapters read it
        -32021: Answer.PERMANENT,  # no slot history
        -32600: Answer.PASSING,
    },
    words=(
        ("batch", Answer.TOO_MUCH),
        ("too large", Answer.TOO_MUCH),
        ("rate limit", Answer.RATE_LIMITED),
        ("too many requests", Answer.RATE_LIMITED),
        ("requests per second", Answer.RATE_LIMITED),
        ("rps limit", Answer.RATE_LIMITED),
    ),
    answering=frozenset({"sendTransaction", "simulateTransaction"}),
)
"""Agave, rpc-client-api/src/custom_error.rs, and what hosted services add."""

LAG_SLOTS = 75
"""Half a minute of slots (400 ms): further behind the others an endpoint is left."""

SKIPPED_CODES = {-32007, -32009}
"""The slot was skipped: it has no block, and never will on this fork (RpcCustomError of Agave)."""

BLOCK_NOT_AVAILABLE = -32004


def value_of(result: Any) -> Any:
    """Return the `value` of an answer that comes with a context."""
    answer = record(result)
    if "value" not in answer:
        raise PortUnavailableError("the Solana RPC answered without a value", "use another endpoint")
    return answer["value"]
