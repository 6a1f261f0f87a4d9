"""A conversation's tool ids, as the provider that reads it next accepts them."""

import copy
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lib.providers.adapters.relay import build_body
from lib.providers.adapters.tool_ids import fit_ids
from lib.providers.adapters.via_litellm import _build_arguments
from lib.providers.chunks import Endpoint, ModelRequest, Wire
from lib.providers.kinds import Protocol

SIGNED = "call_1__thought__" + "A/+=" * 230
_IDS = ("call_1", "call_1__thought__B", SIGNED, "a" * 50, "f.x:0", "__thought__", "Ab3Cd5Ef7")
_RULES = {
    ("openai", "m", Protocol.CHAT): r".{1,40}",
    ("custom", "m", Protocol.CHAT): r".{1,40}",
    ("openai", "m", Protocol.RESPONSES): r".{1,64}",
    ("anthropic", "m", Protocol.MESSAGES): r"[A-Za-z0-9_-]{1,64}",
    ("litellm", "bedrock/m", Protocol.CHAT): r"[A-Za-z0-9_-]{1,64}",
    ("mistral", "m", Protocol.CHAT): r"[A-Za-z0-9]{9}",
}


def conversation(ids: list[str], protocol: Protocol) -> list[dict[str, Any]]:
    """Every call, then its result."""
    if protocol is Protocol.RESPONSES:
        kinds = ("function_call", "function_call_output")
        return [{"type": kind, "call_id": one} for one in ids for kind in kinds]
    if protocol is Protocol.MESSAGES:
        blocks = [({"type": "tool_use", "id": one}, {"type": "tool_result", "tool_use_id": one}) for one in ids]
        return [{"role": "user", "content": [block]} for pair in blocks for block in pair]
    calls = [({"tool_calls": [{"id": one}]}, {"role": "tool", "tool_call_id": one}) for one in ids]
    return [message for pair in calls for message in pair]


def ids_in(messages: list[dict[str, Any]]) -> list[str]:
    return re.findall(r"'(?:id|call_id|tool_call_id|tool_use_id)': ([^,}\]]+)", str(messages))


@pytest.mark.feature("GATE-1")
@pytest.mark.parametrize("target", list(_RULES), ids=str)
@given(
    st.lists(st.sampled_from(["call_1", "call_1__thought__B", SIGNED, "a" * 50, "f.x:0", "__thought__", "Ab3Cd5Ef7"]))
)
def test_ids_fit_are_the_same_in_call_and_result_and_stay_apart(
    target: tuple[str, str, Protocol], ids: list[str]
) -> None:
    kind, model, protocol = target
    messages = conversation(ids, protocol)
    before = copy.deepcopy(messages)
    fitted = fit_ids(messages, kind, model, protocol)
    assert messages == before, "the program's own stays as it is"
    named = [one.strip("'") for one in ids_in(fitted)]
    assert all(re.fullmatch(_RULES[target], one) for one in named)
    assert named[::2] == named[1::2]
    assert len(set(named)) == len(set(ids))
    longer = fit_ids(conversation([*ids, "another"], protocol), kind, model, protocol)
    assert longer[: len(fitted)] == fitted, "a turn later they are the same"


@pytest.mark.feature("GATE-1")
def test_gemini_gets_its_signatures_back_and_others_what_is_before_them() -> None:
    messages = conversation([SIGNED], Protocol.CHAT)
    assert fit_ids(messages, "gemini", "m") is messages
    assert fit_ids(messages, "litellm", "vertex_ai/m") is messages
    assert ids_in(fit_ids(messages, "openai", "m")) == ["'call_1'", "'call_1'"]
    plain = conversation(["call_1"], Protocol.CHAT)
    assert fit_ids(plain, "openai", "m") is plain


@pytest.mark.feature("GATE-1")
@pytest.mark.parametrize(
    ("kind", "protocol", "name"),
    [
        ("openai", Protocol.CHAT, "messages"),
        ("openai", Protocol.RESPONSES, "input"),
        ("anthropic", Protocol.MESSAGES, "messages"),
    ],
)
def test_both_lanes_send_ids_that_fit(kind: str, protocol: Protocol, name: str) -> None:
    messages, endpoint = conversation([SIGNED], protocol), Endpoint("id", "one", kind)
    request = ModelRequest("m", messages, wire=Wire(protocol, {name: messages}))
    assert ids_in(build_body(endpoint, request)[name]) == ["'call_1'", "'call_1'"]
    translated = _build_arguments(endpoint, ModelRequest("m", conversation([SIGNED], Protocol.CHAT)), {})["messages"]
    assert ids_in(translated) == ["'call_1'", "'call_1'"]
