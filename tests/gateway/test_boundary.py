"""One boundary for every route: bugs and a database that is away are answered in the form of the door asked."""

import json
import logging
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.routing import Router
from starlette.testclient import TestClient

from lib import services as service_root
from lib.db.failures import DatabaseAway
from lib.gateway.api import openapi
from lib.gateway.http.program_routes import ProgramRoutes
from lib.gateway.serve import health
from lib.gateway.serve.routes import build_middleware, program_routes, routes

SECRET = "sk-0123456789abcdefghijklmnop"
NEVER_FAIL = {"/openapi.json", "/healthz"}  # they ask nothing of anybody
BROWSER = {"accept": "text/html,application/xhtml+xml"}


class Broken:
    """Services of which nothing can be had."""

    def __init__(self, make_error: Callable[[], Exception]) -> None:
        self._make_error = make_error

    def __getattr__(self, name: str) -> Any:
        raise self._make_error()


def make_bug() -> Exception:
    return RuntimeError(f"a bug with {SECRET}")


def is_openai(body: dict[str, Any]) -> bool:
    return set(body) == {"error"} and set(body["error"]) == {"message", "type", "param", "code"}


def is_anthropic(body: dict[str, Any]) -> bool:
    return body["type"] == "error" and {"type", "message"} <= set(body["error"])


def is_api(body: dict[str, Any]) -> bool:
    return set(body) == {"error"} and set(body["error"]) == {"code", "message", "param"}


def is_health(body: dict[str, Any]) -> bool:
    return set(body) == {"status", "reason"}


def form_of(path: str) -> Callable[[dict[str, Any]], bool]:
    """How the contract says that errors of an address look."""
    if path.startswith("/v1/messages"):
        return is_anthropic
    return is_openai if path.startswith("/v1/") else is_api if path.startswith("/api/") else is_health


def list_program_routes() -> list[tuple[str, str]]:
    return [
        (method.upper(), path)
        for path, item in openapi.build_document()["paths"].items()
        for method in item
        if path not in NEVER_FAIL
    ]


def site_routes() -> list[tuple[str, str]]:
    return [("GET", "/login"), ("POST", "/login"), ("GET", "/setup"), ("POST", "/setup"), ("GET", "/statistics")]


@pytest.fixture(params=[make_bug, DatabaseAway], ids=["bug", "away"])
def error(request: pytest.FixtureRequest) -> Iterator[Exception]:
    service_root.use(Broken(request.param))  # type: ignore[arg-type]
    yield request.param()
    service_root.use(None)


def check(answer: Any, error: Exception, caplog: pytest.LogCaptureFixture) -> None:
    """The status, what the client is not told, and what the log is."""
    is_bug = isinstance(error, RuntimeError)
    assert answer.status_code == (500 if is_bug else 503)
    assert answer.headers.get("retry-after") == (None if is_bug else "1")
    assert "Traceback" not in answer.text
    assert "a bug" not in answer.text
    assert ("Traceback" in caplog.text) == is_bug
    assert SECRET not in caplog.text


@pytest.mark.feature("GATE-5")
@pytest.mark.parametrize(("method", "path"), list_program_routes())
def test_a_programs_route_fails_in_its_own_form(
    method: str, path: str, error: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    client = TestClient(ProgramRoutes(Router(health.routes), program_routes))
    with caplog.at_level(logging.ERROR):
        answer = client.request(method, path, headers={"authorization": "Bearer x"}, content=b"{}")
    if path == "/readyz" and isinstance(error, DatabaseAway):
        assert answer.status_code == 503, "it says so itself"
        return
    check(answer, error, caplog)
    if path == "/metrics":
        assert answer.headers["content-type"].startswith("text/plain")
        return
    assert answer.headers["content-type"] == "application/json"
    assert form_of(path)(answer.json()), answer.text


@pytest.mark.feature("GATE-5")
def test_a_client_of_anthropics_reads_of_models_in_its_form(error: Exception) -> None:
    client = TestClient(ProgramRoutes(Router(), program_routes))
    answer = client.get("/v1/models", headers={"anthropic-version": "2023-06-01"})
    assert is_anthropic(answer.json())


@pytest.mark.feature("ACC-2")
@pytest.mark.parametrize(("method", "path"), site_routes())
def test_a_page_fails_as_a_page_to_browsers_and_as_a_line_to_others(
    method: str, path: str, error: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    app = Starlette(routes=routes, middleware=build_middleware(lambda: b""))
    client = TestClient(app, follow_redirects=False, cookies={"llm_manager_session": "x"})
    with caplog.at_level(logging.ERROR):
        page, line = client.request(method, path, headers=BROWSER), client.request(method, path)
    check(page, error, caplog)
    assert page.headers["content-type"].startswith("text/html")
    assert "<h1>" in page.text
    assert line.headers["content-type"].startswith("text/plain")
    for answer in (page, line):
        assert "content-security-policy" in answer.headers
        assert len(answer.headers.get_list("x-content-type-options")) == 1


def test_an_answer_that_has_begun_is_broken_off_and_logged(caplog: pytest.LogCaptureFixture) -> None:
    async def breaks(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"half", "more_body": True})
        raise RuntimeError(json.dumps({"api_key": SECRET}))

    answer = TestClient(ProgramRoutes(breaks, program_routes)).get("/statistics")
    assert (answer.status_code, answer.text) == (200, "half")
    assert "Traceback" in caplog.text
    assert SECRET not in caplog.text
