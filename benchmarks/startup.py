"""Start-up, memory and redraw, each with its limit and its ratio to a bare Streamlit page measured in the same run.

    make bench        (or: .venv/bin/python benchmarks/startup.py [--calls 100000])

Prints a table; the exit status is 1 when a limit is passed. Serves on two free ports from a temporary data folder with
sample calls in it. Every figure is the median of three starts; a busy machine makes the times longer.
"""

import argparse
import os
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright

PROJECT = Path(__file__).resolve().parent.parent
NAME, PASSWORD = "bench", "a long bench password 1"
BARE = "import time\nimport streamlit as st\n\nst.title('hello')\nst.button('again')\nst.text(time.time())\n"
QUIET = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
# Clicks what makes the script run again and times from the click to the end of the run, on the browser's own clock. A
# run that is too short to show as "running" is told by the moment that the bare page prints.
REDRAW = """selector => new Promise((resolve, reject) => {
  setTimeout(() => reject(new Error('no rerun within 30 s')), 30000);
  const app = document.querySelector('[data-testid="stApp"]');
  const printed = () => document.querySelector('[data-testid="stText"]')?.innerText;
  const before = printed(), began = performance.now();
  let ran = false;
  const look = () => {
    const state = app.getAttribute('data-test-script-state');
    ran = ran || state === 'running' || printed() !== before;
    if (ran && state === 'notRunning') { watch.disconnect(); resolve(performance.now() - began); }
  };
  const watch = new MutationObserver(look);
  watch.observe(app, {attributes: true, subtree: true, childList: true, characterData: true});
  document.querySelector(selector).click();
})"""


@dataclass
class Line:
    """One row of the table."""

    what: str
    value: float
    limit: float
    unit: str
    reference: float
    reference_name: str


def say(step: str) -> None:
    print(f"measuring: {step}", file=sys.stderr, flush=True)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=2) as answer:
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError):
        return False


