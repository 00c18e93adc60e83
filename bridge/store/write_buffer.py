"""What a transaction is going to write, kept until it must be in the database: then it goes in one statement
for each kind of row, however many swaps were changed.

Nothing is less durable for it: the buffer is emptied before the commit, and before any statement that could
look at what it holds. A failure in the middle of `attempt` takes back exactly what was added since.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from sqlalchemy import Connection, NestedTransaction

Row = dict[str, Any]
Send = Callable[[list[Row]], None]
"""Writes rows of one kind."""


class _Attempt:
    """Where the buffer was when an attempt began. `savepoint`: set once a statement was executed in it."""

    def __init__(self, mark: int) -> None:
        self.mark = mark
        self.savepoint: NestedTransaction | None = None


class WriteBuffer:
    """Rows waiting to be written by one transaction."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._waiting: list[tuple[Send, Row]] = []
        self._attempt: _Attempt | None = None
        self._forgetters: list[Callable[[], None]] = []
        self.is_broken = False
        """The database has refused rows that no attempt can take back."""

    def on_undo(self, forget: Callable[[], None]) -> None:
        """Call `forget` whenever something is taken back: what was remembered may be wrong then."""
        self._forgetters.append(forget)

    def add(self, send: Send, row: Row) -> None:
        """Keep a row until the buffer is emptied; `send` gets all rows that were added for it at once."""
        self._waiting.append((send, row))

    def flush(self) -> None:
        """Write all that waits. To be called before every statement."""
        attempt = self._attempt
        if attempt is not None and attempt.savepoint is None:
            # What was added before the attempt must survive it.
            self._attempt = None
            later = self._waiting[attempt.mark :]
            del self._waiting[attempt.mark :]
            self._send()
            self._waiting = later
            attempt.mark = 0
            attempt.savepoint = self._connection.begin_nested()
            self._attempt = attempt
        self._send()

    def _send(self) -> None:
        if not self._waiting:
            return
        waiting, self._waiting = self._waiting, []
        by_kind: dict[Send, list[Row]] = {}
        for send, row in waiting:
            by_kind.setdefault(send, []).append(row)
        try:
            for send, rows in by_kind.items():
                send(rows)
        except BaseException:
            self.is_broken = self._attempt is None
            raise

    @contextmanager
    def attempt(self) -> Iterator[None]:
        """Write something of which nothing stays if the block raises; the transaction stays usable. Attempts
        are not nested."""
        attempt = self._attempt = _Attempt(len(self._waiting))
        try:
            yield
            if attempt.savepoint is not None:
                self._send()  # what the database refuses of the rest takes the whole attempt back, too
                attempt.savepoint.commit()
        except BaseException:
            del self._waiting[attempt.mark :]
            if attempt.savepoint is not None:
                attempt.savepoint.rollback()
            for forget in self._forgetters:
                forget()
            raise
        finally:
            self._attempt = None
