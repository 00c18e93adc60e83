"""What was spent on transactions that pay somebody else, and what ends that."""

from __future__ import annotations

import msgspec
from sqlalchemy import func, select, update

from bridge.protocol.types import Address, Amount, ChainId, LockId, Purpose, SwapId
from bridge.store.records import IntentState, StoredTxState
from bridge.store.repositories.base import Repository, records
from bridge.store.tables import IntentRow, TransactionRow, table_of

_intents = table_of(IntentRow)
_transactions = table_of(TransactionRow)


class CourtesyTx(msgspec.Struct, frozen=True):
    """A transaction that pays somebody else. `max_cost` in native units; `reason` as in `StoredTx`."""

    id: int
    intent_id: int
    purpose: Purpose
    lock_id: LockId
    sequence: int | None
    max_cost: Amount
    state: StoredTxState
    reason: str
    signed_ms: int


class Courtesies(Repository):
    """The transactions of intents that pay somebody else. One that cannot land costs nothing."""

    def of_swap(self, chain: ChainId, swap_id: SwapId) -> list[CourtesyTx]:
        """Return those of a swap on one chain that still count against its limits, oldest first."""
        where = (_intents.c.swap_id == swap_id, _transactions.c.id > _intents.c.counted_from)
        return self._found(chain, *where)

    def of_account(self, chain: ChainId, account: Address, since_ms: int) -> list[CourtesyTx]:
        """Return those that pay an account and were signed since a time, oldest first."""
        where = (_intents.c.pays == account, _transactions.c.signed_ms >= since_ms)
        return self._found(chain, *where)

    def forgive(self, swap_id: SwapId) -> int:
        """Count from zero again for a swap, and try again what was given up; returns how many intents that
        is."""
        newest = select(func.coalesce(func.max(_transactions.c.id), 0)).scalar_subquery()
        self._run(update(_intents).where(_intents.c.swap_id == swap_id).values(counted_from=newest))
        given_up = (_intents.c.swap_id == swap_id, _intents.c.state == IntentState.GIVEN_UP.value)
        again = {"state": IntentState.PLANNED.value, "not_before_ms": 0, "attempt": 0, "reason": ""}
        return self._run(update(_intents).where(*given_up).values(**again, updated_ms=self.now_ms))

    def _found(self, chain: ChainId, *where: object) -> list[CourtesyTx]:
        columns = [
            _intents.c[name] if name in {"purpose", "lock_id"} else _transactions.c[name]
            for name in CourtesyTx.__struct_fields__
        ]
        statement = (
            select(*columns)
            .join(_intents, _intents.c.id == _transactions.c.intent_id)
            .where(
                _intents.c.chain == chain,
                _intents.c.pays != "",
                _transactions.c.cancels.is_(False),
                _transactions.c.state != StoredTxState.DEAD.value,
                *where,  # type: ignore[arg-type]
            )
            .order_by(_transactions.c.id)
        )
        return records(self._all(statement), CourtesyTx)
