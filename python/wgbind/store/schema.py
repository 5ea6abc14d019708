"""The tables, as the newest migration leaves them."""

from __future__ import annotations

from datetime import datetime, timezone
from ipaddress import IPv4Address, IPv6Address
from typing import TYPE_CHECKING

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    DateTime,
    ForeignKeyConstraint,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    PrimaryKeyConstraint,
    String,
    Table,
    Text,
    TypeDecorator,
    UniqueConstraint,
    text,
    true,
)

from wgbind.settings.address import Address

if TYPE_CHECKING:
    from sqlalchemy import Dialect

HEAD = "0008"  # the newest migration


class AddressType(TypeDecorator[Address]):
    """An IP address as bytes that sort as addresses do: the IP version, then the address.

    SQLite and PostgreSQL compare bytes like memcmp(3); text would depend on the collation.
    """

    impl = LargeBinary(17)
    cache_ok = True

    def process_bind_param(self, value: Address | None, dialect: Dialect) -> bytes | None:
        """Encode."""
        del dialect
        return None if value is None else bytes((value.version,)) + value.packed

    def process_result_value(self, value: bytes | None, dialect: Dialect) -> Address | None:
        """Decode."""
        del dialect
        if value is None:
            return None
        return IPv4Address(value[1:]) if value[0] == 4 else IPv6Address(value[1:])


class UtcDateTime(TypeDecorator[datetime]):
    """A moment in UTC; SQLite keeps no time zone."""

    impl = DateTime
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Drop the zone."""
        del dialect
        return None if value is None else value.astimezone(timezone.utc).replace(tzinfo=None)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Put the zone back."""
        del dialect
        return None if value is None else value.replace(tzinfo=timezone.utc)


metadata = MetaData(
    naming_convention={
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(referred_table_name)s",
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    }
)

# How many transactions changed the store: one row, which every writer updates first.
revision_table = Table(
    "revision",
    metadata,
    Column("id", Integer, autoincrement=False, primary_key=True),
    Column("number", Integer, nullable=False),
    CheckConstraint("id = 1", name="one_row"),
)

# Keys are in base64. In `private_key` they stood in plain until 0005; `vault` makes and opens what
# stands in `sealed_private_key`. `revision` is that of the transaction that changed what the peer
# should be; what it did, from `rx_bytes` on, is written beside that.
peer_table = Table(
    "peer",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("server", String(15), nullable=False),
    Column("name", String(63), nullable=False),
    Column("public_key", String(44), nullable=False),
    Column("preshared_key", String(44)),
    Column("private_key", String(44)),
    Column("endpoint_host", String(253)),
    Column("endpoint_port", Integer),
    Column("persistent_keepalive", Integer, nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
    Column("description", String(200), nullable=False, server_default=""),
    Column("enabled", Boolean, nullable=False, server_default=true()),
    Column("expires_at", UtcDateTime),
    Column("notes", Text, nullable=False, server_default=""),
    Column("layout", Text, nullable=False, server_default=""),
    Column("sealed_private_key", LargeBinary(128)),
    Column("revision", Integer, nullable=False, server_default=text("0")),
    Column("rx_bytes", BigInteger, nullable=False, server_default=text("0")),
    Column("tx_bytes", BigInteger, nullable=False, server_default=text("0")),
    Column("last_seen", UtcDateTime),
    Index("ix_peer_server_revision", "server", "revision"),
    UniqueConstraint("server", "id"),
    UniqueConstraint("server", "name"),
    UniqueConstraint("server", "public_key"),
    CheckConstraint("length(name) between 1 and 63", name="name"),
    CheckConstraint("length(public_key) = 44", name="public_key"),
    CheckConstraint("length(preshared_key) = 44", name="preshared_key"),
    CheckConstraint("length(private_key) = 44", name="private_key"),
    CheckConstraint("(endpoint_host is null) = (endpoint_port is null)", name="endpoint"),
    CheckConstraint("endpoint_port between 1 and 65535", name="endpoint_port"),
    CheckConstraint("persistent_keepalive between 0 and 65535", name="persistent_keepalive"),
)

# Peers that the latest transactions removed.
removal_table = Table(
    "removal",
    metadata,
    Column("revision", Integer, autoincrement=False, nullable=False),
    Column("peer_id", Integer, autoincrement=False, nullable=False),
    Column("server", String(15), nullable=False),
    PrimaryKeyConstraint("revision", "peer_id"),
    sqlite_with_rowid=False,  # the primary key is all that is searched
)

# An address of a peer in the tunnel, or a network that is routed to it. Those of one server may
# contain each other, the longest prefix says whose an address is; a prefix is of one peer alone.
allowed_ip_table = Table(
    "allowed_ip",
    metadata,
    Column("server", String(15), nullable=False),
    Column("address", AddressType, nullable=False),
    Column("prefix_length", Integer, nullable=False),
    Column("routed", Boolean, nullable=False),
    Column("peer_id", Integer, nullable=False, index=True),
    PrimaryKeyConstraint("server", "address", "prefix_length"),
    ForeignKeyConstraint(["server", "peer_id"], ["peer.server", "peer.id"], ondelete="CASCADE"),
    CheckConstraint("prefix_length between 0 and 128", name="prefix_length"),
    sqlite_with_rowid=False,  # the primary key is all that is searched
)

# The groups that a peer is in. Which groups there are, the settings of its server say.
peer_group_table = Table(
    "peer_group",
    metadata,
    Column("peer_id", Integer, nullable=False),
    Column("name", String(31), nullable=False),
    PrimaryKeyConstraint("peer_id", "name"),
    ForeignKeyConstraint(["peer_id"], ["peer.id"], ondelete="CASCADE"),
    CheckConstraint("length(name) between 1 and 31", name="name"),
    sqlite_with_rowid=False,  # the primary key is all that is searched
)

# The token of the latest settings of a server that were kept together with changes of its peers.
kept_settings_table = Table(
    "kept_settings",
    metadata,
    Column("server", String(15), primary_key=True),
    Column("token", String(32), nullable=False),
)

# What a peer's own configuration says other than those of the others: `ClientOverrides` as JSON.
client_override_table = Table(
    "client_override",
    metadata,
    Column("peer_id", Integer, autoincrement=False, primary_key=True),
    Column("settings", Text, nullable=False),
    ForeignKeyConstraint(["peer_id"], ["peer.id"], ondelete="CASCADE"),
)