@contextmanager
def server(script: Path, port: int, environment: dict[str, str]) -> Iterator[subprocess.Popen[bytes]]:
    command = [sys.executable, "-m", "streamlit", "run", str(script), "--server.port", str(port)]
    command += ["--server.headless", "true", "--server.fileWatcherType", "none"]
    process = subprocess.Popen(
        command, cwd=PROJECT, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(15)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def wait_for(url: str, process: subprocess.Popen[bytes]) -> None:
    while not answers(url):
        if process.poll() is not None:
            raise SystemExit(f"The server of {url} ended with status {process.returncode}.")
        time.sleep(0.02)


def memory_mb(pid: int) -> float:
    """Resident memory of the process and its children once it no longer grows."""
    found, last = 0.0, -10.0
    while found - last > 1:
        last = found
        time.sleep(4)
        tree = [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]
        found = sum(one.memory_info().rss for one in tree) / 1e6
    return found


def redraw_ms(page: Page, selector: str) -> float:
    times = []
    for _ in range(8):
        times.append(float(page.evaluate(REDRAW, selector)))
        page.wait_for_timeout(300)
    return statistics.median(times[1:])


def settle(page: Page) -> None:
    page.wait_for_selector('[data-testid="stApp"][data-test-script-state="notRunning"]', timeout=60_000)


def seconds(command: list[str], environment: dict[str, str]) -> float:
    def once() -> float:
        began = time.perf_counter()
        subprocess.run(command, cwd=PROJECT, env=environment, check=True, stdout=subprocess.DEVNULL)
        return time.perf_counter() - began

    return statistics.median(once() for _ in range(5))


def start(
    script: Path, ready: str, environment: dict[str, str], context: BrowserContext, measure: Callable[[Page], float]
):
    """Seconds to the ready address, seconds to a usable page, memory, and whatever `measure` finds on the page."""
    port = free_port()
    began = time.perf_counter()
    with server(script, port, environment) as process:
        wait_for(f"http://localhost:{port}{ready}", process)
        ready_s = time.perf_counter() - began
        page = context.new_page()
        page.goto(f"http://localhost:{port}/", wait_until="commit")
        page.wait_for_selector("h1:visible", timeout=60_000)
        settle(page)
        page_s = time.perf_counter() - began
        memory = memory_mb(process.pid)
        found = measure(page)
        page.close()
    return ready_s, page_s, memory, found


def medians(*arguments: Any) -> list[float]:
    """What `start` finds, each the median of three starts."""
    return [statistics.median(found) for found in zip(*(start(*arguments) for _ in range(3)), strict=True)]


def sign_in(browser: Browser, environment: dict[str, str]) -> BrowserContext:
    """A browser that is signed in: sessions live in SQL, so the cookie holds on the next server too."""
    port = free_port()
    context = browser.new_context()
    with server(PROJECT / "app.py", port, environment) as process:
        wait_for(f"http://localhost:{port}/readyz", process)
        page = context.new_page()
        page.goto(f"http://localhost:{port}/login")
        page.fill('input[name="name"]', NAME)
        page.fill('input[name="password"]', PASSWORD)
        page.press('input[name="password"]', "Enter")
        page.wait_for_selector("h1:visible", timeout=60_000)
        settle(page)
        page.close()
    return context


def statistics_redraw(page: Page) -> float:
    page.get_by_role("link", name="Statistics").first.click()
    page.wait_for_selector("h1:has-text('Statistics')", timeout=60_000)
    settle(page)
    page.wait_for_timeout(3000)
    settle(page)
    return redraw_ms(page, '[data-testid="stSidebarNavLink"][href$="/statistics"]')


def bare_redraw(page: Page) -> float:
    return redraw_ms(page, '[data-testid="stButton"] button')


def measure(folder: Path, calls: int) -> list[Line]:
    subprocess.run([sys.executable, "-m", "compileall", "-q", "lib", "pages"], cwd=PROJECT, check=True)
    product = dict(os.environ) | {
        "LLM_MANAGER_DATA": str(folder / "data"),
        "LLM_MANAGER_ADMIN_USER": NAME,
        "LLM_MANAGER_ADMIN_PASSWORD": PASSWORD,
    }
    product.pop("DATABASE_URL", None)
    bare = folder / "bare.py"
    bare.write_text(BARE)
    say("sample data")
    if calls:
        load = [sys.executable, "-m", "lib", "demo", "load", "--calls", str(calls), "--seed", "1"]
        subprocess.run(load, cwd=PROJECT, env=product, check=True)
    with sync_playwright() as driver:
        path = os.environ.get("LLM_MANAGER_BROWSER") or shutil.which("chromium") or shutil.which("google-chrome")
        browser = driver.chromium.launch(executable_path=path, args=QUIET)
        say("signing in")
        context = sign_in(browser, product)
        say("the product")
        ready_s, page_s, memory, redraw = medians(PROJECT / "app.py", "/readyz", product, context, statistics_redraw)
        say("a bare Streamlit page")
        plain = medians(bare, "/_stcore/health", product, browser.new_context(), bare_redraw)
        browser.close()
    say("the command line")
    help_s = seconds([sys.executable, "-m", "lib", "--help"], product)
    empty_s = seconds([sys.executable, "-c", "import argparse"], product)
    name = "bare Streamlit page"
    return [
        Line("/readyz answers", ready_s, 3, "s", plain[0], name),
        Line("first usable page, signed in", page_s, 4, "s", plain[1], name),
        Line("memory, no local model loaded", memory, 400, "MB", plain[2], name),
        Line(f"statistics redraw, {calls:,} calls", redraw, 300, "ms", plain[3], name),
        Line("python -m lib --help", help_s, 0.5, "s", empty_s, "python importing argparse"),
    ]


def show(lines: list[Line]) -> bool:
    """Print the table; whether every limit held."""
    print(f"{'what':<36}{'value':>12}{'limit':>12}{'':>8}  {'ratio':>6}  to")
    for line in lines:
        verdict = "ok" if line.value <= line.limit else "OVER"
        digits = 2 if line.unit == "s" else 0
        value, limit = f"{line.value:.{digits}f} {line.unit}", f"{line.limit:g} {line.unit}"
        ratio = line.value / line.reference
        print(f"{line.what:<36}{value:>12}{limit:>12}{verdict:>8}  {ratio:>6.2f}  {line.reference_name}")
    return all(line.value <= line.limit for line in lines)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--calls", type=int, default=100_000)
    calls = parser.parse_args().calls
    with tempfile.TemporaryDirectory() as folder:
        return 0 if show(measure(Path(folder), calls)) else 1


if __name__ == "__main__":
    sys.exit(main())
