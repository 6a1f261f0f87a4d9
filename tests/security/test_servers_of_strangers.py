"""Servers of tools are strangers: what they list, print and change is bounded, and takes no process down."""

import asyncio
import base64
import json
from types import SimpleNamespace
from typing import Any

import httpx2
import pytest
from mcp.shared.auth import OAuthToken
from sqlalchemy import select

from lib.clock import utc_now
from lib.db.engine import Store
from lib.db.tables import mcp_states
from lib.mcp import pins, records, runner
from lib.mcp.clients import authorization, child, connection
from lib.mcp.sign_in_records import Credentials, RegisteredClient
from lib.providers.redaction import remember

pytestmark = pytest.mark.feature("TOOL-3")


class Entry:
    """A definition as the protocol's client has it."""

    def __init__(self, definition: dict[str, Any]) -> None:
        self.definition = definition

    def model_dump_json(self, **_: Any) -> str:
        return json.dumps(self.definition)


def list_tools(*pages: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """What is listed of a server that sends these pages, and the last one again without end."""
    sent = iter(pages)

    async def ask(cursor: str | None) -> Any:
        return SimpleNamespace(tools=[Entry(tool) for tool in next(sent, pages[-1])], next_cursor="more")

    client: Any = SimpleNamespace(list_tools=ask, server_capabilities=SimpleNamespace(tools=True))
    return asyncio.run(connection.ServerConnection(client).list_tools())


@pytest.mark.parametrize(
    "tools",
    [
        [{"name": "a", "description": "x" * 300_000}],
        [{"name": f"a{n}", "description": "x" * 200_000} for n in range(30)],
    ],
    ids=["one is too long", "all are"],
)
def test_a_list_that_is_too_large_to_keep_is_refused(tools: list[dict[str, Any]]) -> None:
    with pytest.raises(connection.Unanswered, match="too large"):
        list_tools(tools)


@pytest.mark.parametrize("name", ["", "a\0b", "a" * 201, "\ud800", "a\u200bb", "a\nb", "\U000e0041"])
def test_a_tool_whose_name_can_not_be_kept_or_seen_is_refused(name: str) -> None:
    with pytest.raises(connection.Unanswered, match="can't be named"):
        list_tools([{"name": "fine"}, {"name": name}])


def test_what_a_server_says_of_itself_is_kept_whatever_it_holds(store: Store) -> None:
    for odd in ("a\0b", "\ud800", "x" * 300):
        records.write_state(
            store, "s", actual="ready", server_version=odd, reason=odd, error_text=odd, tools=[{"a": odd}]
        )
    with store.read() as reading:
        row = reading.execute(select(mcp_states)).one()
    assert (row.actual, row.server_version) == ("ready", "x" * 300)


def test_pages_without_end_come_to_an_end() -> None:
    assert len(list_tools([{"name": "a"}] * 10)) <= 1_000


@pytest.mark.parametrize("identifier", [b"9" * 60_000, b'"' + b"x" * 60_000 + b'"', b"7" * 18, b'"a"', b"null"])
def test_a_message_that_is_too_long_is_answered_whatever_its_id(identifier: bytes) -> None:
    async def read() -> list[bytes]:
        stream = asyncio.StreamReader()
        stream.feed_data(b'{"jsonrpc": "2.0", "id": ' + identifier + b', "result": "' + b"x" * 200_000 + b'"}\n{}\n')
        stream.feed_eof()
        return [line async for line in child.read_lines(stream, 100_000)]

    refused, next_line = asyncio.run(read())
    assert next_line == b"{}"
    assert refused == b"a message that is too long" or "error" in json.loads(refused)


@pytest.mark.parametrize("seconds", [-1, 0, 3600, 10**12, 10**30])
def test_a_token_lives_as_long_as_the_calendar_at_most(seconds: int) -> None:
    client = RegisteredClient("a")
    pending = Credentials("", "", "https://a.example", "https://a.example/token", client, "i", "r", "", None)
    token = OAuthToken(access_token="a", token_type="Bearer", expires_in=seconds)
    expires_at = authorization.build_credentials(token, pending).expires_at
    assert expires_at is not None
    assert utc_now().year <= expires_at.year <= utc_now().year + 11


def test_a_refusal_that_is_nested_without_end_is_a_status() -> None:
    response = httpx2.Response(400, content=b"[" * 200_000)
    assert asyncio.run(authorization._read_refusal(response)) == "It answered 400."


def test_a_server_tells_nobody_the_secrets_that_it_was_given() -> None:
    remember("orchid-7319-quay")
    words = f"it is orchid-7319-quay, or {base64.b64encode(b'orchid-7319-quay').decode()}"
    answer = {"content": [{"type": "text", "text": words}], "structuredContent": {"a": [words, 1, None]}}
    told = json.dumps(runner.hide_secrets(answer))
    assert "orchid" not in told
    assert told.count("[hidden]") == 4


def test_a_change_is_shown_within_bounds() -> None:
    approved = {"name": "a", "description": "", "inputSchema": {"enum": list(range(50_000))}}
    now = {**approved, "inputSchema": {"enum": list(range(1, 50_001))}}
    pin = pins.Pin("a", pins.compute_fingerprint(approved), approved)
    (tool,) = pins.compare("s", [pin], [now], is_same_server=True, foreign_names={})
    assert tool.drift is pins.Drift.CHANGED
    assert 0 < len(tool.diff) < 5_000
