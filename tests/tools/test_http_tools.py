"""HTTP tools: filled templates, addresses that are judged, secrets that never come back."""

import asyncio
import dataclasses
import json
import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

import pytest
from msgspec.structs import replace
from sqlalchemy import select

from lib.access.permissions import Permission, Role
from lib.db.tables import audit_log, tools
from lib.errors import Conflict, InvalidInput, NotFound, PermissionDenied
from lib.tools.http_request import FilledRequest, HttpTemplate, fill
from lib.tools.http_tools import HttpToolDraft
from lib.tools.native import NativeTools
from lib.tools.tool import ToolContext, ToolExecution
from lib.tools.tool_settings import ToolSettings
from tests.calls.rig import AMIRA, JONAS, Rig
from tests.waiting import CEILING_S

SECRET = "Bearer long-and-secret-value-1234"
PARAMETERS = {
    "type": "object",
    "properties": {
        "city": {"type": "string"},
        "days": {"type": "integer"},
        "tags": {"type": "array", "items": {"type": "string"}},
    },
    "required": ["city"],
}


class _Echo(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self._answer()

    def do_POST(self) -> None:
        self._answer()

    def _answer(self) -> None:
        sent = self.rfile.read(int(self.headers.get("content-length", 0)))
        status = 302 if "moved" in self.path else 500 if "broken" in self.path else 200
        told = {"path": self.path, "body": sent.decode(), "authorization": self.headers.get("authorization", "")}
        told |= {"of": self.headers["x-of"]} if "x-of" in self.headers else {}
        body = b"x" * (5 * 1024 * 1024) if "huge" in self.path else json.dumps(told).encode()
        self.send_response(status)
        if status == 302:
            self.send_header("location", "http://169.254.169.254/")
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """Print nothing."""


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Echo)
    thread = Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def draft(url: str, **more: Any) -> HttpToolDraft:
    request = HttpTemplate(url, **{"allow_private": True, **more.pop("request", {})})
    return HttpToolDraft("weather", "Get the weather of a city.", request, parameters=PARAMETERS, **more)


def run(rig: Rig, arguments: Any) -> ToolExecution:
    return asyncio.run(rig.services.tools.run(AMIRA, "weather", arguments, ToolContext(AMIRA)))


@pytest.mark.parametrize(
    ("template", "arguments", "address", "body"),
    [
        (HttpTemplate("https://a.example/w/{{city}}"), {"city": "São Tomé/x"}, "/w/S%C3%A3o%20Tom%C3%A9%2Fx", ""),
        (
            HttpTemplate("https://a.example/w", query={"q": "{{city}}", "n": "{{days}}", "t": "{{tags}}"}),
            {"city": "A&B", "tags": ["x", "y"]},
            "/w?q=A%26B&t=x&t=y",
            "",
        ),
        (
            HttpTemplate("https://a.example/{{city}}", method="POST"),
            {"city": "Oslo", "days": 2},
            "/Oslo",
            '{"days":2}',
        ),
        (
            HttpTemplate(
                "https://a.example", method="POST", body={"n": "{{days}}", "m": "to {{city}}", "t": "{{tags}}"}
            ),
            {"city": "Oslo", "days": 2},
            "",
            '{"n":2,"m":"to Oslo"}',
        ),
    ],
)
@pytest.mark.feature("TOOL-1")
def test_templates_are_filled(template: HttpTemplate, arguments: dict[str, Any], address: str, body: str) -> None:
    filled = fill(template, arguments, {})
    assert (filled.address, filled.body.decode()) == (f"https://a.example{address}", body)


@pytest.mark.parametrize("city", ["..", ".", "", "%2e%2e", None])
def test_an_argument_does_not_lead_to_another_address(city: str | None) -> None:
    template = HttpTemplate("https://a.example/public/{{city}}/x")
    if city == "%2e%2e":
        assert "%252e%252e" in fill(template, {"city": city}, {}).address
        return
    with pytest.raises(InvalidInput):
        fill(template, {} if city is None else {"city": city}, {})


