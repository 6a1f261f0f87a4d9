"""A hard budget under each kind of prompt: a tenth of it is room for an ordinary call, sent with its bounds."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import httpx
import pytest

from lib.access.permissions import OPERATOR
from lib.budgets.budget import CallFacts
from lib.budgets.holds import reserve, settle
from lib.clock import make_id, utc_now
from lib.settings import Settings
from tests.gateway.live import Live, live
from tests.providers.wire import Wire
from tests.waiting import CEILING_S

pytestmark = pytest.mark.feature("COST-2")
DOLLAR = 10**9
LIMIT = 5 * DOLLAR
GPT, HAIKU = "gpt-4.1-mini", "claude-haiku-4-5"
TEXT = "Where do the rivers of the Black Forest run to, and how long are they? " * 20
TOOL = {"type": "object", "properties": {"path": {"type": "string", "description": "The file's path"}}}
IMAGE = "https://example.com/a.png"
DOCUMENT = {"type": "document", "source": {"type": "url", "url": "https://example.com/report.pdf"}}
FILE = {"type": "input_file", "file_id": "file-1"}


@dataclass(frozen=True)
class Prompt:
    """A request, and the tokens of its prompt that the provider counts."""

    kind: str
    path: str
    body: dict[str, Any]
    counted: int


def chat(counted: int, content: Any, **more: Any) -> Prompt:
    body = {"model": GPT, "max_tokens": 400, "messages": [{"role": "user", "content": content}], **more}
    return Prompt("openai", "/v1/chat/completions", body, counted)


def message(counted: int, content: Any, **more: Any) -> Prompt:
    body = {"model": HAIKU, "max_tokens": 400, "messages": [{"role": "user", "content": content}], **more}
    return Prompt("anthropic", "/v1/messages", body, counted)


def response(counted: int, *items: Any, **more: Any) -> Prompt:
    body = {"model": GPT, "max_output_tokens": 400, "input": list(items), **more}
    return Prompt("openai", "/v1/responses", body, counted)


THOUGHT = {"type": "thinking", "thinking": TEXT, "signature": "c2ln" * 400}
PROMPTS = {
    "text": chat(330, TEXT),
    "no ceiling": Prompt(
        "openai", "/v1/chat/completions", {"model": GPT, "messages": chat(0, TEXT).body["messages"]}, 330
    ),
    "tools": message(1_500, "ls", tools=[{"name": f"t{n}", "input_schema": TOOL} for n in range(9)]),
    "image by address": chat(1_500, [{"type": "image_url", "image_url": {"url": IMAGE}}]),
    "PDF by address": message(90_000, [{"type": "text", "text": "Sum up."}, DOCUMENT]),
    "file by id": response(400_000, {"role": "user", "content": [{"type": "input_text", "text": "Sum up."}, FILE]}),
    "file by id alone": response(400_000, {"role": "user", "content": [FILE]}),
    "PDF by address alone": message(90_000, [DOCUMENT]),
    "an earlier turn by its id": response(
        300_000, {"role": "user", "content": "Go on."}, previous_response_id="resp_68af"
    ),
    "an item by its id": response(300_000, {"type": "item_reference", "id": "msg_68af"}),
    "reasoning sent back": message(
        900, "Go on.", messages=[{"role": "assistant", "content": [THOUGHT]}, {"role": "user", "content": "Go on."}]
    ),
    "encrypted reasoning": response(
        1_900,
        {"type": "reasoning", "summary": [], "encrypted_content": "gAAA" * 1_000},
        {"role": "user", "content": "x"},
    ),
    "hosted tool": message(60_000, "News?", tools=[{"type": "web_search_20250305", "name": "web_search"}]),
    "hosted tool of responses": response(30_000, {"role": "user", "content": "News?"}, tools=[{"type": "web_search"}]),
    "several answers": chat(330, TEXT, n=3),
}


def answer_of(prompt: Prompt, completion: int) -> dict[str, Any]:
    """A whole answer in the protocol's form; searches take all the uses that they were sent."""
    match prompt.path:
        case "/v1/messages":
            used = {"web_search_requests": 5} if "web_search" in json.dumps(prompt.body) else {}
            counts = {"input_tokens": prompt.counted, "output_tokens": completion, "server_tool_use": used}
            content = [{"type": "text", "text": "ok"}]
            return {
                "type": "message",
                "role": "assistant",
                "content": content,
                "stop_reason": "end_turn",
                "usage": counts,
            }
        case "/v1/responses":
            counts = {"input_tokens": prompt.counted, "output_tokens": completion}
            said = {"type": "message", "content": [{"type": "output_text", "text": "ok"}]}
            searches = [{"type": "web_search_call", "action": {"type": "search"}}] * 5 * bool(prompt.body.get("tools"))
            return {"object": "response", "status": "completed", "output": [*searches, said], "usage": counts}
    counts = {"prompt_tokens": prompt.counted, "completion_tokens": completion}
    choices = [
        {"index": n, "message": {"role": "assistant", "content": "ok"}, "finish_reason": "stop"}
        for n in range(prompt.body.get("n", 1))
    ]
    return {"object": "chat.completion", "choices": choices, "usage": counts}


