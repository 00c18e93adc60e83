"""The tables. Wall-clock times are Unix milliseconds (`…_ms`); chain times and heights are the chain's own.

These classes describe the schema and never leave this package: repositories take and return the
frozen values of `records.py`.
"""

from typing import Any, ClassVar

from sqlalchemy import BigInteger, Index, LargeBinary, Table, Text, UniqueConstraint, text
from sqlmodel import Field, SQLModel

from bridge.store.columns import Amount, BigKey

DEAD_INTENT = "('failed', 'cancelled')"
"""States in which an intent no longer stands for its (subject, leg, purpose)."""


def table_of(model: type[SQLModel]) -> Table:
    """Return the SQLAlchemy table behind a model."""
    table: Table = model.__table__  # type: ignore[attr-defined]
    return table


def _counter() -> Any:
    return Field(default=None, primary_key=True, sa_type=BigKey)


def _ms() -> Any:
    return Field(sa_type=BigInteger)


def _maybe_ms() -> Any:
    return Field(default=None, sa_type=BigInteger, nullable=True)


def _amount() -> Any:
    return Field(sa_type=Amount)


def _text(default: str | None = None) -> Any:
    return Field(sa_type=Text) if default is None else Field(default=default, sa_type=Text)


class QuoteRow(SQLModel, table=True):
    """An offer made to a client; `body` is the whole quote as JSON."""

    __tablename__ = "quotes"
    __table_args__ = (Index("quotes_open", "state", "expires_ms"),)

    id: str = Field(primary_key=True)
    client: str = Field(index=True)
    source_asset: str
    destination_asset: str
    source_amount: int = _amount()
    destination_amount: int = _amount()
    state: str
    body: str = _text()
    created_ms: int = _ms()
    expires_ms: int = _ms()


class ReservationRow(SQLModel, table=True):
    """Inventory promised to a quote, then to its swap; `live` until released."""

    __tablename__ = "reservations"
    __table_args__ = (
        Index("reservations_live", "asset", postgresql_where=text("live"), sqlite_where=text("live")),
    )

    id: int | None = _counter()
    asset: str
    amount: int = _amount()
    quote_id: str = Field(index=True)
    swap_id: str = Field(default="", index=True)
    after_lock: bool = False
    """Still needed when the destination's lock is final: for our claims and refunds."""
    live: bool = True
    firm_ms: int | None = _maybe_ms()
    """Since when it counts; null while a stranger has only asked."""
    created_ms: int = _ms()
    expires_ms: int | None = _maybe_ms()
    released_ms: int | None = _maybe_ms()


class SwapRow(SQLModel, table=True):
    """A swap: its snapshot and what it is looked up by. `version` guards every change (compare and swap)."""

    __tablename__ = "swaps"
    __table_args__ = (
        UniqueConstraint("hashlock"),
        UniqueConstraint("quote_id"),
        Index("swaps_open", "open", "updated_ms"),
        Index("swaps_by_age", "created_ms", "id"),
        Index(
            "swaps_lanes",
            "destination_chain",
            "lane",
            postgresql_where=text("open AND lane > 0"),
            sqlite_where=text("open AND lane > 0"),
        ),
        *(
            Index(
                f"swaps_{side}_alarm",
                f"{side}_chain",
                f"{side}_alarm",
                postgresql_where=text("open"),
                sqlite_where=text("open"),
            )
            for side in ("source", "destination")
        ),
        Index("swaps_open_ids", "id", postgresql_where=text("open"), sqlite_where=text("open")),
    )

    id: str = Field(primary_key=True)
    version: int
    state: str = Field(index=True)
    open: bool
    source_chain: str
    destination_chain: str
    source_asset: str
    destination_asset: str
    source_state: str
    destination_state: str
    hashlock: str
    lane: int = Field(default=0, sa_type=BigInteger)
    """The destination lock's lane, 0 for none; no other swap may use it while this one is open."""
    source_alarm: int | None = _maybe_ms()
    """The time of the source's chain (Unix seconds) from which its clock can change what the swap requires,
    None if it cannot. See `bridge.protocol.alarms`."""
    destination_alarm: int | None = _maybe_ms()
    source_lock_id: str = Field(default="", index=True)
    destination_lock_id: str = Field(default="", index=True)
    quote_id: str | None = None
    client: str = Field(default="", index=True)
    refund_address: str = ""
    recipient: str = ""
    idempotency_key: str = ""
    snapshot: str = _text()
    created_ms: int = _ms()
    updated_ms: int = _ms()
    finished_ms: int | None = _maybe_ms()


