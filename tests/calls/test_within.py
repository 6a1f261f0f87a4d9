"""What a call is made within stands in its rows, and only the test of a connection asks what is switched off."""

from collections.abc import Iterator

import pytest
from msgspec.structs import replace

from lib.activity.call_filter import ActivityFilter
from lib.calls.connection_test import check_connection
from lib.calls.request import Origin, Within
from lib.errors import InvalidInput
from lib.settings import Settings
from tests.calls.rig import AMIRA, Rig

WITHIN = Within("nightly", "0190a000-0000-7000-8000-000000000001", "extract", "0190a000-0000-7000-8000-000000000002")


@pytest.fixture
def rig(settings: Settings) -> Iterator[Rig]:
    rig = Rig(settings)
    rig.services.calls.jitter = lambda: 0.0
    yield rig
    rig.services.close()


@pytest.mark.feature("CALL-1")
def test_rows_say_what_a_call_is_made_within(rig: Rig) -> None:
    view = rig.run("error:500", within=WITHIN, max_attempts=2)
    plain = rig.run("say:Done")
    rows = rig.rows(view.call_id)
    names = ("session_id", "workflow_run_id", "workflow_step", "parent_call_id")
    assert [tuple(row[name] for name in names) for row in rows] == [tuple(getattr(WITHIN, n) for n in names)] * 2
    assert [rig.rows(plain.call_id)[0][name] for name in names] == [None] * 4
    wanted = ActivityFilter(sessions=("nightly",), parent_calls=(WITHIN.parent_call_id,), caches=("none",))
    assert [row.call_id for row in rig.services.activity.page(AMIRA, wanted).rows] == [view.call_id]
    assert ActivityFilter.from_query(wanted.to_query()) == wanted
    frame = rig.services.statistics.stats_table(AMIRA, ["session", "cache", "workflow_step"])
    told = {tuple(row) for row in frame[["session", "cache", "workflow_step", "calls"]].itertuples(index=False)}
    assert ("nightly", "none", "extract", 1) in told


@pytest.mark.feature("CALL-1")
def test_whatever_a_call_is_labelled_a_switched_off_configuration_is_refused(rig: Rig) -> None:
    request = rig.request("say:Hello")
    configuration = rig.services.configurations.get(AMIRA, str(request.configuration))
    rig.services.configurations.set_active(AMIRA, configuration.id, False)
    for origin in Origin:
        with pytest.raises(InvalidInput, match="switched off"):
            rig.services.calls.run(replace(request, origin=origin))
    switched_off = rig.services.configurations.get(AMIRA, configuration.id)
    assert check_connection(AMIRA, switched_off, rig.services.calls, rig.services.providers).ok
