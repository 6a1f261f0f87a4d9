"""What is older than its time leaves, in batches, and copies of the ledger learn of it."""

import signal
import subprocess
import sys
import threading
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import func, insert, select, update

from lib.access.audit import Audit, AuditCriteria
from lib.access.permissions import OPERATOR, Role, make_actor
from lib.clock import make_id, utc_now
from lib.db import installation
from lib.db.engine import Store
from lib.db.tables import audit_log, ledger_clock, login_failures, sessions, usage_logs, usage_payloads
from lib.errors import Conflict, InvalidInput, PermissionDenied
from lib.jobs.lease import JobLease
from lib.jobs.retention import Days, Deleted, Retention
from lib.jobs.scheduler import EVERY, Scheduler
from lib.settings import PROJECT
from tests.activity.activity_rig import log_all
from tests.waiting import CEILING_S

pytestmark = pytest.mark.feature("CALL-8")
DAY = 86_400
SECRET = "a word that was to be forgotten"


def count(store: Store, table: object) -> int:
    with store.read() as connection:
        return connection.scalar(select(func.count()).select_from(table)) or 0  # type: ignore[arg-type]


def epoch(store: Store) -> int:
    with store.read() as connection:
        return int(connection.scalar(select(ledger_clock.c.epoch)) or 0)


def old_and_new(store: Store) -> None:
    log_all(store, [{"ago": age * DAY, "prompt_text": SECRET} for age in (1, 1, 40, 40, 40, 400, 400)])


def test_the_default_keeps_everything(store: Store) -> None:
    old_and_new(store)
    retention = Retention(store)
    assert retention.days(OPERATOR) == Days()
    assert retention.run(OPERATOR) == Deleted()
    assert retention.run_if_due(lambda: True) is None
    assert (count(store, usage_logs), count(store, usage_payloads)) == (7, 7)
    assert not Audit(store).page(OPERATOR, AuditCriteria(actions=("retention.run",))).count


def test_words_leave_and_calls_stay(store: Store) -> None:
    old_and_new(store)
    retention, before = Retention(store), epoch(store)
    retention.change(OPERATOR, Days(words=30))
    assert retention.preview(OPERATOR) == Deleted(words=5)
    assert (count(store, usage_logs), count(store, usage_payloads)) == (7, 7)  # a look deletes nothing
    assert retention.run(OPERATOR) == Deleted(words=5)
    assert (count(store, usage_logs), count(store, usage_payloads)) == (7, 2)
    assert epoch(store) == before
    assert retention.run(OPERATOR) == Deleted()


def test_calls_leave_in_batches_with_their_words_and_raise_the_epoch_once(store: Store) -> None:
    old_and_new(store)
    retention, before = Retention(store, batch=2), epoch(store)
    with pytest.raises(Conflict, match="deletes 5 rows of the ledger"):
        retention.change(OPERATOR, Days(calls=30))
    with pytest.raises(Conflict):
        retention.change(OPERATOR, Days(calls=30), confirmed_calls=4)
    retention.change(OPERATOR, Days(calls=30), confirmed_calls=5)
    assert retention.run(OPERATOR) == Deleted(calls=5)
    assert (count(store, usage_logs), count(store, usage_payloads)) == (2, 2)
    assert epoch(store) == before + 1
    (entry,) = Audit(store).page(OPERATOR, AuditCriteria(actions=("retention.run",))).entries
    assert entry.detail == {"words": 0, "calls": 5, "metrics": 0, "audit": 0, "sign_ins": 0}
    last = retention.last_run(OPERATOR)
    assert last is not None
    assert (last.by, last.deleted) == ("operator", Deleted(calls=5))


def test_the_statistics_forget_what_left(store: Store) -> None:
    from lib.statistics.copy.mirror import Mirror

    old_and_new(store)
    mirror, retention = Mirror(store), Retention(store)
    try:
        mirror.refresh()
        assert mirror.rows("SELECT count(*) FROM calls") == [(7,)]
        retention.change(OPERATOR, Days(calls=30), confirmed_calls=5)
        retention.run(OPERATOR)
        mirror.refresh()
        assert mirror.rows("SELECT count(*) FROM calls") == [(2,)]
    finally:
        mirror.close()


def test_the_audit_log_and_sign_ins_have_times_of_their_own(store: Store) -> None:
    now, old = utc_now(), utc_now() - timedelta(days=60)
    with store.write() as connection:
        for at in (now, old):
            entry = {"id": make_id(), "at": at, "user_name": "x", "action": "a", "subject": "s", "detail": {}}
            connection.execute(insert(audit_log), entry)
            session = {"token_hash": make_id(), "user_id": "u", "created_at": at, "last_seen_at": at, "expires_at": now}
            connection.execute(insert(sessions), session)
            connection.execute(insert(login_failures), {"subject": make_id(), "failures": 1, "last_failed_at": at})
    retention = Retention(store)
    with pytest.raises(InvalidInput, match="29 days"):
        retention.change(OPERATOR, Days(audit=29))
    retention.change(OPERATOR, Days(audit=30, sign_ins=30))
    assert retention.run(OPERATOR) == Deleted(audit=1, sign_ins=2)
    assert (count(store, sessions), count(store, login_failures)) == (1, 1)


