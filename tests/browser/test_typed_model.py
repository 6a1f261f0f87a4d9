"""A model that is not listed is typed into the picker; the test runner of Streamlit can't type what is no option."""

import pytest
from playwright.sync_api import Page, expect

from lib.access.permissions import OPERATOR
from lib.services import build
from lib.settings import Settings
from tests.browser.conftest import Server
from tests.waiting import CEILING_MS

pytestmark = pytest.mark.browser


@pytest.mark.feature("CFG-4")
def test_listed_models_are_found_by_typing_and_any_other_can_be_typed(signed_in: Page, server: Server) -> None:
    page = signed_in
    page.goto(server.url + "/configurations")
    page.get_by_role("button", name="New configuration").click(timeout=CEILING_MS)
    form = page.get_by_role("dialog")
    form.get_by_role("textbox", name="Name").fill("typed-model")
    form.get_by_role("combobox", name="Provider").click()
    page.get_by_role("option", name="scripted", exact=True).click()
    expect(form.get_by_text("models listed")).to_be_visible(timeout=CEILING_MS)
    model = form.get_by_role("combobox", name="Model", exact=True)
    model.click()
    page.keyboard.type("ech")
    expect(page.get_by_role("option", name="echo")).to_be_visible()
    page.keyboard.type("o+think:2")
    page.keyboard.press("Enter")
    expect(form.get_by_text("Nothing is known of this model")).to_be_visible(timeout=CEILING_MS)
    form.get_by_role("button", name="Create configuration").click()
    expect(form).not_to_be_visible(timeout=CEILING_MS)
    services = build(Settings(server.data, f"sqlite:///{server.data / 'llm_manager.db'}"))
    assert services.configurations.get(OPERATOR, "typed-model").model == "echo+think:2"
    services.close()
