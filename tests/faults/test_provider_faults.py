"""Providers that refuse, break off, stall or talk nonsense: exact attempts, honest rows, nothing doubled."""

import email.utils
import json
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import func, select

from lib.db.tables import open_calls
from lib.providers.adapters.via_litellm import load_litellm
from lib.settings import Settings
from tests.calls.rig import AMIRA, within
from tests.faults.misbehaving import (
    WHOLE,
    WORDS,
    Faults,
    answers,
    drips,
    faults,
    goes_silent_after,
    in_turn,
    refuses,
    resets_after,
)
from tests.providers.wire import openai_delta, serving, sse
from tests.waiting import CEILING_S

pytestmark = [pytest.mark.feature("CALL-4"), pytest.mark.filterwarnings("default")]  # litellm's deprecations
PAGE = "<!doctype html><html><body>Bad gateway</body></html>"


@pytest.fixture(scope="module", autouse=True)
def litellm_is_loaded() -> None:
    """Loading it is no part of any deadline here."""
    load_litellm()


@pytest.fixture
def rig(settings: Settings) -> Iterator[Faults]:
    with faults(settings) as made:
        made.services.calls.jitter = lambda: 0.0
        yield made
        with made.services.store.read() as connection:
            assert connection.scalar(select(func.count()).select_from(open_calls)) == 0, "a row was left open"


@pytest.mark.parametrize(
    ("status", "body", "attempts", "kind"),
    [
        (429, "", 3, "rate_limit"),
        (500, "", 3, "server_error"),
        (502, PAGE, 3, "server_error"),
        (503, "", 3, "overloaded"),
        (529, "", 3, "overloaded"),
        (400, "", 1, "bad_request"),
        (401, "", 1, "authentication"),
        (404, "", 1, "model_not_found"),
        (422, "", 1, "bad_request"),
        (200, PAGE, 1, "not_a_model_server"),
    ],
)
def test_a_refusal_is_tried_again_only_where_that_may_help(
    rig: Faults, status: int, body: str, attempts: int, kind: str
) -> None:
    provider, server = rig.serve(refuses(status, body or '{"error": {"message": "no"}}'))
    rows = rig.rows(rig.ask(provider).call_id)
    assert [row["attempt"] for row in rows] == list(range(1, attempts + 1))
    assert [row["is_final"] for row in rows] == [False] * (attempts - 1) + [True]
    assert len(server.requests) == attempts
    for row in rows:
        assert (row["status"], row["error_kind"], row["usage_source"]) == ("error", kind, "none")
        assert (row["cost_nano_usd"], row["total_tokens"]) == (0, None)


def test_retry_after_is_honoured(rig: Faults) -> None:
    provider, server = rig.serve(in_turn(refuses(429, retry_after="0.4"), answers(*WHOLE)))
    began = time.monotonic()
    view = rig.ask(provider)
    assert time.monotonic() - began >= 0.4
    assert (view.status, view.text, len(server.requests)) == ("ok", "".join(WORDS), 2)
    assert [row["status"] for row in rig.rows(view.call_id)] == ["error", "ok"]


def test_a_retry_after_that_is_too_long_is_not_waited_for(rig: Faults) -> None:
    in_an_hour = email.utils.format_datetime(datetime.now(UTC) + timedelta(hours=1), usegmt=True)
    for wish in ("3600", in_an_hour):
        provider, server = rig.serve(refuses(503, retry_after=wish))
        view = rig.ask(provider)
        assert (view.error_kind, len(server.requests)) == ("overloaded", 1)
        assert view.retry_after is not None
        assert 3500 < view.retry_after <= 3601


def test_a_pause_that_the_total_deadline_forbids_is_not_begun(rig: Faults) -> None:
    provider, server = rig.serve(refuses(429, retry_after="20"))
    view = rig.ask(provider, deadlines=within(total_s=5))
    assert (view.error_kind, len(server.requests)) == ("rate_limit", 1)


