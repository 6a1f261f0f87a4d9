"""Every tab of every page twice and every button once, over 2,000 calls that cost ten million dollars together.

What may not happen anywhere: an exception box, an error in the console, a tab other than the one clicked, a figure that
is cut, a destructive button that asks nothing.
"""

import re
from collections.abc import Iterator
from datetime import timedelta
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, Locator, Page, expect
from playwright.sync_api import TimeoutError as PlaywrightTimeoutError

from lib.access.permissions import OPERATOR, make_actor
from lib.budgets.budget import BudgetScope, Period
from lib.clock import utc_now
from lib.experiments.plan import Candidate, ExperimentDraft
from lib.mcp.records import write_state
from lib.mcp.server import ServerDraft
from lib.prompts.template import VersionDraft
from lib.services import build
from lib.settings import PROJECT, Settings
from tests.browser.conftest import PASSWORD, USER, Server, settle, sign_in, start_server
from tests.statistics.ledger_rows import call, write
from tests.waiting import CEILING_MS, CEILING_S

pytestmark = pytest.mark.browser
PAGES = sorted(path.stem for path in (PROJECT / "pages").glob("*.py"))
COLLECTION = "Manual"
CALLS, COST_NANO = 2_000, 5_000 * 10**9
MODELS = (
    "openai/gpt-5.1",
    "openai/gpt-5-mini",
    "anthropic/claude-sonnet-4-5",
    "gemini/gemini-3-pro",
    "custom/own-model",
)
_OPENED = {"servers": "?id=memory"}  # a row that is open, so that what stands beside it is pressed, too
_LOOK_MS = 5_000.0  # for one look at a button that stood there a moment ago
_MOST_REDRAWS = 20  # in a row, of one part of a page while its buttons are read
_DESTROYS = re.compile(r"^(Delete|Remove|Revoke|Forget|Close account|Rotate)")
# What leaves the page, ends the session or asks a model that is not there.
_LEFT_ALONE = re.compile(r"^(Sign out|Sign out everywhere)$")

# Notes each text that is drawn past the left or right edge of its cell: tables are pictures, the document can't tell.
_WATCH_TABLES = """
(() => {
  window.cutFigures = [];
  const proto = CanvasRenderingContext2D.prototype, state = new WeakMap();
  const of = c => { if (!state.has(c)) state.set(c, {clip: null, rect: null, stack: []}); return state.get(c); };
  const wrap = (name, before) => { const own = proto[name];
    proto[name] = function (...given) { before(this, given); return own.apply(this, given); }; };
  wrap('save', c => { const s = of(c); s.stack.push(s.clip); });
  wrap('restore', c => { const s = of(c); if (s.stack.length) s.clip = s.stack.pop(); });
  wrap('beginPath', c => { of(c).rect = null; });
  wrap('rect', (c, [x, y, w, h]) => { of(c).rect = [x, w]; });
  wrap('clip', c => { const s = of(c); if (s.rect) s.clip = s.rect; });
  wrap('fillText', (c, [text, x]) => {
    const clip = of(c).clip;
    if (!clip || !/^[−≈≥<-]?\\s?[$€]?[\\d,]{4,}(\\.\\d+)?( %)?$/.test(text)) return;
    const width = c.measureText(text).width;
    const left = c.textAlign === 'right' || c.textAlign === 'end' ? x - width
               : c.textAlign === 'center' ? x - width / 2 : x;
    if (left < clip[0] - 1 || left + width > clip[0] + clip[1] + 1) window.cutFigures.push(text);
  });
})();
"""
_CUT_TEXTS = """
() => [...document.querySelectorAll('[data-testid=stMetricValue] *, [data-testid=stMetricValue]')]
  .filter(e => e.scrollWidth > e.clientWidth + 1 && getComputedStyle(e).overflow !== 'visible').map(e => e.textContent)
"""


