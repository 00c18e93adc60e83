"""The transparency log: a leaf for each outcome of a swap, the tree over the leaves, and its anchors.

Leaves and tree grow in the transaction that ends the swaps. On PostgreSQL a transaction that appends holds
the log's lock from when its buffer is emptied until its commit: two relayers make one log without gaps.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from typing import Any

from sqlalchemy import bindparam, func, select

from bridge.protocol import merkle
from bridge.protocol.receipt import receipt_text
from bridge.protocol.types import ChainId, Swap, SwapId
from bridge.store.errors import StoreError
from bridge.store.log_tables import LogAlarmRow, LogAnchorRow, LogNodeRow, ReceiptRow
from bridge.store.records import LogAnchor, Receipt
from bridge.store.recovery_tables import ChainIdentityRow
from bridge.store.repositories.base import Repository, in_parts, record, records
from bridge.store.tables import table_of

_receipts = table_of(ReceiptRow)
_nodes = table_of(LogNodeRow)
_anchors = table_of(LogAnchorRow)
_alarms = table_of(LogAlarmRow)
_identities = table_of(ChainIdentityRow)

_LOG_LOCK = 0x5241494F
"""Key of PostgreSQL's advisory lock for the order of the log."""
_LOCKS_LOG = select(func.pg_advisory_xact_lock(_LOG_LOCK))
_INSERT_RECEIPT = _receipts.insert()
_INSERT_NODE = _nodes.insert()
_SIZE = select(func.coalesce(func.max(_receipts.c.index), -1) + 1)
_OUTCOMES_OF = (
    select(_receipts.c.swap_id, _receipts.c.body)
    .where(_receipts.c.swap_id.in_(bindparam("ids", expanding=True)))
    .order_by(_receipts.c.index)
)
_NODES_AT = select(_nodes.c.place, _nodes.c.hash).where(
    _nodes.c.place.in_(bindparam("places", expanding=True))
)
_NETWORKS = select(_identities.c.chain, _identities.c.network).order_by(_identities.c.id)