@pytest.mark.parametrize(
    "changes",
    [
        {"url": "https://{{city}}.example/x"},
        {"url": "ftp://a.example/"},
        {"url": "http://127.0.0.1/x", "allow_private": False},
        {"url": "http://metadata.internal/x", "allow_private": False},
        {"method": "TRACE"},
        {"query": {"q": "{{nobody}}"}},
        {"headers": {"Host": "other"}},
        {"headers": {"X-A": "b\r\nX-C: d"}},
    ],
)
@pytest.mark.feature("TOOL-1")
def test_a_request_that_can_not_be_is_refused_when_it_is_saved(rig: Rig, changes: dict[str, Any]) -> None:
    tool = draft("https://a.example/{{city}}")
    with pytest.raises(InvalidInput):
        rig.services.http_tools.create(AMIRA, replace(tool, request=replace(tool.request, **changes)))


@pytest.mark.feature("TOOL-1")
def test_a_tool_is_registered_run_changed_and_removed_without_telling_its_secret(rig: Rig, address: str) -> None:
    service = rig.services.http_tools
    with pytest.raises(PermissionDenied):
        service.create(JONAS, draft(f"{address}/{{{{city}}}}"))
    made = service.create(AMIRA, draft(f"{address}/{{{{city}}}}", secret_headers={"Authorization": SECRET}))
    assert made.secret_names == ("Authorization",)
    with pytest.raises(Conflict):
        service.create(AMIRA, draft(f"{address}/x"))
    execution = run(rig, {"city": "Oslo"})
    assert execution.output is not None
    assert execution.output.structured == {"path": "/Oslo", "body": "", "authorization": "[hidden]"}
    with rig.services.store.read() as connection:
        row = connection.execute(select(tools)).mappings().one()
        audited = str(connection.execute(select(audit_log.c.detail)).scalars().all())
    assert SECRET not in f"{dict(row)} {audited} {service.get(AMIRA, 'weather')}"
    assert rig.services.master_key.rotate(AMIRA) >= 1
    assert run(rig, {"city": "Oslo"}).is_ok
    with pytest.raises(InvalidInput, match="another host"):
        service.update(AMIRA, draft("https://a.example/{{city}}"), made.revision)
    changed = service.update(AMIRA, draft(f"{address}/other/{{{{city}}}}"), made.revision)
    with pytest.raises(Conflict):
        service.update(AMIRA, draft(f"{address}/{{{{city}}}}"), made.revision)
    assert changed.secret_names == ("Authorization",)
    service.delete(AMIRA, "weather")
    with pytest.raises(NotFound):
        run(rig, {"city": "Oslo"})


@pytest.mark.feature("TOOL-1")
@pytest.mark.parametrize(
    ("city", "why"),
    [("moved", "not followed"), ("broken", "status 500"), ("huge", "longer than")],
)
def test_an_answer_that_is_no_success_is_an_error_for_the_model(rig: Rig, address: str, city: str, why: str) -> None:
    rig.services.http_tools.create(AMIRA, draft(f"{address}/{{{{city}}}}"))
    execution = run(rig, {"city": city})
    assert execution.status == "error"
    assert execution.output is not None
    assert why in execution.output.text