def test_the_job_runs_once_a_day_and_again_after_a_change(store: Store) -> None:
    retention = Retention(store)
    retention.change(OPERATOR, Days(words=30))
    assert retention.run_if_due(lambda: True) == Deleted()
    assert retention.run_if_due(lambda: True) is None
    retention.change(OPERATOR, Days(words=20))
    assert retention.run_if_due(lambda: False) == Deleted()  # told to stop: not done for today
    assert retention.run_if_due(lambda: True) == Deleted()
    assert retention.run_if_due(lambda: True) is None


_CHILD = """
import os, signal, sys
sys.path.insert(0, {project!r})
from lib.access.permissions import OPERATOR
from lib.db.engine import Store
from lib.jobs import retention
batches = iter(range(10))
def go_on():
    if next(batches) == 2:
        os.kill(os.getpid(), signal.SIGKILL)
    return True
retention.Retention(Store({url!r}), batch=2).run(OPERATOR, go_on)
"""


def test_a_run_killed_in_the_middle_is_made_up_for(store: Store, database_url: str) -> None:
    old_and_new(store)
    retention, before = Retention(store), epoch(store)
    retention.change(OPERATOR, Days(calls=30), confirmed_calls=5)
    code = _CHILD.format(project=str(PROJECT), url=database_url)
    child = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert child.returncode == -signal.SIGKILL, child.stderr
    assert (count(store, usage_logs), epoch(store)) == (3, before)
    assert retention.run_if_due(lambda: True) == Deleted(calls=1)
    assert (count(store, usage_logs), epoch(store)) == (2, before + 1)


def test_only_super_admins_decide(store: Store) -> None:
    retention, developer = Retention(store), make_actor("u", "li", Role.MASTER_DEVELOPER)
    deeds = (retention.days, retention.preview, retention.last_run, retention.run)
    for deed in deeds:
        with pytest.raises(PermissionDenied, match="change what is kept"):
            deed(developer)
    with pytest.raises(PermissionDenied):
        retention.change(developer, Days())


def test_deleted_words_are_gone_from_the_files(tmp_path: Path, sqlite_template: Path) -> None:
    path = tmp_path / "llm_manager.db"
    path.write_bytes(sqlite_template.read_bytes())
    store = Store(f"sqlite:///{path}")
    old_and_new(store)
    log_all(store, [{"ago": 40 * DAY, "prompt_text": SECRET * 1000}])
    retention = Retention(store)
    retention.change(OPERATOR, Days(words=1))
    held = b"".join(file.read_bytes() for file in tmp_path.iterdir())
    assert SECRET.encode() in held
    with store.write() as connection:
        connection.execute(update(usage_logs).values(started_at=utc_now() - timedelta(days=9)))
    retention.run(OPERATOR)
    held = b"".join(file.read_bytes() for file in tmp_path.iterdir())
    assert SECRET.encode() not in held
    store.dispose()


def test_one_of_two_processes_runs_a_job(store: Store) -> None:
    ran: list[str] = []
    here = Scheduler(store, {"x": lambda _: ran.append("here")})
    there = Scheduler(store, {"x": lambda _: ran.append("there")})
    assert here.look() == ["x"]
    assert there.look() == []  # not due before an hour is over
    assert ran == ["here"]
    with store.write() as connection:
        value = installation.read(connection, "lease.x")
        installation.write(connection, "lease.x", value | {"until": (utc_now() - EVERY).isoformat()})
    assert there.look() == ["x"]
    assert ran == ["here", "there"]


def test_a_lease_is_one_processs_until_it_runs_out(store: Store) -> None:
    first, second = JobLease(store, "x", "first"), JobLease(store, "x", "second")
    assert first.take()
    assert not second.take()
    assert first.renew()
    assert not second.renew()
    with store.write() as connection:  # the first was killed, ten minutes ago
        installation.write(connection, "lease.x", {"owner": "first", "until": utc_now().isoformat()})
    assert second.take()
    assert not first.renew()
    first.done(timedelta(0))
    assert not JobLease(store, "x", "third").take()


def test_a_job_that_fails_does_not_stop_the_others(store: Store) -> None:
    ran: list[bool] = []

    def fails(go_on: object) -> None:
        raise RuntimeError("as expected")

    assert Scheduler(store, {"bad": fails, "good": lambda go_on: ran.append(True)}).look() == ["good"]
    assert ran == [True]


def test_the_thread_looks_and_stops(store: Store) -> None:
    looked = threading.Event()
    scheduler = Scheduler(store, {"x": lambda go_on: looked.set()}, look_every_s=0.01)
    scheduler.start()
    assert looked.wait(CEILING_S)
    scheduler.stop()
    assert not any(thread.is_alive() for thread in scheduler._threads)
