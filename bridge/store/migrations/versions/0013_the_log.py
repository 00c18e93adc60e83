"""The transparency log: a leaf for each outcome, the stored tree, its anchors and alarms"""

import sqlalchemy as sa
from alembic import op

from bridge.protocol import merkle

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None

_AT_ONCE = 1_000


def upgrade() -> None:
    _copy_receipts(one_each=False)
    op.create_index("ix_receipts_swap_id", "receipts", ["swap_id"], unique=False)
    nodes = op.create_table(
        "log_nodes",
        sa.Column("place", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("hash", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("place"),
    )
    op.create_table(
        "log_anchors",
        sa.Column("size", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("root", sa.String(), nullable=False),
        sa.Column("chain", sa.String(), nullable=False),
        sa.Column("planned_ms", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("size"),
    )
    op.create_table(
        "log_alarms",
        sa.Column("digest", sa.String(), nullable=False),
        sa.Column("note", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("at_ms", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("digest"),
    )
    _build_tree(nodes)
    op.execute(
        "INSERT INTO log_anchors (size, root, chain, planned_ms) "
        "SELECT CAST(substr(subject, 73) AS BIGINT), substr(subject, 8, 64), MIN(chain), MIN(created_ms) "
        "FROM intents WHERE purpose = 'anchor' AND subject LIKE 'anchor:%' AND length(subject) > 72 "
        "GROUP BY subject"
    )


def downgrade() -> None:
    op.drop_table("log_alarms")
    op.drop_table("log_anchors")
    op.drop_table("log_nodes")
    op.drop_index("ix_receipts_swap_id", "receipts")
    _copy_receipts(one_each=True)


def _copy_receipts(*, one_each: bool) -> None:
    """Make the table again, with or without the rule that a swap has one receipt. Going back fails if one has
    several: nothing of the log may be lost."""
    constraints = [sa.UniqueConstraint("swap_id")] if one_each else []
    op.rename_table("receipts", "receipts_before")
    op.create_table(
        "receipts",
        sa.Column("index", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("swap_id", sa.String(), nullable=False),
        sa.Column("body", sa.Text(), nullable=False),
        sa.Column("created_ms", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("index"),
        *constraints,
    )
    op.execute(
        'INSERT INTO receipts ("index", swap_id, body, created_ms) '
        'SELECT "index", swap_id, body, created_ms FROM receipts_before'
    )
    op.drop_table("receipts_before")


def _build_tree(nodes: sa.Table) -> None:
    connection = op.get_bind()
    receipts = sa.table("receipts", sa.column("index", sa.BigInteger), sa.column("body", sa.Text))
    size = 0
    edge: dict[int, bytes] = {}
    while True:
        where = sa.select(receipts.c.body).where(receipts.c.index >= size, receipts.c.index < size + _AT_ONCE)
        bodies = connection.execute(where.order_by(receipts.c.index)).scalars().all()
        if not bodies:
            return
        made = merkle.appended(size, edge, [merkle.leaf_hash(body.encode()) for body in bodies])
        connection.execute(nodes.insert(), [{"place": place, "hash": node} for place, node in made.items()])
        size += len(bodies)
        edge = {place: (edge | made)[place] for place in merkle.places_of(0, size)}
