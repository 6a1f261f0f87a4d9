"""The copy equals the ledger after every kind of change, costs nothing when there is none, and opens no door."""

import subprocess
import sys
import threading
from pathlib import Path

import duckdb
import pytest
from sqlalchemy import delete, event

from lib.db.engine import Store
from lib.db.tables import usage_logs
from lib.statistics.copy.mirror import Mirror
from tests.statistics.ledger_rows import call, change, raise_epoch, write

SUMS = "SELECT count(*), CAST(sum(cost_nano_usd) AS BIGINT), count(*) FILTER (cost_nano_usd IS NULL) FROM calls"

HOLD = """
import sys, time
from pathlib import Path
from lib.statistics.copy.mirror import TABLES
from lib.statistics.copy import copy_file
held = copy_file.claim(Path(sys.argv[1]), TABLES)
print("held", flush=True)
time.sleep(60)
"""


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
def test_every_value_arrives_as_it_was_written(store: Store) -> None:
    texts = ['a "quoted" name', "comma, name", "two\nlines", "", "it's 50 %", "(NULL)", "Größe 模型 🦊"]
    mirror, rows = Mirror(store), [call(app=text, model=text, cost_nano_usd=None) for text in texts]
    unknown = call(configuration_id=None, user_id=None, first_token_ms=None, cost_nano_usd=10**18, is_final=False)
    write(store, *rows, unknown)
    mirror.refresh()
    assert [app for (app,) in mirror.rows("SELECT app FROM calls WHERE is_final ORDER BY change_seq")] == texts
    assert mirror.rows("SELECT count(*) FROM calls WHERE app = model AND cost_nano_usd IS NULL") == [(len(texts),)]
    names = "configuration_id, user_id, first_token_ms, cost_nano_usd, CAST(id AS VARCHAR)"
    assert mirror.rows(f"SELECT {names} FROM calls WHERE NOT is_final") == [(None, None, None, 10**18, unknown["id"])]


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


@pytest.mark.feature("COST-3")
def test_a_file_keeps_the_copy_and_only_what_is_new_is_read(store: Store, tmp_path: Path) -> None:
    write(store, call())
    mirror = Mirror(store, tmp_path)
    mirror.refresh()
    mirror.close()
    write(store, call(cost_nano_usd=5))
    again = Mirror(store, tmp_path)
    assert again.rows(SUMS) == [(1, 1_000_000, 0)]
    assert again.refresh().change_seq == 2
    assert again.rows(SUMS) == [(2, 1_000_005, 0)]
    again.close()
    assert [path.name for path in tmp_path.glob("copy*")] == ["copy-0.duckdb"]


@pytest.mark.feature("COST-3")
def test_two_processes_on_one_folder_each_have_a_file(store: Store, tmp_path: Path) -> None:
    write(store, call(), call())
    other = subprocess.Popen([sys.executable, "-c", HOLD, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    with other:
        assert other.stdout is not None
        assert other.stdout.readline() == "held\n"
        mirror = Mirror(store, tmp_path)
        mirror.refresh()
        assert mirror.rows("SELECT count(*) FROM calls") == [(2,)]
        second = Mirror(store, tmp_path)  # in one process, too
        second.refresh()
        assert second.rows("SELECT count(*) FROM calls") == [(2,)]
        assert {path.name for path in tmp_path.glob("*.duckdb")} == {f"copy-{n}.duckdb" for n in range(3)}
        other.kill()
    mirror.close()
    second.close()


@pytest.mark.feature("COST-3")
@pytest.mark.parametrize("damage", ["garbage", "cut", "another shape", "another ledger", "an older backup"])
def test_a_copy_that_does_not_fit_is_made_anew(store: Store, tmp_path: Path, damage: str) -> None:
    write(store, *(call() for _ in range(300)))
    mirror = Mirror(store, tmp_path)
    mirror.refresh()
    mirror.close()
    path = tmp_path / "copy-0.duckdb"
    if damage == "garbage":
        path.write_bytes(b"not a database" * 1000)
    elif damage == "cut":
        path.write_bytes(path.read_bytes()[:5000])
    elif damage == "another shape":
        with duckdb.connect(path) as connection:
            connection.execute("UPDATE shape SET digest = 'older'")
    elif damage == "another ledger":
        raise_epoch(store)
    else:
        with duckdb.connect(path) as connection:
            connection.execute("UPDATE seen SET change_seq = 999")
            connection.execute("DELETE FROM calls")
    again = Mirror(store, tmp_path)
    again.refresh()
    assert again.rows("SELECT count(*) FROM calls") == [(300,)]
    again.close()


@pytest.mark.feature("COST-3")
def test_without_a_writable_folder_the_copy_stays_in_memory(
    store: Store, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write(store, call())
    (tmp_path / "file").write_text("in the way")
    mirror = Mirror(store, tmp_path / "file")
    mirror.refresh()
    assert mirror.rows(SUMS) == [(1, 1_000_000, 0)]
    assert "stays in memory" in caplog.text
