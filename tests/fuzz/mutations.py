"""Strategies: well-formed bodies and byte streams of the protocols, changed in a few places."""

import copy
import itertools
import json
from collections.abc import Iterator, Sequence
from typing import Any

from hypothesis import strategies as st

from tests.providers.payloads import PAYLOADS

_TOOL = {
    "type": "function",
    "function": {"name": "weather", "description": "Of a city.", "parameters": {"type": "object"}},
}
_IMAGE = (
    "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAA"
    "DUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)
CHAT = {
    "model": "bot",
    "messages": [
        {"role": "system", "content": "Be brief."},
        {
            "role": "user",
            "content": [{"type": "text", "text": "hi"}, {"type": "image_url", "image_url": {"url": _IMAGE}}],
        },
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [{"id": "call_1", "type": "function", "function": {"name": "weather", "arguments": "{}"}}],
        },
        {"role": "tool", "tool_call_id": "call_1", "content": "rain"},
    ],
    "tools": [_TOOL],
    "tool_choice": "auto",
    "temperature": 0.5,
    "max_tokens": 20,
    "stop": ["x"],
    "response_format": {"type": "json_schema", "json_schema": {"name": "a", "schema": {"type": "object"}}},
    "stream": False,
    "user": "u",
    "n": 1,
}
RESPONSES = {
    "model": "bot",
    "instructions": "Be brief.",
    "input": [
        {
            "role": "user",
            "content": [{"type": "input_text", "text": "hi"}, {"type": "input_image", "image_url": _IMAGE}],
        },
        {"type": "function_call", "call_id": "call_1", "name": "weather", "arguments": "{}"},
        {"type": "function_call_output", "call_id": "call_1", "output": "rain"},
        {"type": "reasoning", "id": "rs_1", "summary": [{"type": "summary_text", "text": "hm"}]},
    ],
    "tools": [{"type": "function", "name": "weather", "parameters": {"type": "object"}}],
    "text": {"format": {"type": "text"}},
    "max_output_tokens": 20,
    "stream": False,
}
MESSAGES = {
    "model": "bot",
    "system": [{"type": "text", "text": "Be brief.", "cache_control": {"type": "ephemeral"}}],
    "messages": [
        {"role": "user", "content": [{"type": "text", "text": "hi"}]},
        {"role": "assistant", "content": [{"type": "tool_use", "id": "toolu_1", "name": "weather", "input": {}}]},
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "toolu_1", "content": "rain"}]},
    ],
    "tools": [{"name": "weather", "input_schema": {"type": "object"}}],
    "tool_choice": {"type": "auto"},
    "max_tokens": 20,
    "stream": False,
}
EMBEDDINGS = {"model": "bot", "input": ["a", "b"], "encoding_format": "float", "dimensions": 8}
VECTORS = json.dumps(
    {
        "object": "list",
        "model": "m-1",
        "data": [{"object": "embedding", "index": index, "embedding": [0.5, -0.5]} for index in range(2)],
        "usage": {"prompt_tokens": 2, "total_tokens": 2},
    }
).encode()
QUESTION = {"model": "bot/m", "prompt": "hi", "parameters": {"temperature": 0.5}, "tags": {"a": "b"}}
BODIES: dict[str, dict[str, Any]] = {
    "/v1/chat/completions": CHAT,
    "/v1/responses": RESPONSES,
    "/v1/messages": MESSAGES,
    "/v1/messages/count_tokens": MESSAGES,
    "/v1/embeddings": EMBEDDINGS,
    "/api/generate": QUESTION,
}
_SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**70), 2**70),
    st.sampled_from([0, -1, 1, 2**31, 2**63, 10**40, 1e308, -0.0, 0.1, float("nan"), float("inf")]),
    st.text(max_size=8),
    st.sampled_from(["", " ", "\0", "\ud800", "0", "auto", "null", "{", "tool", "text", "call_1", "x" * 5_000]),
)
VALUES = st.recursive(
    _SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=6,
)


def _places(node: Any) -> Iterator[tuple[Any, Any]]:
    """Every container in a document, with each of its keys or positions."""
    for key, part in node.items() if isinstance(node, dict) else enumerate(node):
        yield node, key
        if isinstance(part, dict | list):
            yield from _places(part)


