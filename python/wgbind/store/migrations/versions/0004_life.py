"""What a peer is, until when it is served, and whether."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """Add the columns."""
    op.add_column(
        "peer", sa.Column("description", sa.String(200), nullable=False, server_default="")
    )
    op.add_column(
        "peer", sa.Column("enabled", sa.Boolean, nullable=False, server_default=sa.true())
    )
    op.add_column("peer", sa.Column("expires_at", sa.DateTime))
