"""Anchoring: the log's root and size go into a ZION transaction, so that nobody can rewrite the log
unnoticed."""

from __future__ import annotations

import asyncio

from bridge.chains.actions import AnchorAction
from bridge.chains.port import ChainPort
from bridge.proofs.merkle import leaf_hash, root
from bridge.store import Store

_RECEIPTS_AT_ONCE = 1_000


def log_head(store: Store) -> tuple[bytes, int]:
    """Return the root of all receipts and their number."""
    leaves: list[bytes] = []
    with store.reading() as tx:
        size = tx.receipts.size()
        for start in range(0, size, _RECEIPTS_AT_ONCE):
            receipts = tx.receipts.slice(start, min(size, start + _RECEIPTS_AT_ONCE))
            leaves += [leaf_hash(receipt.body.encode()) for receipt in receipts]
    return root(leaves), len(leaves)


async def anchor_log(store: Store, _port: ChainPort) -> AnchorAction | None:
    """Return the anchor that is due: an `AnchorHook` of the worker.

    The same root and size give the same intent, so nothing is anchored twice.
    """
    digest, size = await asyncio.to_thread(log_head, store)
    if not size:
        return None
    return AnchorAction(digest, size)