@pytest.mark.feature("TOOL-1")
def test_whatever_a_model_writes_into_an_argument_is_one_request_to_the_same_place(rig: Rig, address: str) -> None:
    request = {"headers": {"X-Of": "the tool"}, "query": {"d": "{{days}}", "t": "{{tags}}"}}
    parameters = {"type": "object", "properties": {"city": {}, "days": {}, "tags": {}}}
    tool = replace(draft(f"{address}/w/{{{{city}}}}/x", request=request), parameters=parameters)
    rig.services.http_tools.create(AMIRA, tool)
    odd = ["a\r\nX-Of: me\r\n\r\nGET /y", "a\0", "\ud800", "?a=b#c", "@other.example", "//other.example/", "%2e%2e/%2f"]
    for text in (*odd, "{{days}}", {"a": [None]}, [1, "&d=2"], 1e300, "x" * 9_000):
        execution = run(rig, {"city": text, "days": text, "tags": [text, text]})
        assert execution.output is not None
        if execution.is_ok:
            told = execution.output.structured
            assert told["path"].startswith("/w/")
            assert told["path"].partition("?")[0].endswith("/x")
            assert told["path"].count("?") == 1
            assert told["of"] == "the tool"
        else:
            assert text in ("\ud800", "x" * 9_000, "%2e%2e/%2f"), execution.error_message


@pytest.mark.feature("TOOL-1")
def test_a_name_that_leads_elsewhere_when_it_is_asked_again_is_not_followed(
    rig: Rig, address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was public when the tool was saved is private when it runs: judged at the connection, never before it."""
    port = address.rpartition(":")[2]
    rig.services.http_tools.create(AMIRA, draft(f"http://turns.example:{port}/x", request={"allow_private": False}))
    asked = list[str]()

    def find(host: str, *_: Any, **__: Any) -> list[Any]:
        asked.append(host)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", int(port)))]

    monkeypatch.setattr(socket, "getaddrinfo", find)
    execution = run(rig, {"city": "Oslo"})
    assert "turns.example" in {str(host) for host in asked}
    assert execution.status == "failed"
    assert "private" in str(execution.error_message)


@pytest.mark.feature("TOOL-1")
def test_a_team_has_tools_of_its_own_and_only_super_admins_set_those_of_all(rig: Rig) -> None:
    other = dataclasses.replace(JONAS, role=Role.TEAM_ADMINISTRATOR, permissions=frozenset(Permission), team_id=7)
    rig.services.http_tools.create(AMIRA, draft("https://a.example/{{city}}"))
    assert "weather" in rig.services.tools.toolset(JONAS, "general").tools
    assert "weather" not in rig.services.tools.toolset(other, "general").tools
    with pytest.raises(NotFound):
        rig.services.http_tools.get(other, "weather")
    with pytest.raises(NotFound):
        rig.services.http_tools.delete(other, "weather")
    with pytest.raises(PermissionDenied, match="belongs to all teams"):
        rig.services.tools.save_settings(other, "calculate", ToolSettings(is_enabled=False))


@pytest.mark.feature("TOOL-1")
def test_the_stop_switch_stops_tools(rig: Rig) -> None:
    context = ToolContext(AMIRA)
    for kind in ("tools", "everything"):
        rig.services.stops.stop(AMIRA, kind)
        with pytest.raises(PermissionDenied, match="stopped"):
            asyncio.run(rig.services.tools.run(AMIRA, "calculate", {"expression": "1"}, context))
        rig.services.stops.start(AMIRA, kind)
    assert asyncio.run(rig.services.tools.run(AMIRA, "calculate", {"expression": "1"}, context)).is_ok
    started = threading.Event()

    async def wait() -> str:
        """Wait for ever."""
        started.set()
        await asyncio.Event().wait()
        return ""

    native = NativeTools()
    native.register(wait)
    rig.services.tools.sources.append(native)
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(asyncio.run, rig.services.tools.run(AMIRA, "wait", {}, context))
        assert started.wait(CEILING_S)
        rig.services.stops.stop(AMIRA, "tools", reason="A tool runs wild.")
        stopped = running.result(CEILING_S)
    assert (stopped.status, "A tool runs wild." in str(stopped.error_message)) == ("failed", True)


def test_a_filled_request_is_a_value() -> None:
    assert fill(HttpTemplate("https://a.example/"), {}, {"x-key": "v"}) == FilledRequest(
        "GET", "https://a.example/", {"user-agent": "llm-manager", "accept": "*/*", "x-key": "v"}, b""
    )
