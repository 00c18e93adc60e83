"""What clients have staked on finishing: their credit, and the fees that swaps hold of it"""

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "credits",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("owner", sa.String(), nullable=False),
        sa.Column("added", sa.String(length=78), nullable=False),
        sa.Column("removed", sa.String(length=78), nullable=False),
        sa.Column("by", sa.String(), nullable=False),
        sa.Column("note", sa.Text(), nullable=False),
        sa.Column("created_ms", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    with op.batch_alter_table("credits", schema=None) as batch_op:
        batch_op.create_index("credits_by_owner", ["owner"], unique=False)
    op.create_table(
        "lock_fees",
        sa.Column("swap_id", sa.String(), nullable=False),
        sa.Column("owner", sa.String(), nullable=False),
        sa.Column("value", sa.String(length=78), nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("created_ms", sa.BigInteger(), nullable=False),
        sa.Column("ended_ms", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("swap_id"),
    )
    with op.batch_alter_table("lock_fees", schema=None) as batch_op:
        batch_op.create_index("lock_fees_by_owner", ["owner", "state"], unique=False)


def downgrade() -> None:
    with op.batch_alter_table("lock_fees", schema=None) as batch_op:
        batch_op.drop_index("lock_fees_by_owner")
    op.drop_table("lock_fees")
    with op.batch_alter_table("credits", schema=None) as batch_op:
        batch_op.drop_index("credits_by_owner")
    op.drop_table("credits")
