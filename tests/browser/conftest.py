"""A real server on a free port and a real Chromium; every test fails on an error in the browser's console."""

import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page, sync_playwright

from lib.access.permissions import OPERATOR
from lib.services import build
from lib.settings import PROJECT, Settings
from tests.waiting import CEILING_S

USER, PASSWORD = "amira", "correct horse battery"
_FLAGS = "--no-sandbox --disable-gpu --disable-background-networking --disable-component-update --disable-sync"

# Streamlit's own note, with a trace, of a page that closed while it was being written to.
_LATE_WRITE = re.compile(r"(?ms)^[^\n]*Error sending websocket payload\n.*?(?=^\d{4}-\d\d-\d\d|\Z)")

_AT_REST = """
() => { const app = document.querySelector('[data-testid=stApp]');
  return app && app.dataset.testScriptState === 'notRunning' && !document.querySelector('[data-testid=stSkeleton]'); }
"""
_NEXT_FRAMES = "() => new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))"


@dataclass
class Server:
    """`streamlit run app.py` in a data folder of its own."""

    url: str
    data: Path
    process: subprocess.Popen[bytes]
    log: Path

    def stop(self) -> str:
        """End it with SIGTERM; its log."""
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(CEILING_S)
        return self.log.read_text()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def start_server(data: Path, **environment: str) -> Server:
    data.mkdir(parents=True, exist_ok=True)
    port, log = free_port(), data / "server.log"
    kept = {k: v for k, v in os.environ.items() if k not in ("DATABASE_URL", "LLM_MANAGER_MASTER_KEY")}
    command = [sys.executable, "-m", "streamlit", "run", "app.py", "--server.port", str(port)]
    command += ["--server.address", "127.0.0.1", "--server.headless", "true"]
    with log.open("wb") as out:
        process = subprocess.Popen(
            command,
            cwd=PROJECT,
            env=kept | {"LLM_MANAGER_DATA": str(data)} | environment,
            stdout=out,
            stderr=subprocess.STDOUT,
        )
    server = Server(f"http://127.0.0.1:{port}", data, process, log)
    deadline = time.monotonic() + CEILING_S
    while True:
        try:
            urllib.request.urlopen(server.url + "/readyz", timeout=CEILING_S).close()
            return server
        except OSError:
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.1)


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server with an administrator, a slow scripted configuration and nothing else."""
    data = tmp_path_factory.mktemp("served")
    services = build(Settings(data, f"sqlite:///{data / 'llm_manager.db'}", admin_user=USER, admin_password=PASSWORD))
    services.providers.create(OPERATOR, name="scripted", kind="scripted")
    add = services.configurations.create
    add(OPERATOR, slug="slow", app="tests", provider="scripted", model="lorem:4000+slow:50ms+priced")
    add(OPERATOR, slug="quick", app="tests", provider="scripted", model="say:The ledger is exact+priced")
    services.close()
    made = start_server(data)
    yield made
    log = _LATE_WRITE.sub("", made.stop())
    assert "Traceback" not in log, log
    assert "warning" not in log.lower(), log


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Chromium, as `make test` found it; closed with each file, for its event loop occupies the thread meanwhile."""
    with sync_playwright() as playwright:
        path = os.environ.get("LLM_MANAGER_BROWSER") or None
        made = playwright.chromium.launch(executable_path=path, args=_FLAGS.split())
        yield made
        made.close()


@pytest.fixture
def context(browser: Browser) -> Iterator[BrowserContext]:
    """A browser that knows nobody. At its end, no page may have logged an error."""
    made = browser.new_context(viewport={"width": 1280, "height": 900})
    errors: list[str] = []

    def listen(page: Page) -> None:
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.on("console", lambda m: errors.append(f"{m.type}: {m.text}") if _matters(m) else None)

    made.on("page", listen)
    yield made
    made.close()
    expected = (
        "401 (Unauthorized)",
        "400 (Bad Request)",
        "429 (Too Many",
        "WebSocket",
    )
    assert [error for error in errors if not any(text in error for text in expected)] == []


def _matters(message: ConsoleMessage) -> bool:
    """Errors and warnings, but for two of Streamlit's own: its probe for a base path on deep links, its sparklines."""
    own = "/_stcore/h" in message.location.get("url", "") or "Infinite extent" in message.text
    return message.type in ("error", "warning") and not own


@pytest.fixture
def page(context: BrowserContext) -> Page:
    """A tab of it."""
    return context.new_page()


@pytest.fixture
def signed_in(page: Page, server: Server) -> Page:
    """A tab whose user has signed in."""
    sign_in(page, server)
    return page


def sign_in(page: Page, server: Server, name: str = USER, password: str = PASSWORD, path: str = "/") -> None:
    page.goto(server.url + path)
    page.fill("#name", name)
    page.fill("#password", password)
    page.click("button")
    page.wait_for_selector("[data-testid=stSidebarNav]")


def settle(page: Page) -> None:
    """Until everything that was asked for is drawn."""
    page.evaluate(_NEXT_FRAMES)
    page.wait_for_function(_AT_REST, timeout=CEILING_S * 1000, polling=50)  # ms; each frame would draw each frame
    page.evaluate(_NEXT_FRAMES)
