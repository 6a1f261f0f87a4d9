"""Takes the pictures of the documents: `LLM_MANAGER_BROWSER=$(sh scripts/find_browser.sh) .venv/bin/python
scripts/take_pictures.py [NAME …]`.

It serves an installation of its own in a temporary folder, fills it through the library and over HTTP with the scripted
provider, so that nothing leaves the machine, looks at each page at 1280 pixels, and writes docs/images/NAME.png with a
palette of 256 colours.
"""

import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
from PIL import Image
from playwright.sync_api import Page, sync_playwright

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from lib.access.permissions import OPERATOR, Actor, Role, make_actor  # noqa: E402
from lib.approvals.approval import ApprovalKind, ApprovalRequest  # noqa: E402
from lib.cache.policy import CacheRules, SemanticMode  # noqa: E402
from lib.clock import utc_now  # noqa: E402
from lib.playground.question import PlaygroundQuestion  # noqa: E402
from lib.playground.run import Pane  # noqa: E402
from lib.services import Services, build  # noqa: E402
from lib.settings import Settings  # noqa: E402
from lib.tools.http_request import HttpTemplate  # noqa: E402
from lib.tools.http_tools import HttpToolDraft  # noqa: E402
from lib.tools.tool import ToolAnnotations  # noqa: E402
from lib.workflows.templates import list_templates  # noqa: E402

USER, PASSWORD = "amira", "correct horse battery"
FOLDER = ROOT / "docs" / "images"
WIDTH, HEIGHT = 1280, 820
PATIENCE_MS = 180_000
REFUND = (
    "You can ask for a refund within 30 days of the delivery. We pay it back to the card you used, usually within "
    "five working days."
)
HOURS = "We are open from Monday to Friday, 9:00 to 18:00, and on Saturday until 13:00."
QUESTIONS = (
    "When do I get my refund?",
    "What are your opening hours?",
    "Can I return a gift?",
    "Do you ship to Norway?",
    "Where is my invoice?",
)


def fill(services: Services) -> str:
    """Fill an installation with what the pages show; returns an API key."""
    (person,) = services.users.list(OPERATOR)
    actor = make_actor(person.id, USER, person.role)
    services.demo.load(OPERATOR, 20_000)
    services.providers.create(OPERATOR, name="scripted", kind="scripted")
    models = {"support-bot": f"say:{REFUND}+slow:8ms+priced", "faq-answers": f"say:{HOURS}+slow:8ms+priced"}
    for slug, model in models.items():
        services.configurations.create(
            OPERATOR, slug=slug, app="support", provider="scripted", model=model, parameters={"temperature": 0}
        )
    bot = services.configurations.get(OPERATOR, "support-bot")
    services.configurations.set_default(OPERATOR, bot.id, everywhere=True)
    rules = CacheRules(exact=True, loose=True, semantic=SemanticMode.SHADOW)
    for slug in models:
        services.cache.change_rules(OPERATOR, services.configurations.get(OPERATOR, slug).id, rules)
    fill_teams(services, actor)
    fill_tools(services, actor)
    for template in list_templates():
        services.workflows.definitions.create(
            actor, template.slug, template.definition, name=template.name, description=template.description
        )
    endpoints = ("chat", "models", "api")
    return services.api_keys.create(actor, app="support", name="help desk", endpoints=endpoints)[0]


def fill_teams(services: Services, actor: Actor) -> None:
    """Make teams and people, with a budget."""
    people = {"jonas": "developer", "mei.tanaka": "developer", "noah.lind": "administrator", "sofia.rossi": "developer"}
    support = services.teams.create(actor, "Support")
    services.teams.create(actor, "Research")
    for name, role in people.items():
        services.users.create(actor, name, PASSWORD, role, support.id)
    services.teams.add(actor, support.id, USER)
    jonas = next(member for member in services.teams.members(actor, support.id) if member.name == "jonas")
    services.teams.set_role(actor, support.id, jonas.user_id, Role.TEAM_ADMINISTRATOR)
    services.budgets.create(
        actor, scope="team", subject=str(support.id), period="month", limit_nano=50 * 10**9, is_hard=True
    )


def fill_tools(services: Services, actor: Actor) -> None:
    """Register a tool by HTTP, and leave requests in the inbox."""
    parameters = {
        "type": "object",
        "properties": {"city": {"type": "string", "description": "A city"}},
        "required": ["city"],
    }
    services.http_tools.create(
        actor,
        HttpToolDraft(
            "weather_today",
            "Get today's weather of a city: temperature in °C, rain and wind.",
            HttpTemplate("https://api.weather.example/v1/{{city}}"),
            title="Weather today",
            parameters=parameters,
            annotations=ToolAnnotations(read_only=True, open_world=True),
        ),
    )
    requests: tuple[tuple[str, str, str, Any], ...] = (
        (
            "Close ticket T-1042",
            "it changes something",
            "close_ticket",
            {"id": "T-1042", "reply": "Your refund is on its way."},
        ),
        (
            "Send mail to north@example.com",
            "a document from outside is in this conversation",
            "mail__send",
            {"to": "north@example.com"},
        ),
    )
    for title, reason, tool, arguments in requests:
        request = ApprovalRequest(
            kind=ApprovalKind.TOOL, title=title, reason=reason, subject=f"tool:{tool}", data=arguments
        )
        services.approvals.ask(actor, request)


