"""Quotes and the inventory they reserve."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import ColumnElement, Select, and_, bindparam, delete, func, not_, or_, select, update

from bridge.protocol.types import Amount, LegState, SwapId
from bridge.store.errors import ConflictError
from bridge.store.records import Quote, QuoteState, Reservation
from bridge.store.repositories.base import Repository, record, records
from bridge.store.tables import QuoteRow, ReservationRow, SwapRow, table_of

_quotes = table_of(QuoteRow)
_reservations = table_of(ReservationRow)
_swaps = table_of(SwapRow)

_SPENT = tuple(
    state.value for state in LegState if state not in {LegState.NONE, LegState.INTENT, LegState.SEEN}
)
"""Destination states in which the locked amount has certainly left the bridge's balance."""


class Quotes(Repository):
    """Offers made to clients."""

    def add(self, quote: Quote) -> None:
        """Store a new quote. Raises `DuplicateError`."""
        values = {name: getattr(quote, name) for name in quote.__struct_fields__}
        self._insert(_quotes, values, f"quote {quote.id}")

    def get(self, quote_id: str) -> Quote | None:
        """Return a quote."""
        row = self._first(select(_quotes).where(_quotes.c.id == quote_id))
        return record(row, Quote) if row else None

    def take(self, quote_id: str) -> None:
        """Mark an open, unexpired quote as taken by a swap. Raises `ConflictError` if it is neither."""
        changed = self._run(
            update(_quotes)
            .where(
                _quotes.c.id == quote_id,
                _quotes.c.state == QuoteState.OPEN.value,
                _quotes.c.expires_ms > self.now_ms,
            )
            .values(state=QuoteState.TAKEN.value)
        )
        if not changed:
            raise ConflictError(f"quote {quote_id} is expired, taken or unknown", "ask for a new quote")

    def count_open(self, client: str) -> int:
        """Return how many open, unexpired quotes a client holds."""
        statement = select(func.count()).where(
            _quotes.c.client == client,
            _quotes.c.state == QuoteState.OPEN.value,
            _quotes.c.expires_ms > self.now_ms,
        )
        return int(self._connection.execute(statement).scalar_one())

    def count_all_open(self) -> int:
        """Return how many quotes are open and unexpired, of all clients."""
        statement = select(func.count()).where(
            _quotes.c.state == QuoteState.OPEN.value, _quotes.c.expires_ms > self.now_ms
        )
        return int(self._connection.execute(statement).scalar_one())

    def count_unfunded(self, client: str) -> int:
        """Return how many swaps made from a client's quotes still wait for their lock."""
        statement = (
            select(func.count())
            .select_from(_quotes.join(_swaps, _swaps.c.quote_id == _quotes.c.id))
            .where(
                _quotes.c.client == client,
                _swaps.c.open,
                _swaps.c.source_state == LegState.NONE.value,
            )
        )
        return int(self._connection.execute(statement).scalar_one())

    def has_expired(self) -> bool:
        """Tell whether `expire` would find something."""
        where = (_quotes.c.state == QuoteState.OPEN.value, _quotes.c.expires_ms <= self.now_ms)
        return self._first(select(_quotes.c.id).where(*where).limit(1)) is not None

    def expire(self, limit: int = 200) -> Sequence[str]:
        """Mark overdue open quotes as expired and return their ids (release their reservations too)."""
        due = select(_quotes.c.id).where(
            _quotes.c.state == QuoteState.OPEN.value, _quotes.c.expires_ms <= self.now_ms
        )
        ids = [row.id for row in self._all(due.limit(limit))]
        if ids:
            self._run(update(_quotes).where(_quotes.c.id.in_(ids)).values(state=QuoteState.EXPIRED.value))
        return ids

    def expired_before(self, before_ms: int, limit: int) -> list[str]:
        """Return the ids of quotes that expired before a time without being taken."""
        old = (_quotes.c.state == QuoteState.EXPIRED.value, _quotes.c.expires_ms < before_ms)
        return [row.id for row in self._all(select(_quotes.c.id).where(*old).limit(limit))]

    def forget(self, ids: Sequence[str]) -> None:
        """Delete expired quotes, and what they no longer hold."""
        theirs = (_reservations.c.quote_id.in_(ids), _reservations.c.live.is_(False))
        self._run(delete(_reservations).where(*theirs))
        self._run(delete(_quotes).where(_quotes.c.id.in_(ids)))


