"""The one road to a model: every call a row, honest in status, tokens and cost, whatever the provider does."""

import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from msgspec.structs import replace
from sqlalchemy import func, select

from lib.access.permissions import Actor, Role
from lib.calls.request import Origin
from lib.db.tables import open_calls, usage_payloads
from lib.errors import InvalidInput, NotFound, PermissionDenied
from lib.settings import Settings
from tests.calls.rig import AMIRA, JONAS, Rig, within
from tests.waiting import until


@pytest.fixture
def rig(tmp_path: Any, database_url: str) -> Iterator[Rig]:
    made = Rig(Settings(data_dir=tmp_path, database_url=database_url))
    yield made
    made.services.close()


@pytest.mark.feature("CALL-1")
@pytest.mark.feature("CALL-2")
def test_a_call_streams_and_leaves_one_priced_row_with_its_text(rig: Rig) -> None:
    view = rig.run("say:The ledger is exact+usage:1000,200,100+priced", origin=Origin.PLAYGROUND)
    assert (view.status, view.text, view.finish_reason) == ("ok", "The ledger is exact", "stop")
    [row] = rig.rows(view.call_id)
    assert row["id"] == view.log_id
    assert (row["status"], row["is_final"], row["attempt"], row["origin"]) == ("ok", True, 1, "playground")
    assert (row["prompt_tokens"], row["completion_tokens"], row["total_tokens"]) == (1000, 200, 1200)
    assert row["cache_read_tokens"] == 100
    assert (row["usage_source"], row["cost_status"]) == ("provider", "priced")
    assert row["cost_nano_usd"] == view.cost_nano_usd
    assert row["cost_nano_usd"] > 0
    assert row["first_token_ms"] is not None
    assert row["chunks"] >= 4
    assert row["user_id"] == AMIRA.user_id
    with rig.services.store.read() as connection:
        words = connection.execute(select(usage_payloads).where(usage_payloads.c.id == row["id"])).mappings().one()
    assert words["prompt_text"] == "Tell me of ledgers"
    assert words["response_text"] == "The ledger is exact"


@pytest.mark.feature("CALL-2")
def test_live_figures_grow_and_name_the_row_before_it_ends(rig: Rig) -> None:
    call_id = rig.services.calls.start(rig.request("lorem:5000+slow:2ms+priced"))
    until(lambda: rig.services.calls.view(AMIRA, call_id).chunks > 5)
    first = rig.services.calls.view(AMIRA, call_id)
    assert (first.status, first.usage_source) == ("running", "estimated")
    assert first.log_id
    until(lambda: rig.services.calls.view(AMIRA, call_id).chunks > first.chunks)
    later = rig.services.calls.view(AMIRA, call_id)
    assert later.text.startswith(first.text)
    assert (later.cost_nano_usd or 0) >= (first.cost_nano_usd or 0) > 0
    rig.services.calls.stop(AMIRA, call_id)
    ended = rig.services.calls.wait(AMIRA, call_id)
    assert len(ended.events) <= 100
    assert [e.name for e in ended.events if e.name in ("opened", "sent", "first token", "stopped", "closed")][
        -1
    ] == "closed"


@pytest.mark.feature("CALL-3")
@pytest.mark.parametrize("script", ["silent", "stall:3", "lorem:5000+slow:20ms"])
def test_stop_ends_a_call_even_in_silence_and_keeps_what_came(rig: Rig, script: str) -> None:
    call_id = rig.services.calls.start(rig.request(script + "+priced"))
    if script != "silent":
        until(lambda: rig.services.calls.view(AMIRA, call_id).chunks >= 3)
    rig.services.calls.stop(AMIRA, call_id)
    rig.services.calls.stop(AMIRA, call_id)  # a second click changes nothing
    view = rig.services.calls.wait(AMIRA, call_id, timeout_s=5)
    [row] = rig.rows(call_id)
    assert view.status == row["status"] == "cancelled"
    assert row["usage_source"] == "estimated"
    assert row["cost_status"] == "estimated"
    assert bool(view.text) is (script != "silent")
    with rig.services.store.read() as connection:
        assert connection.scalar(select(func.count()).select_from(open_calls)) == 0


@pytest.mark.feature("CALL-4")
@pytest.mark.parametrize(
    ("script", "status", "kind"),
    [
        ("cut:3", "truncated", "stream_cut"),
        ("error:401", "error", "authentication"),
        ("error:404", "error", "model_not_found"),
        ("error:400", "error", "bad_request"),
        ("error:500+after:3", "error", "server_error"),
        ("error:connection+after:3", "truncated", "connection"),
    ],
)
def test_what_went_wrong_is_the_status_and_is_not_tried_again(rig: Rig, script: str, status: str, kind: str) -> None:
    view = rig.run(script + "+priced")
    [row] = rig.rows(view.call_id)
    assert (row["status"], row["error_kind"]) == (status, kind)
    assert row["error_message"]
    if view.text:
        assert row["usage_source"] == "estimated"
        assert row["cost_nano_usd"] > 0
    else:
        assert (row["usage_source"], row["prompt_tokens"], row["cost_nano_usd"]) == ("none", None, 0)


@pytest.mark.feature("CALL-4")
@pytest.mark.parametrize("script", ["error:429,0", "error:500", "error:503", "error:529", "error:connection"])
def test_every_attempt_is_a_row_and_only_the_last_is_final(rig: Rig, script: str) -> None:
    rig.services.calls.jitter = lambda: 0.0
    view = rig.run(script, max_attempts=3)
    rows = rig.rows(view.call_id)
    assert [row["attempt"] for row in rows] == [1, 2, 3]
    assert [row["is_final"] for row in rows] == [False, False, True]
    assert {row["status"] for row in rows} == {"error"}
    assert len({row["id"] for row in rows}) == 3


