"""Swaps whose locks this version cannot reach: made before their chain had a contract
(docs/decisions/0149)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bridge.protocol.types import ChainId, SwapId

if TYPE_CHECKING:
    from bridge.chains.config import ChainSection
    from bridge.store import Store

HINT = (
    "go on with the release before this one until they are over (its relayer claims and refunds them), then "
    "upgrade; they are lost to nobody meanwhile"
)
NAMED = 20
"""The most swaps that a message names."""


def without_contract(store: Store, chain: ChainId, section: ChainSection) -> list[SwapId]:
    """Return the open swaps with a leg that names no contract, on a chain where locks are in one now."""
    if not getattr(section, "contract", ""):
        return []
    with store.reading() as tx:
        swaps = [stored.swap for stored in tx.swaps.open(chain)]
    return [
        swap.id
        for swap in swaps
        if any(leg.terms.chain == chain and not leg.terms.contract for leg in (swap.source, swap.destination))
    ]


def described(swaps: list[SwapId], chain: ChainId) -> str:
    """Return what is to be said of such swaps."""
    names = ", ".join(swaps[:NAMED]) + (f" and {len(swaps) - NAMED} more" if len(swaps) > NAMED else "")
    return f"{len(swaps)} open swaps have locks on {chain} that an older version made: {names}"
