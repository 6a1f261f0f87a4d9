"""The Activity page: the address is its state, one call in full, and what the visitor may not read stays away."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import insert, select
from streamlit.testing.v1 import AppTest

from lib.access.permissions import Role, make_actor
from lib.clock import make_id, utc_now
from lib.db.tables import cache_hits, usage_logs
from lib.settings import Settings
from tests.activity.activity_rig import JONAS, account, log, opened
from tests.pages.visitor import Visitor, press, run, words

pytestmark = [pytest.mark.feature("CALL-6"), pytest.mark.filterwarnings("default")]
NASTY = "![x](https://evil.example/x.png) <script>alert(1)</script> [go](javascript:alert(1)) $1 and $2"


@pytest.fixture
def visitor(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[Visitor]:
    visitor = Visitor(settings, monkeypatch, Role.DEVELOPER)
    yield visitor
    visitor.close()


def own(visitor: Visitor, **values: Any) -> str:
    (user_id,) = (user.id for user in visitor.services.users.list(make_actor(None, "", Role.SUPER_ADMIN)))
    return log(visitor.services.store, make_actor(user_id, "amira", Role.DEVELOPER), **values)


def note_hit(visitor: Visitor, call_id: str, original_call_id: str) -> None:
    """Note that a call of the visitor's was answered from memory."""
    store = visitor.services.store
    with store.read() as connection:
        query = select(usage_logs.c.user_id, usage_logs.c.team_id).where(usage_logs.c.call_id == call_id)
        owner = dict(connection.execute(query).mappings().one())
    row = {"call_id": call_id, "original_call_id": original_call_id, "tier": "exact", "created_at": utc_now()}
    with store.write() as connection:
        connection.execute(insert(cache_hits), row | owner | {"entry_id": make_id(), "configuration_id": make_id()})


def said(page: AppTest) -> str:
    """Everything that is read as Markdown."""
    return words(page) + "".join(error.proto.title + error.proto.body for error in page.error)


def test_an_empty_ledger_says_what_will_be_here(visitor: Visitor) -> None:
    page = visitor.open("activity")
    assert "No calls yet" in words(page)
    assert len(page.dataframe) == 0


def test_calls_stand_in_a_table_with_their_sums(visitor: Visitor) -> None:
    own(visitor, cost_nano_usd=4_100_000)
    own(visitor, cost_nano_usd=None, cost_status="unpriced", status="truncated")
    opened(visitor.services.store, JONAS)
    page = visitor.open("activity")
    shown = page.dataframe[0].value
    assert [status[0] for status in shown["status"]] == ["● running", "✂ truncated", "✓ ok"]
    assert shown["cost"].fillna("—").tolist() == ["—", "—", "$0.0041"]
    assert "1 – 2 of 2 calls · 1 running · ≥ \\$0.0041 · 1 unpriced" in words(page)
    assert "Last 24 h · UTC" in words(page)


def test_a_retried_call_says_its_whole_time_and_why_it_failed(visitor: Visitor) -> None:
    first = {"call_id": "retried", "is_final": False, "status": "error", "error_kind": "rate_limited"}
    began = utc_now() - timedelta(seconds=60)
    own(visitor, at=began, execution_time_ms=100, **first)
    last = first | {"is_final": True, "attempt": 2, "execution_time_ms": 250}
    own(visitor, at=began + timedelta(seconds=6), **last)
    table = visitor.open("activity").dataframe[0]
    assert table.value["duration"].tolist() == [6_250]
    assert table.value["reason"].tolist() == ["rate limited"]
    assert "reason" in list(table.proto.column_order)


def test_the_address_filters_and_clear_empties_it(visitor: Visitor) -> None:
    own(visitor, status="error", error_message="Groq is limiting requests. Wait.")
    own(visitor, ago=8 * 86_400)
    own(visitor)
    page = visitor.open("activity", period="30d", status="error")
    assert len(page.dataframe[0].value) == 1
    page = press(page, "Clear")
    assert dict(page.query_params) == {}
    assert len(page.dataframe[0].value) == 2
    page.text_input[0].set_value("limiting")
    run(page)
    assert dict(page.query_params) == {"q": "limiting"}
    assert len(page.dataframe[0].value) == 1
    page.multiselect[0].set_value(["openai"])
    run(page)
    assert dict(page.query_params) == {"q": "limiting", "provider": "openai"}


def test_a_filter_that_finds_nothing_offers_the_way_back(visitor: Visitor) -> None:
    own(visitor)
    page = visitor.open("activity", q="nothing has these words")
    assert "No call matches" in words(page)
    page = press(page, "Clear filters")
    assert len(page.dataframe[0].value) == 1