_RELEASE = (
    update(_reservations)
    .where(_reservations.c.swap_id == bindparam("swap"), _reservations.c.live)
    .values(live=False, released_ms=bindparam("now"))
)

_MAKE_FIRM = (
    update(_reservations)
    .where(
        _reservations.c.swap_id == bindparam("swap"), _reservations.c.live, _reservations.c.firm_ms.is_(None)
    )
    .values(firm_ms=bindparam("since"))
)


def _standing(spent_states: Sequence[str], *where: ColumnElement[bool]) -> Select[Any]:
    """The amounts that are promised of an asset and have not left the balance. Built once: building a
    statement costs more than executing it."""
    spent = and_(
        _swaps.c.destination_state.in_(spent_states),
        _swaps.c.destination_chain == bindparam("wanted_chain"),
        not_(_reservations.c.after_lock),
    )
    return (
        select(_reservations.c.amount)
        .outerjoin(_swaps, _swaps.c.id == _reservations.c.swap_id)
        .where(
            _reservations.c.asset == bindparam("wanted"),
            _reservations.c.live,
            _reservations.c.firm_ms.is_not(None),
            or_(_reservations.c.expires_ms.is_(None), _reservations.c.expires_ms > bindparam("now")),
            or_(_swaps.c.id.is_(None), not_(spent)),
            *where,
        )
    )


_OUTSTANDING = _standing(_SPENT)
_OF_STRANGERS = _standing(_SPENT, _reservations.c.firm_ms > _reservations.c.created_ms)
_BEFORE = _standing(
    (*_SPENT, LegState.SEEN.value),
    or_(
        _reservations.c.firm_ms < bindparam("since"),
        and_(_reservations.c.firm_ms == bindparam("since"), _reservations.c.id < bindparam("row")),
    ),
)


