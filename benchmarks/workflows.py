"""What a workflow costs beside its calls: a step, many runs at once, looking at a long run; beside bare DBOS.

    .venv/bin/python benchmarks/workflows.py [--postgresql URL] [--runs 200] [--langgraph PYTHON]

Prints a table for SQLite, and with a URL of an empty database for PostgreSQL; the exit status is 1 when a limit is
passed. Steps that think are model calls of the scripted provider, whose rows of the ledger are theirs; steps that only
compute show the interpreter with our rows. `--langgraph` names an interpreter of an environment of its own that has
LangGraph with its checkpointer for SQLite. Processor time says on a busy machine what the clock says on a quiet one.
Each figure comes from a process of its own.
"""

import argparse
import asyncio
import json
import os
import subprocess
import sys
import tempfile
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

PROJECT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(PROJECT))
STEPS = 10
LONG = 200  # steps of one run, one after the other
LOOKED_AT = 1_000  # steps of the run that is looked at
LIMITS = {
    "sqlite": {"step_ms": 5.0, "runs_s": 8.0, "look_ms": 500.0},
    "postgresql": {"step_ms": 12.0, "runs_s": 8.0, "look_ms": 500.0},
}
_LANGGRAPH = """
import json, sys, time
from typing import TypedDict
from langgraph.checkpoint.sqlite import SqliteSaver
from langgraph.graph import END, START, StateGraph
class State(TypedDict):
    count: int
steps = int(sys.argv[1])
graph = StateGraph(State)
for number in range(steps):
    graph.add_node(f"s{number}", lambda state: {"count": state["count"] + 1})
    graph.add_edge(START if number == 0 else f"s{number - 1}", f"s{number}")
graph.add_edge(f"s{steps - 1}", END)
with SqliteSaver.from_conn_string(sys.argv[2]) as saver:
    compiled = graph.compile(checkpointer=saver)
    began, worked = time.perf_counter(), time.process_time()
    compiled.invoke({"count": 0}, {"configurable": {"thread_id": "1"}, "recursion_limit": steps + 5})
    took, worked = time.perf_counter() - began, time.process_time() - worked
    figures = {"step_ms": took * 1000 / steps, "step_cpu_ms": worked * 1000 / steps}
    small = StateGraph(State)
    for number in range(10):
        small.add_node(f"s{number}", lambda state: {"count": state["count"] + 1})
        small.add_edge(START if number == 0 else f"s{number - 1}", f"s{number}")
    small.add_edge("s9", END)
    compiled = small.compile(checkpointer=saver)
    began, worked = time.perf_counter(), time.process_time()
    for number in range(int(sys.argv[3])):
        compiled.invoke({"count": 0}, {"configurable": {"thread_id": f"run {number}"}})
    figures |= {"runs_s": time.perf_counter() - began, "runs_cpu_s": time.process_time() - worked}
    print(json.dumps(figures))
"""


def main() -> None:
    """Measure each database and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--postgresql", metavar="URL", help="postgresql+psycopg://… of an empty database")
    parser.add_argument("--runs", type=int, default=200)
    parser.add_argument("--langgraph", metavar="PYTHON", help="an interpreter that has LangGraph")
    parser.add_argument("--measure", choices=["ours"], help=argparse.SUPPRESS)
    parser.add_argument("--url", help=argparse.SUPPRESS)
    parser.add_argument("--folder", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.measure:
        print(json.dumps(measure_ours(arguments.url, Path(arguments.folder), arguments.runs)), flush=True)
        os._exit(0)
    passed = True
    for kind, url in {"sqlite": None, **({"postgresql": arguments.postgresql} if arguments.postgresql else {})}.items():
        with tempfile.TemporaryDirectory() as folder:
            address = url or f"sqlite:///{folder}/llm_manager.db"
            command = [sys.executable, __file__, "--measure", "ours", "--url", address, "--folder", folder]
            ours = run_child([*command, "--runs", str(arguments.runs)])
        bare = measure_bare(url, arguments.runs)
        graph = (
            measure_langgraph(arguments.langgraph, arguments.runs) if arguments.langgraph and kind == "sqlite" else {}
        )
        passed &= print_table(kind, {"bare": bare, "graph": graph, "ours": ours}, arguments.runs)
    sys.exit(0 if passed else 1)


def run_child(command: list[str]) -> dict[str, float]:
    """Measure in a process of its own."""
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    figures: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return figures


def measure_bare(url: str | None, runs: int) -> dict[str, float]:
    """Measure DBOS by itself, as the benchmark of durable work does."""
    with tempfile.TemporaryDirectory() as folder:
        address = url or f"sqlite:///{folder}/engine.db"
        script = str(PROJECT / "benchmarks" / "work.py")
        command = [sys.executable, script, "--measure", "bare", "--url", address, "--folder", folder]
        return run_child([*command, "--runs", str(runs)])


def measure_langgraph(python: str, runs: int) -> dict[str, float]:
    """Measure LangGraph with its checkpoints in SQLite: a graph of as many nodes, and runs one after the other."""
    with tempfile.TemporaryDirectory() as folder:
        return run_child([python, "-c", _LANGGRAPH, str(LONG), f"{folder}/checkpoints.db", str(runs)])


def print_table(kind: str, figures: dict[str, dict[str, float]], runs: int) -> bool:
    """Print one database's figures; whether every limit holds."""
    labels = {
        "step_ms": f"a step that computes, {LONG} in a row, ms",
        "step_cpu_ms": "    of processor time",
        "call_ms": f"a step that asks a model, {LONG} in a row, ms",
        "call_cpu_ms": "    of processor time",
        "runs_s": f"{runs} runs of {STEPS} steps at once, s",
        "runs_cpu_s": "    of processor time",
        "look_ms": f"a run of {LOOKED_AT:,} steps looked at, ms",
    }
    print(f"\n{kind:45}{'bare DBOS':>12}{'LangGraph':>12}{'workflows':>12}{'limit':>10}")
    is_kept = True
    for name, label in labels.items():
        limit = LIMITS[kind].get(name)
        own = figures["ours"].get(name)
        cells = ["—" if (figure := figures[who].get(name)) is None else f"{figure:.2f}" for who in figures]
        print(f"{label:45}{cells[0]:>12}{cells[1]:>12}{cells[2]:>12}{'' if limit is None else f'{limit:g}':>10}")
        is_kept &= limit is None or own is None or own <= limit
    return is_kept


