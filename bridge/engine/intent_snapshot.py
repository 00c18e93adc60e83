"""An intent and everything known about its transactions at one moment: the input of the step plan."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from bridge.chains.port import TxStatus
from bridge.engine.tx_reasons import ALIVE
from bridge.protocol.types import Purpose
from bridge.store.records import Intent, StoredTx


class IntentSnapshot(msgspec.Struct, frozen=True):
    """An intent, all its transactions (oldest first), and what the chain says about those that may still
    land.

    `in_batch`: a transaction of another intent that may still land makes this claim too.
    `statuses`: by the row id of the transaction. `unanswered`: the chain did not say what became of them.
    """

    intent: Intent
    txs: tuple[StoredTx, ...]
    in_batch: bool = False
    statuses: Mapping[int, TxStatus] = {}
    unanswered: Exception | None = None

    @property
    def alive(self) -> tuple[StoredTx, ...]:
        """The transactions that may still land, or that a reorg may still undo."""
        return tuple(tx for tx in self.txs if tx.state in ALIVE)

    @property
    def may_join_batch(self) -> bool:
        """Whether this is a swap's claim with no transaction under way: another's may make it too."""
        intent = self.intent
        return (
            intent.purpose is Purpose.CLAIM and bool(intent.swap_id) and not intent.cancel and not self.alive
        )

    def without_batch(self) -> IntentSnapshot:
        """Return the snapshot of the same intent on its own again."""
        return msgspec.structs.replace(
            self, intent=msgspec.structs.replace(self.intent, batch_leader=None), in_batch=False
        )

    def with_statuses(self, statuses: Mapping[int, TxStatus]) -> IntentSnapshot:
        """Return the snapshot with the chain's answers, by the row id of the transaction."""
        return msgspec.structs.replace(self, statuses=statuses)

    def without_answer(self, error: Exception) -> IntentSnapshot:
        """Return the snapshot with the reason why the chain gave no answer."""
        return msgspec.structs.replace(self, unanswered=error)

    def with_tx(self, changed: StoredTx) -> IntentSnapshot:
        """Return the snapshot with one transaction as it is stored now."""
        txs = tuple(changed if tx.id == changed.id else tx for tx in self.txs)
        return msgspec.structs.replace(self, txs=txs)
