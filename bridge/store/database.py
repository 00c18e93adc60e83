"""The store: one database, opened once per process, used in short transactions.

`with store.transaction() as tx:` writes (SQLite: BEGIN IMMEDIATE, one writer at a time),
`with store.reading() as tx:` reads one consistent snapshot. Both are synchronous and thread-safe: call
them from a thread pool, or through `asyncio.to_thread`. Never wait for a network inside one.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any

from nacl.secret import SecretBox
from sqlalchemy import Connection, Engine, create_engine, event, func, select
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, OperationalError

from bridge.store import migrations
from bridge.store.errors import ConflictError, StoreError, StoreUnavailableError
from bridge.store.repositories.chains import Blocks, Chains, SetAsides
from bridge.store.repositories.courtesies import Courtesies
from bridge.store.repositories.credits import Credits
from bridge.store.repositories.identities import Identities
from bridge.store.repositories.intents import Intents
from bridge.store.repositories.leases import Leases
from bridge.store.repositories.logs import Events, Notifications
from bridge.store.repositories.market import Market
from bridge.store.repositories.observations import Observations
from bridge.store.repositories.operations import Audit, Controls, Idempotency
from bridge.store.repositories.quotes import Quotes, Reservations
from bridge.store.repositories.receipts import LogAlarms, LogAnchors, Receipts
from bridge.store.repositories.recovery import Acceptances, Accounts, Restorations, UnknownLocks
from bridge.store.repositories.secrets import ClaimAuthorizations, Secrets
from bridge.store.repositories.swaps import Swaps
from bridge.store.repositories.transactions import Transactions
from bridge.store.wakeups import CHANNEL, PostgresWakeups, SqliteWakeups, Wakeups
from bridge.store.write_buffer import WriteBuffer

BUSY_TIMEOUT_MS = 10_000
"""How long SQLite waits for another process's write before it gives up."""


def wall_clock_ms() -> int:
    """Return Unix milliseconds."""
    return time.time_ns() // 1_000_000


class Transaction:
    """The repositories, all within one database transaction that began at `now_ms`."""

    def __init__(self, connection: Connection, now_ms: int, box: SecretBox | None) -> None:
        self._connection = connection
        self.now_ms = now_ms
        self._buffer = buffer = WriteBuffer(connection)
        self.quotes = Quotes(connection, now_ms, buffer)
        self.reservations = Reservations(connection, now_ms, buffer)
        self.swaps = Swaps(connection, now_ms, buffer)
        self.events = Events(connection, now_ms, buffer)
        self.notifications = Notifications(connection, now_ms, buffer)
        self.receipts = Receipts(connection, now_ms, buffer)
        self.log_anchors = LogAnchors(connection, now_ms, buffer)
        self.log_alarms = LogAlarms(connection, now_ms, buffer)
        self.secrets = Secrets(connection, now_ms, buffer, box)
        self.authorizations = ClaimAuthorizations(connection, now_ms, buffer)
        self.intents = Intents(connection, now_ms, buffer)
        self.transactions = Transactions(connection, now_ms, buffer)
        self.leases = Leases(connection, now_ms, buffer)
        self.blocks = Blocks(connection, now_ms, buffer)
        self.observations = Observations(connection, now_ms, buffer)
        self.set_aside = SetAsides(connection, now_ms, buffer)
        self.chains = Chains(connection, now_ms, buffer)
        self.idempotency = Idempotency(connection, now_ms, buffer)
        self.acceptances = Acceptances(connection, now_ms, buffer)
        self.unknown_locks = UnknownLocks(connection, now_ms, buffer)
        self.restorations = Restorations(connection, now_ms, buffer)
        self.accounts = Accounts(connection, now_ms, buffer)
        self.audit = Audit(connection, now_ms, buffer)
        self.controls = Controls(connection, now_ms, buffer)
        self.courtesies = Courtesies(connection, now_ms, buffer)
        self.market = Market(connection, now_ms, buffer)
        self.identities = Identities(connection, now_ms, buffer)
        self.credits = Credits(connection, now_ms, buffer)

    @contextmanager
    def attempt(self) -> Iterator[None]:
        """Write something of which nothing stays if the block raises; the transaction stays usable.

        What the database itself refuses now (a deadlock, a lost connection, a full disk) says nothing about
        what was written: it is raised as `ConflictError` or `StoreUnavailableError`, and the whole
        transaction has to be made again.
        """
        with _translating(), self._buffer.attempt():
            yield

    @property
    def is_broken(self) -> bool:
        """Whether the database has refused something that was written before the present attempt: whatever
        is done, nothing of this transaction can be stored."""
        return self._buffer.is_broken

    def flush(self) -> None:
        """Send to the database what was written so far: what it refuses shows now."""
        self._buffer.flush()

    def lock(self, name: str) -> None:
        """Make every other transaction that locks the same name wait until this one ends.

        On SQLite there is only one writing transaction anyway.
        """
        if self._connection.dialect.name == "postgresql":
            self.flush()
            self._connection.execute(select(func.pg_advisory_xact_lock(func.hashtextextended(name, 0))))


