"""What work that outlives its process costs, beside bare DBOS on the same database: a step, many runs, waiting.

    .venv/bin/python benchmarks/work.py [--postgresql URL] [--runs 200] [--waits 1000]

Prints a table for SQLite, and with a URL of an empty database for PostgreSQL; the exit status is 1 when a limit is
passed. Steps do nothing, so what is measured is the engine's own time; processor time says it on a busy machine, too.
Each figure comes from a process of its own.
"""

import argparse
import asyncio
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

PROJECT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(PROJECT))
STEPS = 10
LONG = 200  # steps of one run, one after the other
WATCHED_S = 10.0
LIMITS = {  # by database: ms a step, seconds for 200 runs of ten steps, percent of a core for 1,000 parked waits
    "sqlite": {"step_ms": 5.0, "runs_s": 6.0, "waits_percent": 1.0},
    "postgresql": {"step_ms": 10.0, "runs_s": 10.0, "waits_percent": 1.0},
}


def main() -> None:
    """Measure each database and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--postgresql", metavar="URL", help="postgresql+psycopg://… of an empty database")
    parser.add_argument("--runs", type=int, default=200)
    parser.add_argument("--waits", type=int, default=1000)
    parser.add_argument("--measure", choices=["bare", "work"], help=argparse.SUPPRESS)
    parser.add_argument("--url", help=argparse.SUPPRESS)
    parser.add_argument("--folder", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.measure:
        measure = measure_bare if arguments.measure == "bare" else measure_work
        print(json.dumps(measure(arguments.url, Path(arguments.folder), arguments.runs, arguments.waits)), flush=True)
        os._exit(0)
    passed = True
    urls = {"sqlite": None, **({"postgresql": arguments.postgresql} if arguments.postgresql else {})}
    for kind, url in urls.items():
        figures = {}
        for what in ("bare", "work"):
            with tempfile.TemporaryDirectory() as folder:
                address = url or f"sqlite:///{folder}/{'engine' if what == 'bare' else 'llm_manager'}.db"
                figures[what] = run_child(what, address, folder, arguments.runs, arguments.waits)
        passed &= print_table(kind, figures, arguments.runs, arguments.waits)
    sys.exit(0 if passed else 1)


def run_child(what: str, url: str, folder: str, runs: int, waits: int) -> dict[str, float]:
    """Measure in a process of its own."""
    command = [sys.executable, __file__, "--measure", what, "--url", url, "--folder", folder]
    command += ["--runs", str(runs), "--waits", str(waits)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    figures: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return figures


def print_table(kind: str, figures: dict[str, dict[str, float]], runs: int, waits: int) -> bool:
    """Print one database's figures; whether every limit holds."""
    labels = {
        "launch_s": "launch, s",
        "step_ms": f"a step, {LONG} in a row, ms",
        "step_cpu_ms": "    of processor time",
        "kept_ms": "a step whose result is kept encrypted, ms",
        "runs_s": f"{runs} runs of {STEPS} steps, s",
        "runs_cpu_s": "    of processor time",
        "waits_percent": f"{waits} parked waits, % of a core",
        "idle_percent": "idle, % of a core",
        "memory_mb": "resident memory, MB",
    }
    print(f"\n{kind:45}{'bare DBOS':>12}{'lib/work':>12}{'limit':>10}")
    is_kept = True
    for name, label in labels.items():
        bare, ours = figures["bare"].get(name), figures["work"].get(name)
        limit = LIMITS[kind].get(name)
        cells = ["—" if figure is None else f"{figure:.2f}" for figure in (bare, ours)]
        print(f"{label:45}{cells[0]:>12}{cells[1]:>12}{'' if limit is None else f'{limit:g}':>10}")
        is_kept &= limit is None or ours is None or ours <= limit
    return is_kept


