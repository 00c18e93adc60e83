"""The store as one sender sees it: anybody may read, but only the holder of the sender's lease may write."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TypeVar

from bridge.engine.apply import retrying
from bridge.store import LeaseLostError, Store, Transaction
from bridge.store.records import Lease

T = TypeVar("T")


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
        """Run a job that writes. Raises `LeaseLostError`, and forgets the lease, when another worker has
        it."""
        lease = self._lease

        def write(tx: Transaction) -> T:
            if lease is None:
                raise LeaseLostError("the sender's lease is not held", "acquire it first")
            tx.leases.require(lease)
            return job(tx)

        try:
            return await asyncio.to_thread(retrying, self._store, write)
        except LeaseLostError:
            self._lease = None
            raise
