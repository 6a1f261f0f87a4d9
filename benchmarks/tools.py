"""What tools cost beside their own time: a function here, a call of a server, a list of 500, twenty servers that idle.

    .venv/bin/python benchmarks/tools.py [--servers 20] [--tools 500]

Prints a table; the exit status is 1 when a limit is passed. Servers are small programs of the standard library that
speak the protocol over pipes. What they take while idle is that of the process that runs them, not their own.
"""

import argparse
import asyncio
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

PROJECT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(PROJECT))
RUNS = 100
WATCHED_S = 60.0  # a server's tools are listed once in it
LIMITS = {"native_ms": 10.0, "stdio_ms": 5.0, "page_ms": 300.0, "idle_percent": 1.0}
_SERVER = """
import json, sys
schema = {"type": "object", "properties": {"text": {"type": "string"}}}
tool = {"name": "echo", "description": "Says it again", "inputSchema": schema, "annotations": {"readOnlyHint": True}}
for line in sys.stdin:
    message = json.loads(line)
    if "id" not in message:
        continue
    method = message.get("method")
    if method == "initialize":
        result = {"protocolVersion": "2024-11-05", "capabilities": {"tools": {}},
                  "serverInfo": {"name": "bench", "version": "1"}}
    elif method == "tools/list":
        result = {"tools": [tool]}
    elif method == "tools/call":
        result = {"content": [{"type": "text", "text": "x"}]}
    else:
        result = None
    answer = {"error": {"code": -32601, "message": "no"}} if result is None else {"result": result}
    print(json.dumps({"jsonrpc": "2.0", "id": message["id"], **answer}), flush=True)
"""


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--servers", type=int, default=20)
    parser.add_argument("--tools", type=int, default=500)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        figures = measure(Path(folder), arguments.servers, arguments.tools)
    labels = {
        "native_ms": "a function here, median, ms",
        "stdio_ms": "a call of a server over pipes beside its own time, median, ms",
        "stdio_best_ms": "the same, of the quickest call, ms",
        "page_ms": f"the page of {arguments.tools} tools drawn anew, median, ms",
        "toolset_ms": f"the tools of a request chosen of {arguments.tools}, ms",
        "idle_percent": f"{arguments.servers} idle servers, % of a core",
    }
    is_kept = True
    print(f"{'':64}{'measured':>12}{'limit':>10}")
    for name, label in labels.items():
        limit = LIMITS.get(name)
        print(f"{label:64}{figures[name]:>12.2f}{'' if limit is None else f'{limit:g}':>10}")
        is_kept &= limit is None or figures[name] <= limit
    sys.exit(0 if is_kept else 1)


def measure(folder: Path, servers: int, tools: int) -> dict[str, float]:
    """Measure everything on an installation of its own."""
    from lib.access.permissions import OPERATOR
    from lib.services import build
    from lib.settings import Settings

    services = build(Settings(data_dir=folder / "data", database_url=f"sqlite:///{folder}/llm_manager.db"))
    figures = {"native_ms": statistics.median(time_runs(services, "current_time", {}))}
    add_functions(services, tools)
    figures["toolset_ms"] = time_median(lambda: services.tools.toolset(OPERATOR, "general"))
    figures["page_ms"] = time_page(services)
    script = folder / "server.py"
    script.write_text(_SERVER)
    for number in range(servers):
        add_server(services, f"bench{number}", script)
    for number in range(servers):
        wait_until_ready(services, f"bench{number}")
        services.servers.approve_tools(OPERATOR, f"bench{number}")
    calls = time_runs(services, "bench0__echo", {"text": "x"})
    figures["stdio_ms"] = statistics.median(calls)
    figures["stdio_best_ms"] = min(calls)
    figures["idle_percent"] = watch_children()
    services.close()
    return figures


def time_runs(services: Any, name: str, arguments: dict[str, Any]) -> list[float]:
    """Milliseconds of each of many runs of a tool, with its row, its check and its limits; the tool takes no time."""
    from lib.access.permissions import OPERATOR
    from lib.tools.tool import ToolContext

    async def run_all() -> list[float]:
        times = []
        for _ in range(RUNS):
            began = time.perf_counter()
            execution = await services.tools.run(OPERATOR, name, arguments, ToolContext(OPERATOR))
            times.append((time.perf_counter() - began) * 1000)
            if not execution.is_ok:
                raise RuntimeError(f"{name} ended as {execution.status}: {execution.error_message}")
        return times

    return asyncio.run(run_all())


def time_median(work: Any) -> float:
    """Milliseconds that something takes, the median of twenty."""
    times = []
    for _ in range(20):
        began = time.perf_counter()
        work()
        times.append((time.perf_counter() - began) * 1000)
    return statistics.median(times)


def add_functions(services: Any, count: int) -> None:
    """Offer so many functions, each under a name of its own."""
    from lib.tools.native import READS_ONLY, NativeTools

    native = NativeTools()
    for number in range(count):

        def function(text: str) -> str:
            """Say a text again, as one of very many tools."""
            return text

        function.__name__ = f"tool_{number}"
        native.register(function, READS_ONLY)
    services.tools.sources.append(native)


_PAGE = """
from lib import services as service_root
from lib.access.permissions import OPERATOR
from lib.ui.tools import tool_table

services = service_root.current()
tool_table.draw_registry(services, OPERATOR, services.tools.definitions(OPERATOR), compact=False)
"""


def time_page(services: Any) -> float:
    """Milliseconds in which the registry of the page Tools is drawn anew, by Streamlit's own runner of scripts."""
    from streamlit.testing.v1 import AppTest

    from lib import services as service_root

    service_root.use(services)
    page = AppTest.from_string(_PAGE, default_timeout=60)
    page.run()
    if page.exception or not page.dataframe:
        raise RuntimeError("the page can't be drawn")
    milliseconds = time_median(page.run)
    service_root.use(None)
    return milliseconds


def add_server(services: Any, name: str, script: Path) -> None:
    """Add a server, approved and wanted on."""
    from lib.access.permissions import OPERATOR
    from lib.mcp.server import ServerDraft

    added = services.servers.add(OPERATOR, ServerDraft(name, [sys.executable, str(script)]))
    services.servers.approve(OPERATOR, name, added.approval_hash)
    services.servers.start(OPERATOR, name)


def wait_until_ready(services: Any, name: str) -> None:
    """Wait for a server; five minutes at most."""
    from lib.access.permissions import OPERATOR

    end = time.monotonic() + 300
    while services.servers.get(OPERATOR, name).state.actual != "ready":
        if time.monotonic() > end:
            raise TimeoutError(f"{name}: {services.servers.get(OPERATOR, name).state.reason}")
        services.server_keeper.look()
        time.sleep(0.2)


def watch_children() -> float:
    """Percent of a core that the process which runs the servers takes over some seconds, once it is quiet."""
    runners = [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit() and is_runner(entry)]
    time.sleep(5)
    before = sum(read_ticks(pid) for pid in runners)
    time.sleep(WATCHED_S)
    ticks = sum(read_ticks(pid) for pid in runners) - before
    return ticks * 100 / os.sysconf("SC_CLK_TCK") / WATCHED_S


def is_runner(entry: Path) -> bool:
    """Whether a process is the one that this process started to run servers."""
    try:
        parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
        command = (entry / "cmdline").read_bytes()
    except (OSError, ValueError):
        return False
    return parent == os.getpid() and b"lib.mcp.runner" in command


def read_ticks(pid: int) -> int:
    """Clock ticks of a process so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return int(fields[11]) + int(fields[12])


if __name__ == "__main__":
    main()