@pytest.mark.parametrize("count", [1, 3])
def test_a_reset_in_mid_answer_keeps_what_came(rig: Faults, count: int) -> None:
    provider, server = rig.serve(resets_after(count))
    spare, unused = rig.serve(answers(*WHOLE))
    view = rig.ask(provider, routing={"fallbacks": [{"provider_id": spare, "model": "m"}]})
    [row] = rig.rows(view.call_id)
    assert view.text == "".join(WORDS[:count])
    assert (row["status"], row["error_kind"]) == ("truncated", "stream_cut")
    assert (row["usage_source"], row["is_final"]) == ("estimated", True)
    assert row["completion_tokens"] >= count
    assert (len(server.requests), len(unused.requests)) == (1, 0), "nothing is sent again after content"


def test_a_reset_before_the_first_byte_is_tried_again(rig: Faults) -> None:
    provider, server = rig.serve(in_turn(resets_after(0), answers(*WHOLE)))
    view = rig.ask(provider)
    assert (view.status, view.text, len(server.requests)) == ("ok", "".join(WORDS), 2)


def test_a_clean_end_without_a_finish_is_truncated(rig: Faults) -> None:
    provider, server = rig.serve(answers(*WHOLE[:3]))
    view = rig.ask(provider)
    [row] = rig.rows(view.call_id)
    assert (row["status"], row["usage_source"], view.text) == ("truncated", "estimated", "One two three ")
    assert len(server.requests) == 1


def _usage(**counts: int) -> dict[str, int]:
    return counts | {"total_tokens": sum(counts.values())}


@pytest.mark.feature("CALL-5")
@pytest.mark.parametrize(
    ("reported", "source", "tokens"),
    [
        ([], "estimated", None),
        ([_usage(prompt_tokens=0, completion_tokens=0)], "provider", (0, 0)),
        (
            [_usage(prompt_tokens=7, completion_tokens=2), _usage(prompt_tokens=7, completion_tokens=5)],
            "provider",
            (7, 5),
        ),
    ],
    ids=["none", "zero", "twice"],
)
def test_usage_is_what_was_reported_last_or_an_estimate(
    rig: Faults, reported: list[dict[str, int]], source: str, tokens: tuple[int, int] | None
) -> None:
    pieces = [openai_delta("Hello there", usage=reported[0]) if reported else openai_delta("Hello there")]
    pieces += [openai_delta(None, "stop", usage=usage) for usage in reported[1:]] or [openai_delta(None, "stop")]
    provider, _ = rig.serve(answers(*pieces, sse("[DONE]")))
    [row] = rig.rows(rig.ask(provider).call_id)
    assert (row["status"], row["usage_source"]) == ("ok", source)
    if tokens:
        assert (row["prompt_tokens"], row["completion_tokens"]) == tokens
    else:
        assert row["completion_tokens"] > 0


@pytest.mark.feature("CALL-3")
@pytest.mark.parametrize(
    ("script", "limits", "kind"),
    [
        (goes_silent_after(0, headers=False), {"first_token_s": 0.4}, "timeout_first_token"),
        (goes_silent_after(0), {"first_token_s": 0.4}, "timeout_first_token"),
        (goes_silent_after(2), {"idle_s": 0.4}, "timeout_idle"),
        (drips(0.05), {"total_s": 1.0}, "timeout_total"),
    ],
    ids=["silent", "headers only", "stall", "drip"],
)
def test_each_deadline_ends_the_call_and_closes_the_socket(
    rig: Faults, script: Any, limits: dict[str, float], kind: str
) -> None:
    rig.ask(rig.serve(answers(*WHOLE))[0])  # litellm is imported
    provider, server = rig.serve(script)
    view = rig.ask(provider, deadlines=within(**limits))
    [row] = rig.rows(view.call_id)
    assert (row["status"], row["error_kind"], row["usage_source"]) == ("timeout", kind, "estimated")
    assert server.done.wait(CEILING_S), "the upstream connection stays open"
    assert server.gone == [True]
    assert len(server.requests) == 1


