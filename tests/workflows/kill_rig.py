"""A workflow of ten paid steps, a provider that counts what it is sent, and processes that tests kill.

`python -m tests.workflows.kill_rig` is the parent of these processes: it has everything imported and forks one for each
line of its input, so that a process begins in a tenth of a second. `work` runs what `python -m lib work` runs;
`machine` does so as a machine of its own, which others see by its beats alone, and begins what is scheduled and takes
up what is due several times a second.
"""

import argparse
import importlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

from sqlalchemy import select

from lib.access.permissions import OPERATOR
from lib.cli import work
from lib.clock import utc_now
from lib.db.tables import usage_logs, work_processes, workflow_runs
from lib.jobs.scheduler import Errand, Scheduler
from lib.providers.adapters import via_litellm
from lib.providers.prices.rates import Rates, build_plain_price
from lib.services import build
from lib.settings import PROJECT, Settings
from lib.work import processes
from lib.workflows.run import Run, RunState
from tests.providers.wire import OPENAI_USAGE, Wire, WireServer, openai_delta, serving, sse
from tests.waiting import until
from tests.workflows.rig import AMIRA, Document, FlowRig, draw, finish, node, start

PAID = ("p1", "p2", "each/0/ask", "each/1/ask", "each/2/ask", "inner/ask", "p3", "p4", "p5", "p6")
Step = tuple[str, str]  # run's id, step's path


class Witness:
    """A provider that notes every request by its run and step, and may hold the answers of some until told."""

    def __init__(self, pause_s: float = 0.0) -> None:
        self.requests: Counter[Step] = Counter()
        self._pause_s = pause_s
        self._held: set[str] = set()
        self._lock = threading.Lock()

    def hold(self, *steps: str) -> None:
        """Answer these steps no more, in any run."""
        with self._lock:
            self._held = set(steps)

    def answer(self, wire: Wire) -> None:
        """Note a request and answer it with the step's name, in pieces."""
        prompt = str(wire.received["body"]["messages"][-1]["content"])
        run_id, step = prompt.split(" ")[:2]
        with self._lock:
            self.requests[run_id, step] += 1
            is_held = step in self._held
        wire.begin()
        if is_held:
            wire.wait_for_the_client_to_go()
            return
        for piece in ("did ", step):
            time.sleep(self._pause_s)  # a model thinks
            wire.say(openai_delta(piece))
        wire.say(openai_delta(None, "stop"), OPENAI_USAGE, sse("[DONE]"))

    def count(self, run_id: str, step: str) -> int:
        """How often a step of a run was asked."""
        return self.requests[run_id, step]

    @property
    def total(self) -> int:
        """All requests."""
        return self.requests.total()


@dataclass
class Ledger:
    """What the ledger says of a run: states of the calls of each step in the order in which they began, their cost."""

    statuses: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    costs: list[int | None] = field(default_factory=list)


