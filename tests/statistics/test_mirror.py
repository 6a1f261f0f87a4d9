"""The copy equals the ledger after every kind of change, costs nothing when there is none, and opens no door."""

import threading

import duckdb
import pytest
from ledger_rows import call, change, raise_epoch, write
from sqlalchemy import delete, event

from lib.db.engine import Store
from lib.db.tables import usage_logs
from lib.statistics.mirror import Mirror

SUMS = "SELECT count(*), CAST(sum(cost_nano_usd) AS BIGINT), count(*) FILTER (cost_nano_usd IS NULL) FROM calls"


@pytest.mark.feature("COST-3")
def test_it_follows_new_and_changed_rows(store: Store) -> None:
    mirror = Mirror(store)
    first, second = call(), call(cost_nano_usd=None, cost_status="unpriced")
    assert mirror.refresh().change_seq == 0
    write(store, first)
    mirror.refresh()
    assert mirror.rows(SUMS) == [(1, 1_000_000, 0)]
    write(store, second)
    change(store, first["id"], cost_nano_usd=2_000_000)
    assert mirror.refresh().change_seq == 3
    assert mirror.rows(SUMS) == [(2, 2_000_000, 1)]
    assert mirror.rows("SELECT started_at FROM calls LIMIT 1") == [(first["started_at"].replace(tzinfo=None),)]


@pytest.mark.feature("COST-3")
def test_it_starts_over_when_rows_have_left(store: Store) -> None:
    mirror, gone = Mirror(store), call()
    write(store, gone, call())
    mirror.refresh()
    with store.write() as connection:
        connection.execute(delete(usage_logs).where(usage_logs.c.id == gone["id"]))
    raise_epoch(store)
    mirror.refresh()
    assert mirror.rows(SUMS) == [(1, 1_000_000, 0)]


@pytest.mark.feature("COST-3")
def test_without_change_only_the_clock_is_read(store: Store) -> None:
    mirror, statements = Mirror(store), []
    write(store, call())
    mirror.refresh()
    event.listen(store.engine, "before_cursor_execute", lambda *args: statements.append(args[2]))
    mirror.refresh()
    read = [statement for statement in statements if statement != "BEGIN"]
    assert len(read) == 1
    assert "ledger_clock" in read[0]


def test_threads_ask_and_refresh_together(store: Store) -> None:
    mirror, found = Mirror(store), list[int]()

    def ask() -> None:
        mirror.refresh()
        found.append(mirror.rows("SELECT count(*) FROM calls")[0][0])

    write(store, *(call() for _ in range(500)))
    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [500] * 8


@pytest.mark.feature("COST-3")
@pytest.mark.parametrize(
    "statement",
    [
        "SELECT * FROM read_csv('/etc/passwd')",
        "COPY calls TO '/tmp/out.csv'",
        "ATTACH '/tmp/other.db'",
        "SET enable_external_access = true",
        "INSTALL httpfs",
    ],
)
def test_no_file_no_network_no_settings(statement: str, tmp_path: object) -> None:
    mirror = Mirror(Store(f"sqlite:///{tmp_path}/x.db"))
    with pytest.raises(duckdb.Error, match=r"disabled|locked|annot"):
        mirror.rows(statement)
