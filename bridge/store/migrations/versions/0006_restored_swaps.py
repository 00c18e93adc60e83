"""Receipts of accepted swaps, locks that nobody knows, and swaps that are being restored"""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "acceptances",
        sa.Column("swap_id", sa.String(), nullable=False),
        sa.Column("body", sa.Text(), nullable=False),
        sa.Column("signature", sa.String(), nullable=False),
        sa.Column("created_ms", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("swap_id"),
    )
    op.create_table(
        "account_marks",
        sa.Column("chain", sa.String(), nullable=False),
        sa.Column("account", sa.String(), nullable=False),
        sa.Column("sequence", sa.BigInteger(), nullable=False),
        sa.Column("alarmed", sa.BigInteger(), nullable=True),
        sa.Column("updated_ms", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("chain", "account"),
    )
    op.create_table(
        "rescans",
        sa.Column("swap_id", sa.String(), nullable=False),
        sa.Column("chain", sa.String(), nullable=False),
        sa.Column("from_height", sa.BigInteger(), nullable=False),
        sa.Column("height", sa.BigInteger(), nullable=False),
        sa.Column("block_id", sa.String(), nullable=False),
        sa.Column("caught_up", sa.Boolean(), nullable=False),
        sa.Column("done", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("swap_id", "chain"),
    )
    with op.batch_alter_table("rescans", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_rescans_chain"), ["chain"], unique=False)
    op.create_table(
        "restorations",
        sa.Column("swap_id", sa.String(), nullable=False),
        sa.Column("hashlock", sa.String(), nullable=False),
        sa.Column("body", sa.Text(), nullable=False),
        sa.Column("signature", sa.String(), nullable=False),
        sa.Column("client", sa.String(), nullable=False),
        sa.Column("origin", sa.String(), nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("detail", sa.Text(), nullable=False),
        sa.Column("created_ms", sa.BigInteger(), nullable=False),
        sa.Column("updated_ms", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("swap_id"),
        sa.UniqueConstraint("hashlock"),
    )
    with op.batch_alter_table("restorations", schema=None) as batch_op:
        batch_op.create_index("restorations_by_state", ["state"], unique=False)
    op.create_table(
        "restored_events",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("swap_id", sa.String(), nullable=False),
        sa.Column("chain", sa.String(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("lock_id", sa.String(), nullable=False),
        sa.Column("tx_id", sa.String(), nullable=False),
        sa.Column("block_height", sa.BigInteger(), nullable=False),
        sa.Column("block_id", sa.String(), nullable=False),
        sa.Column("block_parent", sa.String(), nullable=False),
        sa.Column("block_time", sa.BigInteger(), nullable=False),
        sa.Column("terms", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("chain", "kind", "lock_id", "tx_id", "block_id", "swap_id"),
    )
    with op.batch_alter_table("restored_events", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_restored_events_swap_id"), ["swap_id"], unique=False)
    op.create_table(
        "unknown_locks",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("chain", sa.String(), nullable=False),
        sa.Column("lock_id", sa.String(), nullable=False),
        sa.Column("tx_id", sa.String(), nullable=False),
        sa.Column("hashlock", sa.String(), nullable=False),
        sa.Column("terms", sa.Text(), nullable=False),
        sa.Column("block_height", sa.BigInteger(), nullable=False),
        sa.Column("block_id", sa.String(), nullable=False),
        sa.Column("proved", sa.Boolean(), nullable=False),
        sa.Column("resolution", sa.Text(), nullable=False),
        sa.Column("seen_ms", sa.BigInteger(), nullable=False),
        sa.Column("resolved_ms", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("chain", "lock_id"),
    )
    with op.batch_alter_table("unknown_locks", schema=None) as batch_op:
        batch_op.create_index("unknown_locks_by_hashlock", ["hashlock"], unique=False)


def downgrade() -> None:
    with op.batch_alter_table("unknown_locks", schema=None) as batch_op:
        batch_op.drop_index("unknown_locks_by_hashlock")
    op.drop_table("unknown_locks")
    with op.batch_alter_table("restored_events", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_restored_events_swap_id"))
    op.drop_table("restored_events")
    with op.batch_alter_table("restorations", schema=None) as batch_op:
        batch_op.drop_index("restorations_by_state")
    op.drop_table("restorations")
    with op.batch_alter_table("rescans", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_rescans_chain"))
    op.drop_table("rescans")
    op.drop_table("account_marks")
    op.drop_table("acceptances")