def test_an_address_with_an_id_opens_the_call_whatever_its_date(visitor: Visitor) -> None:
    long_ago, five_minutes = 400 * 86_400, 300
    own(visitor, ago=long_ago + five_minutes, call_id="paid")
    told = {"prompt_text": "Why?", "response_text": "Because.", "model": "gpt-4.1"}
    hit = {"call_id": "hit", "cache": "exact", "cost_nano_usd": 0, "saved_nano_usd": 4_100_000}
    old = own(visitor, ago=long_ago, **told, **hit)
    note_hit(visitor, "hit", "paid")
    page = visitor.open("activity", id=old)
    assert "exact\\) · saved \\$0.0041 · given 5 min before" in words(page)
    assert any(button.label == "Ask again without the cache" for button in page.button)
    assert f"Call {old[-8:]}" in words(page)
    assert "120 → 30" in words(page)
    assert [code.value for code in page.code][:2] == ["Why?", "Because."]
    assert any(button.label == "Open in playground" for button in page.button)
    assert any(code.value.endswith(f"?id={old}") for code in page.code)
    close = next(button for button in page.button if button.key == "close-id")
    close.click()
    run(page)
    assert "id" not in page.query_params


def test_somebody_elses_call_shows_figures_and_no_words(visitor: Visitor) -> None:
    account(visitor.services.store, JONAS)
    theirs = log(visitor.services.store, JONAS, prompt_text="secret words", response_text="secret answer")
    page = visitor.open("activity", id=theirs)
    everything = words(page) + "".join(code.value for code in page.code)
    assert "jonas" in everything
    assert "Words stay with their author" in everything
    assert "secret" not in everything
    assert not any(button.label == "Open in playground" for button in page.button)


@pytest.mark.parametrize("wrong", ["unknown", "\x00", "%", "x" * 3000])
def test_an_unknown_id_is_told_beside_the_list(visitor: Visitor, wrong: str) -> None:
    own(visitor)
    page = visitor.open("activity", id=wrong)
    assert "There is no such call" in page.error[0].proto.title
    assert len(page.dataframe) == 1


@pytest.mark.parametrize(
    "query",
    [
        {"period": "eternity", "from": "yesterday", "to": "\x00", "page": "-1"},
        {"page": "99999999999", "status": "fine", "user": "nobody", "model": "none"},
        {"period": "custom"},
        {"period": "custom", "from": "2026-02-30", "to": "1999-01-01", "page": "²"},
        {"from": "2026-11-01T00:00:00", "error": "rate_limit"},
    ],
)
def test_any_address_draws_a_page(visitor: Visitor, query: dict[str, str]) -> None:
    own(visitor)
    assert visitor.open("activity", **query).title[0].value == "Activity"


def test_words_of_people_and_models_are_never_markdown(visitor: Visitor) -> None:
    words_of_others = {"prompt_text": NASTY, "response_text": NASTY, "request": [{"role": NASTY, "content": NASTY}]}
    names = {"app": NASTY[:60], "model": NASTY, "status": "error", "error_kind": "rate_limit"}
    bad = own(visitor, error_message=NASTY + ". " + NASTY, **names, **words_of_others)
    page = visitor.open("activity", id=bad)
    assert "![x](" not in said(page)
    assert "](javascript" not in said(page)
    assert NASTY in [code.value for code in page.code]


@pytest.mark.feature("CALL-7")
def test_metrics_of_an_own_call_are_shown_and_added(visitor: Visitor) -> None:
    log_id = own(visitor)
    page = visitor.open("activity", id=log_id)
    assert "Nothing was noted about this call" in said(page)
    for label, value in (("Key", "answer.rating"), ("Value", "4")):
        next(field for field in page.text_input if field.label == label).set_value(value)
    page = press(page, "Add metric")
    assert [table.value.to_dict("records") for table in page.dataframe][-1] == [
        {"Key": "answer.rating", "Value": "4", "Type": "integer"}
    ]
    next(field for field in page.text_input if field.label == "Key").set_value("two words")
    assert "The key can" in said(press(page, "Add metric"))


@pytest.mark.feature("CALL-7")
def test_metrics_of_another_ones_call_are_shown_without_a_form(visitor: Visitor) -> None:
    log_id = log(visitor.services.store, JONAS)
    visitor.services.metrics.record(JONAS, log_id, "note", NASTY)
    page = visitor.open("activity", id=log_id)
    assert page.dataframe[-1].value["Value"].tolist() == [NASTY]
    assert not [button for button in page.button if button.label == "Add metric"]
    assert NASTY not in said(page)
