"""The first tables"""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "audit",
        sa.Column("seq", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("by", sa.String(), nullable=False),
        sa.Column("verb", sa.String(), nullable=False),
        sa.Column("subject", sa.String(), nullable=False),
        sa.Column("detail", sa.Text(), nullable=False),
        sa.Column("at_ms", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("seq"),
    )
    with op.batch_alter_table("audit", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_audit_subject"), ["subject"], unique=False)

    op.create_table(
        "blocks",
        sa.Column("chain", sa.String(), nullable=False),
        sa.Column("height", sa.BigInteger(), nullable=False),
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("parent", sa.String(), nullable=False),
        sa.Column("time", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("chain", "height"),
    )
    op.create_table(
        "chain_status",
        sa.Column("chain", sa.String(), nullable=False),
        sa.Column("body", sa.Text(), nullable=False),
        sa.Column("updated_ms", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("chain"),
    )
    op.create_table(
        "controls",
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("value", sa.Text(), nullable=False),
        sa.Column("by", sa.String(), nullable=False),
        sa.Column("at_ms", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("name"),
    )
    op.create_table(
        "idempotency",
        sa.Column("client", sa.String(), nullable=False),
        sa.Column("key", sa.String(), nullable=False),
        sa.Column("request_digest", sa.String(), nullable=False),
        sa.Column("response", sa.Text(), nullable=False),
        sa.Column("created_ms", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("client", "key"),
    )
    op.create_table(
        "intents",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("subject", sa.String(), nullable=False),
        sa.Column("swap_id", sa.String(), nullable=False),
        sa.Column("leg", sa.String(), nullable=False),
        sa.Column("purpose", sa.String(), nullable=False),
        sa.Column("lock_id", sa.String(), nullable=False),
        sa.Column("chain", sa.String(), nullable=False),
        sa.Column("action", sa.Text(), nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("cancel", sa.Boolean(), nullable=False),
        sa.Column("owner", sa.String(), nullable=False),
        sa.Column("fence", sa.Integer(), nullable=False),
        sa.Column("lease_until_ms", sa.BigInteger(), nullable=False),
        sa.Column("not_before_ms", sa.BigInteger(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("created_ms", sa.BigInteger(), nullable=False),
        sa.Column("updated_ms", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    with op.batch_alter_table("intents", schema=None) as batch_op:
        batch_op.create_index("intents_due", ["chain", "state", "not_before_ms"], unique=False)
        batch_op.create_index(
            "intents_one_live",
            ["subject", "leg", "purpose", "lock_id"],
            unique=True,
            sqlite_where=sa.text("state NOT IN ('failed', 'cancelled')"),
            postgresql_where=sa.text("state NOT IN ('failed', 'cancelled')"),
        )
        batch_op.create_index(batch_op.f("ix_intents_swap_id"), ["swap_id"], unique=False)

    op.create_table(
        "leases",
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("owner", sa.String(), nullable=False),
        sa.Column("fence", sa.BigInteger(), nullable=False),
        sa.Column("until_ms", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("name"),
    )
    op.create_table(
        "notifications",
        sa.Column("seq", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("swap_id", sa.String(), nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("detail", sa.Text(), nullable=False),
        sa.Column("at_ms", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("seq"),
        sqlite_autoincrement=True,
    )
    with op.batch_alter_table("notifications", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_notifications_swap_id"), ["swap_id"], unique=False)

    op.create_table(
        "observations",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("chain", sa.String(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("swap_id", sa.String(), nullable=False),
        sa.Column("leg", sa.String(), nullable=False),
        sa.Column("lock_id", sa.String(), nullable=False),
        sa.Column("tx_id", sa.String(), nullable=False),
        sa.Column("block_height", sa.BigInteger(), nullable=False),
        sa.Column("block_id", sa.String(), nullable=False),
        sa.Column("block_parent", sa.String(), nullable=False),
        sa.Column("block_time", sa.BigInteger(), nullable=False),
        sa.Column("depth", sa.Integer(), nullable=False),
        sa.Column("terms", sa.Text(), nullable=False),
        sa.Column("canonical", sa.Boolean(), nullable=False),
        sa.Column("settled", sa.Boolean(), nullable=False),
        sa.Column("created_ms", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("chain", "kind", "lock_id", "tx_id", "block_id"),
    )
    with op.batch_alter_table("observations", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_observations_swap_id"), ["swap_id"], unique=False)
        batch_op.create_index("observations_by_lock", ["chain", "lock_id"], unique=False)
        batch_op.create_index("observations_open", ["chain", "settled"], unique=False)

    op.create_table(
        "quotes",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("client", sa.String(), nullable=False),
        sa.Column("source_asset", sa.String(), nullable=False),
        sa.Column("destination_asset", sa.String(), nullable=False),
        sa.Column("source_amount", sa.String(78), nullable=False),
        sa.Column("destination_amount", sa.String(78), nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("body", sa.Text(), nullable=False),
        sa.Column("created_ms", sa.BigInteger(), nullable=False),
        sa.Column("expires_ms", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    with op.batch_alter_table("quotes", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_quotes_client"), ["client"], unique=False)
        batch_op.create_index("quotes_open", ["state", "expires_ms"], unique=False)

    op.create_table(
        "receipts",
        sa.Column("index", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("swap_id", sa.String(), nullable=False),
        sa.Column("body", sa.Text(), nullable=False),
        sa.Column("created_ms", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("index"),
        sa.UniqueConstraint("swap_id"),
    )
    op.create_table(
        "reservations",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("asset", sa.String(), nullable=False),
        sa.Column("amount", sa.String(78), nullable=False),
        sa.Column("quote_id", sa.String(), nullable=False),
        sa.Column("swap_id", sa.String(), nullable=False),
        sa.Column("live", sa.Boolean(), nullable=False),
        sa.Column("created_ms", sa.BigInteger(), nullable=False),
        sa.Column("expires_ms", sa.BigInteger(), nullable=True),
        sa.Column("released_ms", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("id"),
    )
    with op.batch_alter_table("reservations", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_reservations_quote_id"), ["quote_id"], unique=False)
        batch_op.create_index(batch_op.f("ix_reservations_swap_id"), ["swap_id"], unique=False)
        batch_op.create_index(
            "reservations_live",
            ["asset"],
            unique=False,
            postgresql_where=sa.text("live"),
            sqlite_where=sa.text("live"),
        )

    op.create_table(
        "secrets",
        sa.Column("hashlock", sa.String(), nullable=False),
        sa.Column("sealed", sa.LargeBinary(), nullable=False),
        sa.Column("created_ms", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("hashlock"),
    )
    op.create_table(
        "swap_events",
        sa.Column("seq", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("swap_id", sa.String(), nullable=False),
        sa.Column("swap_seq", sa.Integer(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("body", sa.Text(), nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("source_state", sa.String(), nullable=False),
        sa.Column("destination_state", sa.String(), nullable=False),
        sa.Column("at_ms", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("seq"),
        sa.UniqueConstraint("swap_id", "swap_seq"),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "swaps",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("open", sa.Boolean(), nullable=False),
        sa.Column("source_chain", sa.String(), nullable=False),
        sa.Column("destination_chain", sa.String(), nullable=False),
        sa.Column("source_asset", sa.String(), nullable=False),
        sa.Column("destination_asset", sa.String(), nullable=False),
        sa.Column("source_state", sa.String(), nullable=False),
        sa.Column("destination_state", sa.String(), nullable=False),
        sa.Column("hashlock", sa.String(), nullable=False),
        sa.Column("source_lock_id", sa.String(), nullable=False),
        sa.Column("destination_lock_id", sa.String(), nullable=False),
        sa.Column("quote_id", sa.String(), nullable=True),
        sa.Column("client", sa.String(), nullable=False),
        sa.Column("refund_address", sa.String(), nullable=False),
        sa.Column("recipient", sa.String(), nullable=False),
        sa.Column("idempotency_key", sa.String(), nullable=False),
        sa.Column("snapshot", sa.Text(), nullable=False),
        sa.Column("created_ms", sa.BigInteger(), nullable=False),
        sa.Column("updated_ms", sa.BigInteger(), nullable=False),
        sa.Column("finished_ms", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("hashlock"),
        sa.UniqueConstraint("quote_id"),
    )
    with op.batch_alter_table("swaps", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_swaps_client"), ["client"], unique=False)
        batch_op.create_index(
            batch_op.f("ix_swaps_destination_lock_id"), ["destination_lock_id"], unique=False
        )
        batch_op.create_index(batch_op.f("ix_swaps_source_lock_id"), ["source_lock_id"], unique=False)
        batch_op.create_index(batch_op.f("ix_swaps_state"), ["state"], unique=False)
        batch_op.create_index("swaps_by_age", ["created_ms", "id"], unique=False)
        batch_op.create_index("swaps_open", ["open", "updated_ms"], unique=False)

    op.create_table(
        "transactions",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("intent_id", sa.BigInteger(), nullable=False),
        sa.Column("chain", sa.String(), nullable=False),
        sa.Column("tx_id", sa.String(), nullable=False),
        sa.Column("raw", sa.LargeBinary(), nullable=False),
        sa.Column("account", sa.String(), nullable=False),
        sa.Column("sequence", sa.BigInteger(), nullable=True),
        sa.Column("fee", sa.Text(), nullable=False),
        sa.Column("max_cost", sa.String(78), nullable=False),
        sa.Column("valid_until", sa.BigInteger(), nullable=True),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("cancels", sa.Boolean(), nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("block_height", sa.BigInteger(), nullable=True),
        sa.Column("block_id", sa.String(), nullable=False),
        sa.Column("replaced_by", sa.String(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("signed_height", sa.BigInteger(), nullable=False),
        sa.Column("signed_ms", sa.BigInteger(), nullable=False),
        sa.Column("sent_ms", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("chain", "tx_id"),
    )
    with op.batch_alter_table("transactions", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_transactions_intent_id"), ["intent_id"], unique=False)
        batch_op.create_index("transactions_by_sequence", ["chain", "account", "sequence"], unique=False)


def downgrade() -> None:
    with op.batch_alter_table("transactions", schema=None) as batch_op:
        batch_op.drop_index("transactions_by_sequence")
        batch_op.drop_index(batch_op.f("ix_transactions_intent_id"))

    op.drop_table("transactions")
    with op.batch_alter_table("swaps", schema=None) as batch_op:
        batch_op.drop_index("swaps_open")
        batch_op.drop_index("swaps_by_age")
        batch_op.drop_index(batch_op.f("ix_swaps_state"))
        batch_op.drop_index(batch_op.f("ix_swaps_source_lock_id"))
        batch_op.drop_index(batch_op.f("ix_swaps_destination_lock_id"))
        batch_op.drop_index(batch_op.f("ix_swaps_client"))

    op.drop_table("swaps")
    op.drop_table("swap_events")
    op.drop_table("secrets")
    with op.batch_alter_table("reservations", schema=None) as batch_op:
        batch_op.drop_index(
            "reservations_live", postgresql_where=sa.text("live"), sqlite_where=sa.text("live")
        )
        batch_op.drop_index(batch_op.f("ix_reservations_swap_id"))
        batch_op.drop_index(batch_op.f("ix_reservations_quote_id"))

    op.drop_table("reservations")
    op.drop_table("receipts")
    with op.batch_alter_table("quotes", schema=None) as batch_op:
        batch_op.drop_index("quotes_open")
        batch_op.drop_index(batch_op.f("ix_quotes_client"))

    op.drop_table("quotes")
    with op.batch_alter_table("observations", schema=None) as batch_op:
        batch_op.drop_index("observations_open")
        batch_op.drop_index("observations_by_lock")
        batch_op.drop_index(batch_op.f("ix_observations_swap_id"))

    op.drop_table("observations")
    with op.batch_alter_table("notifications", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_notifications_swap_id"))

    op.drop_table("notifications")
    op.drop_table("leases")
    with op.batch_alter_table("intents", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_intents_swap_id"))
        batch_op.drop_index(
            "intents_one_live",
            sqlite_where=sa.text("state NOT IN ('failed', 'cancelled')"),
            postgresql_where=sa.text("state NOT IN ('failed', 'cancelled')"),
        )
        batch_op.drop_index("intents_due")

    op.drop_table("intents")
    op.drop_table("idempotency")
    op.drop_table("controls")
    op.drop_table("chain_status")
    op.drop_table("blocks")
    with op.batch_alter_table("audit", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_audit_subject"))

    op.drop_table("audit")
