"""A cheap way to notice that some process committed something: only a wake-up, never the truth.

SQLite: `PRAGMA data_version`, read on a connection of its own every 10 ms for a few microseconds, changes
with every commit of any other connection. PostgreSQL: LISTEN / NOTIFY.
"""

from __future__ import annotations

import asyncio
import sqlite3
from pathlib import Path
from typing import Any, Protocol

POLL_SECONDS = 0.01
CHANNEL = "rainbow"


class Wakeups(Protocol):
    """Waits for commits. One waiter per task; not shared between tasks."""

    async def wait(self, timeout: float) -> bool:
        """Return True soon after a new commit, False after `timeout` seconds."""
        ...

    async def close(self) -> None:
        """Close the connection."""
        ...


class SqliteWakeups:
    """Polls the file's data version."""

    def __init__(self, path: Path) -> None:
        self._connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        self._seen = self._version()

    def _version(self) -> int:
        return int(self._connection.execute("PRAGMA data_version").fetchone()[0])

    async def wait(self, timeout: float) -> bool:
        """See `Wakeups`."""
        loop = asyncio.get_running_loop()
        end = loop.time() + timeout
        while True:
            version = self._version()
            if version != self._seen:
                self._seen = version
                return True
            left = end - loop.time()
            if left <= 0:
                return False
            await asyncio.sleep(min(POLL_SECONDS, left))

    async def close(self) -> None:
        """See `Wakeups`."""
        self._connection.close()


class PostgresWakeups:
    """Listens on a connection of its own, and opens a new one when that is lost."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._connection: Any = None

    async def wait(self, timeout: float) -> bool:
        """See `Wakeups`. A dropped connection counts as news: something may have been missed."""
        import psycopg

        try:
            if self._connection is None:
                self._connection = await psycopg.AsyncConnection.connect(self._url, autocommit=True)
                await self._connection.execute(f"LISTEN {CHANNEL}")
                return True
            async for _ in self._connection.notifies(timeout=timeout, stop_after=1):
                return True
            return False
        except psycopg.OperationalError:
            await self.close()
            await asyncio.sleep(min(timeout, 1.0))
            return True

    async def close(self) -> None:
        """See `Wakeups`."""
        if self._connection is not None:
            connection, self._connection = self._connection, None
            await connection.close()