class Receipts(Repository):
    """The leaves of the log, their indices without gaps, and proofs about them. `size`: of which tree."""

    def append(self, swap_id: SwapId, body: str) -> None:
        """Append a leaf, unless it is just what the swap's newest leaf says. It gets its index when the
        buffer is emptied, so that others wait for it as shortly as can be."""
        self._buffer.add(self._append_all, {"swap_id": swap_id, "body": body})

    def append_outcome(self, swap: Swap) -> None:
        """Append the leaf of a swap that ended. One that was reopened (a reorg deeper than finality) and
        ends differently gets another leaf: the newest one counts."""
        self._buffer.add(self._append_all, {"swap_id": swap.id, "swap": swap})

    def _append_all(self, rows: list[dict[str, Any]]) -> None:
        if self._postgres:
            self._opened_connection.execute(_LOCKS_LOG)
        newest: dict[str, str] = {}
        for part in in_parts(row["swap_id"] for row in rows):
            for known in self._opened_connection.execute(_OUTCOMES_OF, {"ids": part}):
                newest[known.swap_id] = known.body
        networks = {row.chain: row.network for row in self._opened_connection.execute(_NETWORKS)}
        size = int(self._opened_connection.execute(_SIZE).scalar_one())
        leaves: list[dict[str, Any]] = []
        for row in rows:
            body = row["body"] if "body" in row else receipt_text(row["swap"], networks)
            if newest.get(row["swap_id"]) == body:
                continue
            newest[row["swap_id"]] = body
            index = size + len(leaves)
            leaves.append(
                {"index": index, "swap_id": row["swap_id"], "body": body, "created_ms": self.now_ms}
            )
        if not leaves:
            return
        edge = self._read_nodes(merkle.places_of(0, size))
        hashes = [merkle.leaf_hash(leaf["body"].encode()) for leaf in leaves]
        made = merkle.appended(size, edge, hashes)
        self._write_all(_INSERT_RECEIPT, leaves)
        self._write_all(_INSERT_NODE, [{"place": place, "hash": node} for place, node in made.items()])

    def size(self) -> int:
        """Return the number of leaves."""
        return int(self._connection.execute(_SIZE).scalar_one())

    def get(self, swap_id: SwapId) -> Receipt | None:
        """Return a swap's newest receipt: its outcome."""
        found = select(_receipts).where(_receipts.c.swap_id == swap_id)
        row = self._first(found.order_by(_receipts.c.index.desc()).limit(1))
        return record(row, Receipt) if row else None

    def slice(self, start: int, end: int) -> list[Receipt]:
        """Return the leaves with start ≤ index < end, in order."""
        where = (_receipts.c.index >= start, _receipts.c.index < end)
        return records(self._all(select(_receipts).where(*where).order_by(_receipts.c.index)), Receipt)

    def root(self, size: int) -> bytes:
        """Return the root of the first `size` leaves. Raises IndexError for more than there are."""
        self._require(size)
        return self._folded([(0, size)])[0] if size else merkle.fold(())

    def inclusion(self, index: int, size: int) -> list[bytes]:
        """Return the audit path of a leaf in the tree of `size` leaves. Raises IndexError."""
        self._require(size)
        return self._folded(merkle.inclusion_spans(index, size))

    def consistency(self, first: int, second: int) -> list[bytes]:
        """Return the proof that the tree of `first` leaves is the beginning of that of `second`. Raises
        IndexError."""
        self._require(second)
        return self._folded(merkle.consistency_spans(first, second))

    def _require(self, size: int) -> None:
        if not 0 <= size <= self.size():
            raise IndexError(f"the log has {self.size()} entries, not {size}")

    def _folded(self, spans: Sequence[merkle.Span]) -> list[bytes]:
        parts = [merkle.places_of(start, end) for start, end in spans]
        nodes = self._read_nodes(place for part in parts for place in part)
        return [merkle.fold([nodes[place] for place in part]) for part in parts]

    def _read_nodes(self, places: Iterable[int]) -> dict[int, bytes]:
        """Read nodes; at most two for each level of the tree. Only for what the buffer has sent."""
        wanted = list(places)
        if not wanted:
            return {}
        found = self._opened_connection.execute(_NODES_AT, {"places": wanted})
        nodes = {row.place: bytes(row.hash) for row in found}
        if len(nodes) != len(set(wanted)):
            raise StoreError(
                "nodes of the transparency log are missing",
                "restore the database from a backup: its leaves and its tree do not fit each other",
            )
        return nodes


class LogAnchors(Repository):
    """The tree heads for which anchors were planned."""

    def add(self, size: int, root: str, chain: ChainId) -> None:
        """Note that one is planned; a head is noted once."""
        if self._first(select(_anchors.c.size).where(_anchors.c.size == size)) is None:
            values = {"size": size, "root": root, "chain": chain, "planned_ms": self.now_ms}
            self._insert(_anchors, values, f"an anchor of size {size}")

    def newest(self) -> LogAnchor | None:
        """Return the newest one."""
        row = self._first(select(_anchors).order_by(_anchors.c.size.desc()).limit(1))
        return record(row, LogAnchor) if row else None

    def over(self, index: int, limit: int = 10) -> list[LogAnchor]:
        """Return the first ones whose trees hold a leaf, oldest first."""
        where = select(_anchors).where(_anchors.c.size > index)
        return records(self._all(where.order_by(_anchors.c.size).limit(limit)), LogAnchor)


class LogAlarms(Repository):
    """Signed tree heads that do not fit our log."""

    def add(self, note: str, reason: str) -> bool:
        """Keep one; tell whether it is new."""
        digest = hashlib.sha256(note.encode()).hexdigest()
        if self._first(select(_alarms.c.digest).where(_alarms.c.digest == digest)) is not None:
            return False
        values = {"digest": digest, "note": note, "reason": reason, "at_ms": self.now_ms}
        self._insert(_alarms, values, "an alarm of the log")
        return True

    def count(self) -> int:
        """Return how many there are."""
        return int(self._connection.execute(select(func.count()).select_from(_alarms)).scalar_one())
