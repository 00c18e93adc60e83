"""From the settings to the endpoints of a cluster."""

from __future__ import annotations

import time
from collections.abc import Callable

from bridge.chains.endpoints.ancestry import DISTANCES, Ancestry
from bridge.chains.endpoints.json_rpc import Identity, JsonRpc, OneEndpoint, RpcError, record
from bridge.chains.endpoints.selection import Head, Rules
from bridge.protocol.types import BlockRef
from relayers.solana import blocks
from relayers.solana.identity import identity_of
from relayers.solana.rpc import ERRORS, LAG_SLOTS
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
        head=_head,
        ancestry=Ancestry(_recent, _shows),
        clock=clock,
    )


async def _head(endpoint: OneEndpoint) -> Head:
    """Return an endpoint's newest confirmed slot, and its time if it is told: without, whether it moves."""
    slot = await _newest_slot(endpoint)
    # Not by getBlockTime, which a node may know of final blocks alone.
    (block,) = await endpoint.batch([blocks.header_call(slot)])
    not_stored_yet = block is None or isinstance(block, RpcError)
    time = None if not_stored_yet else record(block).get("blockTime")
    return Head(slot, None if time is None else int(time))


async def _newest_slot(endpoint: OneEndpoint) -> int:
    return int(await endpoint.call("getSlot", {"commitment": blocks.CONFIRMED}))


async def _recent(endpoint: OneEndpoint) -> list[BlockRef]:
    """Return some of an endpoint's newest blocks, the head first."""
    slot = await _newest_slot(endpoint)
    first = max(slot - 2 * max(DISTANCES), 0)
    slots = await endpoint.call("getBlocks", first, slot, {"commitment": blocks.CONFIRMED})
    wanted = [slots[-1 - back] for back in DISTANCES if back < len(slots)]
    return [await blocks.header_at(endpoint, at) for at in wanted]


async def _shows(endpoint: OneEndpoint, block: BlockRef) -> bool:
    try:
        return (await blocks.header_at(endpoint, blocks.slot_of(block))).id == block.id
    except blocks.ChainMovedError:
        return False
