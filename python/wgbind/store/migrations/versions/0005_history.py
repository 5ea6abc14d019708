"""What a peer did so far, notes on it, when its row changed last; private keys are sealed."""

import sqlalchemy as sa
from alembic import context, op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    """Add the columns and the table of removals; seal the private keys that are there in plain."""
    zero = sa.text("0")
    for column in (
        sa.Column("notes", sa.Text, nullable=False, server_default=""),
        sa.Column("sealed_private_key", sa.LargeBinary(128)),
        sa.Column("revision", sa.Integer, nullable=False, server_default=zero),
        sa.Column("rx_bytes", sa.BigInteger, nullable=False, server_default=zero),
        sa.Column("tx_bytes", sa.BigInteger, nullable=False, server_default=zero),
        sa.Column("last_seen", sa.DateTime),
    ):
        op.add_column("peer", column)
    op.create_index("ix_peer_server_revision", "peer", ["server", "revision"])
    op.create_table(
        "removal",
        sa.Column("revision", sa.Integer, autoincrement=False, nullable=False),
        sa.Column("peer_id", sa.Integer, autoincrement=False, nullable=False),
        sa.Column("server", sa.String(15), nullable=False),
        sa.PrimaryKeyConstraint("revision", "peer_id", name="pk_removal"),
        sqlite_with_rowid=False,
    )
    _seal()


def _seal() -> None:
    connection = op.get_bind()
    plain = connection.execute(
        sa.text("select id, private_key from peer where private_key is not null")
    ).all()
    if plain:
        seal = context.config.attributes["seal"]
        connection.execute(
            sa.text(
                "update peer set sealed_private_key = :sealed, private_key = null where id = :id"
            ),
            [{"id": row_id, "sealed": seal(private_key)} for row_id, private_key in plain],
        )