class SwapEventRow(SQLModel, table=True):
    """What happened to swaps, append-only, redacted. `seq` orders all, `swap_seq` one swap's."""

    __tablename__ = "swap_events"
    __table_args__ = (UniqueConstraint("swap_id", "swap_seq"), {"sqlite_autoincrement": True})

    seq: int | None = _counter()
    swap_id: str
    swap_seq: int
    kind: str
    body: str = _text()
    state: str
    source_state: str
    destination_state: str
    at_ms: int = _ms()


class SecretRow(SQLModel, table=True):
    """A preimage, sealed. The hashlock is public, the rest is not."""

    __tablename__ = "secrets"

    hashlock: str = Field(primary_key=True)
    sealed: bytes = Field(sa_type=LargeBinary)
    created_ms: int = _ms()


class ClaimAuthorizationRow(SQLModel, table=True):
    """What a recipient signed so that we may claim for them, in the form that the chain's adapter uses."""

    __tablename__ = "claim_authorizations"

    swap_id: str = Field(primary_key=True)
    body: bytes = Field(sa_type=LargeBinary)
    created_ms: int = _ms()


class IntentRow(SQLModel, table=True):
    """Something to be done on chain. `subject` is the swap's id, or names the set-up action or anchor."""

    __tablename__ = "intents"
    __table_args__ = (
        Index(
            "intents_one_live",
            "subject",
            "leg",
            "purpose",
            "lock_id",
            unique=True,
            sqlite_where=text(f"state NOT IN {DEAD_INTENT}"),
            postgresql_where=text(f"state NOT IN {DEAD_INTENT}"),
        ),
        Index("intents_due", "chain", "state", "not_before_ms"),
        Index("intents_pays", "chain", "pays"),
    )

    id: int | None = _counter()
    subject: str
    swap_id: str = Field(default="", index=True)
    leg: str
    purpose: str
    lock_id: str = ""
    chain: str
    action: str = _text()
    state: str
    attempt: int = 0
    cancel: bool = False
    owner: str = ""
    fence: int = 0
    lease_until_ms: int = Field(default=0, sa_type=BigInteger)
    not_before_ms: int = Field(default=0, sa_type=BigInteger)
    carrier: int | None = Field(default=None, index=True, sa_type=BigInteger, nullable=True)
    """The leader of the batch that this claim is a member of: that intent's transactions make it too."""
    pays: str = ""
    """The account that it pays where that is not ours, "" otherwise: what it costs is limited."""
    counted_from: int = Field(default=0, sa_type=BigInteger)
    """Its transactions up to this row do not count against the limits any more: an operator said so."""
    reason: str = _text("")
    created_ms: int = _ms()
    updated_ms: int = _ms()


class TransactionRow(SQLModel, table=True):
    """A signed transaction: stored before it is sent, never deleted."""

    __tablename__ = "transactions"
    __table_args__ = (
        UniqueConstraint("chain", "tx_id"),
        Index("transactions_by_sequence", "chain", "account", "sequence"),
    )

    id: int | None = _counter()
    intent_id: int = Field(index=True, sa_type=BigInteger)
    chain: str
    tx_id: str
    raw: bytes = Field(sa_type=LargeBinary)
    account: str
    sequence: int | None = Field(default=None, sa_type=BigInteger, nullable=True)
    fee: str = _text()
    max_cost: int = _amount()
    valid_until_height: int | None = Field(default=None, sa_type=BigInteger, nullable=True)
    valid_until_time: int | None = Field(default=None, sa_type=BigInteger, nullable=True)
    attempt: int
    cancels: bool = False
    state: str
    block_height: int | None = Field(default=None, sa_type=BigInteger, nullable=True)
    block_id: str = ""
    replaced_by: str = ""
    reason: str = _text("")
    signed_height: int = Field(default=0, sa_type=BigInteger)
    signed_ms: int = _ms()
    sent_ms: int | None = _maybe_ms()


