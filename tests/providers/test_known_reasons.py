"""A relayed chat ends for a reason that OpenAI's clients know, wherever its bytes are cut; the rest is as sent."""

import json
from typing import Any

import pytest

from lib.providers.adapters.known_reasons import Lines, replace_unknown_reasons

pytestmark = pytest.mark.feature("GATE-2")


def event(reason: Any, **more: Any) -> bytes:
    choice = {"index": 0, "delta": {"content": '"finish_reason": "eos"'}, "finish_reason": reason, **more}
    return f"data: {json.dumps({'choices': [choice]})}\r\n\r\n".encode()


@pytest.mark.parametrize(
    ("says", "reason", "native"),
    [
        ("eos", "stop", "eos"),
        ("MAX_TOKENS", "length", "MAX_TOKENS"),
        ("tool_use", "tool_calls", "tool_use"),
        ("SAFETY", "content_filter", "SAFETY"),
        ("malformed_function_call", "stop", "malformed_function_call"),
        ("", None, None),
    ],
)
def test_a_word_of_the_servers_own_stands_beside_its_counterpart(says: str, reason: str | None, native: str) -> None:
    sent = event(None) + event(says) + b"data: [DONE]\r\n\r\n"
    for size in (1, 7, len(sent)):
        lines, came = Lines(), b""
        for place in range(0, len(sent), size):
            came += replace_unknown_reasons(lines.complete(sent[place : place + size]))
        came += replace_unknown_reasons(lines.rest())
        extra = {} if native is None else {"native_finish_reason": native}
        told = event(reason, **extra).replace(b', "native', b',"native')
        assert came == event(None) + told + b"data: [DONE]\r\n\r\n"


@pytest.mark.parametrize("says", ["stop", "length", "tool_calls", "content_filter", "function_call", None])
def test_a_known_reason_changes_nothing(says: str | None) -> None:
    sent = event(says, native_finish_reason="STOP")
    assert replace_unknown_reasons(sent) is sent or replace_unknown_reasons(sent) == sent


def test_a_whole_answer_always_has_a_reason() -> None:
    sent = json.dumps({"choices": [{"message": {"content": "Hi"}, "finish_reason": ""}]}).encode()
    assert json.loads(replace_unknown_reasons(sent, is_stream=False))["choices"][0]["finish_reason"] == "stop"
