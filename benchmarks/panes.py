"""Four panes that stream at once: how far each falls behind its provider, Stop, and the pages of somebody else.

    .venv/bin/python benchmarks/panes.py [--seconds 20]

Prints a table; the exit status is 1 when a limit is passed. A provider on a free port sends each pane 50 tokens a
second, each of them the moment at which it was sent; the browser looks five times a second at what stands last in each
pane. The reference is the same page of somebody else while nothing streams.
"""

import argparse
import json
import os
import shutil
import statistics
import sys
import tempfile
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from playwright.sync_api import Page, sync_playwright
from startup import (
    NAME,
    PASSWORD,
    PROJECT,
    QUIET,
    Line,
    free_port,
    redraw_ms,
    say,
    server,
    settle,
    show,
    sign_in,
    wait_for,
)

from lib.access.permissions import OPERATOR
from lib.services import build
from lib.settings import Settings

PANES, PER_SECOND, LOOK_S = 4, 50, 0.2
LAST = """() => [...document.querySelectorAll('[data-testid="stMarkdownContainer"]')]
  .map(one => one.innerText.match(/t(\\d{13})(?!.*t\\d{13})/s)).filter(Boolean).map(found => Number(found[1]))"""

STOP = """() => new Promise(resolve => {
  const button = [...document.querySelectorAll('button')].find(one => one.innerText.includes('Stop all'));
  const began = performance.now();
  const look = () => {
    if ((document.body.innerText.match(/Cancelled/gi) || []).length < 4) return;
    watch.disconnect();
    resolve(performance.now() - began);
  };
  const watch = new MutationObserver(look);
  watch.observe(document.body, {subtree: true, childList: true, characterData: true});
  button.click();
})"""


class Provider(BaseHTTPRequestHandler):
    """OpenAI's chat protocol; every token is `t` and the moment in milliseconds."""

    protocol_version = "HTTP/1.1"
    seconds = 20.0

    def log_message(self, *_: Any) -> None:
        """Nothing."""

    def do_GET(self) -> None:
        """No list of models."""
        self.send_error(404)

    def do_POST(self) -> None:
        """A stream, each token at its time."""
        self.rfile.read(int(self.headers["content-length"]))
        self.send_response(200)
        self.send_header("content-type", "text/event-stream")
        self.send_header("transfer-encoding", "chunked")
        self.end_headers()
        began, count = time.monotonic(), int(self.seconds * PER_SECOND)
        try:
            for number in range(count):
                time.sleep(max(0.0, began + number / PER_SECOND - time.monotonic()))
                self._event({"delta": {"content": f"t{time.time() * 1000:.0f} "}, "index": 0, "finish_reason": None})
            self._event({"delta": {}, "index": 0, "finish_reason": "stop"})
            self._write(b"data: [DONE]\n\n")
            self._write(b"")
        except OSError:
            self.close_connection = True  # stopped

    def _event(self, choice: dict[str, Any]) -> None:
        shared = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "clock"}
        self._write(b"data: " + json.dumps({**shared, "choices": [choice]}).encode() + b"\n\n")

    def _write(self, data: bytes) -> None:
        self.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))


def prepare(data: Path, port: int) -> dict[str, str]:
    """The environment of a server whose configuration `clock` asks that provider."""
    environment = {
        "LLM_MANAGER_DATA": str(data),
        "LLM_MANAGER_ADMIN_USER": NAME,
        "LLM_MANAGER_ADMIN_PASSWORD": PASSWORD,
    }
    services = build(Settings.from_environment(environment))
    url = f"http://127.0.0.1:{port}/v1"
    services.providers.create(
        OPERATOR, name="clock", kind="custom", base_url=url, api_key="sk-bench", allow_private=True
    )
    services.configurations.create(OPERATOR, slug="clock", app="bench", provider="clock", model="clock")
    services.close()
    kept = {name: value for name, value in os.environ.items() if name != "DATABASE_URL"}
    return kept | environment | {"LLM_MANAGER_ADMIN_USER": NAME, "LLM_MANAGER_ADMIN_PASSWORD": PASSWORD}


def ask(page: Page, url: str) -> None:
    page.goto(f"{url}/playground?config=clock,clock,clock,clock")
    page.wait_for_selector('[data-testid="stChatInput"] textarea', timeout=60_000)
    settle(page)
    page.fill('[data-testid="stChatInput"] textarea', "Tell the time")
    page.press('[data-testid="stChatInput"] textarea', "Enter")
    page.wait_for_function(f"() => ({LAST})().length === {PANES}", timeout=60_000)


def behind_ms(page: Page, seconds: float) -> list[list[float]]:
    """For each look, how old the last token of each pane is."""
    found, until = [], time.monotonic() + seconds
    while time.monotonic() < until:
        shown = page.evaluate(LAST)
        now = time.time() * 1000
        if len(shown) == PANES:
            found.append([now - moment for moment in shown])
        time.sleep(LOOK_S)
    return found


def stop_s(page: Page) -> float:
    """From the click on Stop all, as the browser sees it, to four panes that say they were stopped."""
    return float(page.evaluate(STOP)) / 1000


def measure(folder: Path, seconds: float) -> list[Line]:
    Provider.seconds = seconds * 4
    provider = ThreadingHTTPServer(("127.0.0.1", 0), Provider)
    threading.Thread(target=provider.serve_forever, daemon=True).start()
    environment = prepare(folder / "data", provider.server_port)
    path = os.environ.get("LLM_MANAGER_BROWSER") or shutil.which("chromium") or shutil.which("google-chrome")
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=path, args=QUIET)
        say("signing in")
        context = sign_in(browser, environment)
        port = free_port()
        url = f"http://localhost:{port}"
        with server(PROJECT / "app.py", port, environment) as process:
            wait_for(f"{url}/readyz", process)
            page, other = context.new_page(), context.new_page()
            other.goto(f"{url}/configurations")
            other.wait_for_selector("h1:visible", timeout=60_000)
            settle(other)
            link = '[data-testid="stSidebarNavLink"][href$="/configurations"]'
            time.sleep(15)  # what is imported after the start
            quiet = redraw_ms(other, link)
            say("four panes")
            ask(page, url)
            late = behind_ms(page, seconds)
            busy = redraw_ms(other, link)
            say("stop")
            stopped = stop_s(page)
        browser.close()
    worst = [max(look) for look in late]
    typical = statistics.median(worst)
    return [
        Line("slowest pane behind, p95", statistics.quantiles(worst, n=20)[-1], 500, "ms", typical, "its median"),
        Line("Stop, from the click", stopped, 1, "s", 1, "limit"),
        Line("redraw of another page meanwhile", busy, 300, "ms", quiet, "nothing streams"),
    ]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=20)
    with tempfile.TemporaryDirectory() as folder:
        return 0 if show(measure(Path(folder), parser.parse_args().seconds)) else 1


if __name__ == "__main__":
    sys.exit(main())
