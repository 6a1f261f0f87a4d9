"""The log's pages: newest first, counted, summed, filtered, and walked by index."""

import math
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import event, text

from lib.activity.call_filter import CUSTOM, ActivityFilter
from lib.activity.call_log import Activity
from lib.clock import utc_now
from lib.db.engine import Store
from lib.errors import NotFound
from tests.activity.activity_rig import AMIRA, JONAS, account, log, log_all, many, opened

ALL = ActivityFilter(period=CUSTOM)


@pytest.mark.feature("CALL-6")
def test_calls_stand_newest_first_and_sums_leave_out_nothing(store: Store) -> None:
    account(store, AMIRA)
    old = log(store, ago=3 * 86_400, cost_nano_usd=1)
    first = log(store, ago=50, cost_nano_usd=10, call_id="c", is_final=False, status="error")
    final = log(store, ago=40, cost_nano_usd=20, call_id="c", attempt=2)
    unknown = log(store, ago=30, cost_nano_usd=None, cost_status="unpriced")
    page = Activity(store).page(AMIRA, ActivityFilter())
    assert [row.id for row in page.rows] == [unknown, final]
    assert (page.calls, page.cost_nano_usd, page.unpriced, page.pages) == (2, 30, 1, 1)
    assert page.rows[0].user_name == "amira"
    assert page.rows[0].cost_nano_usd is None
    everything = Activity(store).page(AMIRA, ALL)
    assert [row.id for row in everything.rows] == [unknown, final, old]
    assert first not in [row.id for row in everything.rows]


@pytest.mark.feature("CALL-6")
def test_what_runs_stands_on_top_of_the_first_page_only(store: Store) -> None:
    log_all(store, [{"user_id": AMIRA.user_id, "ago": n} for n in range(1, 31)])
    going = opened(store, JONAS, model="gpt-5.1-mini")
    activity = Activity(store)
    page = activity.page(AMIRA, ActivityFilter(), 1, 10)
    assert [row.status for row in page.rows] == ["running"] + ["ok"] * 10
    assert (page.rows[0].id, page.rows[0].total_tokens, page.running, page.calls) == (going, None, 1, 30)
    assert "running" not in [row.status for row in activity.page(AMIRA, ActivityFilter(), 2, 10).rows]
    assert [r.id for r in activity.page(AMIRA, ActivityFilter(statuses=("running",))).rows] == [going]
    assert activity.page(AMIRA, ActivityFilter(statuses=("ok",))).running == 0
    assert activity.page(AMIRA, ActivityFilter(models=("gpt-5.1",))).running == 0
    assert activity.page(AMIRA, ActivityFilter(text=going[:13])).running == 1


@pytest.mark.feature("CALL-6")
def test_pages_together_are_the_whole_list(store: Store) -> None:
    same = utc_now() - timedelta(minutes=5)
    ids = log_all(store, [{"user_id": AMIRA.user_id, "at": same} for _ in range(23)])
    activity = Activity(store)
    for size in (1, 4, 18, 23, 50):
        pages = [activity.page(AMIRA, ALL, n, size) for n in range(1, math.ceil(23 / size) + 1)]
        assert [row.id for page in pages for row in page.rows] == sorted(ids, reverse=True)
    beyond = activity.page(AMIRA, ALL, 99, 18)
    assert (beyond.page, len(beyond.rows)) == (2, 5)
    assert activity.page(AMIRA, ALL, -3, 18).page == 1


@pytest.mark.feature("CALL-6")
@pytest.mark.parametrize(
    ("column", "field"),
    [
        ("provider", "providers"),
        ("model", "models"),
        ("app", "apps"),
        ("user_id", "users"),
        ("status", "statuses"),
        ("origin", "origins"),
        ("error_kind", "error_kinds"),
        ("batch_id", "batches"),
        ("configuration_id", "configurations"),
        ("api_key_id", "api_keys"),
        ("served_model", "served_models"),
        ("service_tier", "service_tiers"),
    ],
)
def test_each_filter_takes_any_of_its_values(store: Store, column: str, field: str) -> None:
    wanted = [log(store, **{column: value}) for value in ("first", "second")]  # type: ignore[arg-type]
    log(store)
    for values, ids in ((("first",), wanted[:1]), (("first", "second"), wanted), (("third",), [])):
        asked: dict[str, Any] = {field: values}
        assert {row.id for row in Activity(store).page(AMIRA, ActivityFilter(**asked)).rows} == set(ids)


@pytest.mark.feature("CALL-6")
def test_calls_are_found_by_all_of_their_tags(store: Store) -> None:
    blue = log(store, tags={"team": "blue", "a.b c": "1=2"})
    log(store, tags={"team": "red"})
    quoted = log(store, tags={'so "called"': "it's", "$.team": 7})
    going = opened(store, tags={"team": "blue"})
    activity = Activity(store)
    for tags, ids in (
        (("team=blue",), {blue, going}),
        (("team=blue", "a.b c=1=2"), {blue}),
        (("""so "called"=it's""",), {quoted}),
        (("$.team=7",), {quoted}),
        (("team=",), set()),
        (("team",), set()),
    ):
        assert {row.id for row in activity.page(AMIRA, ActivityFilter(tags=tags)).rows} == ids


@pytest.mark.feature("CALL-6")
def test_calls_made_here_are_told_from_what_was_brought(store: Store) -> None:
    made, sample = log(store), log(store, batch_id="demo")
    going = opened(store)
    activity = Activity(store)
    assert {row.id for row in activity.page(AMIRA, ActivityFilter(batches=("live",))).rows} == {made, going}
    assert {row.id for row in activity.page(AMIRA, ActivityFilter(batches=("demo",))).rows} == {sample}
    both = activity.page(AMIRA, ActivityFilter(batches=("demo", "live")))
    assert {row.id for row in both.rows} == {made, sample, going}