class BlockRow(SQLModel, table=True):
    """The recent canonical blocks of each chain."""

    __tablename__ = "blocks"

    chain: str = Field(primary_key=True)
    height: int = Field(primary_key=True, sa_type=BigInteger)
    id: str
    parent: str
    time: int = Field(sa_type=BigInteger)


class ObservationRow(SQLModel, table=True):
    """An HTLC event of one of our swaps in one block; `canonical` until a reorg removes the block."""

    __tablename__ = "observations"
    __table_args__ = (
        UniqueConstraint("chain", "kind", "lock_id", "tx_id", "block_id"),
        Index("observations_open", "chain", "settled"),
        Index("observations_by_lock", "chain", "lock_id"),
    )

    id: int | None = _counter()
    chain: str
    kind: str
    swap_id: str = Field(index=True)
    leg: str
    lock_id: str
    tx_id: str
    block_height: int = Field(sa_type=BigInteger)
    block_id: str
    block_parent: str
    block_time: int = Field(sa_type=BigInteger)
    depth: int
    needs_finalized: bool = False
    terms: str = _text("")
    canonical: bool = True
    settled: bool = False
    """Final, and the swap knows: nothing else can come of it."""
    created_ms: int = _ms()


class SetAsideRow(SQLModel, table=True):
    """An item of a block that the software could not read. `lock_ids`: a JSON list of the locks it is known
    to name, empty if it could concern any. `software`: the version that last tried to read it."""

    __tablename__ = "set_aside"
    __table_args__ = (
        UniqueConstraint("chain", "block_id", "item"),
        Index("set_aside_open", "chain", "resolved"),
    )

    id: int | None = _counter()
    chain: str
    item: str = _text()
    block_height: int = Field(sa_type=BigInteger)
    block_id: str
    block_parent: str
    block_time: int = Field(sa_type=BigInteger)
    reason: str = _text()
    lock_ids: str = _text()
    software: str
    resolved: bool = False
    """Read since, by a newer version or from another endpoint."""
    first_seen_ms: int = _ms()


class ChainStatusRow(SQLModel, table=True):
    """What the relayer of a chain last saw; written by relayers, read by the API."""

    __tablename__ = "chain_status"

    chain: str = Field(primary_key=True)
    body: str = _text()
    updated_ms: int = _ms()


class LeaseRow(SQLModel, table=True):
    """Who alone may do something, and until when; `fence` grows with each new holder."""

    __tablename__ = "leases"

    name: str = Field(primary_key=True)
    owner: str
    fence: int = Field(sa_type=BigInteger)
    until_ms: int = _ms()


class NotificationRow(SQLModel, table=True):
    """Public status changes, in order, for the WebSocket, SSE and web-hooks to replay from a `seq`."""

    __tablename__ = "notifications"
    __table_args__: ClassVar[Any] = {"sqlite_autoincrement": True}

    seq: int | None = _counter()
    swap_id: str = Field(index=True)
    state: str
    detail: str = _text("")
    at_ms: int = _ms()


class IdempotencyRow(SQLModel, table=True):
    """The answer given to a client's request key: the same request gets the same answer."""

    __tablename__ = "idempotency"

    client: str = Field(primary_key=True)
    key: str = Field(primary_key=True)
    request_digest: str
    response: str = _text()
    created_ms: int = _ms()


class AuditRow(SQLModel, table=True):
    """What operators did."""

    __tablename__ = "audit"

    seq: int | None = _counter()
    by: str
    verb: str
    subject: str = Field(index=True)
    detail: str = _text("")
    at_ms: int = _ms()


class ControlRow(SQLModel, table=True):
    """Switches of operators, such as a pause (`pause:zion`, `pause:ethereum:ETH>zion:ZION`)."""

    __tablename__ = "controls"

    name: str = Field(primary_key=True)
    value: str = _text()
    by: str
    at_ms: int = _ms()


class MarketRow(SQLModel, table=True):
    """What the desk knows of the market: `price:<asset>`, the guard of a price, the volatility of a pair, as
    JSON.
    """

    __tablename__ = "market"

    name: str = Field(primary_key=True)
    body: str = _text()
    updated_ms: int = _ms()


metadata = SQLModel.metadata