class Store:
    """A database with the bridge's tables. Make one with `Store.open`."""

    def __init__(self, engine: Engine, box: SecretBox | None, clock: Callable[[], int]) -> None:
        self._engine = engine
        self._box = box
        self._clock = clock
        self._postgres = engine.dialect.name == "postgresql"
        # Threads of one process queue here fairly; SQLite's own busy handler sleeps up to 100 ms at a time.
        self._writer: AbstractContextManager[Any] = nullcontext() if self._postgres else threading.Lock()

    @classmethod
    def open(
        cls,
        url: str,
        *,
        secrets_key: bytes | None = None,
        migrate: bool = True,
        clock: Callable[[], int] = wall_clock_ms,
    ) -> Store:
        """Open `sqlite:///path/to/file.db` or `postgresql://user@host/name`.

        `secrets_key` is 32 bytes, needed where preimages are stored or used; `migrate` brings an
        older database up to date; `clock` gives Unix milliseconds. Raises `StoreError`.
        """
        box = _secret_box(secrets_key)
        engine = _engine(url)
        try:
            if migrate:
                migrations.upgrade(engine)
            else:
                migrations.require_current(engine)
        except OperationalError as error:
            engine.dispose()
            hint = "check that the directory exists and is writable, or that the server runs"
            raise StoreError(f"cannot open the database: {error.orig}", hint) from error
        except BaseException:
            engine.dispose()
            raise
        return cls(engine, box, clock)

    @contextmanager
    def transaction(self) -> Iterator[Transaction]:
        """Write: everything in the block is stored together when it ends, or nothing is.

        Raises `ConflictError` where two PostgreSQL transactions collided, `StoreUnavailableError` if the
        database is busy, full or unreachable. In both cases nothing was stored; only if the connection to
        PostgreSQL broke during the commit itself, everything may have been: read again.
        """
        with _translating(), self._writer, self._engine.connect() as opened:
            connection = opened.execution_options(rainbow_write=True)
            with connection.begin() as running:
                transaction = Transaction(connection, self._clock(), self._box)
                yield transaction
                transaction.flush()
                if self._postgres:
                    connection.exec_driver_sql(f"NOTIFY {CHANNEL}")
                self._commit(running.commit)

    @contextmanager
    def reading(self) -> Iterator[Transaction]:
        """Read one consistent snapshot; writes in the block are undone."""
        with _translating(), self._engine.connect() as connection, connection.begin() as running:
            try:
                yield Transaction(connection, self._clock(), self._box)
            finally:
                running.rollback()

    def wakeups(self) -> Wakeups:
        """Return a new waiter that notices commits of any process, including this one."""
        if self._postgres:
            return PostgresWakeups(_psycopg_url(self._engine.url))
        return SqliteWakeups(Path(self._engine.url.database or ""))

    def now_ms(self) -> int:
        """Return the store's clock, Unix milliseconds."""
        return self._clock()

    def ping(self) -> None:
        """Raise `StoreError` unless the database answers."""
        try:
            with self._engine.connect() as connection:
                connection.execute(select(1))
        except OperationalError as error:
            raise StoreError(
                f"the database does not answer: {error.orig}", "check the server or the disk"
            ) from error

    def close(self) -> None:
        """Close all connections."""
        self._engine.dispose()

    def _commit(self, commit: Callable[[], None]) -> None:
        """The one place where a change becomes durable."""
        commit()


@contextmanager
def _translating() -> Iterator[None]:
    try:
        yield
    except DBAPIError as error:
        if getattr(error.orig, "sqlstate", None) in _RETRY_SQLSTATES:
            raise ConflictError(
                "two transactions changed the same rows at the same time", "try again"
            ) from error
        if isinstance(error, OperationalError) or error.connection_invalidated:
            hint = "check the database server, the disk's free space and other writers"
            raise StoreUnavailableError(
                f"the database does not accept this now: {error.orig}", hint
            ) from error
        raise


_RETRY_SQLSTATES = frozenset({"40001", "40P01"})
"""PostgreSQL: serialization failure, deadlock detected."""


def _secret_box(key: bytes | None) -> SecretBox | None:
    if key is None:
        return None
    if len(key) != SecretBox.KEY_SIZE:
        raise StoreError(
            f"the secrets key has {len(key)} bytes", "it must have 32: make one with `rainbow init`"
        )
    return SecretBox(key)


def _engine(url: str) -> Engine:
    try:
        parsed = make_url(url)
    except ArgumentError as error:
        hint = "use sqlite:///path/to/file.db or postgresql://user@host/name"
        raise StoreError("the database URL cannot be read", hint) from error
    if parsed.get_backend_name() == "sqlite":
        if not parsed.database or parsed.database == ":memory:":
            raise StoreError("the database must be a file", "use sqlite:///path/to/file.db")
        engine = create_engine(parsed, connect_args={"timeout": BUSY_TIMEOUT_MS / 1000}, pool_size=8)
        event.listen(engine, "connect", _prepare_sqlite)
        event.listen(engine, "begin", _begin_sqlite)
        return engine
    if parsed.get_backend_name() in ("postgresql", "postgres"):
        return create_engine(
            parsed.set(drivername="postgresql+psycopg"), pool_size=8, pool_pre_ping=True, pool_recycle=900
        )
    raise StoreError(
        f"databases of the kind {parsed.get_backend_name()} are not supported",
        "use sqlite:///path/to/file.db or postgresql://user@host/name",
    )


def _prepare_sqlite(connection: Any, _record: Any) -> None:
    connection.isolation_level = None  # _begin_sqlite says BEGIN
    cursor = connection.cursor()
    cursor.execute("PRAGMA journal_mode=WAL")
    # FULL: a commit is on disk before anything is signed or sent because of it (ADR 0051).
    cursor.execute("PRAGMA synchronous=FULL")
    cursor.execute("PRAGMA foreign_keys=ON")
    cursor.execute(f"PRAGMA busy_timeout={BUSY_TIMEOUT_MS}")
    cursor.close()


def _begin_sqlite(connection: Connection) -> None:
    writes = connection.get_execution_options().get("rainbow_write", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


def _psycopg_url(url: URL) -> str:
    return url.set(drivername="postgresql").render_as_string(hide_password=False)
