"""The schema comes up on both stores, matches the code, and refuses a newer one."""

import uuid
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import select, text

from lib.db import migrate, schema
from lib.db.engine import Store
from lib.db.tables import ledger_clock, metadata
from lib.errors import InstallationError
from tests.conftest import new_database


@pytest.mark.feature("SET-4")
def test_migrations_build_exactly_the_tables_of_the_code(store: Store) -> None:
    options = {"include_name": lambda name, kind, parents: not str(name).startswith("message_words")}  # full text
    with store.read() as connection:
        assert compare_metadata(MigrationContext.configure(connection, opts=options), metadata) == []
        assert connection.execute(select(ledger_clock.c.change_seq)).scalar_one() == 0
    assert schema.upgrade(store) == []
    assert schema.is_current(store)


@pytest.mark.feature("SET-4")
def test_an_empty_database_is_brought_to_the_newest_schema(
    database_kind: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    url = f"sqlite:///{tmp_path / 'new.db'}"
    if database_kind == "postgresql":
        url = new_database(request.getfixturevalue("postgres_server"), f"t{uuid.uuid4().hex}")
    store = Store(url)
    assert not schema.is_current(store)
    assert schema.upgrade(store) == list(schema.list_revisions())
    assert schema.list_revisions()[-1] == migrate.load_scripts().get_current_head()
    assert schema.is_current(store)
    store.dispose()


@pytest.mark.feature("SET-4")
def test_a_newer_database_is_refused_untouched(store: Store) -> None:
    with store.write() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(InstallationError, match="newer version"):
        schema.upgrade(store)
    with store.read() as connection:
        assert connection.execute(text("SELECT version_num FROM alembic_version")).scalar_one() == "9999"
