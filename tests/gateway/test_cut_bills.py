"""What a call is billed by beside its tokens, where its answer is cut or tells less than was asked."""

import json
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import httpx
import pytest

from lib.access.permissions import OPERATOR
from lib.activity.repricing import RepricingScope
from lib.clock import utc_now
from lib.providers.prices.rates import Rates, build_plain_price
from lib.settings import Settings
from tests.gateway.live import Live, live
from tests.providers.wire import Script, Wire, anthropic_text, openai_delta, sse
from tests.waiting import CEILING_S

pytestmark = pytest.mark.feature("COST-13")
ASKED: list[dict[str, Any]] = [{"role": "user", "content": "Where do rivers run?"}]
SEARCH = {"type": "web_search_20250305", "name": "web_search"}
STARTED = sse(
    {
        "type": "message_start",
        "message": {"id": "m", "model": "claude-opus-4-6", "usage": {"input_tokens": 900, "output_tokens": 1}},
    },
    "message_start",
)


def block(index: int, **content: Any) -> str:
    return sse({"type": "content_block_start", "index": index, "content_block": content}, "content_block_start")


def searched(item_id: str, action: str = "search") -> str:
    item = {"type": "web_search_call", "id": item_id, "status": "completed", "action": {"type": action}}
    return sse({"type": "response.output_item.done", "output_index": 0, "item": item})


def cut(*events: str) -> Script:
    """A provider that says so much and is gone."""

    def script(wire: Wire) -> None:
        wire.begin("text/event-stream")
        for event in events:
            wire.say(event)

    return script


def whole(**document: Any) -> Script:
    """A provider that gives one answer at once."""

    def script(wire: Wire) -> None:
        wire.begin("application/json")
        wire.say(json.dumps(document))

    return script


def completion(**more: Any) -> Script:
    choice = {"index": 0, "message": {"role": "assistant", "content": "ok"}, "finish_reason": "stop"}
    usage = {"prompt_tokens": 1_000_000, "completion_tokens": 0, "total_tokens": 1_000_000}
    return whole(**{"id": "c", "object": "chat.completion", "choices": [choice], "usage": usage} | more)


@pytest.fixture
def rig(settings: Settings) -> Iterator[Live]:
    with live(settings) as made:
        yield made


def row_of(rig: Live, kind: str, script: Script, path: str, body: dict[str, Any]) -> dict[str, Any]:
    """The row of one call to a provider of a kind."""
    rig.provider("there", kind, script)
    head = {"authorization": f"Bearer {rig.key}"}
    httpx.post(rig.url + path, json=body | {"model": f"there/{body['model']}"}, headers=head, timeout=CEILING_S)
    return rig.row()


def test_searches_of_a_message_that_is_cut_are_charged(rig: Live) -> None:
    events = [STARTED, block(0, type="server_tool_use", id="s", name="web_search", input={})]
    events += [block(1, type="server_tool_use", id="t", name="web_search", input={}), anthropic_text("Rivers")]
    body = {"model": "claude-opus-4-6", "max_tokens": 99, "stream": True, "tools": [SEARCH], "messages": ASKED}
    row = row_of(rig, "anthropic", cut(*events), "/v1/messages", body)
    assert (row["status"], row["usage_source"], row["cost_status"]) == ("truncated", "estimated", "estimated")
    assert row["fees_nano_usd"] == 20_000_000
    assert row["prompt_tokens"] == 900


def test_searches_of_a_response_that_is_cut_are_charged_and_pages_that_it_opened_are_not(rig: Live) -> None:
    events = [searched("a"), searched("b", "open_page"), searched("c")]
    events += [sse({"type": "response.output_text.delta", "item_id": "m", "output_index": 1, "delta": "Rivers"})]
    body = {"model": "gpt-5", "stream": True, "tools": [{"type": "web_search"}], "input": "Where?"}
    row = row_of(rig, "openai", cut(*events), "/v1/responses", body)
    assert (row["status"], row["cost_status"], row["fees_nano_usd"]) == ("truncated", "estimated", 20_000_000)


