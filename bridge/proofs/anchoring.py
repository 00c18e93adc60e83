"""Anchoring: the log's root and size go into a ZION transaction, so that nobody can rewrite the log
unnoticed."""

from __future__ import annotations

import asyncio

from bridge.chains.actions import AnchorAction
from bridge.chains.port import ChainPort
from bridge.protocol.types import Purpose
from bridge.store import Store, Transaction
from bridge.store.records import IntentState, StoredTxState

_ON_ITS_WAY = (IntentState.PLANNED, IntentState.SIGNED, IntentState.BROADCAST)
"""Not in a block yet, or not any more: the outbox sends it until it is."""


async def anchor_log(store: Store, port: ChainPort) -> AnchorAction | None:
    """Return the anchor that is due: an `AnchorHook` of the worker.

    It is of the newest tree head, and only while no other anchor is on its way: so a block carries one at
    most. The same head gives the same intent, which the outbox brings into a block again after a reorg until
    it is final.
    """
    return await asyncio.to_thread(_due, store, port)


def _due(store: Store, port: ChainPort) -> AnchorAction | None:
    with store.reading() as tx:
        size = tx.receipts.size()
        if not size:
            return None
        newest = tx.log_anchors.newest()
        if newest is not None and newest.size < size and newest.chain == port.chain:
            standing = tx.intents.standing(newest.subject, "", Purpose.ANCHOR)
            if standing is not None and standing.state in _ON_ITS_WAY:
                return None
        return AnchorAction(tx.receipts.root(size), size)


def anchor_transaction(tx: Transaction, index: int) -> tuple[int, str, str] | None:
    """Return size, chain and transaction id of the first anchor in a block whose tree holds a leaf, None
    while there is none."""
    for head in tx.log_anchors.over(index):
        for intent in tx.intents.of_subject(head.subject):
            if intent.state not in (IntentState.INCLUDED, IntentState.FINAL):
                continue
            for sent in reversed(tx.transactions.of_intent(intent.id)):
                if sent.state in (StoredTxState.INCLUDED, StoredTxState.FINAL) and not sent.cancels:
                    return head.size, head.chain, sent.tx_id
    return None
