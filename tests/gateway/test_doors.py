"""The guard, the login routes and the health routes, over real services."""

import asyncio
import os
import socket
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import text
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route, WebSocketRoute
from starlette.testclient import TestClient
from starlette.websockets import WebSocket, WebSocketDisconnect

from lib import services as root
from lib.errors import InstallationError
from lib.gateway.serve.lifespan import set_nodelay
from lib.gateway.serve.routes import build_middleware, routes
from lib.gateway.site.login import choose_safe_next
from lib.gateway.site.security_headers import build_content_security_policy
from lib.gateway.site.session_guard import sockets, watch_sessions
from lib.services import Services, build
from lib.settings import Settings
from tests.waiting import CEILING_S

USER, PASSWORD = "amira", "correct horse battery"


async def secret(_request: Request) -> Response:
    return PlainTextResponse("the page")


async def stream(websocket: WebSocket) -> None:
    await websocket.accept()
    await websocket.send_text("open")
    while True:
        try:
            await websocket.receive_text()
        except (WebSocketDisconnect, RuntimeError):
            return


def client_for(services: Services) -> TestClient:
    root.use(services)
    inner = [Route("/{path:path}", secret, methods=["GET", "POST"]), WebSocketRoute("/_stcore/stream", stream)]
    app = Starlette(routes=[*routes, *inner], middleware=build_middleware(lambda: b"goodbye"))
    return TestClient(app, base_url="http://testserver", follow_redirects=False)


@pytest.fixture
def services(settings: Settings) -> Iterator[Services]:
    made = build(replace(settings, admin_user=USER, admin_password=PASSWORD))
    yield made
    root.use(None)
    made.close()


@pytest.fixture
def client(services: Services) -> Iterator[TestClient]:
    with client_for(services) as made:
        yield made


def login(client: TestClient, **changes: str) -> Any:
    form = {"name": USER, "password": PASSWORD} | changes
    return client.post("/login", data=form, headers={"origin": "http://testserver"})


@pytest.mark.feature("ACC-2")
def test_a_stranger_is_led_to_the_login_page_and_back(client: TestClient) -> None:
    answer = client.get("/statistics?period=7d&app=a%20b")
    assert (answer.status_code, answer.headers["location"]) == (
        303,
        "/login?next=%2Fstatistics%3Fperiod%3D7d%26app%3Da%2520b",
    )
    page = client.get(answer.headers["location"])
    assert 'action="/login?next=%2Fstatistics' in page.text
    assert "<script" not in page.text
    for path in ("/media/x", "/_stcore/metrics", "/component/x", "/_stcore/upload_file/a/b"):
        assert client.get(path).status_code == 401
    assert client.post("/statistics").status_code == 401


def test_the_landing_page_has_a_path_too(client: TestClient) -> None:
    assert client.get("/dashboard?period=7d").headers["location"] == "/login?next=%2Fdashboard%3Fperiod%3D7d"
    login(client)
    assert client.get("/dashboard?period=7d").headers["location"] == "/?period=7d"
    assert client.get("/dashboard").headers["location"] == "/"