def measure_ours(url: str, folder: Path, runs: int) -> dict[str, float]:
    """Measure runs of workflows, executed in this process."""
    from lib.access.permissions import OPERATOR
    from lib.services import build
    from lib.settings import Settings

    services = build(Settings(data_dir=folder, database_url=url))
    services.providers.create(OPERATOR, name="scripted", kind="scripted")
    services.configurations.create(OPERATOR, slug="echo", app="bench", provider="scripted", model="echo")
    for slug, count, kind in (
        ("long", LONG, "transform"),
        ("asking", LONG, "prompt"),
        ("short", STEPS, "transform"),
    ):
        services.workflows.definitions.create(OPERATOR, slug, draw(count, kind))
    services.workflows.definitions.create(OPERATOR, "looked-at", draw_map(LOOKED_AT))
    figures: dict[str, float] = {}
    for name, slug in (("step", "long"), ("call", "asking")):
        seconds, of_processor = execute(services, slug, 1)
        figures[f"{name}_ms"] = seconds * 1000 / LONG
        figures[f"{name}_cpu_ms"] = of_processor * 1000 / LONG
    figures["runs_s"], figures["runs_cpu_s"] = execute(services, "short", runs)
    execute(services, "looked-at", 1)
    run = services.workflows.runs.list(OPERATOR, "looked-at")[0]
    began = time.perf_counter()
    steps = services.workflows.runs.outline(OPERATOR, run.id)
    services.workflows.runs.get(OPERATOR, run.id)
    figures["look_ms"] = (time.perf_counter() - began) * 1000
    if len(steps) < LOOKED_AT:
        raise RuntimeError("the long run has not all its steps")
    services.close()
    return figures


def draw(count: int, kind: str) -> dict[str, Any]:
    """A workflow of so many steps, one after the other."""
    nodes: list[dict[str, Any]] = [{"kind": "input", "id": "start", "fields": []}]
    for number in range(count - 2):
        work = {"value": "1 + 1"} if kind == "transform" else {"configuration": "echo", "prompt": "hello"}
        nodes.append({"kind": kind, "id": f"s{number}", **work})
    nodes.append({"kind": "output", "id": "finish", "text": "done"})
    edges = [{"from": a["id"], "to": b["id"]} for a, b in pairwise(nodes)]
    return {"nodes": nodes, "edges": edges, "max_steps": 10_000}


def draw_map(count: int) -> dict[str, Any]:
    """A workflow whose one step is done for each of so many members of a list."""
    members = {"name": "members", "type": "json", "default": [*range(count)]}
    each = {"kind": "map", "id": "each", "over": "start.members", "part": "one", "limit": count, "parallel": 8}
    nodes = [
        {"kind": "input", "id": "start", "fields": [members]},
        each,
        {"kind": "output", "id": "finish", "text": "done"},
    ]
    edges = [{"from": "start", "to": "each"}, {"from": "each", "to": "finish"}]
    part = {"nodes": [{"kind": "transform", "id": "one", "value": "item + 1"}], "edges": []}
    return {"nodes": nodes, "edges": edges, "parts": {"one": part}, "max_steps": 10_000}


def execute(services: Any, slug: str, count: int) -> tuple[float, float]:
    """Run a workflow so often at once; the seconds until the last has ended, and those of processor time."""
    from lib.access.permissions import OPERATOR
    from lib.workflows.run import RunState

    runs = services.workflows.runs
    made = [runs.start(OPERATOR, slug, {}, launches=False) for _ in range(count)]

    async def execute_all() -> list[str]:
        return list(await asyncio.gather(*(services.workflows.interpreter.execute(run.id) for run in made)))

    began, worked = time.perf_counter(), time.process_time()
    states = asyncio.run(execute_all())
    seconds, of_processor = time.perf_counter() - began, time.process_time() - worked
    if set(states) != {RunState.DONE}:
        raise RuntimeError(f"runs of {slug} ended as {set(states)}")
    return seconds, of_processor


if __name__ == "__main__":
    main()