def test_a_cut_answer_that_shows_no_use_of_what_it_could_run_is_partly_known(rig: Live) -> None:
    body = {"model": "claude-opus-4-6", "max_tokens": 99, "stream": True, "tools": [SEARCH], "messages": ASKED}
    row = row_of(rig, "anthropic", cut(STARTED, anthropic_text("Rivers")), "/v1/messages", body)
    assert (row["status"], row["cost_status"]) == ("truncated", "partial")
    assert row["cost_nano_usd"] >= 900 * 5_000
    assert row["usage_details"] == {"uncounted": True}


def test_a_cut_answer_without_such_tools_is_an_estimate(rig: Live) -> None:
    body = {"model": "claude-opus-4-6", "max_tokens": 99, "stream": True, "messages": ASKED}
    row = row_of(rig, "anthropic", cut(STARTED, anthropic_text("Rivers")), "/v1/messages", body)
    assert (row["cost_status"], row["usage_details"]) == ("estimated", None)


def test_code_that_a_provider_ran_has_no_known_price(rig: Live) -> None:
    content = [{"type": "server_tool_use", "id": "s", "name": "bash_code_execution", "input": {}}]
    answer = {"type": "message", "model": "claude-opus-4-6", "role": "assistant", "stop_reason": "end_turn"}
    counts = {"input_tokens": 10, "output_tokens": 1}
    body = {"model": "claude-opus-4-6", "max_tokens": 99, "messages": ASKED}
    script = whole(**answer, content=[*content, {"type": "text", "text": "ok"}], usage=counts)
    row = row_of(rig, "anthropic", script, "/v1/messages", body)
    assert (row["cost_status"], row["usage_details"]) == ("partial", {"uses": {"code_execution": 1}})


def test_every_answer_of_several_is_counted_when_the_stream_is_cut(rig: Live) -> None:
    def piece(index: int, text: str) -> str:
        return sse({"model": "m", "choices": [{"index": index, "delta": {"content": text}, "finish_reason": None}]})

    words = " ".join(["river"] * 50)
    body = {"model": "gpt-4.1", "stream": True, "n": 3, "messages": ASKED}
    events = [openai_delta(words), piece(1, words), piece(2, words)]
    row = row_of(rig, "openai", cut(*events), "/v1/chat/completions", body)
    assert (row["status"], row["completion_tokens"]) == ("truncated", 150)


@pytest.mark.parametrize(
    ("kind", "asked", "told", "tier", "nano"),
    [
        ("openai", "flex", None, "flex", 625_000_000),
        ("openai", "flex", "default", "default", 1_250_000_000),
        ("openai", "auto", None, "", 1_250_000_000),
        ("openai", "priority", None, "priority", 2_500_000_000),
        ("custom", "flex", None, "", None),
    ],
)
def test_the_asked_tier_holds_where_none_is_told(
    rig: Live, kind: str, asked: str, told: str | None, tier: str, nano: int | None
) -> None:
    script = completion(model="gpt-5", **({"service_tier": told} if told else {}))
    body = {"model": "gpt-5", "service_tier": asked, "messages": ASKED}
    row = row_of(rig, kind, script, "/v1/chat/completions", body)
    assert (row["service_tier"], row["cost_nano_usd"]) == (tier, nano)


def test_a_row_says_which_model_answered_and_is_priced_again_by_it(rig: Live) -> None:
    start = utc_now() - timedelta(days=1)
    for model, dollars in (("maker/small", 1), ("maker/large", 5)):
        rig.services.price_entries.set(
            OPERATOR, build_plain_price("openrouter", model, start, Rates(dollars * 10**9, 0))
        )
    script = completion(model="maker/large")
    body = {"model": "maker/small", "models": ["maker/large"], "messages": ASKED}
    row = row_of(rig, "openrouter", script, "/v1/chat/completions", body)
    assert (row["model"], row["served_model"]) == ("maker/small", "maker/large")
    assert (row["cost_nano_usd"], row["usage_details"]) == (5_000_000_000, {"model": "maker/large"})
    preview = rig.services.repricing.preview(OPERATOR, RepricingScope())
    assert (preview.looked_at, preview.total.changed) == (1, 0)
