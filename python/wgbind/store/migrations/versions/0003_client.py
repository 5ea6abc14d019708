"""What the clients of single peers get other than the rest."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Create the table."""
    op.create_table(
        "client_override",
        sa.Column("peer_id", sa.Integer, autoincrement=False, nullable=False),
        sa.Column("settings", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("peer_id", name="pk_client_override"),
        sa.ForeignKeyConstraint(
            ["peer_id"], ["peer.id"], name="fk_client_override_peer", ondelete="CASCADE"
        ),
    )
