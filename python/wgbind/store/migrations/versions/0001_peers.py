"""Peers, their allowed IPs and the store's revision."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Create the tables."""
    revision_table = op.create_table(
        "revision",
        sa.Column("id", sa.Integer, autoincrement=False, nullable=False),
        sa.Column("number", sa.Integer, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_revision"),
        sa.CheckConstraint("id = 1", name="ck_revision_one_row"),
    )
    op.bulk_insert(revision_table, [{"id": 1, "number": 0}])
    op.create_table(
        "peer",
        sa.Column("id", sa.Integer, nullable=False),
        sa.Column("server", sa.String(15), nullable=False),
        sa.Column("name", sa.String(63), nullable=False),
        sa.Column("public_key", sa.String(44), nullable=False),
        sa.Column("preshared_key", sa.String(44)),
        sa.Column("private_key", sa.String(44)),
        sa.Column("endpoint_host", sa.String(253)),
        sa.Column("endpoint_port", sa.Integer),
        sa.Column("persistent_keepalive", sa.Integer, nullable=False),
        sa.Column("created_at", sa.DateTime, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_peer"),
        sa.UniqueConstraint("server", "id", name="uq_peer_server_id"),
        sa.UniqueConstraint("server", "name", name="uq_peer_server_name"),
        sa.UniqueConstraint("server", "public_key", name="uq_peer_server_public_key"),
        sa.CheckConstraint("length(name) between 1 and 63", name="ck_peer_name"),
        sa.CheckConstraint("length(public_key) = 44", name="ck_peer_public_key"),
        sa.CheckConstraint("length(preshared_key) = 44", name="ck_peer_preshared_key"),
        sa.CheckConstraint("length(private_key) = 44", name="ck_peer_private_key"),
        sa.CheckConstraint(
            "(endpoint_host is null) = (endpoint_port is null)", name="ck_peer_endpoint"
        ),
        sa.CheckConstraint("endpoint_port between 1 and 65535", name="ck_peer_endpoint_port"),
        sa.CheckConstraint(
            "persistent_keepalive between 0 and 65535", name="ck_peer_persistent_keepalive"
        ),
    )
    op.create_table(
        "allowed_ip",
        sa.Column("server", sa.String(15), nullable=False),
        sa.Column("address", sa.LargeBinary(17), nullable=False),
        sa.Column("prefix_length", sa.Integer, nullable=False),
        sa.Column("routed", sa.Boolean, nullable=False),
        sa.Column("peer_id", sa.Integer, nullable=False),
        sa.PrimaryKeyConstraint("server", "address", name="pk_allowed_ip"),
        sa.ForeignKeyConstraint(
            ["server", "peer_id"],
            ["peer.server", "peer.id"],
            name="fk_allowed_ip_peer",
            ondelete="CASCADE",
        ),
        sa.CheckConstraint("prefix_length between 0 and 128", name="ck_allowed_ip_prefix_length"),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_allowed_ip_peer_id", "allowed_ip", ["peer_id"])
