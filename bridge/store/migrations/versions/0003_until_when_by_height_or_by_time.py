"""Until when a transaction can land: a height and a time instead of one number; a chain's tip in one piece"""

import json
from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

_HEIGHTS_END = 1_000_000_000
"""What the column `valid_until` held was a block height below this and Unix seconds from it on."""

_TRANSACTIONS = sa.table(
    "transactions",
    sa.column("valid_until", sa.BigInteger()),
    sa.column("valid_until_height", sa.BigInteger()),
    sa.column("valid_until_time", sa.BigInteger()),
)
_STATUS = sa.table("chain_status", sa.column("chain", sa.String()), sa.column("body", sa.Text()))


def upgrade() -> None:
    with op.batch_alter_table("transactions", schema=None) as batch_op:
        batch_op.add_column(sa.Column("valid_until_height", sa.BigInteger(), nullable=True))
        batch_op.add_column(sa.Column("valid_until_time", sa.BigInteger(), nullable=True))
    until = _TRANSACTIONS.c.valid_until
    op.execute(_TRANSACTIONS.update().where(until < _HEIGHTS_END).values(valid_until_height=until))
    op.execute(_TRANSACTIONS.update().where(until >= _HEIGHTS_END).values(valid_until_time=until))
    with op.batch_alter_table("transactions", schema=None) as batch_op:
        batch_op.drop_column("valid_until")
    for chain, body in _statuses():
        time = body.pop("time", 0)
        if body.get("tip") is not None:
            body["tip"] = {"block": body["tip"], "time": time}
        _put_status(chain, body)


def downgrade() -> None:
    for chain, body in _statuses():
        tip = body.get("tip")
        if tip is not None:
            body["tip"], body["time"] = tip["block"], tip["time"]
        _put_status(chain, body)
    with op.batch_alter_table("transactions", schema=None) as batch_op:
        batch_op.add_column(sa.Column("valid_until", sa.BigInteger(), nullable=True))
    op.execute("UPDATE transactions SET valid_until = COALESCE(valid_until_height, valid_until_time)")
    with op.batch_alter_table("transactions", schema=None) as batch_op:
        batch_op.drop_column("valid_until_time")
        batch_op.drop_column("valid_until_height")


def _statuses() -> list[tuple[str, dict[str, Any]]]:
    rows = op.get_bind().execute(sa.select(_STATUS.c.chain, _STATUS.c.body)).all()
    return [(row.chain, json.loads(row.body)) for row in rows]


def _put_status(chain: str, body: dict[str, Any]) -> None:
    this = _STATUS.c.chain == chain
    op.get_bind().execute(sa.update(_STATUS).where(this).values(body=json.dumps(body)))