def test_the_total_deadline_holds_over_all_attempts(rig: Faults) -> None:
    slow, first = rig.serve(goes_silent_after(0))
    slower, second = rig.serve(goes_silent_after(0))
    view = rig.ask(
        slow,
        routing={"fallbacks": [{"provider_id": slower, "model": "m"}]},
        deadlines=within(first_token_s=2.0, total_s=3.5),
    )
    kinds = [row["error_kind"] for row in rig.rows(view.call_id)]
    assert kinds == ["timeout_first_token", "timeout_total"]
    assert (len(first.requests), len(second.requests)) == (1, 1)


GOOD = "".join(WHOLE).encode()


@pytest.mark.parametrize(
    ("pieces", "status", "text"),
    [
        ([GOOD[n : n + 1] for n in range(len(GOOD))], "ok", "".join(WORDS)),
        ([GOOD.replace(b"\n", b"\r\n")], "ok", "".join(WORDS)),
        ([b": a comment\n\n", GOOD], "ok", "".join(WORDS)),
        ([json.dumps({"choices": []}).encode()], "truncated", ""),
        (["data: {not json\n\n"], "truncated", ""),
        ([*WHOLE[:2], "data: {not json\n\n", *WHOLE[2:]], "truncated", "One two "),
    ],
    ids=["byte by byte", "CRLF", "comment", "JSON, no stream", "bad JSON first", "bad JSON later"],
)
def test_however_the_stream_is_cut_or_spoilt_the_row_is_honest(
    rig: Faults, pieces: list[Any], status: str, text: str
) -> None:
    provider, server = rig.serve(answers(*pieces))
    view = rig.ask(provider)
    [row] = rig.rows(view.call_id)[-1:]
    assert (row["status"], view.text) == (status, text)
    assert len(server.requests) == len(rig.rows(view.call_id)) <= 3


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(cuts=st.sets(st.integers(1, len(GOOD) - 1), max_size=12))
def test_any_cutting_of_the_bytes_gives_the_same_answer(rig: Faults, cuts: set[int]) -> None:
    edges = [0, *sorted(cuts), len(GOOD)]
    provider, _ = rig.serve(answers(*(GOOD[a:b] for a, b in pairwise(edges))))
    view = rig.ask(provider)
    assert (view.status, view.text, view.prompt_tokens) == ("ok", "".join(WORDS), 100)


def test_text_cut_within_a_character_arrives_whole(rig: Faults) -> None:
    sentence = "Käse, 乳酪, 🧀 — gut"
    event = ("data: " + json.dumps(
        {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m",
         "choices": [{"index": 0, "delta": {"content": sentence}, "finish_reason": None}]}, ensure_ascii=False
    ) + "\n\n").encode()  # fmt: skip
    pieces = [event[n : n + 1] for n in range(len(event))]
    provider, _ = rig.serve(answers(*pieces, openai_delta(None, "stop"), sse("[DONE]")))
    assert rig.ask(provider).text == sentence


def test_a_line_of_ten_megabytes_does_no_harm(rig: Faults) -> None:
    provider, _ = rig.serve(answers(openai_delta("x" * 10_000_000), openai_delta(None, "stop"), sse("[DONE]")))
    view = rig.ask(provider)
    assert (view.status, len(view.text)) == ("ok", 10_000_000)


def test_an_error_inside_a_success_is_an_error_after_content_and_before(rig: Faults) -> None:
    error = sse({"error": {"message": "The server had an error", "type": "server_error"}})
    provider, server = rig.serve(answers(*WHOLE[:2], error))
    view = rig.ask(provider)
    assert ([row["status"] for row in rig.rows(view.call_id)], view.text) == (["error"], "One two ")
    assert len(server.requests) == 1
    provider, server = rig.serve(in_turn(answers(error), answers(*WHOLE)))
    view = rig.ask(provider)
    assert (view.status, view.text, len(server.requests)) == ("ok", "".join(WORDS), 2)


def test_nobody_listening_is_three_attempts_and_costs_nothing(rig: Faults) -> None:
    with serving(lambda wire: None) as server:
        address = server.url
    provider, _ = rig.serve(answers())
    rig.services.providers.update(AMIRA, provider, base_url=address + "/v1")
    rows = rig.rows(rig.ask(provider).call_id)
    assert [row["error_kind"] for row in rows] == ["connection"] * 3
    assert {row["cost_nano_usd"] for row in rows} == {0}