@pytest.mark.feature("CALL-6")
def test_a_custom_period_includes_its_start_and_not_its_end(store: Store) -> None:
    at = utc_now().replace(microsecond=123456)
    ids = [log(store, at=at + timedelta(hours=n)) for n in range(4)]
    asked = ActivityFilter(start=at + timedelta(hours=1), end=at + timedelta(hours=3))
    assert [row.id for row in Activity(store).page(AMIRA, asked).rows] == [ids[2], ids[1]]


@pytest.mark.feature("CALL-6")
def test_text_is_found_in_ids_errors_prompts_and_answers_literally(store: Store) -> None:
    prompt = log(store, prompt_text="Refund 50%_off of Müller\\Co", response_text=None)
    answer = log(store, prompt_text="x", response_text="The REFUND is due")
    error = log(store, status="error", error_message="Groq is limiting requests. refund later")
    log(store, prompt_text="Nothing of 50 off here", response_text="")

    def found(words: str) -> set[str]:
        return {row.id for row in Activity(store).page(AMIRA, ActivityFilter(text=words)).rows}

    assert found("refund") == {prompt, answer, error}
    assert found("50%_off") == found("Müller\\C") == {prompt}
    assert found("%") == {prompt}
    assert found("limiting") == {error}
    assert found(answer) == found(answer.upper()) == {answer}
    assert found("'; DROP TABLE usage_logs; --") == found("\x00\ud800nothing") == set()


@pytest.mark.feature("CALL-6")
def test_the_detail_has_the_attempts_the_request_and_the_answer(store: Store) -> None:
    account(store, JONAS)
    messages = [{"role": "system", "content": "Be brief"}, {"role": "user", "content": "Hi"}]
    one = log(store, JONAS, ago=9, call_id="c", is_final=False, status="error", error_kind="rate_limit")
    two = log(
        store,
        JONAS,
        ago=8,
        call_id="c",
        attempt=2,
        prompt_text="Hi",
        response_text="Hello",
        request=messages,
        tags={"a": 1},
    )
    detail = Activity(store).detail(JONAS, two)
    assert [row.id for row in detail.attempts] == [one, two]
    assert (detail.user_name, detail.is_own, detail.messages, detail.response_text) == (
        "jonas",
        True,
        messages,
        "Hello",
    )
    assert (detail.log["tags"], detail.log["parameters"], detail.status) == ({"a": 1}, {"temperature": 0.2}, "ok")
    assert Activity(store).detail(JONAS, "c").id == two
    assert Activity(store).detail(JONAS, one).status == "error"


@pytest.mark.feature("CALL-6")
def test_a_running_call_has_a_detail_too(store: Store) -> None:
    going = opened(store, request=[{"role": "user", "content": "Hi"}])
    detail = Activity(store).detail(AMIRA, going)
    assert (detail.status, detail.log["cost_nano_usd"], detail.messages) == (
        "running",
        None,
        [{"role": "user", "content": "Hi"}],
    )
    assert [row.status for row in detail.attempts] == ["running"]


@pytest.mark.feature("CALL-6")
@pytest.mark.parametrize("wrong", ["", "nothing", "\x00", "\ud800", "x" * 5000, "%", "' OR 1=1"])
def test_an_unknown_id_is_not_found(store: Store, wrong: str) -> None:
    log(store)
    with pytest.raises(NotFound):
        Activity(store).detail(AMIRA, wrong)


@pytest.mark.feature("CALL-6")
def test_filters_offer_what_there_is(store: Store) -> None:
    account(store, JONAS)
    log(store, JONAS, provider="groq", model="llama-3.3-70b", app="docs-search")
    log(store, AMIRA)
    log_all(store, [{"user_id": None, "origin": "gateway"}])
    options = Activity(store).options(AMIRA)
    assert (options.providers, options.models) == (["groq", "openai"], ["gpt-5.1", "llama-3.3-70b"])
    assert (options.apps, options.origins) == (["docs-search", "playground"], ["gateway", "playground"])
    assert options.users == {JONAS.user_id: "jonas", AMIRA.user_id: None}


@pytest.mark.feature("CALL-6")
def test_an_empty_ledger_says_so(store: Store) -> None:
    activity = Activity(store)
    assert activity.is_empty(AMIRA)
    page = activity.page(AMIRA, ActivityFilter())
    assert (page.rows, page.calls, page.cost_nano_usd, page.pages) == ([], 0, None, 1)
    opened(store)
    assert not activity.is_empty(AMIRA)


@pytest.mark.feature("CALL-6")
@pytest.mark.parametrize("database_kind", ["sqlite"], indirect=True)
def test_no_view_scans_the_whole_ledger(store: Store) -> None:
    many(store, 3000)
    asked: list[tuple[str, Any]] = []
    event.listen(store.engine, "before_cursor_execute", lambda c, k, sql, values, *_: asked.append((sql, values)))
    activity = Activity(store)
    last = activity.page(AMIRA, ActivityFilter(), 1)
    activity.page(AMIRA, ActivityFilter(), last.pages)
    activity.options(AMIRA)
    activity.detail(AMIRA, last.rows[0].id)
    next(activity.export_csv(AMIRA, ActivityFilter()))
    statements = [(sql, values) for sql, values in asked if "usage_logs" in sql]
    assert len(statements) > 5
    with store.read() as connection:
        for sql, values in statements:
            plan = [row[3] for row in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {sql}", values)]
            scans = [step for step in plan if step.startswith("SCAN usage_") and "USING" not in step]
            assert scans == [], f"{scans} in {sql}"
        connection.execute(text("SELECT 1"))
