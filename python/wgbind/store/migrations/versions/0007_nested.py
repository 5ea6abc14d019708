"""What peers have may contain each other: a prefix is its first address and its length."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"

_KEY = ["server", "address", "prefix_length"]


def upgrade() -> None:
    """Make the length a part of the key; for that, SQLite needs the table anew."""
    if op.get_bind().dialect.name != "sqlite":
        op.drop_constraint("pk_allowed_ip", "allowed_ip", type_="primary")
        op.create_primary_key("pk_allowed_ip", "allowed_ip", _KEY)
        return
    op.rename_table("allowed_ip", "old_allowed_ip")
    op.drop_index("ix_allowed_ip_peer_id", "old_allowed_ip")
    op.create_table(
        "allowed_ip",
        sa.Column("server", sa.String(15), nullable=False),
        sa.Column("address", sa.LargeBinary(17), nullable=False),
        sa.Column("prefix_length", sa.Integer, nullable=False),
        sa.Column("routed", sa.Boolean, nullable=False),
        sa.Column("peer_id", sa.Integer, nullable=False),
        sa.PrimaryKeyConstraint(*_KEY, name="pk_allowed_ip"),
        sa.ForeignKeyConstraint(
            ["server", "peer_id"],
            ["peer.server", "peer.id"],
            name="fk_allowed_ip_peer",
            ondelete="CASCADE",
        ),
        sa.CheckConstraint("prefix_length between 0 and 128", name="ck_allowed_ip_prefix_length"),
        sqlite_with_rowid=False,
    )
    op.execute(
        "insert into allowed_ip (server, address, prefix_length, routed, peer_id)"
        " select server, address, prefix_length, routed, peer_id from old_allowed_ip"
        " where peer_id in (select id from peer)"
    )
    op.drop_table("old_allowed_ip")
    op.create_index("ix_allowed_ip_peer_id", "allowed_ip", ["peer_id"])
