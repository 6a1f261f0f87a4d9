"""Columns that every table shares: ids are UUIDv7 text, moments are UTC, money is integer nano-dollars.

`UtcDateTime` is sortable text in SQLite and timestamptz in PostgreSQL.
"""

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Column, DateTime, Dialect, Integer, MetaData, String, TypeDecorator

from lib.db.team_ids import FIRST_TEAM

NAMING = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s",
    "pk": "pk_%(table_name)s",
}


metadata = MetaData(naming_convention=NAMING)


class UtcDateTime(TypeDecorator[datetime]):
    """An aware UTC datetime; naive values are refused."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Aware to UTC; SQLite keeps no zone, so it is dropped after conversion."""
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError("a moment needs a time zone")
        utc = value.astimezone(UTC)
        return utc.replace(tzinfo=None) if dialect.name == "sqlite" else utc

    def bind_processor(self, dialect: Dialect) -> Any:
        """On SQLite straight to the text that is stored."""
        return _encode_sqlite_moment if dialect.name == "sqlite" else super().bind_processor(dialect)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Back to aware UTC."""
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


def _encode_sqlite_moment(value: datetime | None) -> str | None:
    if value is None:
        return None
    if value.tzinfo is None:
        raise ValueError("a moment needs a time zone")
    utc = value if value.tzinfo is UTC else value.astimezone(UTC)
    return utc.isoformat(" ", "microseconds")[:26]


def id_column(name: str = "id", **options: Any) -> Column[str]:
    """A UUIDv7 as text."""
    return Column(name, String(36), **options)


def team_column() -> Column[int]:
    """The team that a row belongs to; 0: all teams. What is older than teams belongs to the first one."""
    return Column("team_id", Integer, nullable=False, default=FIRST_TEAM, server_default=str(FIRST_TEAM))


def moment_column(name: str, nullable: bool = False) -> Column[datetime]:
    """A moment in UTC."""
    return Column(name, UtcDateTime, nullable=nullable)
