"""Conversations in a browser: an answer is found again, a second turn, and nothing that is said leaves the browser."""

import re
from contextlib import suppress

import pytest
from playwright.sync_api import BrowserContext, Locator, Page, expect
from playwright.sync_api import TimeoutError as PlaywrightTimeoutError

from lib.access.permissions import OPERATOR
from lib.services import build
from lib.settings import Settings
from tests.browser.conftest import Server, sign_in
from tests.browser.test_policy import browser_alone, elsewhere  # noqa: F401 (fixtures)
from tests.waiting import CEILING_MS, until

pytestmark = pytest.mark.browser


def begin(page: Page, server: Server, configuration: str, text: str) -> None:
    """Ask in a new conversation."""
    page.goto(f"{server.url}/conversations?config={configuration}")
    box = page.get_by_test_id("stChatInputTextArea")
    expect(box).to_have_attribute("placeholder", f"Ask {configuration}", timeout=CEILING_MS)
    box.fill(text)
    box.press("Enter")
    expect(page).to_have_url(re.compile("id="), timeout=CEILING_MS)


@pytest.mark.feature("PLAY-6")
def test_an_answer_goes_on_while_one_is_away_and_is_stopped_when_back(signed_in: Page, server: Server) -> None:
    page = signed_in
    begin(page, server, "slow", "Tell me of ledgers")
    expect(page.get_by_text("Lorem ipsum").first).to_be_visible(timeout=CEILING_MS)
    address = page.url
    page.goto(server.url + "/configurations")
    expect(page.get_by_role("heading", name="Configurations")).to_be_visible(timeout=CEILING_MS)
    page.goto(address)
    expect(page.get_by_text("Streaming")).to_be_visible(timeout=CEILING_MS)
    page.get_by_role("button", name="Stop").click()
    expect(page.get_by_text("■ cancelled")).to_be_visible(timeout=CEILING_MS)
    assert page.get_by_text("Lorem ipsum").first.is_visible()


def press_until(button: Locator, sign: Locator) -> None:
    """Press until it shows: a press while the thread is drawn anew, as it is when an answer ends, goes nowhere."""

    def shows() -> bool:
        if sign.first.is_visible():
            return True
        with suppress(PlaywrightTimeoutError):
            button.click(timeout=2_000)
            sign.first.wait_for(timeout=8_000)
        return sign.first.is_visible()

    until(shows)


@pytest.mark.feature("PLAY-6")
@pytest.mark.feature("PLAY-7")
def test_a_second_turn_a_branch_and_the_request_behind_an_answer(signed_in: Page, server: Server) -> None:
    page = signed_in
    begin(page, server, "quick", "First question")
    expect(page.get_by_text("The ledger is exact").first).to_be_visible(timeout=CEILING_MS)
    box = page.get_by_test_id("stChatInputTextArea")
    expect(box).to_be_enabled(timeout=CEILING_MS)
    box.fill("Second question")
    box.press("Enter")
    expect(page.get_by_test_id("stChatMessage")).to_have_count(4, timeout=CEILING_MS)
    answer = page.get_by_test_id("stChatMessage").nth(3)
    expect(answer.get_by_role("button", name="data_object")).to_be_visible(timeout=CEILING_MS)  # it has ended
    dialog = page.get_by_role("dialog")
    press_until(answer.get_by_role("button", name="refresh"), page.get_by_text(re.compile(r"^(\d) / \1$")))
    page.reload()  # the branch is where its address leads
    press_until(page.get_by_role("button", name="data_object").last, dialog.get_by_text("Attempts"))
    dialog.get_by_role("tab", name="Request").click()
    expect(dialog.get_by_text("First question")).to_be_visible(timeout=CEILING_MS)


@pytest.mark.feature("PLAY-6")
def test_what_is_said_in_a_conversation_does_not_leave_the_browser(
    browser_alone: BrowserContext,  # noqa: F811
    server: Server,
    elsewhere: tuple[str, list[bytes]],  # noqa: F811
) -> None:
    url, heard = elsewhere
    words = f"![a]({url}/image?secret) <img src='{url}/html'> <script>fetch('{url}/script')</script> end of answer"
    services = build(Settings(server.data, f"sqlite:///{server.data / 'llm_manager.db'}"))
    services.configurations.create(OPERATOR, slug="leaking", app="tests", provider="scripted", model=f"say:{words}")
    services.close()
    page = browser_alone.new_page()
    sign_in(page, server)
    begin(page, server, "leaking", f"![p]({url}/prompt) and more")
    expect(page.get_by_text("end of answer").first).to_be_visible(timeout=CEILING_MS)
    page.wait_for_timeout(5_000)  # the title, which the same model finds, has come
    page.reload()
    expect(page.get_by_text("end of answer").first).to_be_visible(timeout=CEILING_MS)
    page.get_by_placeholder("Search what was said").fill("more")
    page.get_by_placeholder("Search what was said").press("Enter")
    page.wait_for_timeout(2_000)
    assert heard == []
