"""Column types as released migrations wrote them. Frozen: what the product's tables become does not change the past."""

from datetime import datetime

from sqlalchemy import DateTime, TypeDecorator


class UtcMoment(TypeDecorator[datetime]):
    """Text in SQLite, timestamptz in PostgreSQL. Migrations make columns of it and write no moments through it."""

    impl = DateTime(timezone=True)
    cache_ok = True