def measure_bare(url: str, folder: Path, runs: int, waits: int) -> dict[str, float]:
    """Measure DBOS as its documentation shows it: a workflow of steps, its own settings for the database."""
    from dbos import DBOS, DBOSConfig

    @DBOS.workflow(name="steps")
    async def steps(count: int) -> int:
        for number in range(count):
            await DBOS.run_step_async({"name": f"step {number}"}, do_nothing)
        return count

    began = time.perf_counter()
    DBOS(config=DBOSConfig(name="bench", system_database_url=url, application_version="1", log_level="ERROR"))
    DBOS.launch()
    figures = {"launch_s": time.perf_counter() - began}

    async def measure() -> None:
        began, worked = time.perf_counter(), time.process_time()
        await (await DBOS.start_workflow_async(steps, LONG)).get_result()
        figures["step_ms"] = (time.perf_counter() - began) * 1000 / LONG
        figures["step_cpu_ms"] = (time.process_time() - worked) * 1000 / LONG
        began, worked = time.perf_counter(), time.process_time()
        handles = [await DBOS.start_workflow_async(steps, STEPS) for _ in range(runs)]
        for handle in handles:
            await handle.get_result()
        figures["runs_s"] = time.perf_counter() - began
        figures["runs_cpu_s"] = time.process_time() - worked

    asyncio.run(measure())
    figures["idle_percent"] = watch_processor()
    return figures | {"memory_mb": read_memory()}


def measure_work(url: str, folder: Path, runs: int, waits: int) -> dict[str, float]:
    """Measure the same through `lib.work`, with runs that wait in queues."""
    from lib.services import build
    from lib.settings import Settings
    from lib.work.run import WorkRun
    from lib.work.state import WorkState

    services = build(Settings(data_dir=folder, database_url=url))
    work = services.work
    spent: dict[str, float] = {}
    spent_of_processor: dict[str, float] = {}

    async def steps(run: WorkRun, payload: Any) -> int:
        began, worked = time.perf_counter(), time.process_time()
        for number in range(payload["count"]):
            await run.step(f"step {number}", do_nothing, keep=payload.get("keep", False))
        spent_of_processor[run.id] = time.process_time() - worked
        spent[run.id] = time.perf_counter() - began
        return int(payload["count"])

    async def wait(run: WorkRun, _payload: Any) -> None:
        await run.wait_for("never")

    work.registry.register("steps", steps)
    work.registry.register("wait", wait)
    began = time.perf_counter()
    work.launch(services.calls, park_after_s=0.5)
    figures = {"launch_s": time.perf_counter() - began}
    for name, keep in (("step_ms", False), ("kept_ms", True)):
        run_id = work.start("steps", {"count": LONG, "keep": keep})
        wait_for(lambda run_id=run_id: run_id in spent)
        figures[name] = spent[run_id] * 1000 / LONG
        if not keep:
            figures["step_cpu_ms"] = spent_of_processor[run_id] * 1000 / LONG
    began, worked = time.perf_counter(), time.process_time()
    ids = [work.start("steps", {"count": STEPS}, team_id=number % 12) for number in range(runs)]
    wait_for(lambda: all(run_id in spent for run_id in ids))
    figures["runs_s"] = time.perf_counter() - began
    figures["runs_cpu_s"] = time.process_time() - worked
    figures["idle_percent"] = watch_processor()
    waiting = [work.start("wait", None, team_id=number % 60) for number in range(waits)]
    wait_for(lambda: all(work.state(run_id).state is WorkState.WAITING for run_id in waiting))  # type: ignore[union-attr]
    figures["waits_percent"] = max(0.0, watch_processor() - figures["idle_percent"])
    return figures | {"memory_mb": read_memory()}


async def do_nothing() -> int:
    """Stand for a step's own work."""
    return 1


def wait_for(holds: Any) -> None:
    """Look every few milliseconds until something holds; ten minutes at most."""
    end = time.monotonic() + 600
    while not holds():
        if time.monotonic() > end:
            raise TimeoutError("it did not come")
        time.sleep(0.01)


def watch_processor() -> float:
    """Percent of a core that this process takes over some seconds, once it is quiet."""
    time.sleep(2)
    before = time.process_time()
    time.sleep(WATCHED_S)
    return (time.process_time() - before) * 100 / WATCHED_S


def read_memory() -> float:
    """Megabytes that were resident at most."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == "__main__":
    main()
