"""What clients and operators leave behind: idempotent answers, the audit trail, switches."""

from __future__ import annotations

from sqlalchemy import delete, select, update

from bridge.store.records import AuditEntry, Control, IdempotentAnswer
from bridge.store.repositories.base import Repository, readable_records, record, records
from bridge.store.tables import AuditRow, ControlRow, IdempotencyRow, table_of

_idempotency = table_of(IdempotencyRow)
_audit = table_of(AuditRow)
_controls = table_of(ControlRow)


class Idempotency(Repository):
    """The answers that request keys got."""

    def get(self, client: str, key: str) -> IdempotentAnswer | None:
        """Return the answer a client's key got; compare its `request_digest` with the new request."""
        where = (_idempotency.c.client == client, _idempotency.c.key == key)
        row = self._first(select(_idempotency).where(*where))
        return record(row, IdempotentAnswer) if row else None

    def put(self, client: str, key: str, request_digest: str, response: str) -> None:
        """Store the answer, in the transaction that made it true. Raises `DuplicateError`."""
        values = {
            "client": client,
            "key": key,
            "request_digest": request_digest,
            "response": response,
            "created_ms": self.now_ms,
        }
        self._insert(_idempotency, values, f"an answer under key {key}", "repeat the request as it was")

    def has_before(self, before_ms: int) -> bool:
        """Tell whether `forget_before` would find something."""
        old = select(_idempotency.c.key).where(_idempotency.c.created_ms < before_ms)
        return self._first(old.limit(1)) is not None

    def forget_before(self, before_ms: int) -> int:
        """Delete old answers; returns how many."""
        return self._run(delete(_idempotency).where(_idempotency.c.created_ms < before_ms))


class Audit(Repository):
    """What operators did, append-only."""

    def append(self, by: str, verb: str, subject: str, detail: str = "") -> None:
        """Append one entry."""
        values = {"by": by, "verb": verb, "subject": subject, "detail": detail, "at_ms": self.now_ms}
        self._insert(_audit, values, "audit entry")

    def before(self, seq: int | None = None, limit: int = 100) -> list[AuditEntry]:
        """Return entries, newest first, older than `seq`."""
        statement = select(_audit)
        if seq is not None:
            statement = statement.where(_audit.c.seq < seq)
        return readable_records(self._all(statement.order_by(_audit.c.seq.desc()).limit(limit)), AuditEntry)


class Controls(Repository):
    """Operators' switches."""

    def set(self, name: str, value: str, by: str) -> None:
        """Set a switch."""
        values = {"value": value, "by": by, "at_ms": self.now_ms}
        if not self._run(update(_controls).where(_controls.c.name == name).values(**values)):
            self._insert(_controls, {"name": name, **values}, f"switch {name}")

    def clear(self, name: str) -> None:
        """Remove a switch."""
        self._run(delete(_controls).where(_controls.c.name == name))

    def get(self, name: str) -> Control | None:
        """Return a switch."""
        row = self._first(select(_controls).where(_controls.c.name == name))
        return record(row, Control) if row else None

    def all(self) -> list[Control]:
        """Return all switches."""
        return records(self._all(select(_controls).order_by(_controls.c.name)), Control)
