"""How far back an endpoint's history reaches, without a hole: only so far does "not found" mean "never".

getFirstAvailableBlock is not enough. It is the lowest rooted slot of the node's store (Agave,
ledger/src/blockstore.rs, `get_first_available_block`), and of long-term storage if that is
older (rpc/src/rpc.rs);
a node that was started from a newer snapshot on an old store has a hole above it. But a block's height counts
blocks: between two heights a complete list of slots has exactly as many.
"""

from __future__ import annotations

from bridge.chains.endpoints.json_rpc import Calls, RpcError
from bridge.protocol.types import BlockRef
from relayers.solana import blocks

_PAGE = 100_000
"""Slots asked for at once (getBlocks allows 500,000: Agave, MAX_GET_CONFIRMED_BLOCKS_RANGE): about 1 MB."""
_SKIPPED = 128
"""Slots more than twice as many as blocks that are asked for: leaders that are down skip theirs."""
_PAGES = 40
"""About 18 days of slots at 400 ms; further back the answer is no."""


async def reaches_back_to(rpc: Calls, height: int, head: BlockRef) -> bool:
    """Tell whether one endpoint has every block from `height` to `head`. Ask it afterwards, and the same one,
    when it has not found something: what it loses meanwhile does not look complete then."""
    wanted = head.height - height + 1
    if wanted <= 1:
        return True
    if wanted > _PAGE * _PAGES:
        return False
    first_available = int(await rpc.call("getFirstAvailableBlock"))
    top, found, lowest = blocks.slot_of(head), 0, -1
    for _ in range(_PAGES):
        span = min(2 * (wanted - found) + _SKIPPED, _PAGE)
        low = max(top - span + 1, first_available)
        slots = await rpc.call("getBlocks", low, top, {"commitment": blocks.CONFIRMED})
        if found + len(slots) >= wanted:
            lowest = slots[len(slots) - (wanted - found)]
            break
        found += len(slots)
        top = low - 1
        if top < first_available:
            return False
    if lowest < 0:
        return False
    (header,) = await rpc.batch([blocks.header_call(lowest)])
    if isinstance(header, RpcError) or header is None:
        return False
    return blocks.read_header(lowest, header).height == height
