"""The tables of the transparency log: its leaves, its tree, and what of it was anchored."""

from typing import Any

from sqlalchemy import BigInteger, LargeBinary, Text
from sqlmodel import Field, SQLModel


def _number() -> Any:
    return Field(
        default=None, primary_key=True, sa_type=BigInteger, sa_column_kwargs={"autoincrement": False}
    )


class ReceiptRow(SQLModel, table=True):
    """An outcome of a swap: one leaf of the log, `index` is its place. `body` is the leaf itself."""

    __tablename__ = "receipts"

    index: int | None = _number()
    swap_id: str = Field(index=True)
    body: str = Field(sa_type=Text)
    created_ms: int = Field(sa_type=BigInteger)


class LogNodeRow(SQLModel, table=True):
    """The root of a full subtree of the log. `place`: see `bridge.protocol.merkle.place`."""

    __tablename__ = "log_nodes"

    place: int | None = _number()
    hash: bytes = Field(sa_type=LargeBinary)


class LogAnchorRow(SQLModel, table=True):
    """A tree head for which an anchor was planned on `chain`; the intent says what became of it."""

    __tablename__ = "log_anchors"

    size: int | None = _number()
    root: str
    chain: str
    planned_ms: int = Field(sa_type=BigInteger)


class LogAlarmRow(SQLModel, table=True):
    """A tree head with our signature that does not fit our log: `note` proves that the log was forked or
    lost."""

    __tablename__ = "log_alarms"

    digest: str = Field(primary_key=True)
    """SHA-256 of the note, hex."""
    note: str = Field(sa_type=Text)
    reason: str = Field(sa_type=Text)
    at_ms: int = Field(sa_type=BigInteger)
