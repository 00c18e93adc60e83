"""What all repositories share: the connection, the transaction's clock, and turning rows into records."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import nullcontext
from functools import cache
from typing import Any, TypeVar

import msgspec
import structlog
from sqlalchemy import Connection, Insert, Row, Table
from sqlalchemy.exc import IntegrityError

from bridge.store.errors import DuplicateError, UnreadableRowError
from bridge.store.write_buffer import WriteBuffer

R = TypeVar("R")
V = TypeVar("V")

IN_AT_ONCE = 900
"""Values in one IN (…): SQLite before 3.32 takes 999 parameters (sqlite.org/limits.html)."""

log = structlog.get_logger("store")


@cache
def _insert_into(table: Table) -> Insert:
    return table.insert()


class Repository:
    """Base of the repositories. `now_ms` is the moment the transaction began, Unix milliseconds.

    A statement is executed only after what waits in the buffer was written, so it sees everything.
    """

    def __init__(self, connection: Connection, now_ms: int, buffer: WriteBuffer) -> None:
        self._opened_connection = connection
        self._buffer = buffer
        self.now_ms = now_ms

    @property
    def _connection(self) -> Connection:
        self._buffer.flush()
        return self._opened_connection

    @property
    def _postgres(self) -> bool:
        return self._opened_connection.dialect.name == "postgresql"

    def _first(self, statement: Any, values: dict[str, Any] | None = None) -> Row[Any] | None:
        return self._connection.execute(statement, values).first()

    def _all(self, statement: Any, values: dict[str, Any] | None = None) -> list[Row[Any]]:
        return list(self._connection.execute(statement, values))

    def _run(self, statement: Any, values: dict[str, Any] | None = None) -> int:
        """Execute a change and return the number of rows it touched."""
        return self._connection.execute(statement, values).rowcount

    def _write_all(self, statement: Any, rows: list[dict[str, Any]]) -> int:
        """Execute a change for many rows; return how many rows it touched. Only for what the buffer sends."""
        return self._opened_connection.execute(statement, rows).rowcount

    def _insert(self, table: Table, values: dict[str, Any], what: str, hint: str = "") -> int:
        """Insert one row and return its counted key (0 without one).

        Raises `DuplicateError` when a unique rule forbids it; the transaction stays usable.
        """
        try:
            # On an error PostgreSQL aborts the whole transaction, unless it happened behind a savepoint.
            with self._connection.begin_nested() if self._postgres else nullcontext():
                result = self._connection.execute(_insert_into(table), values)
        except IntegrityError as error:
            raise DuplicateError(f"{what} exists already", hint) from error
        key = result.inserted_primary_key
        return key[0] if key and isinstance(key[0], int) else 0


def in_parts(values: Iterable[V]) -> Iterator[list[V]]:
    """Yield values in lists that one IN (…) can take, each once."""
    distinct = list(dict.fromkeys(values))
    for start in range(0, len(distinct), IN_AT_ONCE):
        yield distinct[start : start + IN_AT_ONCE]


def record(row: Row[Any], kind: type[R], **changes: Any) -> R:
    """Turn a row into a frozen record of the same field names; `changes` replace columns."""
    values = {**row._mapping, **changes}
    try:
        return msgspec.convert(values, kind, strict=True)
    except msgspec.ValidationError as error:
        raise unreadable(kind.__name__, row) from error


def unreadable(what: str, row: Row[Any]) -> UnreadableRowError:
    """Return the error that names a row which cannot be read. The row's first column is its key."""
    return UnreadableRowError(
        f"the stored {what} {row[0]} cannot be read",
        "run the version of the software that wrote it, or restore the database from a backup",
    )


def readable(rows: Iterable[Row[Any]], read: Callable[[Row[Any]], R]) -> list[R]:
    """Read independent rows. One that cannot be read is named in the log, an alarm, and left out: it must
    not keep the others from being worked on."""
    found: list[R] = []
    for row in rows:
        try:
            found.append(read(row))
        except UnreadableRowError as error:
            log.error("row_unreadable", reason=str(error), hint=error.hint)
    return found


def records(rows: Iterable[Row[Any]], kind: type[R]) -> list[R]:
    """Turn rows into records."""
    return [record(row, kind) for row in rows]


def readable_records(rows: Iterable[Row[Any]], kind: type[R]) -> list[R]:
    """Turn independent rows into records, as `readable` does."""
    return readable(rows, lambda row: record(row, kind))
