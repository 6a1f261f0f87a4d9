"""An installation of ours with what a call meets: key, budget, price, rows; its gateway; its sums."""

import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from pathlib import Path

import psutil
from sqlalchemy import func, select

from lib import services as service_root
from lib.access.permissions import OPERATOR
from lib.db.tables import budget_holds, budget_windows, open_calls, usage_logs
from lib.money import NANO_PER_USD
from lib.services import Services
from lib.settings import PROJECT, Settings

PRICES = "kind,model,valid_from,above_tokens,input,output\ncustom,bench-model,{day},,0.15,0.60\n"
COST_NANO = 25 * 150 + 100 * 600  # of one answer of the upstream


@dataclass(frozen=True)
class Sums:
    """Of one installation, in rows and nano-dollars."""

    ended: int
    ok: int
    orphaned: int
    open: int
    cost: int
    spent: int
    held: int
    holds: int

    def faults(self, acknowledged: int, *, exactly: bool = True) -> list[str]:
        """What does not fit; empty when all does."""
        found = []
        if self.ok != acknowledged if exactly else self.ok < acknowledged:
            found.append(f"{acknowledged:,} answers were acknowledged, {self.ok:,} rows say ok")
        if self.cost != self.spent:
            found.append(f"the rows cost {self.cost:,}, the budget says {self.spent:,} were spent")
        if self.held or self.holds:
            found.append(f"{self.held:,} are held by {self.holds:,} holds")
        if self.open:
            found.append(f"{self.open:,} rows are open")
        return found


class Installation:
    """A data folder with a provider at `upstream_port`, a configuration `bench`, a key and a hard budget."""

    def __init__(
        self, folder: Path, upstream_port: int, database_url: str = "", limit_nano: int = 10**6 * NANO_PER_USD
    ) -> None:
        self.settings = Settings(data_dir=folder, database_url=database_url or f"sqlite:///{folder / 'llm_manager.db'}")
        services = service_root.build(self.settings)
        provider = services.providers.create(
            OPERATOR,
            name="upstream",
            kind="custom",
            base_url=f"http://127.0.0.1:{upstream_port}/v1",
            api_key="sk-upstream-0123456789",
            allow_private=True,
        )
        services.configurations.create(
            OPERATOR,
            slug="bench",
            app="bench",
            provider_id=provider.id,
            model="bench-model",
            capabilities=("streaming",),
        )
        services.price_entries.import_csv(OPERATOR, PRICES.format(day=date.today().isoformat()))
        services.budgets.create(OPERATOR, scope="app", subject="bench", period="month", limit_nano=limit_nano)
        self.key, _ = services.api_keys.create(OPERATOR, app="bench", models=["bench"])
        self.limit_nano = limit_nano
        services.close()

    @contextmanager
    def gateway(self, port: int, workers: int = 1) -> Iterator[subprocess.Popen[bytes]]:
        """Its gateway while the block runs; serving, and its imports over, when the block begins."""
        command = [sys.executable, "-m", "lib", "gateway", "--port", str(port), "--workers", str(workers)]
        environment = dict(os.environ) | {
            "LLM_MANAGER_DATA": str(self.settings.data_dir),
            "DATABASE_URL": self.settings.database_url,
        }
        process = subprocess.Popen(command, cwd=PROJECT, env=environment, stdout=subprocess.DEVNULL)
        try:
            wait_for(f"http://127.0.0.1:{port}/readyz", process)
            yield process
        finally:
            stop(process)

    def recover(self) -> Services:
        """Services that have closed what killed processes left; close them."""
        return service_root.build(self.settings)

    def sums(self) -> Sums:
        """After everything has ended and been recovered."""
        services = self.recover()
        try:
            with services.store.read() as connection:
                rows = select(func.count(), func.sum(usage_logs.c.cost_nano_usd)).select_from(usage_logs)
                ended, cost = connection.execute(rows).one()
                by_status = select(usage_logs.c.status, func.count()).group_by(usage_logs.c.status)
                statuses = dict(tuple(row) for row in connection.execute(by_status))
                window = budget_windows.c
                money = select(func.sum(window.spent_nano_usd), func.sum(window.held_nano_usd))
                spent, held = connection.execute(money).one()
                holds, running = (
                    connection.scalar(select(func.count()).select_from(table)) for table in (budget_holds, open_calls)
                )
        finally:
            services.close()
        counts = (int(Decimal(number or 0)) for number in (running, cost, spent, held, holds))
        return Sums(ended, statuses.get("ok", 0), statuses.get("orphaned", 0), *counts)

    def unwritten(self, acknowledged: Sequence[str]) -> set[str]:
        """Acknowledged calls without exactly one final row, or whose final row does not say ok."""
        services = self.recover()
        try:
            with services.store.read() as connection:
                found = select(usage_logs.c.call_id).where(usage_logs.c.is_final).group_by(usage_logs.c.call_id)
                found = found.having(func.count() == 1, func.min(usage_logs.c.status) == "ok")
                return set(acknowledged) - set(connection.scalars(found))
        finally:
            services.close()


@contextmanager
def module(name: str, *arguments: object) -> Iterator[subprocess.Popen[bytes]]:
    """A module of this rig as a process."""
    command = [sys.executable, "-m", f"benchmarks.gateway_rig.{name}", *(str(one) for one in arguments)]
    process = subprocess.Popen(command, cwd=PROJECT)
    try:
        wait_for_port(int(str(arguments[0])), process)
        yield process
    finally:
        stop(process)


def stop(process: subprocess.Popen[bytes]) -> int:
    """SIGTERM to it and its children, and wait; its exit status."""
    children = psutil.Process(process.pid).children() if process.poll() is None else []
    process.terminate()
    try:
        status = process.wait(20)
    except subprocess.TimeoutExpired:
        process.kill()
        status = process.wait()
    for child in children:
        if child.is_running():
            child.terminate()
    psutil.wait_procs(children, 5)
    return status


def free_port() -> int:
    """A port that nobody has now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_for_port(port: int, process: subprocess.Popen[bytes]) -> None:
    """Until somebody listens."""
    while process.poll() is None:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            time.sleep(0.02)
        else:
            return
    raise SystemExit(f"What should serve port {port} ended with status {process.returncode}.")


def wait_for(url: str, process: subprocess.Popen[bytes]) -> None:
    """Until the address answers 200."""
    while process.poll() is None:
        try:
            with urllib.request.urlopen(url, timeout=5) as answer:
                if answer.status == 200:
                    return
        except (urllib.error.URLError, OSError):
            time.sleep(0.05)
    raise SystemExit(f"The server of {url} ended with status {process.returncode}.")


def rest(pid: int) -> None:
    """Until the process and its children do nothing: what they import at their start is imported."""
    tree = [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]
    used, before = 0.0, -1.0
    while used - before > 0.05:
        time.sleep(1)
        before, used = used, sum(sum(one.cpu_times()[:2]) for one in tree)
