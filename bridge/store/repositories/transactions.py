"""The transactions that were signed for intents."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec
from sqlalchemy import Row, func, select, update

from bridge.chains.port import SignedTx
from bridge.protocol.types import ChainId, SwapId, TxId
from bridge.store.errors import UnreadableRowError
from bridge.store.records import Intent, StoredTx, StoredTxState
from bridge.store.repositories.base import Repository, log, readable, record, unreadable
from bridge.store.repositories.intents import stored_intent
from bridge.store.tables import IntentRow, TransactionRow, table_of

_intents = table_of(IntentRow)
_transactions = table_of(TransactionRow)

_PENDING_TX = [StoredTxState.SIGNED.value, StoredTxState.BROADCAST.value, StoredTxState.INCLUDED.value]


def _stored_tx(row: Row[Any]) -> StoredTx:
    try:
        fee = msgspec.json.decode(row.fee)
    except msgspec.DecodeError as error:
        raise unreadable("transaction", row) from error
    return record(row, StoredTx, signed=record(row, SignedTx, fee=fee))


class Transactions(Repository):
    """Signed transactions: stored before they are sent, never deleted."""

    def add(
        self,
        intent_id: int,
        chain: ChainId,
        signed: SignedTx,
        *,
        attempt: int,
        cancels: bool,
        signed_height: int,
    ) -> int:
        """Store a signed transaction; the same bytes a second time are the same row. Returns its id."""
        stored = self.by_tx_id(chain, signed.tx_id)
        if stored is not None:
            return stored.id
        values = {
            "intent_id": intent_id,
            "chain": chain,
            **msgspec.structs.asdict(signed),
            "fee": msgspec.json.encode(signed.fee).decode(),
            "attempt": attempt,
            "cancels": cancels,
            "state": StoredTxState.SIGNED.value,
            "signed_height": signed_height,
            "signed_ms": self.now_ms,
        }
        return self._insert(_transactions, values, f"transaction {signed.tx_id}")

    def by_tx_id(self, chain: ChainId, tx_id: TxId) -> StoredTx | None:
        """Return a transaction by the id its chain gives it."""
        where = (_transactions.c.chain == chain, _transactions.c.tx_id == tx_id)
        row = self._first(select(_transactions).where(*where))
        return _stored_tx(row) if row else None

    def of_intent(self, intent_id: int) -> list[StoredTx]:
        """Return all transactions of an intent, oldest first."""
        where = _transactions.c.intent_id == intent_id
        return [
            _stored_tx(row)
            for row in self._all(select(_transactions).where(where).order_by(_transactions.c.id))
        ]

    def of_intents(self, intent_ids: Iterable[int]) -> dict[int, list[StoredTx]]:
        """Return the transactions of several intents, oldest first.

        An intent with a transaction that cannot be read is missing in the answer: a sender that does not
        know all that was signed for an intent must not sign for it again.
        """
        ids = list(intent_ids)
        found: dict[int, list[StoredTx]] = {intent_id: [] for intent_id in ids}
        if ids:
            where = _transactions.c.intent_id.in_(ids)
            for row in self._all(select(_transactions).where(where).order_by(_transactions.c.id)):
                try:
                    stored = _stored_tx(row)
                except UnreadableRowError as error:
                    log.error("intent_passed_over", intent=row.intent_id, reason=str(error), hint=error.hint)
                    found.pop(row.intent_id, None)
                    continue
                if row.intent_id in found:
                    found[row.intent_id].append(stored)
        return found

    def pending_sequences(self, chain: ChainId, account: str) -> dict[int, list[StoredTx]]:
        """Return, by sequence, what may still be included or was included but is not settled: these sequences
        are taken."""
        where = (
            _transactions.c.chain == chain,
            _transactions.c.account == account,
            _transactions.c.sequence.is_not(None),
            _transactions.c.state.in_(_PENDING_TX),
        )
        found: dict[int, list[StoredTx]] = {}
        for row in self._all(select(_transactions).where(*where).order_by(_transactions.c.id)):
            # A row that cannot be read still takes its sequence.
            found.setdefault(row.sequence, []).extend(readable([row], _stored_tx))
        return found

    def settled_floor(self, chain: ChainId, account: str) -> int:
        """Return one more than the highest sequence that was used up finally: no lower one is free."""
        where = (
            _transactions.c.chain == chain,
            _transactions.c.account == account,
            _transactions.c.state.in_([StoredTxState.FINAL.value, StoredTxState.FAILED.value]),
        )
        highest = select(func.coalesce(func.max(_transactions.c.sequence), -1)).where(*where)
        return int(self._connection.execute(highest).scalar_one()) + 1

    def move(
        self,
        tx_row_id: int,
        state: StoredTxState,
        *,
        block_height: int | None = None,
        block_id: str = "",
        reason: str = "",
        replaced_by: str = "",
    ) -> None:
        """Set what is known of a transaction; BROADCAST also notes the time of its first sending."""
        values: dict[str, Any] = {
            "state": state.value,
            "block_height": block_height,
            "block_id": block_id,
            "reason": reason,
        }
        if replaced_by:
            values["replaced_by"] = replaced_by
        if state is StoredTxState.BROADCAST:
            values["sent_ms"] = func.coalesce(_transactions.c.sent_ms, self.now_ms)
        self._run(update(_transactions).where(_transactions.c.id == tx_row_id).values(**values))

    def of_swap(self, swap_id: SwapId) -> list[tuple[Intent, StoredTx]]:
        """Return a swap's intents with their transactions, oldest first."""
        intents = {
            row.id: stored_intent(row)
            for row in self._all(select(_intents).where(_intents.c.swap_id == swap_id))
        }
        found = self.of_intents(intents)
        return [(intents[key], tx) for key in sorted(found) for tx in found[key]]
