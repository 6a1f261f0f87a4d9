"""`/mcp` offers an installation's tools to outside clients, by key, through the same guards as every door."""

import asyncio
import gzip
import json
import socket
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from mcp.client.client import Client
from mcp.client.streamable_http import streamable_http_client
from mcp.shared._httpx_utils import create_mcp_http_client

from lib.access.permissions import OPERATOR
from lib.approvals.approval import Decision, Verdict
from lib.gateway.http.exchange import Exchange
from lib.gateway.mcp.door import read_wait
from lib.settings import Settings
from tests.gateway.live import Live, live
from tests.waiting import CEILING_S, until
from tests.workflows.rig import draw, finish, node, start

pytestmark = [pytest.mark.feature("TOOL-3"), pytest.mark.filterwarnings("default")]


@pytest.fixture(scope="module")
def door(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    folder = tmp_path_factory.mktemp("door")
    docs = tmp_path_factory.mktemp("outside") / "docs"
    docs.mkdir()
    (docs / "a.md").write_text("alpha")
    with live(Settings(data_dir=folder, database_url=f"sqlite:///{folder / 'x.db'}")) as server:
        server.services.bundled_servers.set_files(OPERATOR, [str(docs)], may_write=True)
        shout = draw(start("text"), node("transform", "shout", value="upper(start.text)"), finish("{{shout}}!"))
        server.services.workflows.definitions.create(OPERATOR, "shout", shout, runners={"roles": ["developer"]})
        yield server


@pytest.fixture(scope="module")
def token(door: Live) -> str:
    return door.services.api_keys.create(door.jonas, app="bot", endpoints=["mcp"])[0]


def ask(door: Live, token: str, mode: Any, work: Any, **more: str) -> Any:
    """Do something with the official client, in one of the protocol's eras; `more` are headers."""

    async def run() -> Any:
        headers = {"authorization": f"Bearer {token}"} | {name.replace("_", "-"): line for name, line in more.items()}
        async with create_mcp_http_client(headers=headers) as http:
            transport = streamable_http_client(f"{door.url}/mcp", http_client=http)
            async with Client(transport, mode=mode) as client:
                return await work(client)

    return asyncio.run(run())


@pytest.mark.parametrize("mode", ["auto", "legacy"])
def test_the_official_client_lists_and_runs_tools_in_both_eras(door: Live, token: str, mode: str) -> None:
    async def work(client: Client) -> Any:
        names = {tool.name: tool for tool in (await client.list_tools()).tools}
        read = await client.call_tool("filesystem__read_file", {"path": "docs/a.md"})
        shouted = await client.call_tool("workflow__shout", {"text": "hi"})
        return names, read, shouted

    names, read, shouted = ask(door, token, mode, work)
    assert shouted.content[0].text == "HI!"
    assert {"filesystem__read_file", "operations__usage", "code__validate_schema"} <= set(names)
    assert names["filesystem__read_file"].annotations.read_only_hint is True
    assert json.loads(read.content[0].text)["text"] == "alpha"
    execution = door.services.tools.executions.list(OPERATOR)[1]
    assert (execution.tool, execution.origin, execution.app) == ("filesystem__read_file", "mcp", "bot")


def test_what_goes_wrong_in_a_tool_is_a_result_and_what_is_not_there_is_an_error(door: Live, token: str) -> None:
    async def work(client: Client) -> Any:
        wrong = await client.call_tool("filesystem__read_file", {"path": "../a.md"})
        asking = await client.call_tool("filesystem__write_file", {"path": "docs/b.md", "text": "x"})
        try:
            await client.call_tool("nothing__here", {})
        except Exception as error:
            return wrong, asking, str(error)

    wrong, asking, error = ask(door, token, "auto", work)
    assert wrong.is_error
    assert "no path" in wrong.content[0].text
    assert asking.is_error
    assert "/approvals?id=" in asking.content[0].text
    assert "There is no tool" in error


@pytest.mark.parametrize(("verdict", "words"), [(Verdict.APPROVE, "Wrote 1 bytes"), (Verdict.DENY, "not today")])
def test_a_client_that_waits_is_answered_when_a_person_has_decided(
    door: Live, token: str, verdict: Verdict, words: str
) -> None:
    approvals = door.services.approvals
    name = f"{verdict.value}.md"

    def decide() -> None:
        until(lambda: any((a.data or {}).get("path") == f"docs/{name}" for a in approvals.waiting(door.jonas)))
        (asked,) = [a for a in approvals.waiting(door.jonas) if (a.data or {}).get("path") == f"docs/{name}"]
        approvals.decide(door.jonas, asked.id, Decision(verdict=verdict, comment="not today"))

    async def work(client: Client) -> Any:
        arguments = {"path": f"docs/{name}", "text": "x"}
        write = client.call_tool("filesystem__write_file", arguments)
        return (await asyncio.gather(write, asyncio.to_thread(decide)))[0]

    written = ask(door, token, "auto", work, x_llm_manager_wait="60")
    assert words in written.content[0].text
    assert written.is_error is (verdict is Verdict.DENY)


@pytest.mark.parametrize(("text", "seconds"), [("", 0), ("90", 90), (" 9999 ", 600), ("-1", 0), ("²", 0), ("1e3", 0)])
def test_how_long_a_client_waits_is_bounded(text: str, seconds: int) -> None:
    assert read_wait(text) == seconds


def test_no_key_and_a_key_for_something_else_are_refused_in_json(door: Live) -> None:
    nobody = httpx.post(f"{door.url}/mcp", json={}, timeout=CEILING_S)
    assert (nobody.status_code, nobody.headers["www-authenticate"]) == (401, "Bearer")
    assert nobody.json()["error"]["data"]["code"] == "invalid_api_key"
    head = {"authorization": f"Bearer {door.key}"}
    models_only = httpx.post(f"{door.url}/mcp", json={}, headers=head, timeout=CEILING_S)
    assert models_only.status_code == 403


@pytest.mark.parametrize(
    "path", ["/.well-known/oauth-protected-resource/mcp", "/.well-known/oauth-authorization-server"]
)
def test_who_looks_for_oauth_is_told_in_json_that_there_is_none(door: Live, path: str) -> None:
    answer = httpx.get(f"{door.url}{path}", timeout=CEILING_S)
    assert answer.status_code == 404
    assert "API key" in answer.json()["error"]["message"]


def test_a_body_that_does_not_come_or_unpacks_to_too_much_never_reaches_the_protocol(
    door: Live, token: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    headers = {
        "authorization": f"Bearer {token}",
        "content-type": "application/json",
        "accept": "application/json, text/event-stream",
    }
    ping = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "ping"}).encode()

    def post(body: bytes) -> httpx.Response:
        head = headers | {"content-encoding": "gzip"}
        return httpx.post(f"{door.url}/mcp", content=gzip.compress(body), headers=head, timeout=CEILING_S)

    assert post(b" " * 5 * 1024 * 1024).status_code == 413
    assert '"result":{}' in post(ping.ljust(5_000)).text
    assert httpx.post(f"{door.url}/mcp", content=b"[" * 100_000, headers=headers, timeout=CEILING_S).status_code == 400
    monkeypatch.setattr(Exchange, "slowest_body_s", 0.05)
    with socket.create_connection(("127.0.0.1", door.port), CEILING_S) as connection:
        head = f"POST /mcp HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {token}\r\ncontent-length: 100\r\n\r\n{{"
        connection.sendall(head.encode())
        assert connection.recv(100).startswith(b"HTTP/1.1 408 ")


def test_a_page_of_another_site_and_other_methods_are_refused(door: Live, token: str) -> None:
    headers = {"authorization": f"Bearer {token}", "origin": "https://evil.example"}
    assert httpx.post(f"{door.url}/mcp", json={}, headers=headers, timeout=CEILING_S).status_code == 403
    refused = httpx.get(f"{door.url}/mcp", headers={"authorization": f"Bearer {token}"}, timeout=CEILING_S)
    assert (refused.status_code, refused.headers["allow"]) == (405, "POST")
    large = httpx.post(
        f"{door.url}/mcp",
        content=b"x" * (5 * 1024 * 1024),
        headers={"authorization": f"Bearer {token}", "content-type": "application/json"},
        timeout=CEILING_S,
    )
    assert large.status_code == 413
