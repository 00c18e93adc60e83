"""Stellar RPC: one question at a time, by name, each answer judged. Sources: stellar-rpc of August 2026,
cmd/stellar-rpc/internal (methods/, jsonrpc.go)."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from bridge.chains.endpoints.ancestry import Ancestry
from bridge.chains.endpoints.answers import Answer, EndpointError
from bridge.chains.endpoints.json_rpc import (
    STANDARD_CODES,
    Call,
    Calls,
    ErrorTable,
    Identity,
    JsonRpc,
    OneEndpoint,
)
from bridge.chains.endpoints.selection import Head, Rules
from bridge.protocol.types import ChainId

ERRORS = ErrorTable(
    codes={
        **STANDARD_CODES,
        -32600: Answer.PASSING,  # a ledger outside of what is kept: jrpc2.InvalidRequest, in all methods
    },
    words=(
        ("request exceeded processing limit", Answer.TOO_MUCH),
        ("too large", Answer.TOO_MUCH),
        ("limit must not exceed", Answer.TOO_MUCH),
        ("rate limit", Answer.RATE_LIMITED),
        ("too many requests", Answer.RATE_LIMITED),
        ("rpc queue is full", Answer.RATE_LIMITED),
    ),
)
"""Range errors prove nothing: an endpoint may lag, or keep less history than we think."""

LAG_LEDGERS = 6
"""Half a minute: further behind the others an endpoint is left."""


def open_rpc(
    urls: tuple[str, ...],
    timeout: float,
    chain: ChainId,
    *,
    rules: Rules = Rules(lag=LAG_LEDGERS),
    identify: Identity | None = None,
    ancestry: Ancestry[OneEndpoint] | None = None,
    clock: Callable[[], float] = time.time,
) -> JsonRpc:
    """Return the endpoints at these URLs; `timeout` is seconds for one request, `chain` the instance's name
    for messages. Nothing is contacted before the first use. Raises `PortError` when there is no URL."""
    return JsonRpc(
        urls,
        timeout,
        network=str(chain),
        errors=ERRORS,
        rules=rules,
        identify=identify,
        head=read_head,
        ancestry=ancestry,
        clock=clock,
    )


async def ask(rpc: Calls, method: str, **params: Any) -> dict[str, Any]:
    """Return one result. The RPC takes parameters by name alone (methods/handler.go, `AllowArray(false)`).
    Raises `EndpointError`."""
    (result,) = await rpc.all(Call(method, params))
    if not isinstance(result, dict):
        raise EndpointError(
            f"{method} was not answered with an object", "use another endpoint", kind=Answer.WRONG
        )
    return result


async def read_head(endpoint: OneEndpoint) -> Head:
    """Return an endpoint's newest ledger. An endpoint that calls itself ill raises an error here."""
    health = await ask(endpoint, "getHealth")
    closed_at = health.get("latestLedgerCloseTime")
    if not closed_at:  # stellar-rpc before 27.1 (its CHANGELOG)
        closed_at = (await ask(endpoint, "getLatestLedger"))["closeTime"]
    return Head(int(health["latestLedger"]), int(closed_at))