@pytest.fixture
def rig(settings: Settings) -> Iterator[Live]:
    with live(settings) as made:
        yield made


def budget_with(rig: Live, left: int) -> str:
    """A hard budget of the app of which so much is left; its id."""
    made = rig.services.budgets.create(OPERATOR, scope="app", subject="bot", period="month", limit_nano=LIMIT)
    log_id, now = make_id(), utc_now()
    with rig.services.store.write() as connection:
        reserve(connection, CallFacts("openai", "bot"), log_id, LIMIT - left, now)
        settle(connection, log_id, LIMIT - left, now)
    return made.budget.id


def post(rig: Live, prompt: Prompt) -> httpx.Response:
    body = prompt.body | {"model": f"there/{prompt.body['model']}"}
    return httpx.post(
        rig.url + prompt.path, json=body, headers={"authorization": f"Bearer {rig.key}"}, timeout=CEILING_S
    )


@pytest.mark.parametrize("name", PROMPTS)
def test_with_a_tenth_left_an_ordinary_call_passes_and_costs_no_more_than_was_held(rig: Live, name: str) -> None:
    prompt = PROMPTS[name]

    def script(wire: Wire) -> None:
        sent = wire.server.requests[-1]["body"]
        named = (sent.get(field) for field in ("max_tokens", "max_completion_tokens", "max_output_tokens"))
        ceiling = next((int(one) for one in named if one), 0)
        assert ceiling, "a hard budget sends the ceiling it holds for"
        wire.begin("application/json")
        wire.say(json.dumps(answer_of(prompt, ceiling * sent.get("n", 1))))

    server = rig.provider("there", prompt.kind, script)
    budget_id = budget_with(rig, LIMIT // 10)
    answer = post(rig, prompt)
    assert answer.status_code == 200, answer.text
    row, now = rig.row(), rig.services.budgets.get(OPERATOR, budget_id).now
    assert (row["status"], row["cost_status"]) == ("ok", "priced")
    assert "beyond_hold" not in row["tags"]
    assert now.spent_nano == LIMIT - LIMIT // 10 + row["cost_nano_usd"] <= LIMIT
    assert now.held_nano == 0
    assert len(server.requests) == 1


def test_an_earlier_turn_is_held_for_as_long_as_it_was_and_else_with_the_whole_window(rig: Live) -> None:
    prompt = response(700, {"role": "user", "content": "Go on."})
    held = list[int]()

    def script(wire: Wire) -> None:
        held.append(rig.services.budgets.get(OPERATOR, budget_id).now.held_nano)
        wire.begin("application/json")
        wire.say(json.dumps(answer_of(prompt, 300) | {"id": "resp_68af"}))

    rig.provider("there", "openai", script)
    budget_id = budget_with(rig, LIMIT // 2)
    for earlier in ("resp_of_nobody", "resp_68af"):
        named = Prompt(prompt.kind, prompt.path, prompt.body | {"previous_response_id": earlier}, 0)
        assert post(rig, named).status_code == 200
        rig.services.calls.flush()  # what was held for it is free again
    whole_window, as_counted = held
    assert 1_000 * 400 < as_counted < whole_window / 100  # 1,000 tokens at $0.40 a million, and the answer's


@pytest.mark.parametrize("name", PROMPTS)
def test_with_next_to_nothing_left_no_prompt_is_sent(rig: Live, name: str) -> None:
    def script(wire: Wire) -> None:
        wire.begin("application/json")
        wire.say(json.dumps(answer_of(PROMPTS[name], 1)))

    server = rig.provider("there", PROMPTS[name].kind, script)
    budget_with(rig, 100)
    answer = post(rig, PROMPTS[name])
    assert answer.status_code == 429, answer.text
    assert server.requests == []