class KillRig(FlowRig):
    """Draws and begins the workflow of ten paid steps, and starts and kills what executes it."""

    def __init__(self, settings: Settings, witness: Witness, server: WireServer) -> None:
        super().__init__(settings)
        self.settings = settings
        self.witness = witness
        self.processes: list[int] = []
        self._parent: subprocess.Popen[str] | None = None
        services = self.services
        provider = services.providers.create(
            AMIRA, name="witness", kind="custom", base_url=f"{server.url}/v1", allow_private=True
        )
        services.price_entries.set(
            OPERATOR, build_plain_price("custom", "m", utc_now() - timedelta(days=1), Rates(10**9, 10**9))
        )
        services.configurations.create(AMIRA, slug="paid", app="tests", provider_id=provider.id, model="m")

    def draw_ten(self) -> str:
        """Make the workflow of ten paid steps: a map, a workflow within, a decision, two branches; its slug."""
        inner = self.make(draw(start("text"), ask("ask", "inner/ask"), finish("{{ask}}")))
        return self.make(
            draw(
                start("text"),
                ask("p1"),
                ask("p2", after="{{p1}}"),
                node("map", "each", over="[1, 2, 3]", part="one", parallel=1),
                node("workflow", "inner", workflow=inner, inputs={"text": "{{p2}}"}),
                node("approval", "check", question="Go on?"),
                *(ask(name) for name in ("p3", "p4", "p5")),
                node("join", "both"),
                ask("p6", after="{{p4}} {{p5}}"),
                finish("{{p6}}"),
                edges="start>p1 p1>p2 p2>each each>inner inner>check check:approved>p3 p3>p4 p3>p5 p4>both p5>both "
                "both>p6 p6>finish",
                parts={"one": draw(ask("ask", "each/{{index}}/ask"))},
            )
        )

    def begin_process(self, kind: str = "work") -> int:
        """Start a process that runs work, and return its number once others see it."""
        if self._parent is None:
            self._parent = self._begin_parent()
        assert self._parent.stdin is not None
        assert self._parent.stdout is not None
        before = self.list_executors()
        print(kind, file=self._parent.stdin, flush=True)
        process = int(self._parent.stdout.readline())
        self.processes.append(process)
        until(lambda: self.list_executors() - before or not is_running(process))
        assert is_running(process)
        return process

    def _begin_parent(self) -> "subprocess.Popen[str]":
        own = {"LLM_MANAGER_DATA": str(self.settings.data_dir), "DATABASE_URL": self.settings.database_url}
        command = [sys.executable, "-m", "tests.workflows.kill_rig"]
        env = {**os.environ, **own}
        pipe = subprocess.PIPE
        return subprocess.Popen(command, cwd=PROJECT, env=env, text=True, stdin=pipe, stdout=pipe)

    def list_executors(self) -> set[str]:
        """Names of the processes that say that they run work."""
        with self.services.store.read() as connection:
            return set(connection.scalars(select(work_processes.c.executor_id)))

    def kill(self, process: int) -> None:
        """End a process as a lost machine ends one."""
        self.processes.remove(process)
        os.kill(process, signal.SIGKILL)
        until(lambda: not is_running(process))

    def get(self, run: Run) -> Run:
        """The run as it stands."""
        return self.services.workflows.runs.get(AMIRA, run.id)

    def read_owners(self) -> dict[str, str]:
        """Which execution of which process has each run that is at work."""
        query = select(workflow_runs.c.id, workflow_runs.c.owner).where(workflow_runs.c.state == RunState.RUNNING)
        with self.services.store.read() as connection:
            return {run_id: owner for run_id, owner in connection.execute(query)}

    def read_ledger(self, run: Run) -> Ledger:
        """Read what the ledger has of a run."""
        columns = (usage_logs.c.workflow_step, usage_logs.c.status, usage_logs.c.cost_nano_usd)
        query = select(*columns).where(usage_logs.c.workflow_run_id == run.id).order_by(usage_logs.c.started_at)
        ledger = Ledger()
        with self.services.store.read() as connection:
            for step, status, cost in connection.execute(query):
                ledger.statuses[step].append(status)
                ledger.costs.append(cost)
        return ledger

    def check_paid_once(self, run: Run) -> Ledger:
        """Check that no step was asked again once its answer was in the ledger, and that the run says what it cost."""
        ended = self.get(run)
        assert (ended.state, ended.output) == (RunState.DONE, "did p6"), ended.reason
        ledger = self.read_ledger(run)
        assert set(ledger.statuses) == set(PAID)
        for step, statuses in ledger.statuses.items():
            assert statuses[-1] == "ok", (step, statuses)
            assert set(statuses[:-1]) <= {"orphaned"}, (step, statuses)
            assert 1 <= self.witness.count(run.id, step) <= len(statuses), "each request has its row"
        assert ended.cost_nano_usd == sum(cost for cost in ledger.costs if cost is not None)
        assert None not in ledger.costs
        assert ended.orphaned_calls == len(ledger.costs) - len(PAID), "the run says what was cut"
        return ledger

    def close(self) -> None:
        """Kill what runs and close the installation."""
        for process in [*self.processes]:
            self.kill(process)
        if self._parent is not None:
            self._parent.kill()
            self._parent.communicate()
        self.services.close()


def is_running(process: int) -> bool:
    """Whether a process is there; its parent leaves no remnants."""
    return Path(f"/proc/{process}").exists()


def ask(id: str, step: str = "", after: str = "") -> Document:
    """A prompt that tells the provider which step of which run it is."""
    return node("prompt", id, configuration="paid", prompt=f"{{{{run.id}}}} {step or id} {after}")


@contextmanager
def open_rig(settings: Settings, pause_s: float = 0.0) -> Iterator[KillRig]:
    """An installation whose provider is a witness; its processes end with it."""
    witness = Witness(pause_s)
    with serving(witness.answer) as server:
        rig = KillRig(settings, witness, server)
        try:
            yield rig
        finally:
            rig.close()


def list_cuts(steps: Sequence[str]) -> list[tuple[str, ...]]:
    """Steps one after the other; the two that run side by side together."""
    return [("p4", "p5") if step == "p4" else (step,) for step in steps if step != "p5"]


def main() -> None:
    """Import what a process that runs work needs, then fork one for each line, and write its number."""
    for module in ("lib.work.engine", "lib.workflows.interpreter", "lib.workflows.steps.model"):
        importlib.import_module(module)
    via_litellm.load_litellm()
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # whoever is killed leaves nothing to be waited for
    for line in sys.stdin:
        child = os.fork()
        if child == 0:
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            os.dup2(os.open(os.devnull, os.O_RDWR), 0)
            os.dup2(0, 1)
            (run_machine if line.strip() == "machine" else run_work)()
        print(child, flush=True)


def run_work() -> None:
    """Do what `python -m lib work` does."""
    work.run(argparse.Namespace())


def run_machine() -> None:
    """Run work as a machine of its own: its key is no other's, so that its beats alone say that it lives."""
    own_key = f"machine {os.getpid()}"
    processes.read_host_key = lambda: own_key
    services = build(Settings.from_environment())
    errands: dict[str, Errand] = {
        "due": services.workflows.runs.launch_due,
        "schedules": services.workflows.schedules.begin_due,
        "approvals": services.approvals.tell_due,
    }
    Scheduler(services.store, {}, errands=errands, errands_every_s=0.2).start()
    services.launch_work()
    threading.Event().wait()


if __name__ == "__main__":
    main()
