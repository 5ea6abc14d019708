"""The groups that peers are in."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Create the table."""
    op.create_table(
        "peer_group",
        sa.Column("peer_id", sa.Integer, nullable=False),
        sa.Column("name", sa.String(31), nullable=False),
        sa.PrimaryKeyConstraint("peer_id", "name", name="pk_peer_group"),
        sa.ForeignKeyConstraint(
            ["peer_id"], ["peer.id"], name="fk_peer_group_peer", ondelete="CASCADE"
        ),
        sa.CheckConstraint("length(name) between 1 and 31", name="ck_peer_group_name"),
        sqlite_with_rowid=False,
    )
