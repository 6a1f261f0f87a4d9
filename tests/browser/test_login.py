"""Nobody gets in without a session, on any address, and a session ends everywhere at once."""

import json
import re
import urllib.error
import urllib.request
from pathlib import Path

import pytest
from playwright.sync_api import BrowserContext, Page, expect

from lib.access.permissions import OPERATOR
from lib.services import build
from lib.settings import PROJECT, Settings
from tests.browser.conftest import PASSWORD, USER, Server, sign_in, start_server
from tests.waiting import CEILING_MS

pytestmark = pytest.mark.browser
ADDRESSES = sorted(path.stem for path in (PROJECT / "pages").glob("*.py"))


@pytest.mark.feature("ACC-2")
def test_every_address_of_a_fresh_process_gives_a_stranger_nothing(page: Page, tmp_path: Path) -> None:
    server = start_server(tmp_path / "fresh", LLM_MANAGER_ADMIN_USER=USER, LLM_MANAGER_ADMIN_PASSWORD=PASSWORD)
    try:
        assert len(ADDRESSES) >= 7
        for name in ADDRESSES:
            page.goto(f"{server.url}/{name}?id=1")
            assert page.url == f"{server.url}/login?next=%2F{name}%3Fid%3D1"
            expect(page.locator("h1")).to_have_text("Sign in")
            assert page.locator("[data-testid=stApp]").count() == 0
        for path in ("/_stcore/metrics", "/media/abc", "/_stcore/upload_file/x", "/_stcore/agent"):
            with pytest.raises(urllib.error.HTTPError) as caught:
                urllib.request.urlopen(server.url + path)
            assert caught.value.code == 401
            caught.value.close()
    finally:
        page.goto("about:blank")  # an open page would complain of the server's end
        server.stop()


@pytest.mark.feature("ACC-1")
def test_the_first_account_is_made_with_the_code_of_the_terminal(page: Page, tmp_path: Path) -> None:
    server = start_server(tmp_path / "new")
    try:
        page.goto(server.url + "/statistics")
        assert page.url == server.url + "/setup"
        code = (server.data / "setup-code.txt").read_text().strip()
        assert code in server.log.read_text()
        for typed, again, message in (("AAAA", PASSWORD, "code is not right"), (code, "different", "passwords differ")):
            page.fill("#code", typed)
            page.fill("#name", USER)
            page.fill("#password", PASSWORD)
            page.fill("#again", again)
            page.click("button")
            expect(page.get_by_text(message)).to_be_visible()
        page.fill("#password", PASSWORD)
        page.fill("#again", PASSWORD)
        page.click("button")
        expect(page.get_by_text("No calls yet")).to_be_visible(timeout=CEILING_MS)
    finally:
        page.goto("about:blank")  # an open page would complain of the server's end
        server.stop()


@pytest.mark.feature("ACC-2")
def test_a_wrong_login_says_the_same_to_everybody_and_a_deep_link_survives(page: Page, server: Server) -> None:
    answers = []
    for name, password in ((USER, "wrong password"), ("nobody", PASSWORD)):
        page.goto(server.url + "/statistics?period=7d")
        page.fill("#name", name)
        page.fill("#password", password)
        page.click("button")
        answers.append(page.locator(".error").inner_text())
        assert page.input_value("#name") == name
    assert answers[0] == answers[1]
    page.fill("#name", USER)
    page.fill("#password", PASSWORD)
    page.click("button")
    expect(page).to_have_url(re.compile(r"/statistics\?period=7d"), timeout=CEILING_MS)
    expect(page.get_by_role("heading", name="Statistics", exact=True)).to_be_visible(timeout=CEILING_MS)


@pytest.mark.feature("ACC-2")
def test_signing_out_ends_the_other_tab_too(context: BrowserContext, server: Server) -> None:
    idle, active = context.new_page(), context.new_page()
    sign_in(idle, server)
    active.goto(server.url + "/playground")
    active.get_by_role("button", name=USER).click()
    active.get_by_text("Sign out").click()
    expect(active.locator("#name")).to_be_visible(timeout=CEILING_MS)
    expect(idle.locator("#name")).to_be_visible(timeout=CEILING_MS)
    answer = context.request.get(server.url + "/playground", max_redirects=0)
    assert (answer.status, answer.headers["location"]) == (303, "/login?next=%2Fplayground")


@pytest.mark.feature("ACC-2")
def test_disabling_an_account_ends_its_tabs_at_once(page: Page, server: Server) -> None:
    services = build(Settings(server.data, f"sqlite:///{server.data / 'llm_manager.db'}"))  # another process would do
    jonas = services.users.create(OPERATOR, "jonas", PASSWORD, "developer")
    try:
        sign_in(page, server, "jonas", path="/playground")
        expect(page.get_by_text("Access", exact=True)).to_have_count(0)
        services.users.set_active(OPERATOR, jonas.id, False)
        expect(page.locator("#name")).to_be_visible(timeout=CEILING_MS)
    finally:
        services.close()


def test_the_health_routes_are_open_and_mean_it(server: Server) -> None:
    for path, status in (("/healthz", "ok"), ("/readyz", "ready")):
        with urllib.request.urlopen(server.url + path) as answer:
            assert json.load(answer) == {"status": status}
