"""What clients have staked on finishing: credit that an operator entered, and the fees that swaps hold of it.

All values are millionths of the unit of prices. Take `tx.lock("credit:OWNER")` before you read, decide and
write.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Any

import msgspec
from sqlalchemy import bindparam, select, update

from bridge.protocol.types import SwapId
from bridge.store.desk_tables import CreditRow, LockFeeRow
from bridge.store.repositories.base import Repository, in_parts
from bridge.store.tables import table_of

_credits = table_of(CreditRow)
_fees = table_of(LockFeeRow)


_SETTLE = (
    update(_fees)
    .where(_fees.c.swap_id == bindparam("swap"), _fees.c.state != bindparam("to"))
    .values(state=bindparam("to"), ended_ms=bindparam("now"))
)


class FeeState(StrEnum):
    """What became of a fee."""

    HELD = "held"
    RETURNED = "returned"
    KEPT = "kept"
    """The client left the bridge's lock."""


class Credit(msgspec.Struct, frozen=True):
    """A client's credit: what was entered less what was taken away, what open swaps hold of it, and what was
    kept."""

    entered: int
    held: int
    kept: int

    @property
    def available(self) -> int:
        """What new swaps may hold; below 0 never."""
        return max(0, self.entered - self.held - self.kept)


class Credits(Repository):
    """Credit and fees by client."""

    def enter(self, owner: str, *, by: str, note: str, added: int = 0, removed: int = 0) -> None:
        """Write down that a client's credit became more or less."""
        values = {"owner": owner, "added": added, "removed": removed, "by": by, "note": note}
        self._insert(_credits, {**values, "created_ms": self.now_ms}, "a credit")

    def of(self, owner: str) -> Credit:
        """Return a client's credit."""
        statement = select(_credits.c.added, _credits.c.removed).where(_credits.c.owner == owner)
        entered = sum(row.added - row.removed for row in self._all(statement))
        live = (FeeState.HELD.value, FeeState.KEPT.value)
        where = (_fees.c.owner == owner, _fees.c.state.in_(live))
        sums = dict.fromkeys(live, 0)
        for row in self._all(select(_fees.c.state, _fees.c.value).where(*where)):
            sums[row.state] += row.value
        return Credit(entered, sums[FeeState.HELD.value], sums[FeeState.KEPT.value])

    def hold(self, swap_id: SwapId, owner: str, value: int) -> None:
        """Hold a swap's fee. Raises `DuplicateError` if it has one."""
        values = {"swap_id": swap_id, "owner": owner, "value": value, "state": FeeState.HELD.value}
        self._insert(_fees, {**values, "created_ms": self.now_ms}, f"the fee of swap {swap_id}")

    def settle(self, swap_id: SwapId, *, kept: bool) -> None:
        """Give a swap's fee back or keep it, if it has one, with whatever else this transaction writes. Told
        again, the last word counts: a reorganisation may end a swap otherwise."""
        state = FeeState.KEPT if kept else FeeState.RETURNED
        self._buffer.add(self._settle_all, {"swap": swap_id, "to": state.value, "now": self.now_ms})

    def _settle_all(self, rows: list[dict[str, Any]]) -> None:
        self._write_all(_SETTLE, list({row["swap"]: row for row in rows}.values()))

    def states(self, swap_ids: list[SwapId]) -> dict[SwapId, FeeState]:
        """Return what became of the fees of these swaps; without those that have none."""
        found: dict[SwapId, FeeState] = {}
        for part in in_parts(swap_ids):
            statement = select(_fees.c.swap_id, _fees.c.state).where(_fees.c.swap_id.in_(part))
            found |= {SwapId(row.swap_id): FeeState(row.state) for row in self._all(statement)}
        return found
