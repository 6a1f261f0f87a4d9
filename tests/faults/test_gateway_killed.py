"""kill -9 of gateway workers under load: what was acknowledged has its row, no budget is passed, nothing stays open."""

from collections.abc import Callable
from pathlib import Path

import pytest

from benchmarks.gateway_rig.kills import kill_under_load
from benchmarks.gateway_rig.load import Load
from benchmarks.gateway_rig.product import COST_NANO, Installation, free_port, module, rest
from tests.counts import cases, repeats

pytestmark = [pytest.mark.feature("GATE-4"), pytest.mark.feature("CALL-4")]
ANSWERS = 20_000 * repeats(1, 25)  # what the budget has room for
KILLS = repeats(2, 50)


@pytest.mark.parametrize(
    ("database_kind", "streams"),
    cases(("sqlite", True), ("postgresql", False), full=[("sqlite", False), ("postgresql", True)]),
)
def test_a_killed_worker_loses_nothing_that_was_acknowledged(
    database_url: str, tmp_path: Path, streams: bool, record_property: Callable[[str, object], None]
) -> None:
    upstream, port = free_port(), free_port()
    with module("upstream", upstream, 5):
        installation = Installation(tmp_path, upstream, database_url, ANSWERS * COST_NANO)
        with installation.gateway(port, workers=2) as gateway:
            rest(gateway.pid)
            load = Load(port, 12, streams, 3600.0, installation.key, ids=True)
            found = kill_under_load(gateway.pid, load, KILLS)
            assert gateway.poll() is None
        record_property("counted", ("gateway workers killed", KILLS))
        record_property("counted", ("calls acknowledged around the kills", found.calls))
        assert found.calls > 0
        assert set(found.statuses) <= {"lost"}, "a killed worker refuses nobody"
        assert len(set(found.ids)) == found.calls
        assert installation.unwritten(found.ids) == set()
        sums = installation.sums()
        assert sums.faults(found.calls, exactly=False) == []
        assert sums.spent <= installation.limit_nano
        assert sums.orphaned <= KILLS * load.clients
        assert sums.ended == sums.ok + sums.orphaned
        assert installation.sums() == sums, "a second start finds nothing left to do"
