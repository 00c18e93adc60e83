"""Which stored transactions still matter, and the reasons in their rows that later steps depend on."""

from __future__ import annotations

from bridge.store.records import StoredTxState

ALIVE = frozenset({StoredTxState.SIGNED, StoredTxState.BROADCAST, StoredTxState.INCLUDED})
"""A transaction in one of these states may still land, or a reorg may still undo it."""

EXPIRED = "expired"
"""A DEAD transaction that did not land before it expired: the next one bids more."""

REJECTED = "the node rejected it: "
"""The start of a reason: no node took the transaction, so it may have to be signed again with its sequence,
because later sequences wait for it."""

REVERTED = "reverted: "
"""The start of a reason: the transaction is in a block and did nothing."""

SPOILED = "the node refused the batch"
"""A batch that was given up before it expired. Nobody waits for it, although it may still land after a reorg.
Its claims are then made, which is all that each of them wants."""
