"""Requests no browser of ours would send: each gets an answer with a meaning, never a trace."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import create_engine
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route, WebSocketRoute
from starlette.testclient import TestClient
from starlette.websockets import WebSocket

from lib import services as root
from lib.access.grants import GatewayEndpoint
from lib.access.permissions import OPERATOR
from lib.access.session_cookie import NAME, SECURE_NAME
from lib.gateway.api.openapi import build_document
from lib.gateway.serve.routes import build_middleware, routes
from lib.gateway.site.login import choose_safe_next
from lib.services import Services, build
from lib.settings import Settings
from tests.security.odd_requests import fill_address, make_example

USER, PASSWORD = "amira", "correct horse battery"
NEEDS_NO_DATABASE = {"/healthz", "/readyz", "/openapi.json", "/api/workflows/schema"}


async def page(_request: Request) -> Response:
    return PlainTextResponse("the page")


async def cookies_seen(websocket: WebSocket) -> None:
    await websocket.accept()
    await websocket.send_json(dict(websocket.cookies))
    await websocket.close()


def plain_requests() -> Iterator[tuple[str, str, object]]:
    """A request to each route of programs that needs the database, with a body that its schema allows."""
    for path, operations in build_document()["paths"].items():
        for method, operation in operations.items():
            content = operation.get("requestBody", {}).get("content", {})
            body = make_example(content["application/json"]["schema"]) if content else None
            if path not in NEEDS_NO_DATABASE:
                yield method, fill_address(path, "a"), body
    yield "POST", "/hooks/a", {}
    yield "POST", "/mcp", {"jsonrpc": "2.0", "id": 1, "method": "tools/list"}


@pytest.fixture
def services(settings: Settings) -> Iterator[Services]:
    made = build(replace(settings, admin_user=USER, admin_password=PASSWORD))
    root.use(made)
    yield made
    root.use(None)
    made.close()


@pytest.fixture
def client(services: Services) -> Iterator[TestClient]:
    inner = [Route("/{path:path}", page, methods=["GET", "POST"]), WebSocketRoute("/_stcore/stream", cookies_seen)]
    app = Starlette(routes=[*routes, *inner], middleware=build_middleware(lambda: b"goodbye"))
    with TestClient(app, base_url="http://testserver", follow_redirects=False) as made:
        yield made


@pytest.mark.feature("ACC-2")
@pytest.mark.parametrize("address", ["//[", "/a//b", "/.//evil.example", "/x\\evil", "/login/", "/logout?x=1"])
def test_an_odd_next_is_the_first_page(client: TestClient, address: str) -> None:
    assert choose_safe_next(address) == "/"
    assert client.get("/login", params={"next": address}).status_code == 200


def test_a_query_may_hold_another_address() -> None:
    assert choose_safe_next("/activity?text=https://a.example//b") == "/activity?text=https://a.example//b"


@pytest.mark.feature("ACC-2")
@pytest.mark.parametrize("path", ["/login", "/logout", "/statistics"])
def test_an_origin_that_is_no_address_is_another_site(client: TestClient, path: str) -> None:
    assert client.post(path, headers={"origin": "http://["}).status_code == 403


@pytest.mark.feature("ACC-2")
def test_a_page_reads_the_cookie_that_the_guard_has_checked(client: TestClient, services: Services) -> None:
    token = services.sessions.login(USER, PASSWORD, "10.0.0.1")
    both = {"cookie": f"a=1; {SECURE_NAME}=left-over; {NAME}={token}"}
    with client.websocket_connect("/_stcore/stream", headers=both) as socket:
        assert socket.receive_json() == {"a": "1", NAME: token}
    planted = {"cookie": f"{NAME}=planted; {SECURE_NAME}={token}", "x-forwarded-proto": "https"}
    with client.websocket_connect("/_stcore/stream", headers=planted) as socket:
        assert socket.receive_json() == {SECURE_NAME: token}


@pytest.mark.feature("GATE-5")
def test_without_its_database_every_door_says_so(client: TestClient, services: Services, tmp_path: Path) -> None:
    client.cookies.set(NAME, services.sessions.login(USER, PASSWORD, "10.0.0.1"))
    endpoints = [endpoint.value for endpoint in GatewayEndpoint]
    owner = services.users.list(OPERATOR)[0].id
    key, _ = services.api_keys.create(OPERATOR, app="tests", owner_id=owner, endpoints=endpoints)
    program = {"authorization": f"Bearer {key}", "accept": "application/json, text/event-stream"}
    assert client.get("/api/tools", headers=program).status_code == 200, "a key that was in use"
    engine = services.store.engine
    services.store.engine = create_engine(f"sqlite:///{tmp_path / 'no such folder' / 'x.db'}")
    try:
        form = {"name": USER, "password": PASSWORD}
        answers = [client.get(path) for path in ("/login", "/statistics", "/readyz")]
        answers += [client.post("/logout"), client.post("/login", data=form)]
        assert [answer.status_code for answer in answers] == [503] * 5
        assert all("content-security-policy" in answer.headers for answer in answers)
        assert client.get("/healthz").status_code == 200
        answers = [client.request(*route, json=body, headers=program) for *route, body in plain_requests()]
        by_status = Counter((answer.status_code, "retry-after" in answer.headers) for answer in answers)
        assert by_status.keys() <= {(503, True), (400, False)}, (
            by_status
        )  # 400: a body of the schema that says too much
        assert by_status[503, True] > 3 * by_status[400, False]
    finally:
        services.store.engine.dispose()
        services.store.engine = engine
