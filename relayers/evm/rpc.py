"""JSON-RPC endpoints of EVM chains: which error codes mean what, and numbers as they write them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from bridge.chains.endpoints.json_rpc import Call, JsonRpc, RpcError, record
from bridge.chains.errors import PortUnavailableError

__all__ = ["Call", "Rpc", "RpcError", "failed", "open_rpc", "quantity", "record", "sound"]

_BUSY_CODES = (-32005, -32016, 429)
"""EIP-1474 "limit exceeded" and what hosted endpoints use for it: the same call may work later."""

Rpc = JsonRpc


def open_rpc(urls: Sequence[str], timeout: float = 10.0, chain: str = "EVM") -> Rpc:
    """Return the endpoints at these URLs; `timeout` is seconds for one request, `chain` the name
    of the instance, for messages. Nothing is contacted before
    the first use. Raises `PortError` when there is no URL."""
    return JsonRpc(urls, timeout, network=chain, busy=_BUSY_CODES)


def sound(result: Any) -> Any:
    """Return a result of `Rpc.batch` that is no error. Raises `PortUnavailableError` for one that is."""
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
