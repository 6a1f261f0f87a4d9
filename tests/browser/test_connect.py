"""From no key to an answer: a key is made on the page, and the command that stands there is run as it is."""

import re
import subprocess

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import Server
from tests.waiting import CEILING_MS, CEILING_S

pytestmark = pytest.mark.browser


@pytest.mark.feature("GATE-1")
def test_a_key_made_on_the_page_stands_in_commands_that_work(signed_in: Page, server: Server) -> None:
    page = signed_in
    page.goto(server.url + "/connect?configuration=quick")
    page.get_by_role("button", name="New key").click(timeout=CEILING_MS)
    form = page.get_by_role("dialog")
    form.get_by_role("combobox", name="App").fill("shop")
    page.keyboard.press("Enter")
    form.get_by_role("button", name="Create key").click()
    expect(page.get_by_text("The key is ready.")).to_be_visible(timeout=CEILING_MS)
    command = page.get_by_test_id("stCode").filter(has_text="chat/completions").first.inner_text()
    assert re.search(r"Bearer llmm_[\w-]{43}'", command)
    assert server.url in command
    answer = subprocess.run(["bash", "-c", command], capture_output=True, text=True, timeout=CEILING_S)
    assert "The ledger is exact" in answer.stdout
    page.get_by_role("button", name="Ask the model").click()
    expect(page.get_by_text("The ledger is exact")).to_be_visible(timeout=CEILING_MS)
    page.get_by_role("link", name=re.compile("Log ")).click()
    expect(page).to_have_url(re.compile(r"/activity\?id="), timeout=CEILING_MS)
