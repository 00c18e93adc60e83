"""The store as one sender sees it: anybody may read, but only the holder of the sender's lease may write."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TypeVar

import structlog

from bridge.engine.apply import retrying
from bridge.store import LeaseLostError, Store, StoreError, Transaction
from bridge.store.records import Lease

T = TypeVar("T")

log = structlog.get_logger("outbox")


class LeasedStore:
    """Reads and writes in threads, each job in one short transaction; every write checks the lease and its
    fence within its transaction."""

    def __init__(self, store: Store, name: str, owner: str, lease_ms: int) -> None:
        """`name` of the lease, `owner` who takes it, `lease_ms` how long it lasts without being renewed."""
        self._store = store
        self._name = name
        self._owner = owner
        self._lease_ms = lease_ms
        self._lease: Lease | None = None
        self._later: list[Callable[[Transaction], None]] = []

    @property
    def is_held(self) -> bool:
        """Whether the lease was ours when it was last used."""
        return self._lease is not None

    def now_ms(self) -> int:
        """Return the store's clock, Unix milliseconds."""
        return self._store.now_ms()

    async def acquire(self) -> bool:
        """Take or renew the lease; False while another worker has it. Raises `StoreError`."""
        lease = self._lease
        if lease is not None and self._lease_ms // 2 < lease.until_ms - self.now_ms() <= self._lease_ms:
            return True

        def job(tx: Transaction) -> Lease | None:
            return tx.leases.acquire(self._name, self._owner, self._lease_ms)

        self._lease = await asyncio.to_thread(retrying, self._store, job)
        return self._lease is not None

    async def release(self) -> None:
        """Give the lease back, so that another worker need not wait until it runs out."""
        lease, self._lease = self._lease, None
        if lease is not None:
            await asyncio.to_thread(retrying, self._store, lambda tx: tx.leases.release(lease))

    async def read(self, job: Callable[[Transaction], T]) -> T:
        """Return what a job reads from one consistent snapshot."""

        def read() -> T:
            with self._store.reading() as tx:
                return job(tx)

        return await asyncio.to_thread(read)

    async def write(self, job: Callable[[Transaction], T]) -> T:
        """Run a job that writes, after the notes that wait. Raises `LeaseLostError`, and forgets the lease,
        when another worker has it."""
        lease, notes = self._lease, self._later

        def write(tx: Transaction) -> T:
            if lease is None:
                raise LeaseLostError("the sender's lease is not held", "acquire it first")
            tx.leases.require(lease)
            for note in notes:
                _attempt(tx, note)
            return job(tx)

        try:
            done = await asyncio.to_thread(retrying, self._store, write)
        except LeaseLostError:
            self._lease = None
            self._later = []
            raise
        self._later = self._later[len(notes) :]
        return done

    def note(self, job: Callable[[Transaction], None]) -> None:
        """Run a job with the next write, or when the notes are written: for what the chain tells again if it
        is lost, so that a pass needs no commit of its own for each intent."""
        self._later = [*self._later, job]

    async def write_notes(self) -> None:
        """Store the notes that wait. Raises what `write` does."""
        if self._later:
            await self.write(lambda _: None)


def _attempt(tx: Transaction, note: Callable[[Transaction], None]) -> None:
    """Write one note; one that cannot be written takes nothing of the others with it, and comes again."""
    try:
        with tx.attempt():
            note(tx)
    except StoreError:
        raise
    except Exception as error:
        if tx.is_broken:
            raise
        log.error("note_not_stored", kind=type(error).__name__)
