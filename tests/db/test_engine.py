"""Two writers never see "database is locked", and damage is told in a sentence, with the file left as it was."""

import contextlib
import threading
from pathlib import Path

import pytest
from sqlalchemy import func, insert, select, update
from sqlalchemy.exc import IntegrityError

from lib.clock import make_id, utc_now
from lib.db import schema
from lib.db.engine import Store
from lib.db.failures import explain_message
from lib.db.tables import installation_settings, ledger_clock, processes, workflow_versions
from lib.errors import InstallationError, InvalidInput


@pytest.mark.feature("SET-4")
def test_writers_that_read_first_wait_for_one_another(store: Store) -> None:
    failures: list[BaseException] = []

    def count_up() -> None:
        try:
            for _ in range(25):
                with store.write() as connection:
                    seen = connection.scalar(select(ledger_clock.c.change_seq).with_for_update())
                    connection.execute(update(ledger_clock).values(change_seq=(seen or 0) + 1))
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=count_up) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    with store.read() as connection:
        assert connection.scalar(select(ledger_clock.c.change_seq)) == 200


def test_a_failed_transaction_leaves_nothing(store: Store) -> None:
    row = {"id": make_id(), "host": "h", "pid": 1, "started_at": utc_now(), "seen_at": utc_now()}
    with pytest.raises(IntegrityError), store.write() as connection:
        connection.execute(insert(processes), [row, row])
    with store.read() as connection:
        assert connection.scalar(select(func.count()).select_from(processes)) == 0


def test_a_connection_that_is_in_use_when_the_store_closes_is_closed_on_its_return(store: Store) -> None:
    with store.engine.connect() as connection:
        in_use = connection.connection.dbapi_connection
        store.dispose()
        assert connection.scalar(select(1)) == 1
    with pytest.raises(Exception, match="closed"):
        in_use.cursor()  # type: ignore[union-attr]


@pytest.mark.parametrize("damage", [b"not a database at all" * 400, b"\x00" * 4096 + b"junk" * 100])
def test_a_damaged_file_is_refused_and_left_as_it_is(tmp_path: Path, damage: bytes) -> None:
    path = tmp_path / "llm_manager.db"
    path.write_bytes(damage)
    store = Store(f"sqlite:///{path}")
    with pytest.raises(InstallationError, match="damaged"):
        schema.upgrade(store)
    assert path.read_bytes() == damage
    store.dispose()


def test_what_an_operator_can_repair_is_a_sentence() -> None:
    assert "full" in str(explain_message("database or disk is full", "x.db"))
    assert "can't be written" in str(explain_message("attempt to write a readonly database", "x.db"))
    assert "busy" in str(explain_message("database is locked", "x.db"))
    assert "does not answer" in str(explain_message("connection failed: Connection refused", "x"))
    assert explain_message("no such table: nonsense", "x.db") is None
    with pytest.raises(InstallationError, match="DATABASE_URL"):
        Store("this is no url")


def test_moments_need_a_zone(store: Store) -> None:
    row = {"id": make_id(), "host": "h", "pid": 1, "started_at": utc_now(), "seen_at": utc_now()}
    with pytest.raises(Exception, match="time zone"), store.write() as connection:
        connection.execute(insert(processes), row | {"seen_at": utc_now().replace(tzinfo=None)})
    with store.write() as connection:
        connection.execute(insert(processes), row)
    with store.read() as connection:
        assert connection.scalar(select(processes.c.seen_at)) == row["seen_at"]


@pytest.mark.feature("GATE-5")
def test_a_value_that_its_column_does_not_hold_is_the_askers_to_correct(store: Store) -> None:
    long_name = {"name": "x" * 500, "value": {}, "updated_at": utc_now()}  # SQLite keeps texts of any length
    too_long = contextlib.nullcontext() if store.is_sqlite else pytest.raises(InvalidInput, match="longer")
    with too_long, store.write() as connection:
        connection.execute(insert(installation_settings), long_name)
    with pytest.raises(InvalidInput, match="number"), store.read() as connection:
        connection.scalar(select(workflow_versions.c.hash).where(workflow_versions.c.version == 10**30))
