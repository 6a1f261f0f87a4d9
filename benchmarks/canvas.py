"""The drawing of a workflow of 200 steps moved by hand, and the view of a run of 1,000 steps opened, in a browser.

    LLM_MANAGER_BROWSER=$(sh scripts/find_browser.sh) .venv/bin/python benchmarks/canvas.py [--seconds 4] [--openings 5]

Serves an installation of its own from a temporary folder. Frames are those that the browser draws while a hand moves
the view, zooms, and moves a step, beside an empty page under the same hand. Opening a run is timed on the browser's own
clock, from the click in the list of runs until timeline, drawing and table all stand there; and from a fresh load of
its address, beside the load of the list. Prints a table; the exit status is 1 when a limit is passed.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from math import cos, sin
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from playwright.sync_api import Page, sync_playwright

from benchmarks.gateway_rig.product import free_port, stop, wait_for
from benchmarks.workflows import draw_map, execute
from lib.access.permissions import OPERATOR
from lib.services import build
from lib.settings import PROJECT, Settings

NAME, PASSWORD = "bench", "a long bench password 1"
ROWS, COLUMNS = 9, 22  # of steps between the first and the last one
NODES = ROWS * COLUMNS + 2
STEPS = 1_000  # of the run that is opened
LEAST_FRAMES = 30.0  # a second
MOST_OPENING_MS = 500.0
PATIENCE_MS = 120_000
WARM_MS = 1_000
REACH_PX = 120  # of the hand from where it begins
WIDTH, HEIGHT = 1280, 900
START_FRAMES = """() => {
  const moments = window.frameMoments = [];
  const note = now => { if (window.frameMoments === moments) { moments.push(now); requestAnimationFrame(note); } };
  requestAnimationFrame(note);
}"""
STOP_FRAMES = "() => { const moments = window.frameMoments; window.frameMoments = null; return moments; }"
# The shadow root that holds the drawing, in a page of Streamlit's.
FIND_DRAWING = """const findDrawing = () => {
  for (const host of document.querySelectorAll('[data-testid^=stBidiComponent], [data-testid^=stBidiComponent] *'))
    if (host.shadowRoot?.querySelector('.react-flow')) return host.shadowRoot;
};"""
COUNT_NODES = f"() => {{ {FIND_DRAWING} return findDrawing()?.querySelectorAll('.react-flow__node').length || 0; }}"
# A place of the drawing with nothing on it, and the middle of a step: as (x, y) of the page.
FIND_PLACES = f"""() => {{ {FIND_DRAWING}
  const root = findDrawing(), area = root.querySelector('.react-flow').getBoundingClientRect();
  const place = (x, y) => root.elementFromPoint(x, y);
  let empty = null;
  for (let y = area.y + 40; y < area.bottom - 120 && !empty; y += 7)
    for (let x = area.x + 200; x < area.right - 200 && !empty; x += 7)
      if (place(x, y)?.classList.contains('react-flow__pane')) empty = [x, y];
  const node = root.querySelector('.react-flow__node[data-id=s4_11]').getBoundingClientRect();
  return {{empty, node: [node.x + node.width / 2, node.y + node.height / 2]}};
}}"""
IS_RUN_DRAWN = f"""{FIND_DRAWING}
const isRunDrawn = () =>
  document.querySelector('[data-testid=stApp]')?.dataset.testScriptState === 'notRunning'
  && !document.querySelector('[data-testid=stSkeleton]')
  && document.querySelector('[data-testid=stVegaLiteChart] .mark-rect path')
  && document.querySelector('[data-testid=stDataFrame] canvas')
  && findDrawing()?.querySelector('.react-flow__node');
const isListDrawn = () =>
  document.querySelector('[data-testid=stApp]')?.dataset.testScriptState === 'notRunning'
  && !document.querySelector('[data-testid=stSkeleton]') && document.querySelector('[data-testid=stDataFrame] canvas');
