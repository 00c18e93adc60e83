"""The tables of the desk's clients: what they have staked on finishing (see `tables.py` for the rules)."""

from sqlalchemy import BigInteger, Index, Text
from sqlmodel import Field, SQLModel

from bridge.store.columns import Amount, BigKey


class CreditRow(SQLModel, table=True):
    """Credit that an operator entered for a client, or took away. Rows are only ever added."""

    __tablename__ = "credits"
    __table_args__ = (Index("credits_by_owner", "owner"),)

    id: int | None = Field(default=None, primary_key=True, sa_type=BigKey)
    owner: str
    added: int = Field(sa_type=Amount)
    removed: int = Field(sa_type=Amount)
    by: str
    note: str = Field(default="", sa_type=Text)
    created_ms: int = Field(sa_type=BigInteger)


class LockFeeRow(SQLModel, table=True):
    """The fee that a swap holds of its client's credit."""

    __tablename__ = "lock_fees"
    __table_args__ = (Index("lock_fees_by_owner", "owner", "state"),)

    swap_id: str = Field(primary_key=True)
    owner: str
    value: int = Field(sa_type=Amount)
    state: str
    created_ms: int = Field(sa_type=BigInteger)
    ended_ms: int | None = Field(default=None, sa_type=BigInteger, nullable=True)
