"""Ask, watch it stream, stop it, leave and come back, find it in the log, see it charted, take the CSV."""

import io
import os
import re
import signal
import time
from pathlib import Path

import pandas as pd
import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect
from sqlalchemy import create_engine, text

from tests.browser.conftest import PASSWORD, USER, Server, sign_in, start_server
from tests.waiting import CEILING_MS

pytestmark = pytest.mark.browser


def ask(page: Page, server: Server, configuration: str, prompt: str) -> str:
    """Ask in the playground; the id of the run, from the address."""
    page.goto(f"{server.url}/playground?config={configuration}")
    box = page.get_by_test_id("stChatInputTextArea")
    expect(box).to_have_attribute("placeholder", f"Ask {configuration}", timeout=CEILING_MS)
    box.fill(prompt)
    box.press("Enter")
    expect(page).to_have_url(re.compile("run="), timeout=CEILING_MS)
    return page.url.partition("run=")[2].partition("&")[0]


_OF_RUN = """SELECT status, call_id FROM usage_logs WHERE call_id IN
    (SELECT call_id FROM playground_panes WHERE run_id = :id UNION SELECT :id)"""


def status(server: Server, run_id: str, column: int = 0) -> list[str]:
    """Of the rows of a run (or a call). Endings reach the database some milliseconds after the page."""
    engine = create_engine(f"sqlite:///{server.data / 'llm_manager.db'}")
    rows, until = list[str](), time.monotonic() + 5
    while not rows and time.monotonic() < until:
        time.sleep(0.02)
        with engine.connect() as connection:
            found = connection.execute(text(_OF_RUN), {"id": run_id})
            rows = [row[column] for row in found]
    engine.dispose()
    return rows


@pytest.mark.feature("SET-1")
def test_the_first_answer_comes_from_the_bundled_model_and_is_charted(signed_in: Page, server: Server) -> None:
    page = signed_in
    call_id = ask(page, server, "local-default", "Say hello in five words.")
    expect(page.get_by_text("✓ ok").first).to_be_visible(timeout=240_000)
    assert status(server, call_id) == ["ok"]
    expect(page.get_by_role("button", name="Run all again")).to_be_visible(timeout=CEILING_MS)  # drawn to its end
    page.get_by_role("link", name="Log").click()
    expect(page).to_have_url(re.compile(r"/activity\?id="), timeout=CEILING_MS)
    expect(page.get_by_role("heading", name="Call ")).to_be_visible(timeout=CEILING_MS)
    page.goto(server.url + "/statistics")
    expect(page.get_by_text("By model", exact=True)).to_be_visible(timeout=CEILING_MS)
    expect(page.locator("[data-testid=stVegaLiteChart]").first).to_be_visible(timeout=CEILING_MS)


@pytest.mark.feature("CALL-2")
@pytest.mark.feature("CALL-3")
def test_stop_keeps_the_partial_answer(signed_in: Page, server: Server) -> None:
    page = signed_in
    call_id = ask(page, server, "slow", "Interrupt this")
    expect(page.get_by_text("Streaming")).to_be_visible(timeout=CEILING_MS)
    expect(page.get_by_text("Lorem ipsum").first).to_be_visible(timeout=CEILING_MS)
    expect(page.get_by_text("tok/s").first).to_be_visible(timeout=CEILING_MS)
    page.get_by_role("button", name="Stop", exact=True).click()
    expect(page.get_by_text("■ cancelled").first).to_be_visible(timeout=CEILING_MS)
    expect(page.get_by_text("Lorem ipsum").first).to_be_visible()
    assert status(server, call_id) == ["cancelled"]


@pytest.mark.feature("CALL-3")
def test_reload_and_a_second_tab_find_the_answer_still_growing(context: BrowserContext, server: Server) -> None:
    first = context.new_page()
    sign_in(first, server)
    ask(first, server, "slow", "Go on")
    expect(first.get_by_text("Streaming")).to_be_visible(timeout=CEILING_MS)
    first.reload()
    expect(first.get_by_text("Streaming")).to_be_visible(timeout=CEILING_MS)
    second = context.new_page()
    second.goto(first.url)
    expect(second.get_by_text("Streaming")).to_be_visible(timeout=CEILING_MS)
    first.close()
    second.get_by_role("button", name="Stop", exact=True).click()
    expect(second.get_by_text("■ cancelled").first).to_be_visible(timeout=CEILING_MS)


@pytest.mark.feature("CALL-6")
def test_the_log_is_downloaded_as_csv_that_pandas_reads(signed_in: Page, server: Server) -> None:
    page = signed_in
    call_id = ask(page, server, "quick", "=1+1")
    expect(page.get_by_text("✓ ok").first).to_be_visible(timeout=CEILING_MS)
    page.goto(server.url + "/activity")
    page.get_by_text("Export").first.click()
    with page.expect_download(timeout=CEILING_MS) as download:
        page.get_by_text("CSV", exact=True).first.click()
    frame = pd.read_csv(io.BytesIO(Path(download.value.path()).read_bytes()))
    (of_run,) = status(server, call_id, column=1)
    assert list(frame.columns[:6]) == ["ID", "Date/Time", "Provider", "Model", "User", "Prompt"]
    row = frame[frame["call_id"] == of_run].iloc[0]
    assert row["Prompt"] == "'=1+1"  # a spreadsheet must not run it
    assert row["Response"] == "The ledger is exact"
    assert row["Cost USD"] > 0
    assert row["Status"] == "ok"


@pytest.mark.feature("CALL-4")
def test_a_killed_server_comes_back_with_the_row_and_the_text(browser: Browser, tmp_path: Path) -> None:
    from lib.access.permissions import OPERATOR
    from lib.services import build
    from lib.settings import Settings

    data = tmp_path / "killed"
    services = build(Settings(data, f"sqlite:///{data / 'llm_manager.db'}", admin_user=USER, admin_password=PASSWORD))
    services.providers.create(OPERATOR, name="scripted", kind="scripted")
    services.configurations.create(OPERATOR, slug="slow", app="t", provider="scripted", model="lorem:900+slow:50ms")
    services.close()
    server = start_server(data)
    page = browser.new_page()  # its console may complain: the server is killed
    sign_in(page, server)
    call_id = ask(page, server, "slow", "Kill the server")
    expect(page.get_by_text("consectetur").first).to_be_visible(timeout=CEILING_MS)
    page.wait_for_timeout(1_000)
    os.kill(server.process.pid, signal.SIGKILL)
    server.process.wait()
    again = start_server(data)
    try:
        assert status(again, call_id) == ["orphaned"]
        page.goto(f"{again.url}/playground?run={call_id}")
        expect(page.get_by_text("◌ orphaned").first).to_be_visible(timeout=CEILING_MS)
        expect(page.get_by_text("Lorem ipsum").first).to_be_visible()
    finally:
        page.close()
        again.stop()