const waitUntil = isDrawn => new Promise(done => {{
  const look = () => isDrawn() ? requestAnimationFrame(() => done(performance.now())) : requestAnimationFrame(look);
  look();
}});"""
NOTE_PRESS = "() => addEventListener('pointerdown', () => { window.pressedAt = performance.now(); }, {capture: true})"
TIME_OPENING = f"""async () => {{ {IS_RUN_DRAWN}
  const drawn = await waitUntil(() => location.search.includes('run=') && isRunDrawn());
  return drawn - window.pressedAt;
}}"""
TIME_RUN_LOAD = f"() => {{ {IS_RUN_DRAWN} return waitUntil(isRunDrawn); }}"
TIME_LIST_LOAD = f"() => {{ {IS_RUN_DRAWN} return waitUntil(isListDrawn); }}"


@dataclass(frozen=True)
class Frames:
    """Frames a second while a hand moved, and the longest one in milliseconds."""

    per_second: float
    longest_ms: float


def draw_wide() -> dict[str, Any]:
    """A workflow of 200 steps: nine ways of twenty-two from its input to its output, each joined to its neighbour."""
    names = [[f"s{row}_{column}" for column in range(COLUMNS)] for row in range(ROWS)]
    nodes: list[dict[str, Any]] = [{"kind": "input", "id": "start", "fields": [], "x": -240, "y": 90 * ROWS // 2}]
    edges = []
    for row, way in enumerate(names):
        for column, name in enumerate(way):
            place = {"x": 240 * column, "y": 90 * row}
            nodes.append({"kind": "transform", "id": name, "value": "1 + 1", "label": f"Step {row} {column}", **place})
        edges += [{"from": source, "to": target} for source, target in pairwise(["start", *way, "finish"])]
    nodes.append({"kind": "output", "id": "finish", "text": "done", "x": 240 * COLUMNS, "y": 90 * ROWS // 2})
    for upper, lower in pairwise(names):
        edges += [{"from": upper[column], "to": lower[column + 1]} for column in range(0, COLUMNS - 1, 3)]
    return {"nodes": nodes, "edges": edges, "max_steps": 10_000}


def fill(folder: Path) -> str:
    """Make an installation with the wide workflow and a run of a thousand steps; returns the run's id."""
    settings = Settings(folder, f"sqlite:///{folder / 'llm_manager.db'}", admin_user=NAME, admin_password=PASSWORD)
    services = build(settings)
    services.workflows.definitions.create(OPERATOR, "wide", draw_wide())
    services.workflows.definitions.create(OPERATOR, "looked-at", draw_map(STEPS))
    execute(services, "looked-at", 1)
    run_id = services.workflows.runs.list(OPERATOR, "looked-at")[0].id
    services.close()
    return run_id


@contextmanager
def serve(folder: Path) -> Iterator[str]:
    """The address of the installation, served while the block runs."""
    port = free_port()
    environment = dict(os.environ) | {"LLM_MANAGER_DATA": str(folder), "PORT": str(port)}
    environment.pop("DATABASE_URL", None)
    process = subprocess.Popen(
        [sys.executable, "-m", "lib", "serve"], cwd=PROJECT, env=environment, stdout=subprocess.DEVNULL
    )
    try:
        wait_for(f"http://127.0.0.1:{port}/readyz", process)
        yield f"http://127.0.0.1:{port}"
    finally:
        stop(process)


def count_frames(page: Page, seconds: float, move: Callable[[float], None]) -> Frames:
    """Move for so many seconds and count what the browser draws; `move` gets the seconds that have passed."""
    page.evaluate(START_FRAMES)
    began = time.perf_counter()
    while (passed := time.perf_counter() - began) < seconds:
        move(passed)
    moments = page.evaluate(STOP_FRAMES)
    if len(moments) < 2:
        return Frames(0.0, seconds * 1000)
    lengths = [later - earlier for earlier, later in pairwise(moments)]
    return Frames(len(lengths) * 1000 / sum(lengths), max(lengths))


def drag(page: Page, place: tuple[float, float], seconds: float) -> Frames:
    """Press at a place and go round in a growing circle; the hand lets go after the last frame is counted."""
    x, y = place
    page.mouse.move(x, y)
    page.mouse.down()

    def go_round(passed: float) -> None:
        reach = REACH_PX * min(1.0, passed)
        page.mouse.move(x + reach * sin(4 * passed), y + reach * cos(4 * passed))

    frames = count_frames(page, seconds, go_round)
    page.mouse.up()
    return frames


def zoom(page: Page, place: tuple[float, float], seconds: float) -> Frames:
    """Turn the wheel in and out."""
    page.mouse.move(*place)
    return count_frames(page, seconds, lambda passed: page.mouse.wheel(0, 40 * (-1 if int(passed * 2) % 2 else 1)))


