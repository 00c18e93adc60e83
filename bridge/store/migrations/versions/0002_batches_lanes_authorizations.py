"""Batched claims, lanes, claims that recipients signed for, and what is set aside beyond the lock"""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

_IN_USE = sa.text("open AND lane > 0")


def upgrade() -> None:
    op.create_table(
        "claim_authorizations",
        sa.Column("swap_id", sa.String(), nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.Column("created_ms", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("swap_id"),
    )
    with op.batch_alter_table("intents", schema=None) as batch_op:
        batch_op.add_column(sa.Column("carrier", sa.BigInteger(), nullable=True))
        batch_op.create_index(batch_op.f("ix_intents_carrier"), ["carrier"], unique=False)
    with op.batch_alter_table("reservations", schema=None) as batch_op:
        batch_op.add_column(sa.Column("after_lock", sa.Boolean(), nullable=False, server_default=sa.false()))
    with op.batch_alter_table("swaps", schema=None) as batch_op:
        batch_op.add_column(sa.Column("lane", sa.BigInteger(), nullable=False, server_default="0"))
        batch_op.create_index(
            "swaps_lanes",
            ["destination_chain", "lane"],
            unique=False,
            postgresql_where=_IN_USE,
            sqlite_where=_IN_USE,
        )


def downgrade() -> None:
    with op.batch_alter_table("swaps", schema=None) as batch_op:
        batch_op.drop_index("swaps_lanes", postgresql_where=_IN_USE, sqlite_where=_IN_USE)
        batch_op.drop_column("lane")
    with op.batch_alter_table("reservations", schema=None) as batch_op:
        batch_op.drop_column("after_lock")
    with op.batch_alter_table("intents", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_intents_carrier"))
        batch_op.drop_column("carrier")
    op.drop_table("claim_authorizations")
