"""Leases: who alone may do something."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import and_, select, update

from bridge.store.errors import DuplicateError, LeaseLostError
from bridge.store.records import CLOCK_SKEW_MS, Lease
from bridge.store.repositories.base import Repository, records
from bridge.store.tables import LeaseRow, table_of

_leases = table_of(LeaseRow)


class Leases(Repository):
    """Who alone may do something. The fence grows with every new holder, so a stale one is detected."""

    def acquire(self, name: str, owner: str, hold_ms: int) -> Lease | None:
        """Take, renew or take over a lease that ran out; None while another owner holds it.

        A lease that lasts longer than any could have been given was written by a clock that was ahead: it is
        void. Its holder, if it lives, notices by the fence.
        """
        until = self.now_ms + hold_ms
        row = self._first(select(_leases).where(_leases.c.name == name).with_for_update())
        if row is None:
            values = {"name": name, "owner": owner, "fence": 1, "until_ms": until}
            try:
                self._insert(_leases, values, f"lease {name}")
            except DuplicateError:
                return None
            return Lease(name, owner, 1, until)
        if row.owner == owner:
            fence = row.fence
        elif row.until_ms <= self.now_ms or row.until_ms > until + CLOCK_SKEW_MS:
            fence = row.fence + 1
        else:
            return None
        this = and_(_leases.c.name == name, _leases.c.fence == row.fence, _leases.c.owner == row.owner)
        if not self._run(update(_leases).where(this).values(owner=owner, fence=fence, until_ms=until)):
            return None
        return Lease(name, owner, fence, until)

    def require(self, lease: Lease) -> None:
        """Check, in the transaction that writes, that the lease is still ours. Raises `LeaseLostError`.

        A lease that ran out is still ours as long as nobody has taken it: the fence decides, not the clock.
        The row is locked against a take-over until this transaction ends.
        """
        row = self._first(select(_leases).where(_leases.c.name == lease.name).with_for_update())
        if row is None or row.owner != lease.owner or row.fence != lease.fence:
            raise LeaseLostError(
                f"lease {lease.name} belongs to another worker now", "stop sending; acquire it again"
            )

    def release(self, lease: Lease) -> None:
        """Give the lease back, so that another worker need not wait."""
        this = and_(
            _leases.c.name == lease.name, _leases.c.fence == lease.fence, _leases.c.owner == lease.owner
        )
        self._run(update(_leases).where(this).values(until_ms=0))

    def all(self) -> Sequence[Lease]:
        """Return all leases, for the operator."""
        return records(self._all(select(_leases).order_by(_leases.c.name)), Lease)
