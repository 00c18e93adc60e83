"""The tables of what is needed when the database, its chains and the configuration do not fit together (see
`tables.py` for the rules)."""

from sqlalchemy import BigInteger, Index, Text, UniqueConstraint
from sqlmodel import Field, SQLModel

from bridge.store.columns import BigKey


class AcceptanceRow(SQLModel, table=True):
    """What was promised when a swap was accepted, as signed (`bridge.protocol.acceptance`)."""

    __tablename__ = "acceptances"

    swap_id: str = Field(primary_key=True)
    body: str = Field(sa_type=Text)
    signature: str
    created_ms: int = Field(sa_type=BigInteger)


class UnknownLockRow(SQLModel, table=True):
    """A lock of our own account that no swap here knows: this database is older than the chain."""

    __tablename__ = "unknown_locks"
    __table_args__ = (UniqueConstraint("chain", "lock_id"), Index("unknown_locks_by_hashlock", "hashlock"))

    id: int | None = Field(default=None, primary_key=True, sa_type=BigKey)
    chain: str
    lock_id: str
    tx_id: str
    hashlock: str
    terms: str = Field(sa_type=Text)
    block_height: int = Field(sa_type=BigInteger)
    block_id: str
    proved: bool
    """Only the key of the account can have made it; otherwise anybody can."""
    resolution: str = Field(default="", sa_type=Text)
    """What became of it, "" while nobody knows."""
    seen_ms: int = Field(sa_type=BigInteger)
    resolved_ms: int | None = Field(default=None, sa_type=BigInteger, nullable=True)


class RestorationRow(SQLModel, table=True):
    """An accepted swap that this database did not have; it becomes a swap once its chains were read again."""

    __tablename__ = "restorations"
    __table_args__ = (UniqueConstraint("hashlock"), Index("restorations_by_state", "state"))

    swap_id: str = Field(primary_key=True)
    hashlock: str
    body: str = Field(sa_type=Text)
    signature: str
    client: str = ""
    origin: str
    state: str
    detail: str = Field(default="", sa_type=Text)
    created_ms: int = Field(sa_type=BigInteger)
    updated_ms: int = Field(sa_type=BigInteger)


class RescanRow(SQLModel, table=True):
    """How far one chain was read again for a restored swap: up to a block, from the next one on."""

    __tablename__ = "rescans"

    swap_id: str = Field(primary_key=True)
    chain: str = Field(primary_key=True, index=True)
    from_height: int = Field(sa_type=BigInteger)
    height: int = Field(sa_type=BigInteger)
    block_id: str = ""
    caught_up: bool = False
    done: bool = False


class RestoredEventRow(SQLModel, table=True):
    """What a chain showed of a swap that is being restored, in the chain's order. Preimages are elsewhere,
    sealed."""

    __tablename__ = "restored_events"
    __table_args__ = (UniqueConstraint("chain", "kind", "lock_id", "tx_id", "block_id", "swap_id"),)

    id: int | None = Field(default=None, primary_key=True, sa_type=BigKey)
    swap_id: str = Field(index=True)
    chain: str
    kind: str
    lock_id: str
    tx_id: str
    block_height: int = Field(sa_type=BigInteger)
    block_id: str
    block_parent: str
    block_time: int = Field(sa_type=BigInteger)
    terms: str = Field(default="", sa_type=Text)
    reason: str = Field(default="", sa_type=Text)


class AccountMarkRow(SQLModel, table=True):
    """The sequence up to which an account's use of its key is explained, though not by a stored
    transaction."""

    __tablename__ = "account_marks"

    chain: str = Field(primary_key=True)
    account: str = Field(primary_key=True)
    sequence: int = Field(sa_type=BigInteger)
    alarmed: int | None = Field(default=None, sa_type=BigInteger, nullable=True)
    """The chain's next sequence at the last alarm, None if there is none."""
    updated_ms: int = Field(sa_type=BigInteger)


class ChainIdentityRow(SQLModel, table=True):
    """What a chain's name in the configuration has meant, the newest row last: a change is a new row."""

    __tablename__ = "chain_identities"

    id: int | None = Field(default=None, primary_key=True, sa_type=BigKey)
    chain: str = Field(index=True)
    network: str = Field(sa_type=Text)
    """Which network it is, as its family names it."""
    contract: str
    account: str
    """The bridge's own."""
    first_seen_ms: int = Field(sa_type=BigInteger)