@pytest.fixture(scope="module")
def rich(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server that has something on every page."""
    data = tmp_path_factory.mktemp("rich")
    services = build(Settings(data, f"sqlite:///{data / 'llm_manager.db'}", admin_user=USER, admin_password=PASSWORD))
    (person,) = services.users.list(OPERATOR)
    actor = make_actor(person.id, USER, person.role)
    services.providers.create(OPERATOR, name="scripted", kind="scripted")
    services.configurations.create(OPERATOR, slug="quick", app="tests", provider="scripted", model="echo+priced")
    services.prompts.create(OPERATOR, "where", VersionDraft("Where is {{city}}?"))
    services.prompts.save(OPERATOR, "where", VersionDraft("Where on earth is {{city}}?"), 1)
    services.budgets.create(
        OPERATOR, scope=BudgetScope.GLOBAL, period=Period.MONTH, limit_nano=20_000_000 * 10**9, is_hard=False
    )
    services.api_keys.create(actor, app="tests", name="nightly")
    made = services.experiments.create(actor, ExperimentDraft("Numbers", [Candidate("quick")], [{"prompt": "one"}]))
    services.experiments.start(actor, made)
    services.experiments.wait(actor, made, CEILING_S)
    services.knowledge.collections.create(actor, COLLECTION, embedding_model="scripted/words:64")
    server = services.servers.add(OPERATOR, ServerDraft("memory", ["npx", "-y", "memory"]))
    tool = {"name": "recall", "description": "Recalls", "inputSchema": {"type": "object"}}
    write_state(
        services.store, server.id, actual="crashed", reason="No licence.", tools=[tool], error_text="No licence."
    )
    now = utc_now()
    rows = []
    for n in range(CALLS):
        provider, _, model = MODELS[n % len(MODELS)].partition("/")
        more = {"status": "error", "error_kind": "rate_limit"} if n % 40 == 39 else {}
        rows.append(
            call(
                now - timedelta(minutes=18 * n + 5),
                user_id=person.id,
                app=f"app-{n % 4}",
                provider=provider,
                model=model,
                cost_nano_usd=COST_NANO,
                prompt_tokens=1_234_567,
                completion_tokens=234_567,
                total_tokens=1_469_134,
                first_token_ms=12_345 + n,
                execution_time_ms=123_456,
                **more,
            )
        )
    write(services.store, *rows)
    services.close()
    running = start_server(data)
    yield running
    log = running.stop()
    assert "Traceback" not in log, log


@pytest.fixture(scope="module")
def visit(browser: Browser, rich: Server) -> Iterator[tuple[Page, list[str]]]:
    """A signed-in tab of 1280 by 900 in the light theme, and what its console says."""
    context = browser.new_context(viewport={"width": 1280, "height": 900}, color_scheme="light")
    context.add_init_script(_WATCH_TABLES)
    page, complaints = context.new_page(), list[str]()
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on(
        "console",
        lambda m: (
            complaints.append(m.text) if m.type == "error" and "/_stcore/h" not in m.location.get("url", "") else None
        ),
    )
    sign_in(page, rich)
    complaints.clear()  # the login page itself is another test's
    yield page, complaints
    context.close()


def check(page: Page, after: str) -> None:
    """Nothing on the page is an exception or a cut figure."""
    settle(page)
    assert page.get_by_test_id("stException").count() == 0, after
    assert page.evaluate("window.cutFigures") == [], after
    assert page.evaluate(_CUT_TEXTS) == [], after


def visible(places: Locator) -> list[Locator]:
    return [place for place in places.all() if place.is_visible()]


def tabs_of(page: Page) -> list[Locator]:
    """The tabs that are there now, those within tabs as well."""
    return visible(page.get_by_test_id("stMain").get_by_role("tab"))


def click_tab(page: Page, tab: Locator, where: str) -> None:
    name = tab.inner_text()
    tab.click()
    check(page, f"{where}, tab {name}")
    assert tab.get_attribute("aria-selected") == "true", f"{where}: {name} was clicked, another tab is shown"


def walk_tabs(page: Page, where: str) -> None:
    """Each tab in its order, twice; the tabs within one that is open, once each time."""
    tablist = page.get_by_test_id("stMain").get_by_role("tablist").first
    outer = [tab.inner_text() for tab in visible(tablist.get_by_role("tab"))]
    for name in [*outer, *outer]:
        click_tab(page, tablist.get_by_role("tab", name=name, exact=True), where)
        for inner in tabs_of(page)[len(outer) :]:
            click_tab(page, inner, f"{where}, {name}")


def label_of(button: Locator) -> str:
    """What a button is called; that of an icon by itself is its help."""
    words = re.sub(r"^[a-z0-9_]+\n", "", button.inner_text(timeout=_LOOK_MS).strip())  # the icon's name is text, too
    return words or button.get_attribute("aria-label") or button.inner_text().strip()


def list_unpressed(page: Page, inside: str, pressed: set[str]) -> list[Locator]:
    """The buttons within a part of the page that can be pressed and have not been."""
    buttons = visible(page.locator(f"{inside} [data-testid^=stBaseButton]:not([data-testid$=elementToolbar])"))
    return [button for button in buttons if button.is_enabled(timeout=_LOOK_MS) and label_of(button) not in pressed]


def recover(page: Page, inside: str) -> None:
    """Bring a page to rest on which a press met nothing; what came late above it is closed."""
    if inside != "[data-testid=stPopoverBody]":
        close(page)
    settle(page)


def press_all(page: Page, where: str, address: str, inside: str, pressed: set[str]) -> None:
    """Every button within a part of the page that has not been pressed; what opens is looked at and closed."""
    redraws = 0
    while True:
        try:
            buttons = list_unpressed(page, inside, pressed)
            if not buttons:
                return
            label = label_of(buttons[0])
            if not _LEFT_ALONE.match(label):
                buttons[0].click(timeout=_LOOK_MS)
        except PlaywrightTimeoutError:  # another button, or none, stands there by now, or a dialog that came late above
            redraws += 1
            assert redraws < _MOST_REDRAWS, f"{where}: the page never comes to rest"
            recover(page, inside)
            continue
        redraws = 0
        button = buttons[0]
        pressed.add(label)
        if _LEFT_ALONE.match(label):
            continue
        check(page, f"{where}, button {label}")
        dialog, popover = page.get_by_role("dialog"), page.get_by_test_id("stPopoverBody")
        if _DESTROYS.match(label):
            expect(dialog, f"{where}: {label} asks nothing").to_be_visible(timeout=CEILING_MS)
            expect(popover).to_have_count(0)
        if popover.count() > 0 and inside != "[data-testid=stPopoverBody]":
            press_popover(page, where, address, button, pressed)
        close(page)
        if urlsplit(page.url).path != urlsplit(address).path:
            page.goto(address)
            settle(page)
            if inside == "[data-testid=stPopoverBody]":
                return


def press_popover(page: Page, where: str, address: str, opener: Locator, pressed: set[str]) -> None:
    """Every button of a popover: it is opened again after each, for a dialog closes it."""
    before = -1
    while len(pressed) > before:
        before = len(pressed)
        if page.get_by_test_id("stPopoverBody").count() == 0:
            opener.click()
            settle(page)
        press_all(page, where, address, "[data-testid=stPopoverBody]", pressed)


def close(page: Page) -> None:
    """Whatever lies over the page goes, as with Escape."""
    for _ in range(3):
        if page.get_by_role("dialog").count() + page.get_by_test_id("stPopoverBody").count() == 0:
            return
        page.keyboard.press("Escape")
        settle(page)


@pytest.mark.feature("COST-2")
@pytest.mark.parametrize("name", PAGES)
def test_every_tab_twice_and_every_button_once(visit: tuple[Page, list[str]], rich: Server, name: str) -> None:
    page, complaints = visit
    address = rich.url + ("/" if name == "dashboard" else f"/{name}") + _OPENED.get(name, "")
    page.goto(address)
    check(page, name)
    walk_tabs(page, name)
    page.goto(address)
    settle(page)
    press_all(page, name, address, "[data-testid=stMain]", set())
    assert complaints == [], name


@pytest.mark.feature("RAG-1")
def test_the_tabs_of_a_collection_stay_where_they_are_clicked(visit: tuple[Page, list[str]], rich: Server) -> None:
    page, complaints = visit
    page.goto(rich.url + "/knowledge")
    settle(page)
    page.get_by_test_id("stMain").get_by_role("button", name="Open").first.click()
    page.wait_for_url(re.compile("id="))
    address = page.url
    settle(page)
    walk_tabs(page, COLLECTION)
    page.goto(address)
    settle(page)
    press_all(page, COLLECTION, address, "[data-testid=stMain]", {"All collections"})
    assert complaints == []
