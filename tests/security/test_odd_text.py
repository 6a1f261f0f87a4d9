"""Texts that no database holds, and heads that may be read in two ways: refused at every door, on both databases."""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from starlette.applications import Starlette
from starlette.testclient import TestClient

from lib import services as root
from lib.access.grants import GatewayEndpoint
from lib.access.permissions import OPERATOR, Role
from lib.gateway.http.request_head import find_fault
from lib.gateway.serve.routes import build_middleware, program_routes, routes
from lib.prompts.template import VersionDraft
from lib.services import Services, build
from lib.settings import Settings
from lib.tools.native import READS_ONLY, NativeTools
from tests.gateway.api_rig import opened
from tests.security.odd_requests import odd_requests

pytestmark = [pytest.mark.feature("GATE-5"), pytest.mark.feature("GATE-3")]
ODD = {"a NUL": "a\\u0000b", "half a letter": "a\\ud800b"}  # as they stand in JSON
ODD_IN_PATHS = {"a NUL": "a%00b", "half a letter": "a%ED%A0%80b", "no UTF-8": "a%FFb"}
READS = sorted(
    {path for route in program_routes if "{" in (path := getattr(route, "path", "")) and "GET" in (route.methods or ())}  # type: ignore[attr-defined]
)
ASKS = ("/v1/chat/completions", "/v1/responses", "/v1/embeddings", "/v1/messages", "/api/generate", "/api/stream")


@pytest.fixture
def client(database_url: str, tmp_path: Path) -> Iterator[TestClient]:
    settings = Settings(data_dir=tmp_path / "data", database_url=database_url)
    services = build(replace(settings, admin_user="amira", admin_password="correct horse battery"))
    endpoints = ["api", "models", "chat", "responses", "embeddings", "messages"]
    amira = services.users.list(OPERATOR)[0]
    key, _ = services.api_keys.create(OPERATOR, app="tests", owner_id=amira.id, endpoints=endpoints)
    root.use(services)
    app = Starlette(routes=routes, middleware=build_middleware(lambda: b""))
    headers = {"authorization": f"Bearer {key}"}
    yield TestClient(app, raise_server_exceptions=False, headers=headers, follow_redirects=False)
    root.use(None)
    services.close()


def test_an_id_that_no_database_holds_is_not_found(client: TestClient) -> None:
    assert len(READS) >= 5
    for path in READS:
        before = path.partition("{")[0]
        for name, odd in ODD_IN_PATHS.items():
            answer = client.get(before + odd + path.partition("}")[2].partition("{")[0])
            assert answer.status_code in (400, 403, 404, 405), (path, name, answer.text)
    for odd in (*ODD_IN_PATHS.values(), "a%2fb", "..%5c", "9" * 5_000):
        delivery = client.post(f"/hooks/{odd}", content=b"{}", headers={b"webhook-signature": b"v1,\xff"})
        assert delivery.status_code in (400, 403, 404), (odd, delivery.text)


def test_no_route_fails_at_a_text_that_no_database_holds(settings: Settings, database_url: str) -> None:
    answered = 0
    with opened(replace(settings, database_url=database_url)) as (rig, client):
        key = rig.key(rig.jonas, endpoints=[endpoint.value for endpoint in GatewayEndpoint])
        make_things_named_a(rig.services)
        for request in odd_requests():
            body = None if request.body is None else json.dumps(request.body)
            headers = {**key, "content-type": "application/json"}
            answer = client.request(request.method, request.address, content=body, headers=headers)
            assert answer.status_code < 500, (request, answer.text)
            assert answer.status_code in (400, 403, 404) or not request.is_in_path, (request, answer.text)
            answered += answer.status_code in (200, 202)
        assert all(run.reason != "" or run.state != "failed" for run in rig.services.workflows.runs.list(OPERATOR))
    assert answered > 10, "requests whose odd text is among the words of a prompt come as far as a model"


def make_things_named_a(services: Services) -> None:
    """What the addresses name, so that odd bodies come as far as what reads them."""
    fields = [{"name": "a", "type": "json", "required": False}]
    finish = {"kind": "output", "id": "finish", "text": "{{start.a}}"}
    nodes = [{"kind": "input", "id": "start", "fields": fields}, finish]
    edges = [{"from": "start", "to": "finish"}]
    services.workflows.definitions.create(
        OPERATOR, "a", {"nodes": nodes, "edges": edges}, runners={"roles": list(Role)}
    )
    services.prompts.create(OPERATOR, "a", VersionDraft("{{a}}"))
    services.knowledge.collections.create(OPERATOR, "a", is_shared=True)

    def a(a: str) -> str:
        """Repeat a text."""
        return a

    native = NativeTools()
    native.register(a, READS_ONLY)
    services.tools.sources.append(native)


def test_a_text_that_no_database_holds_is_refused(client: TestClient) -> None:
    for path in ASKS:
        for name, odd in ODD.items():
            for body in (
                '{"model": "%s", "messages": [{"role": "user", "content": "x"}], "input": "x", "max_tokens": 5}',
                '{"model": "x/%s", "messages": [{"role": "user", "content": "x"}], "input": "x", "max_tokens": 5}',
                '{"configuration": "%s", "messages": [{"role": "user", "content": "x"}]}',
                '{"model": "m", "prompt": "%s", "messages": [], "input": []}',
            ):
                answer = client.post(path, content=body % odd, headers={"content-type": "application/json"})
                assert answer.status_code in (400, 404), (path, name, body, answer.text)


@pytest.mark.parametrize(
    ("lines", "path", "fault"),
    [
        ([], b"/v1/models", "no Host"),
        ([(b"host", b"a"), (b"authorization", b"1"), (b"authorization", b"2")], b"/v1/models", "two Authorization"),
        ([(b"host", b"a"), (b"host", b"b")], b"/", "two Host"),
        ([(b"host", b"a"), (b"x-api-key", b"1"), (b"x-api-key", b"1")], b"/", "two X-Api-Key"),
        ([(b"host", b"a")], b"/api%2fcalls", "slash"),
        ([(b"host", b"a")], b"/api/calls/..%5C", "slash"),
        ([(b"host", b"a")], b"/api/calls/a%00", "NUL"),
        ([(b"host", b"a")], b"/v1/models/a%2Fb", None),
        ([(b"host", b"a"), (b"accept", b"1"), (b"accept", b"2")], b"/", None),
    ],
)
def test_a_head_that_may_be_read_in_two_ways_is_refused(
    lines: list[tuple[bytes, bytes]], path: bytes, fault: str | None
) -> None:
    said = find_fault(lines, path, "1.1")
    assert (said is None) == (fault is None)
    assert (fault or "") in (said or "")


def test_http_1_0_needs_no_host() -> None:
    assert find_fault([], b"/", "1.0") is None


def test_the_doors_refuse_such_a_head(client: TestClient) -> None:
    twice = [("authorization", "Bearer a"), ("authorization", "Bearer b")]
    client.headers.clear()
    for path in (*ASKS, "/v1/models", "/healthz"):
        assert client.get(path, headers=twice).status_code == 400
        assert client.get("/a%2f..").status_code == 400