@pytest.mark.feature("CALL-3")
def test_stop_between_two_attempts_sends_nothing_more(rig: Rig) -> None:
    call_id = rig.services.calls.start(rig.request("error:429,25"))
    until(lambda: any(e.name == "waiting" for e in rig.services.calls.view(AMIRA, call_id).events))
    rig.services.calls.stop(AMIRA, call_id)
    view = rig.services.calls.wait(AMIRA, call_id, timeout_s=5)
    assert view.status == "cancelled"
    assert [row["status"] for row in rig.rows(call_id)] == ["error", "cancelled"]
    assert rig.rows(call_id)[1]["cost_nano_usd"] == 0


@pytest.mark.feature("CALL-4")
@pytest.mark.parametrize(
    ("script", "limits", "kind"),
    [
        ("silent", {"first_token_s": 0.05}, "timeout_first_token"),
        ("stall:3", {"idle_s": 0.05}, "timeout_idle"),
        ("lorem:5000+slow:5ms", {"total_s": 0.1}, "timeout_total"),
    ],
)
def test_each_deadline_ends_a_call_as_a_timeout(rig: Rig, script: str, limits: dict[str, float], kind: str) -> None:
    view = rig.run(script + "+priced", deadlines=within(**limits))
    [row] = rig.rows(view.call_id)
    assert (row["status"], row["error_kind"]) == ("timeout", kind)
    assert row["cost_status"] == "estimated"


@pytest.mark.feature("CALL-5")
def test_missing_counts_are_estimated_and_say_so_and_an_explicit_zero_stays(rig: Rig) -> None:
    [guessed] = rig.rows(rig.run("lorem:60+no-usage+priced").call_id)
    assert (guessed["usage_source"], guessed["cost_status"]) == ("estimated", "estimated")
    assert guessed["completion_tokens"] > 30
    [zero] = rig.rows(rig.run("lorem:60+usage:0,0+priced").call_id)
    assert (zero["usage_source"], zero["total_tokens"], zero["cost_nano_usd"]) == ("provider", 0, 0)


@pytest.mark.feature("CALL-4")
def test_an_unknown_price_is_null_and_a_free_model_an_explicit_zero(rig: Rig) -> None:
    [unknown] = rig.rows(rig.run("echo+unpriced").call_id)
    assert (unknown["cost_nano_usd"], unknown["cost_status"]) == (None, "unpriced")
    [free] = rig.rows(rig.run("echo").call_id)
    assert (free["cost_nano_usd"], free["cost_status"]) == (0, "free")


@pytest.mark.feature("CALL-1")
def test_a_call_outlives_its_starter_and_is_read_back_from_the_ledger(rig: Rig) -> None:
    view = rig.run("say:Kept for later+think:3")
    rig.services.calls._calls.clear()  # as after ten minutes, or in another process
    again = rig.services.calls.view(AMIRA, view.call_id)
    assert (again.text, again.status, again.log_id) == ("Kept for later", "ok", view.log_id)
    assert again.reasoning


@pytest.mark.feature("ACC-4")
def test_a_call_belongs_to_its_user_alone(rig: Rig) -> None:
    live = rig.services.calls.start(rig.request("lorem:5000+slow:20ms"))
    ended = rig.run("echo")
    rig.services.calls._calls.pop(ended.call_id)
    for call_id in (live, ended.call_id):
        with pytest.raises(NotFound):
            rig.services.calls.view(JONAS, call_id)
        with pytest.raises(NotFound):
            rig.services.calls.stop(JONAS, call_id)
    assert rig.services.calls.running(JONAS) == []
    assert rig.services.calls.running(AMIRA) == [live]
    rig.services.calls.stop(AMIRA, live)


def test_a_request_that_makes_no_sense_is_refused_before_anything_is_written(rig: Rig) -> None:
    for prompt in ("", "  \n", "x" * 4_000_001):
        with pytest.raises(InvalidInput):
            rig.services.calls.start(rig.request("echo", prompt=prompt))
    powerless = Actor("u", "nobody", Role.ADMINISTRATOR)
    with pytest.raises(PermissionDenied):
        rig.services.calls.start(rig.request("echo", actor=powerless))
    request = rig.request("echo")
    with pytest.raises(NotFound):
        rig.services.calls.start(replace(request, configuration="no-such-configuration"))
    with rig.services.store.read() as connection:
        assert connection.scalar(select(func.count()).select_from(open_calls)) == 0


@pytest.mark.feature("CALL-4")
def test_closing_the_process_leaves_nothing_open(rig: Rig) -> None:
    call_id = rig.services.calls.start(rig.request("lorem:5000+slow:20ms"))
    rig.services.calls.close(grace_s=0)
    [row] = rig.rows(call_id)
    assert row["status"] == "cancelled"
    assert rig.services.calls.recover() == 0


def test_text_no_store_accepts_is_cleaned(rig: Rig) -> None:
    view = rig.run("echo", prompt="a\x00b \ud800 c")
    assert view.status == "ok"
    assert len(rig.rows(view.call_id)) == 1


@pytest.mark.feature("CALL-1")
def test_calls_may_be_started_from_many_threads_at_once(rig: Rig) -> None:
    request = rig.request("echo")
    for _ in range(300):  # calls of before are kept for a while, and looked through at each start
        rig.services.calls.run(request)
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        with ThreadPoolExecutor(8) as pool:
            views = list(pool.map(lambda _: rig.services.calls.run(request), range(160)))
    finally:
        sys.setswitchinterval(before)
    assert {view.status for view in views} == {"ok"}