@st.composite
def changed(draw: st.DrawFn, document: Any) -> Any:
    """A copy of a document in which one to four values are replaced, left out, doubled or put elsewhere."""
    document = copy.deepcopy(document)
    for _ in range(draw(st.integers(1, 4))):
        places = list(_places(document))
        if not places:
            break
        container, key = draw(st.sampled_from(places))
        match draw(st.sampled_from(["replace", "drop", "wrap", "double", "swap"])):
            case "replace":
                container[key] = draw(VALUES)
            case "drop":
                del container[key]
            case "wrap":
                container[key] = [container[key]]
            case "double" if isinstance(container, list):
                container.append(copy.deepcopy(container[key]))
            case _:
                other, other_key = draw(st.sampled_from(places))
                container[key] = copy.deepcopy(other[other_key])
    return document


@st.composite
def torn(draw: st.DrawFn, data: bytes) -> bytes:
    """Bytes of which some are left out, replaced or told twice; half of the time they are as they were."""
    if draw(st.booleans()):
        return data
    for _ in range(draw(st.integers(1, 3))):
        start = draw(st.integers(0, len(data)))
        end = min(len(data), start + draw(st.integers(0, 40)))
        data = data[:start] + draw(st.binary(max_size=6) | st.just(data[start:end] * 2)) + data[end:]
    return data


def _events(stream: bytes) -> list[Any]:
    """The documents of a stream, whether it is events or lines."""
    lines = [line.removeprefix(b"data:").strip() for line in stream.splitlines()]
    return [json.loads(line) for line in lines if line.startswith(b"{")]


@st.composite
def answers(draw: st.DrawFn, protocol: str, *, streamed: bool) -> bytes:
    """The body of a provider's answer in one of the protocols, with a few odd values, torn or not."""
    payload = PAYLOADS[protocol]
    if not streamed:
        return draw(torn(json.dumps(draw(changed(json.loads(payload.whole)))).encode()))
    documents = draw(changed(_events(payload.streamed)))
    lead = b"" if protocol == "ollama" else b"data: "
    gap = b"\n" if protocol == "ollama" else b"\n\n"
    body = b"".join(lead + json.dumps(document).encode() + gap for document in documents)
    return draw(torn(body + draw(st.sampled_from([b"", b"data: [DONE]\n\n"]))))


@st.composite
def cuts(draw: st.DrawFn, data: bytes) -> Sequence[bytes]:
    """The bytes in pieces."""
    edges = sorted({0, len(data), *draw(st.lists(st.integers(0, len(data)), max_size=8))})
    return [data[start:end] for start, end in itertools.pairwise(edges)]


_LINES = st.sampled_from(
    [
        *("Host: a", "Host: a, b", "host:", "Connection: close", "Connection: keep-alive, upgrade", "Upgrade: h2c"),
        *(
            "Content-Length: 2",
            "Content-Length: 0",
            "Content-Length: -1",
            "Content-Length: 2, 2",
            "Content-Length: 1e1",
        ),
        *("Transfer-Encoding: chunked", "Transfer-Encoding: Chunked, identity", "Transfer-Encoding:\tchunked"),
        *("Expect: 100-continue", "Content-Type: application/json", "Content-Encoding: gzip", "X: \x00", " folded"),
        *("Authorization: Bearer x", "X-Api-Key: x", "Accept: text/event-stream", "A" * 300 + ": b", "Trailer: x"),
    ]
)
_TARGETS = st.sampled_from(
    [
        *BODIES,
        "/v1/models",
        "/v1/models/a",
        "/api/calls/a",
        "/healthz",
        "/",
        "*",
        "//",
        "/%00",
        "/%2f",
        "http://a/v1",
        "a",
    ]
)
_CONTENTS = st.sampled_from(
    [b"", b"{}", b"2\r\n{}\r\n0\r\n\r\n", b"0\r\nX: y\r\n\r\n", b"2;a=b\r\n{}\r\n0\r\n", b"zz\r\n", b"\x1f\x8b"]
)


@st.composite
def requests(draw: st.DrawFn) -> bytes:
    """One to four HTTP requests on a connection, some of them torn."""
    parts = []
    for _ in range(draw(st.integers(1, 4))):
        method = draw(st.sampled_from(["GET", "POST", "POST", "HEAD", "OPTIONS", "PRI", "get", "TRACE"]))
        version = draw(st.sampled_from(["1.1", "1.1", "1.1", "1.0", "0.9", "2.0"]))
        lines = [f"{method} {draw(_TARGETS)} HTTP/{version}", "Host: a", *draw(st.lists(_LINES, max_size=5))]
        parts.append("\r\n".join(lines).encode() + b"\r\n\r\n" + draw(_CONTENTS))
    return draw(torn(b"".join(parts)))
