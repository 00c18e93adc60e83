"""Who is paid by an intent, and when a swap wants to hear the time"""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.batch_alter_table("intents", schema=None) as batch_op:
        batch_op.add_column(sa.Column("pays", sa.String(), nullable=False, server_default=""))
        batch_op.add_column(sa.Column("counted_from", sa.BigInteger(), nullable=False, server_default="0"))
        batch_op.create_index("intents_pays", ["chain", "pays"], unique=False)
    with op.batch_alter_table("swaps", schema=None) as batch_op:
        # 0: due at once, so that an old swap's true dates are worked out.
        for side in ("source", "destination"):
            alarm = sa.Column(f"{side}_alarm", sa.BigInteger(), nullable=True, server_default="0")
            batch_op.add_column(alarm)
            batch_op.create_index(
                f"swaps_{side}_alarm",
                [f"{side}_chain", f"{side}_alarm"],
                unique=False,
                sqlite_where=sa.text("open"),
                postgresql_where=sa.text("open"),
            )
        batch_op.create_index(
            "swaps_open_ids",
            ["id"],
            unique=False,
            sqlite_where=sa.text("open"),
            postgresql_where=sa.text("open"),
        )


def downgrade() -> None:
    with op.batch_alter_table("swaps", schema=None) as batch_op:
        batch_op.drop_index("swaps_open_ids")
        for side in ("source", "destination"):
            batch_op.drop_index(f"swaps_{side}_alarm")
            batch_op.drop_column(f"{side}_alarm")
    with op.batch_alter_table("intents", schema=None) as batch_op:
        batch_op.drop_index("intents_pays")
        batch_op.drop_column("counted_from")
        batch_op.drop_column("pays")