def serve(data: Path) -> tuple[str, subprocess.Popen[bytes]]:
    """Serve the installation on a free port; returns its address and process."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    environment = os.environ | {"LLM_MANAGER_DATA": str(data), "PORT": str(port)}
    process = subprocess.Popen([sys.executable, "-m", "lib", "serve"], cwd=ROOT, env=environment)
    address = f"http://127.0.0.1:{port}"
    while True:
        try:
            httpx.get(address + "/readyz", timeout=5).raise_for_status()
            return address, process
        except httpx.HTTPError:
            if process.poll() is not None:
                raise SystemExit("The server did not start.") from None
            time.sleep(0.2)


def ask(address: str, key: str) -> str:
    """Ask over HTTP what fills the cache, and run a workflow; returns the id of the run."""

    def post(path: str, body: dict[str, Any]) -> Any:
        response = httpx.post(address + path, json=body, headers={"authorization": f"Bearer {key}"}, timeout=120)
        return response.raise_for_status().json()

    for question in (*QUESTIONS, *QUESTIONS, QUESTIONS[0], f"Hello, {QUESTIONS[0]} Thanks!"):
        message = {"role": "user", "content": question}
        post("/v1/chat/completions", {"model": "faq-answers", "messages": [message]})
    ticket = {"ticket": "I was charged twice for order 1042. Please help."}
    return str(post("/api/workflows/support-triage/runs", {"inputs": ticket})["run_id"])


def settle(page: Page) -> None:
    """Wait until the page is drawn."""
    page.wait_for_selector("[data-testid=stMain] h1", timeout=PATIENCE_MS)
    page.wait_for_function(
        "() => document.querySelector('[data-testid=stApp]')?.dataset.testScriptState === 'notRunning'"
        " && !document.querySelector('[data-testid=stSkeleton]')",
        timeout=PATIENCE_MS,
    )
    page.wait_for_timeout(2_000)  # charts and the drawing come in by themselves


def list_pages(run: str, playground_run: str) -> dict[str, str]:
    """List the pictures: name → address."""
    return {
        "statistics": "/statistics",
        "playground": f"/playground?run={playground_run}",
        "tools": "/tools?id=weather_today",
        "approvals": "/approvals",
        "servers": "/servers?tab=bundled",
        "workflow-drawing": "/workflows?id=support-triage&tab=drawing",
        "workflow-run": f"/workflows?run={run}",
        "cache": "/cache",
        "teams": "/access?tab=Teams&team=support",
    }


def take(page: Page, address: str, pages: dict[str, str], prepare: dict[str, Callable[[Page], None]]) -> None:
    """Open each page and write its picture."""
    for name, path in pages.items():
        page.goto(address + path)
        settle(page)
        if name in prepare:
            prepare[name](page)
            settle(page)
        target = FOLDER / f"{name}.png"
        page.screenshot(path=target)
        with Image.open(target) as picture:
            reduced = picture.convert("RGB").quantize(256, dither=Image.Dither.NONE)
        reduced.save(target, optimize=True)
        print(f"{target.relative_to(ROOT)}: {target.stat().st_size:,} bytes")


def open_first_row(page: Page) -> None:
    """Open the first row of the page's table."""
    page.get_by_test_id("stDataFrame").first.click(position={"x": 300, "y": 46})
    page.mouse.move(640, 5)  # off the table, whose toolbar shows while the mouse is on it


def main() -> None:
    """Take all pictures, or those that are named."""
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder) / "data"
        data.mkdir()
        settings = Settings(data, f"sqlite:///{data / 'llm_manager.db'}", admin_user=USER, admin_password=PASSWORD)
        services = build(settings)
        key = fill(services)
        (person,) = (user for user in services.users.list(OPERATOR) if user.name == USER)
        actor = make_actor(person.id, USER, person.role)
        panes = [Pane("local-default"), Pane("local-default", {"temperature": 0})]
        question = PlaygroundQuestion("Name three things to check before a picnic.")
        playground_run = services.playground.start(actor, question, panes)
        deadline = utc_now().timestamp() + 120
        while services.playground.open(actor, playground_run).running and utc_now().timestamp() < deadline:
            time.sleep(0.2)
        services.close()
        address, process = serve(data)
        try:
            pages = list_pages(ask(address, key), playground_run)
            wanted = sys.argv[1:] or list(pages)
            with sync_playwright() as playwright:
                path = os.environ.get("LLM_MANAGER_BROWSER") or None
                browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox", "--disable-gpu"])
                page = browser.new_page(viewport={"width": WIDTH, "height": HEIGHT}, color_scheme="light")
                page.set_default_timeout(PATIENCE_MS)
                page.goto(address)
                page.fill("#name", USER)
                page.fill("#password", PASSWORD)
                page.click("button")
                settle(page)
                prepare = {"approvals": open_first_row, "cache": open_first_row}
                take(page, address, {name: pages[name] for name in wanted}, prepare)
                browser.close()
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(60)


if __name__ == "__main__":
    main()
