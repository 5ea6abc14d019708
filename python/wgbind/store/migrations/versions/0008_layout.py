"""How a file of wg-quick said a peer."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    """Add the column."""
    op.add_column("peer", sa.Column("layout", sa.Text, nullable=False, server_default=""))
