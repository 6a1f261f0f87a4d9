"""Who is alive, by anybody's clock: counts that grow, rows that go, numbers of processes that are used again."""

import os

import pytest
from sqlalchemy import update

from lib.db.engine import Store
from lib.db.tables import work_processes
from lib.work import processes
from lib.work.processes import DEAD_S, Processes

pytestmark = pytest.mark.feature("FLOW-2")


def test_a_process_is_dead_when_its_beats_stop_by_the_watchers_own_clock(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(processes, "read_host_key", lambda: "")
    now = [1000.0]
    watcher = Processes(store, lambda: now[0])
    other = Processes(store)
    watcher.enter()
    other.enter()
    both = [watcher.executor_id, other.executor_id]
    assert watcher.executor_id != other.executor_id
    assert watcher.list_dead([*both, "never seen"]) == ["never seen"]
    for _ in range(3):
        now[0] += DEAD_S - 1
        other.beat()
        assert watcher.list_dead(both) == []
    now[0] -= 5000  # a clock that jumps backwards kills nobody
    assert watcher.list_dead(both) == []
    now[0] += 5000 + DEAD_S
    assert watcher.list_dead(both) == [other.executor_id]
    other.beat()
    assert watcher.list_dead(both) == []
    other.leave()
    assert watcher.list_dead(both) == [other.executor_id]
    other.beat()  # it was only slow
    assert watcher.list_dead(both) == []


@pytest.mark.skipif(not processes.read_host_key(), reason="the kernel tells nothing of its processes")
def test_on_the_same_kernel_a_lost_process_is_dead_at_once(store: Store) -> None:
    watcher = Processes(store)
    other = Processes(store)
    other.enter()
    assert watcher.list_dead([other.executor_id]) == []
    with store.write() as connection:
        connection.execute(update(work_processes).values(pid_started=(processes.read_start(os.getpid()) or 0) + 1))
    assert watcher.list_dead([other.executor_id]) == [other.executor_id], "its number was used again"
