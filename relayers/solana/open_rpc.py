"""From the settings to the endpoints of a cluster."""

from __future__ import annotations

import time
from collections.abc import Callable

from bridge.chains.endpoints.json_rpc import Identity, JsonRpc
from bridge.chains.endpoints.selection import Rules
from relayers.solana.identity import identity_of
from relayers.solana.rpc import ERRORS, LAG_SLOTS, read_head
from relayers.solana.settings import SolanaSettings


def open_rpc(
    settings: SolanaSettings,
    timeout: float = 0.0,
    *,
    identify: Identity | None = None,
    clock: Callable[[], float] = time.time,
) -> JsonRpc:
    """Return the endpoints of the settings, with their timeout or another one (seconds); the rest: see
    `JsonRpc`. Nothing is contacted before the first use. Raises `PortError` when there is no URL."""
    return JsonRpc(
        settings.rpc_urls,
        timeout or settings.timeout,
        network="Solana",
        errors=ERRORS,
        rules=Rules(lag=LAG_SLOTS, max_age=settings.max_head_age),
        identify=identify or identity_of(settings),
        head=read_head,
        clock=clock,
    )