@pytest.mark.feature("ACC-2")
def test_a_login_sets_a_fresh_cookie_no_script_can_read(client: TestClient) -> None:
    headers = {"cookie": "llm_manager_session=chosen-by-an-attacker"}
    answer = client.post("/login", data={"name": USER, "password": PASSWORD}, headers=headers)
    assert (answer.status_code, answer.headers["location"]) == (303, "/")
    cookie = answer.headers["set-cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=Lax" in cookie
    assert "chosen-by-an-attacker" not in cookie
    assert client.get("/statistics").text == "the page"


@pytest.mark.feature("ACC-2")
def test_under_https_the_cookie_is_bound_to_the_host(client: TestClient) -> None:
    headers = {"x-forwarded-proto": "https"}
    answer = client.post("/login", data={"name": USER, "password": PASSWORD}, headers=headers)
    assert answer.headers["set-cookie"].startswith("__Host-llm_manager_session=")
    assert "; Secure" in answer.headers["set-cookie"]


@pytest.mark.feature("ACC-2")
def test_wrong_logins_are_one_answer_then_a_pause(client: TestClient) -> None:
    bodies = {login(client, name=name, password="wrong password").text.replace(name, "") for name in (USER, "nobody")}
    assert len(bodies) == 1
    for _ in range(4):
        assert login(client, password="wrong password").status_code == 400
    answer = login(client)
    assert answer.status_code == 429
    assert 1 <= int(answer.headers["retry-after"]) <= 3


@pytest.mark.feature("ACC-2")
def test_requests_from_another_site_change_nothing(client: TestClient) -> None:
    answer = client.post(
        "/login", data={"name": USER, "password": PASSWORD}, headers={"origin": "https://evil.example"}
    )
    assert answer.status_code == 403
    login(client)
    assert client.post("/logout", headers={"origin": "null"}).status_code == 403
    client.get("/logout")  # following a link signs nobody out
    assert client.get("/statistics").text == "the page"
    with (
        pytest.raises(WebSocketDisconnect),
        client.websocket_connect("/_stcore/stream", headers={"origin": "https://evil.example"}),
    ):
        pass


@pytest.mark.feature("ACC-2")
def test_a_socket_needs_a_session_and_ends_with_it(client: TestClient) -> None:
    with pytest.raises(WebSocketDisconnect), client.websocket_connect("/_stcore/stream"):
        pass
    login(client)
    with client.websocket_connect("/_stcore/stream") as socket:
        assert socket.receive_text() == "open"
        assert len(sockets.tokens()) == 1
        assert client.post("/logout").headers["location"] == "/login"
        assert socket.receive_bytes() == b"goodbye"
        with pytest.raises(WebSocketDisconnect) as closed:
            socket.receive_text()
        assert closed.value.code == 4401
    assert client.get("/statistics").status_code == 303


@pytest.mark.feature("ACC-2")
@pytest.mark.parametrize(
    "address",
    ["https://evil.example/", "//evil.example", "/\\evil.example", "javascript:alert(1)", "/a\n/b", "/logout", ""],
)
def test_next_never_leaves_this_site(address: str) -> None:
    assert choose_safe_next(address) == "/"
    assert choose_safe_next("/activity?id=1&app=b") == "/activity?id=1&app=b"


def test_every_answer_carries_the_policy(client: TestClient) -> None:
    for path in ("/healthz", "/login", "/statistics", "/media/x"):
        headers = client.get(path).headers
        assert headers["content-security-policy"] == build_content_security_policy()
        assert headers["x-content-type-options"] == "nosniff"
    policy = build_content_security_policy()
    assert "'sha256-" in policy
    assert "script-src 'self' 'unsafe-inline'" not in policy
    assert "img-src 'self' data: blob:;" in policy


@pytest.mark.feature("GATE-5")
def test_ready_means_the_database_answers_with_this_schema(client: TestClient, services: Services) -> None:
    assert client.get("/healthz").json() == {"status": "ok"}
    assert client.get("/readyz").status_code == 200
    with services.store.write() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '0000'"))
    answer = client.get("/readyz")
    assert (answer.status_code, answer.json()["status"]) == (503, "not ready")
    assert client.get("/healthz").status_code == 200


@pytest.mark.feature("ACC-1")
def test_a_new_installation_asks_for_its_code_and_guessing_it_is_slowed(settings: Settings) -> None:
    services = build(settings)
    try:
        with client_for(services) as client:
            assert client.get("/activity").headers["location"] == "/setup"
            assert client.get("/login").headers["location"] == "/setup"
            form = {"name": USER, "password": PASSWORD, "again": PASSWORD}
            for n in range(20):
                assert client.post("/setup", data=form | {"code": f"AAAA-BBBB-{n:04}"}).status_code == 400
            assert client.post("/setup", data=form | {"code": services.setup.read_code()}).status_code == 429
            assert services.setup.is_needed()
    finally:
        root.use(None)
        services.close()


def test_an_oversized_form_is_not_read(client: TestClient) -> None:
    assert login(client, password="x" * 50_000).status_code == 400


@pytest.mark.feature("ACC-2")
def test_under_https_a_plain_cookie_does_not_count(client: TestClient) -> None:
    """A neighbouring subdomain can plant the plain name, never the `__Host-` one."""
    login(client)
    token = client.cookies["llm_manager_session"]
    client.cookies.clear()
    https = {"x-forwarded-proto": "https"}
    assert client.get("/statistics", headers=https | {"cookie": f"llm_manager_session={token}"}).status_code == 303
    bound = https | {"cookie": f"__Host-llm_manager_session={token}"}
    assert client.get("/statistics", headers=bound).text == "the page"


def test_odd_cookies_of_other_programs_on_this_host_do_no_harm(client: TestClient) -> None:
    login(client)
    token = client.cookies["llm_manager_session"]
    client.cookies.clear()
    for odd in ('theme={"dark": [1, 2]}', "=x", "a b=c", '"', "n\u00e4me=\u00e4"):
        cookies = f"{odd}; llm_manager_session={token}; {odd}".encode()
        assert client.get("/statistics", headers=[(b"cookie", cookies)]).text == "the page", odd


def test_a_second_tab_need_not_sign_in_again(client: TestClient) -> None:
    login(client)
    answer = client.get("/login?next=%2Factivity%3Fid%3D1")
    assert (answer.status_code, answer.headers["location"]) == (303, "/activity?id=1")


@pytest.mark.feature("ACC-2")
def test_a_lost_database_lets_nobody_in_and_ends_no_watch(
    client: TestClient, services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    login(client)
    token = client.cookies["llm_manager_session"]
    lost = InstallationError("The database does not answer.")

    def fail(*_: object) -> None:
        raise lost

    with monkeypatch.context() as broken:
        broken.setattr(services.sessions, "find_actor", fail)
        answer = client.get("/statistics")
        assert (answer.status_code, answer.text) == (503, "The database does not answer. Try again in a moment.")
        with pytest.raises(WebSocketDisconnect), client.websocket_connect("/_stcore/stream"):
            pass
    assert asyncio.run(_watched(services, token, monkeypatch, fail)) is True


async def _watched(services: Services, token: str, monkeypatch: pytest.MonkeyPatch, fail: Callable[..., None]) -> bool:
    """Whether a session's end reaches its socket after the watch has met a failing database."""
    met, real = asyncio.Event(), services.sessions.find_revoked
    loop = asyncio.get_running_loop()

    def fail_once(_tokens: object) -> None:
        monkeypatch.setattr(services.sessions, "find_revoked", real)
        loop.call_soon_threadsafe(met.set)
        fail()

    monkeypatch.setattr(services.sessions, "find_revoked", fail_once)
    ended = sockets.add(token)
    watch = asyncio.create_task(watch_sessions(services, every_s=0.01))
    await asyncio.wait_for(met.wait(), CEILING_S)
    services.sessions.end(token)
    await asyncio.wait_for(ended.wait(), CEILING_S)
    watch.cancel()
    sockets.remove(token, ended)
    return ended.is_set()


def test_listening_sockets_answer_without_delay() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener, socket.socket() as other:
        set_nodelay()
        assert listener.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) == 1
        assert other.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) == 0
        before = len(os.listdir("/proc/self/fd"))
        set_nodelay()
        assert len(os.listdir("/proc/self/fd")) == before


def test_without_proc_nothing_is_set_and_nothing_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(_path: str) -> list[str]:
        raise FileNotFoundError

    monkeypatch.setattr(os, "listdir", missing)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        set_nodelay()
        assert listener.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) == 0


def test_a_page_that_goes_away_while_it_is_written_to_is_no_error(services: Services) -> None:
    async def late(websocket: WebSocket) -> None:
        await websocket.accept()
        await websocket.close()
        await websocket.send_text("too late")

    root.use(services)
    app = Starlette(
        routes=[*routes, WebSocketRoute("/_stcore/stream", late)], middleware=build_middleware(lambda: b"goodbye")
    )
    with TestClient(app, base_url="http://testserver", follow_redirects=False) as client:
        login(client)
        with client.websocket_connect("/_stcore/stream") as socket, pytest.raises(WebSocketDisconnect):
            socket.receive_text()
