"""The schema comes up on both stores, matches the code, and refuses a newer one."""

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import select, text

from lib.db import schema
from lib.db.engine import Store
from lib.db.tables import ledger_clock, metadata
from lib.errors import InstallationError


@pytest.mark.feature("SET-4")
def test_migrations_build_exactly_the_tables_of_the_code(store: Store) -> None:
    with store.read() as connection:
        assert compare_metadata(MigrationContext.configure(connection), metadata) == []
        assert connection.execute(select(ledger_clock.c.change_seq)).scalar_one() == 0
    assert schema.upgrade(store) == []
    assert schema.is_current(store)


@pytest.mark.feature("SET-4")
def test_a_newer_database_is_refused_untouched(store: Store) -> None:
    with store.write() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(InstallationError, match="newer version"):
        schema.upgrade(store)
    with store.read() as connection:
        assert connection.execute(text("SELECT version_num FROM alembic_version")).scalar_one() == "9999"
