"""JSON-RPC endpoints of Solana: which error codes mean what, and the shape of answers with a context."""

from __future__ import annotations

from typing import Any

from bridge.chains.endpoints.json_rpc import JsonRpc, record
from bridge.chains.errors import PortUnavailableError
from relayers.solana.settings import SolanaSettings

_BUSY_CODES = (-32005, -32014, -32016, 429)
"""Node unhealthy (behind), block status not yet available, minimum context slot not reached, rate limits."""

SKIPPED_CODES = {-32007, -32009}
"""The slot was skipped: it has no block, and never will on this fork (RpcCustomError of Agave)."""

BLOCK_NOT_AVAILABLE = -32004


def open_rpc(settings: SolanaSettings, timeout: float = 0.0) -> JsonRpc:
    """Return the endpoints of the settings, with their timeout or another one (seconds). Nothing is contacted
    before the first use. Raises `PortError` when there is no URL."""
    urls = settings.rpc_urls
    return JsonRpc(urls, timeout or settings.timeout, network="Solana", busy=_BUSY_CODES)


def value_of(result: Any) -> Any:
    """Return the `value` of an answer that comes with a context."""
    answer = record(result)
    if "value" not in answer:
        raise PortUnavailableError("the Solana RPC answered without a value", "use another endpoint")
    return answer["value"]