class Reservations(Repository):
    """Inventory that is promised. Take `tx.lock("inventory:<asset>")` before you compare and hold."""

    def hold(
        self,
        asset: str,
        amount: int,
        quote_id: str,
        expires_ms: int | None,
        *,
        after_lock: bool = False,
        firm: bool = True,
    ) -> int:
        """Reserve an amount for a quote until it expires (None: until released); returns the row's id.

        `after_lock`: it is not for the destination's lock, but for what comes after. Without `firm` it does
        not count until `make_firm`.
        """
        values = {
            "asset": asset,
            "amount": amount,
            "quote_id": quote_id,
            "created_ms": self.now_ms,
            "expires_ms": expires_ms,
            "after_lock": after_lock,
            "firm_ms": self.now_ms if firm else None,
        }
        return self._insert(_reservations, {"swap_id": "", "live": True, **values}, "reservation")

    def assign(self, quote_id: str, swap_id: SwapId) -> int:
        """Hand a quote's live reservations to its swap, where they do not expire; returns how many."""
        return self._run(
            update(_reservations)
            .where(_reservations.c.quote_id == quote_id, _reservations.c.live)
            .values(swap_id=swap_id, expires_ms=None)
        )

    def make_firm(self, swap_id: SwapId) -> None:
        """Let what a swap has only asked for count from now on, with whatever else this transaction writes;
        repeating it does nothing."""
        # Never the time of its quote: that marks what counted at once.
        self._buffer.add(self._make_all_firm, {"swap": swap_id, "since": self.now_ms + 1})

    def _make_all_firm(self, rows: list[dict[str, Any]]) -> None:
        self._write_all(_MAKE_FIRM, list({row["swap"]: row for row in rows}.values()))

    def covered(self, swap_id: SwapId, asset: str) -> tuple[Amount, Amount] | None:
        """Return what a swap that began to count late needs of an asset for its lock, and what is promised
        to others before it and has not left the balance; None for a swap whose quote counted."""
        mine = self._all(
            select(_reservations.c.id, _reservations.c.amount, _reservations.c.firm_ms).where(
                _reservations.c.swap_id == swap_id,
                _reservations.c.asset == asset,
                _reservations.c.live,
                not_(_reservations.c.after_lock),
                _reservations.c.firm_ms > _reservations.c.created_ms,
            )
        )
        if not mine:
            return None
        since, row_id = min((row.firm_ms, row.id) for row in mine)
        before = self._sum(_BEFORE, asset, since=since, row=row_id)
        return Amount(sum(row.amount for row in mine)), before

    def release(self, *, swap_id: SwapId = SwapId(""), quote_id: str = "") -> int:
        """Give back what a swap or a quote holds; a second time does nothing. Returns the rows released."""
        if bool(swap_id) == bool(quote_id):
            raise ValueError("name either the swap or the quote")
        column, value = (
            (_reservations.c.swap_id, swap_id) if swap_id else (_reservations.c.quote_id, quote_id)
        )
        return self._run(
            update(_reservations)
            .where(column == value, _reservations.c.live)
            .values(live=False, released_ms=self.now_ms)
        )

    def release_of_swap(self, swap_id: SwapId) -> None:
        """Give back what a swap holds, with whatever else this transaction writes; repeating it does
        nothing."""
        self._buffer.add(self._release_all, {"swap": swap_id, "now": self.now_ms})

    def _release_all(self, rows: list[dict[str, Any]]) -> None:
        self._write_all(_RELEASE, list({row["swap"]: row for row in rows}.values()))

    def release_expired(self) -> int:
        """Give back what expired quotes still hold; returns the rows released."""
        return self._run(
            update(_reservations)
            .where(_reservations.c.live, _reservations.c.expires_ms <= self.now_ms)
            .values(live=False, released_ms=self.now_ms)
        )

    def has_expired(self) -> bool:
        """Tell whether `release_expired` would find something."""
        where = (_reservations.c.live, _reservations.c.expires_ms <= self.now_ms)
        return self._first(select(_reservations.c.id).where(*where).limit(1)) is not None

    def all_live(self) -> list[Reservation]:
        """Return all that is promised or asked for now, oldest first."""
        statement = (
            select(_reservations)
            .where(
                _reservations.c.live,
                or_(_reservations.c.expires_ms.is_(None), _reservations.c.expires_ms > self.now_ms),
            )
            .order_by(_reservations.c.id)
        )
        return records(self._all(statement), Reservation)

    def reserved(self, asset: str) -> int:
        """Return the sum promised of an asset, smallest units; what has expired no longer counts."""
        rows = self._all(
            select(_reservations.c.amount).where(
                _reservations.c.asset == asset,
                _reservations.c.live,
                _reservations.c.firm_ms.is_not(None),
                or_(_reservations.c.expires_ms.is_(None), _reservations.c.expires_ms > self.now_ms),
            )
        )
        return sum(row.amount for row in rows)

    def outstanding(self, asset: str) -> Amount:
        """Return the sum promised of an asset that has not left the balance yet, smallest units.

        A swap whose destination lock is final has spent what it reserved of the destination's chain for that;
        what it reserved for afterwards, and of its other chain, still counts.
        """
        return self._sum(_OUTSTANDING, asset)

    def outstanding_of_strangers(self, asset: str) -> Amount:
        """Return the part of `outstanding` that strangers' locks hold."""
        return self._sum(_OF_STRANGERS, asset)

    def _sum(self, statement: Select[Any], asset: str, **more: int) -> Amount:
        values = {"wanted": asset, "wanted_chain": asset.split(":", 1)[0], "now": self.now_ms, **more}
        return Amount(sum(row.amount for row in self._connection.execute(statement, values)))

    def of_swap(self, swap_id: SwapId) -> list[Reservation]:
        """Return all reservations of a swap."""
        return records(
            self._all(select(_reservations).where(_reservations.c.swap_id == swap_id)), Reservation
        )
