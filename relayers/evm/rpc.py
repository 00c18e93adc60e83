"""JSON-RPC endpoints of EVM chains: which errors mean what, their heads, and numbers as they write them."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

from bridge.chains.endpoints.ancestry import by_height
from bridge.chains.endpoints.answers import Answer
from bridge.chains.endpoints.json_rpc import (
    STANDARD_CODES,
    Call,
    Calls,
    ErrorTable,
    Identity,
    JsonRpc,
    OneEndpoint,
    RpcError,
    record,
)
from bridge.chains.endpoints.selection import Head, Rules
from bridge.chains.errors import PortError, PortUnavailableError
from bridge.protocol.types import BlockHeight, BlockRef, UnixSeconds

__all__ = [
    "Call",
    "Calls",
    "OneEndpoint",
    "Rpc",
    "RpcError",
    "block_ref",
    "failed",
    "network_check",
    "open_rpc",
    "quantity",
    "record",
    "sound",
]

Rpc = JsonRpc
"""The endpoints of one network. `Calls` is either these or one of them: what must fit together is read from
one."""

ERRORS = ErrorTable(
    codes={
        **STANDARD_CODES,
        3: Answer.REFUSED,  # reverted, with the data (go-ethereum, internal/ethapi/errors.go)
        -32005: Answer.RATE_LIMITED,  # EIP-1474 "limit exceeded"
        -32007: Answer.RATE_LIMITED,  # QuickNode: "50/second request limit reached"
        -32015: Answer.REFUSED,  # Nethermind and OpenEthereum: "VM execution error."
        -32016: Answer.RATE_LIMITED,  # public endpoints: "over rate limit"
        -32097: Answer.RATE_LIMITED,
        -39001: Answer.REFUSED,  # execution-apis: "Unknown block", to a tag such as "finalized"
        4444: Answer.PERMANENT,  # go-ethereum, core/history: "pruned history unavailable"
    },
    # go-ethereum, erigon, nethermind, besu, reth, anvil, and what hosted services say. Of one message the
    # first part counts: a limit of blocks is told in words that the limits of requests use too.
    words=(
        ("revert", Answer.REFUSED),
        ("vm execution error", Answer.REFUSED),
        ("finalized block not found", Answer.REFUSED),
        ("safe block not found", Answer.REFUSED),
        ("block range", Answer.TOO_MUCH),
        ("range too", Answer.TOO_MUCH),
        ("range is too", Answer.TOO_MUCH),
        ("max range", Answer.TOO_MUCH),
        ("ranges over", Answer.TOO_MUCH),
        ("is limited to a", Answer.TOO_MUCH),
        ("query returned more than", Answer.TOO_MUCH),
        ("exceeds max results", Answer.TOO_MUCH),
        ("response size", Answer.TOO_MUCH),
        ("response too large", Answer.TOO_MUCH),
        ("response is too big", Answer.TOO_MUCH),
        ("batch of more than", Answer.TOO_MUCH),
        ("batch too", Answer.TOO_MUCH),
        ("batch size", Answer.TOO_MUCH),
        ("batch limit", Answer.TOO_MUCH),
        ("query timeout", Answer.TOO_MUCH),
        ("rate limit", Answer.RATE_LIMITED),
        ("request limit", Answer.RATE_LIMITED),
        ("too many requests", Answer.RATE_LIMITED),
        ("compute units", Answer.RATE_LIMITED),
        ("request count exceeded", Answer.RATE_LIMITED),
        ("requests per second", Answer.RATE_LIMITED),
        ("missing trie node", Answer.PERMANENT),
        ("historical state", Answer.PERMANENT),
        ("pruned", Answer.PERMANENT),
        ("method not found", Answer.PERMANENT),
        ("not supported", Answer.PERMANENT),
        ("unsupported method", Answer.PERMANENT),
        ("header not found", Answer.PASSING),
        ("timeout", Answer.PASSING),
        ("timed out", Answer.PASSING),
    ),
    answering=frozenset({"eth_sendRawTransaction", "eth_call", "eth_estimateGas", "eth_createAccessList"}),
)
"""Anything that is not listed sends a reading on to the next endpoint: nothing may be concluded from it."""


def open_rpc(
    urls: Sequence[str],
    timeout: float = 10.0,
    chain: str = "EVM",
    *,
    rules: Rules = Rules(),
    identify: Identity | None = None,
    send_urls: Sequence[str] = (),
    identify_sender: Identity | None = None,
    clock: Callable[[], float] = time.time,
) -> JsonRpc:
    """Return the endpoints at these URLs; `timeout` is seconds for one request, `chain` the name
    of the instance, for messages; the rest: see `JsonRpc`. Nothing is contacted before
    the first use. Raises `PortError` when there is no URL."""
    return JsonRpc(
        urls,
        timeout,
        network=chain,
        errors=ERRORS,
        rules=rules,
        identify=identify,
        head=read_head,
        ancestry=by_height(read_head, _block_at),
        send_urls=send_urls,
        identify_sender=identify_sender,
        clock=clock,
    )


def network_check(chain_id: int, chain: str) -> Identity:
    """Return what refuses endpoints of other networks than the one with this chain id (EIP-155)."""

    async def check(endpoint: OneEndpoint) -> None:
        serves = quantity(await endpoint.call("eth_chainId"))
        if serves != chain_id:
            raise PortError(
                f"the RPC serves chain id {serves}; {chain} is {chain_id}",
                "correct the RPC URL or the chain id",
            )

    return check


async def read_head(endpoint: OneEndpoint) -> Head:
    """Return an endpoint's newest block."""
    block = record(await endpoint.call("eth_getBlockByNumber", "latest", False))
    return Head(quantity(block.get("number")), quantity(block.get("timestamp")))


async def _block_at(endpoint: OneEndpoint, height: int) -> BlockRef | None:
    found = await endpoint.call("eth_getBlockByNumber", hex(height), False)
    return None if found is None else block_ref(record(found))


def block_ref(block: dict[str, Any]) -> BlockRef:
    """Return which block this is. Raises what reading it breaks."""
    return BlockRef(
        height=BlockHeight(quantity(block["number"])),
        id=block["hash"],
        parent=block["parentHash"],
        time=UnixSeconds(quantity(block["timestamp"])),
    )


def sound(result: Any) -> Any:
    """Return a result of `Rpc.batch`. Raises `PortUnavailableError` for an error."""
    if isinstance(result, RpcError):
        raise failed(result)
    return result


def failed(error: RpcError) -> PortUnavailableError:
    """Return an error of the endpoint as what it means to us: try again, here or elsewhere."""
    return PortUnavailableError(f"the RPC failed: {error.message}", "use a complete, synchronised node")


def quantity(value: Any) -> int:
    """Decode a JSON-RPC quantity ("0x…"). Raises `PortUnavailableError` if it is none."""
    if not isinstance(value, str):
        raise PortUnavailableError("the RPC left out a number", "use a complete, synchronised node")
    try:
        return int(value, 16)
    except ValueError:
        raise PortUnavailableError("the RPC sent a malformed number", "use another endpoint") from None
