"""What each chain's name has meant: its network, our contract and account there"""

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "chain_identities",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("chain", sa.String(), nullable=False),
        sa.Column("network", sa.Text(), nullable=False),
        sa.Column("contract", sa.String(), nullable=False),
        sa.Column("account", sa.String(), nullable=False),
        sa.Column("first_seen_ms", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    with op.batch_alter_table("chain_identities", schema=None) as batch_op:
        batch_op.create_index("ix_chain_identities_chain", ["chain"], unique=False)


def downgrade() -> None:
    with op.batch_alter_table("chain_identities", schema=None) as batch_op:
        batch_op.drop_index("ix_chain_identities_chain")
    op.drop_table("chain_identities")
