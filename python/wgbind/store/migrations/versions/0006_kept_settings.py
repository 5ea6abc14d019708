"""Which settings of a server were kept together with changes of its peers."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    """Add the table."""
    op.create_table(
        "kept_settings",
        sa.Column("server", sa.String(15), nullable=False),
        sa.Column("token", sa.String(32), nullable=False),
        sa.PrimaryKeyConstraint("server", name="pk_kept_settings"),
    )