def settle(page: Page) -> None:
    """Wait until nothing more is drawn by itself."""
    page.wait_for_selector("[data-testid=stApp][data-test-script-state=notRunning]", timeout=PATIENCE_MS)
    page.wait_for_timeout(WARM_MS)


def measure_frames(page: Page, address: str, seconds: float) -> dict[str, tuple[Frames, Frames]]:
    """Measure each movement on an empty page and on the drawing of 200 steps."""
    middle = (WIDTH / 2, HEIGHT / 2)
    page.goto("about:blank")
    page.wait_for_timeout(WARM_MS)
    empty_drag, empty_zoom = drag(page, middle, seconds), zoom(page, middle, seconds)
    page.goto(f"{address}/workflows?id=wide&tab=drawing")
    page.wait_for_function(f"() => ({COUNT_NODES})() === {NODES}", timeout=PATIENCE_MS)
    settle(page)
    places = page.evaluate(FIND_PLACES)
    view = drag(page, places["empty"], seconds)
    settle(page)
    step = drag(page, page.evaluate(FIND_PLACES)["node"], seconds)
    settle(page)
    wheel = zoom(page, page.evaluate(FIND_PLACES)["empty"], seconds)
    return {
        "the view moved": (empty_drag, view),
        "a step moved": (empty_drag, step),
        "zoomed": (empty_zoom, wheel),
    }


def measure_openings(page: Page, address: str, run_id: str, openings: int) -> dict[str, float]:
    """Measure the medians of opening the run from the list, and of loading its address and that of the list."""
    times: dict[str, list[float]] = {"opening": [], "run": [], "list": []}
    for _ in range(openings):
        page.goto(f"{address}/workflows?id=looked-at", wait_until="commit")
        times["list"].append(page.evaluate(TIME_LIST_LOAD))
        settle(page)
        page.evaluate(NOTE_PRESS)
        page.get_by_test_id("stDataFrame").last.click(position={"x": 80, "y": 46})
        times["opening"].append(page.evaluate(TIME_OPENING))
        page.goto(f"{address}/workflows?run={run_id}", wait_until="commit")
        times["run"].append(page.evaluate(TIME_RUN_LOAD))
    return {name: statistics.median(each) for name, each in times.items()}


def print_tables(moved: dict[str, tuple[Frames, Frames]], opened: dict[str, float]) -> bool:
    """Print the figures; whether every limit holds."""
    print(f"\n{f'drawing of {NODES} steps':44}{'empty page':>12}{'drawing':>12}{'limit':>10}")
    for name, (empty, drawing) in moved.items():
        cells = f"{empty.per_second:>12.1f}{drawing.per_second:>12.1f}{LEAST_FRAMES:>10g}"
        print(f"{name + ', frames a second':44}{cells}")
        print(f"{'    longest frame, ms':44}{empty.longest_ms:>12.0f}{drawing.longest_ms:>12.0f}")
    print(f"\n{f'run of {STEPS:,} steps':44}{'list':>12}{'run':>12}{'limit':>10}")
    print(f"{'opened by a click, ms':44}{'':>12}{opened['opening']:>12.0f}{MOST_OPENING_MS:>10g}")
    print(f"{'its address loaded anew, ms':44}{opened['list']:>12.0f}{opened['run']:>12.0f}")
    slow = [name for name, (_, drawing) in moved.items() if drawing.per_second < LEAST_FRAMES]
    return not slow and opened["opening"] <= MOST_OPENING_MS


def main() -> int:
    """Fill, serve, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=4.0, help="of each movement")
    parser.add_argument("--openings", type=int, default=5, help="of the run")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "data"
        folder.mkdir()
        run_id = fill(folder)
        with serve(folder) as address, sync_playwright() as playwright:
            path = os.environ.get("LLM_MANAGER_BROWSER") or None
            browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox", "--disable-gpu"])
            page = browser.new_page(viewport={"width": WIDTH, "height": HEIGHT})
            page.set_default_timeout(PATIENCE_MS)
            page.goto(address)
            page.fill("#name", NAME)
            page.fill("#password", PASSWORD)
            page.click("button")
            settle(page)
            moved = measure_frames(page, address, arguments.seconds)
            opened = measure_openings(page, address, run_id, arguments.openings)
            browser.close()
    return 0 if print_tables(moved, opened) else 1


if __name__ == "__main__":
    sys.exit(main())
