"""Rows open by a click in any cell and by the keyboard, in a half page with its own address, and close again."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect

from lib.access.permissions import OPERATOR, Actor, make_actor
from lib.approvals.approval import ApprovalKind, ApprovalRequest
from lib.services import build
from lib.settings import Settings
from tests.browser.conftest import PASSWORD, USER, Server, settle, sign_in, start_server
from tests.waiting import CEILING_MS

pytestmark = [pytest.mark.browser, pytest.mark.feature("LOOK-1")]
_ROW_PX = 30
_FIRST_ROW = 46  # the middle of the first row under a table's head


@pytest.fixture
def inbox(tmp_path: Path) -> Iterator[Server]:
    """A server with three requests for the administrator."""
    data = tmp_path / "inbox"
    data.mkdir()
    services = build(Settings(data, f"sqlite:///{data / 'llm_manager.db'}", admin_user=USER, admin_password=PASSWORD))
    user = services.users.list(OPERATOR)[0]
    person: Actor = make_actor(user.id, user.name, user.role)
    for number in range(3):
        request = ApprovalRequest(kind=ApprovalKind.TOOL, title=f"Send mail {number}?", subject="tool:mail", data={})
        services.approvals.ask(person, request)
    services.close()
    server = start_server(data)
    yield server
    assert "Traceback" not in server.stop()


def test_a_row_opens_by_any_cell_and_by_keyboard_and_is_decided(browser: Browser, inbox: Server) -> None:
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    page = context.new_page()
    sign_in(page, inbox)
    expect(page.get_by_test_id("stSidebarNav")).to_contain_text("Approvals (3)", timeout=CEILING_MS)
    page.goto(f"{inbox.url}/approvals")
    table = page.get_by_test_id("stDataFrame")
    expect(table).to_be_visible(timeout=CEILING_MS)
    table.click(position={"x": 300, "y": _FIRST_ROW + _ROW_PX})  # a cell of the second row
    expect(page).to_have_url(re.compile("id="), timeout=CEILING_MS)
    expect(page.get_by_role("heading", name="Send mail 1?")).to_be_visible(timeout=CEILING_MS)
    settle(page)
    table.click(position={"x": 300, "y": _FIRST_ROW})
    expect(page.get_by_role("heading", name="Send mail 0?")).to_be_visible(timeout=CEILING_MS)
    settle(page)
    page.keyboard.press("ArrowDown")
    expect(page.get_by_role("heading", name="Send mail 1?")).to_be_visible(timeout=CEILING_MS)
    settle(page)  # a press on a page that is being drawn would be lost
    page.get_by_role("button", name="Approve request").click()
    expect(page.get_by_test_id("stSidebarNav")).to_contain_text("Approvals (2)", timeout=CEILING_MS)
    page.goto(f"{inbox.url}/access")  # a table that opens beside itself, without an address
    people = page.get_by_test_id("stDataFrame").first
    expect(people).to_be_visible(timeout=CEILING_MS)
    settle(page)
    people.click(position={"x": 300, "y": _FIRST_ROW})
    expect(page.get_by_role("heading", name=USER)).to_be_visible(timeout=CEILING_MS)
    context.close()
