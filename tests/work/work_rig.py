"""A process of its own that runs work, for tests that kill it; and the same work for a process that only asks.

`python -m tests.work.work_rig FOLDER URL VERSION` launches the engine of a version, says `ready`, and runs until it is
killed. Each call of a step's function is a line in FOLDER/calls.txt, written before and after, so that a test reads
what ran how often.
"""

import asyncio
import os
import subprocess
import sys
import threading
from collections import Counter
from functools import partial
from pathlib import Path
from typing import Any

from lib.access.permissions import OPERATOR
from lib.calls.request import CallRequest, Origin
from lib.services import Services, build
from lib.settings import PROJECT, Settings
from lib.work import engine
from lib.work.run import WorkRun

STEPS = 6


def note(folder: Path, words: str) -> None:
    """Append a line, whole even when others append as well."""
    descriptor = os.open(folder / "calls.txt", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.write(descriptor, f"{words}\n".encode())
    os.close(descriptor)


def read_notes(folder: Path) -> Counter[str]:
    """Count the lines of a kind."""
    path = folder / "calls.txt"
    return Counter(path.read_text().splitlines()) if path.exists() else Counter()


def open_services(folder: Path, url: str) -> Services:
    """Open an installation and register what tests run; `services.work` and what is beside it."""
    services = build(Settings(data_dir=folder, database_url=url))
    if not any(provider.name == "script" for provider in services.providers.list(OPERATOR)):
        services.providers.create(OPERATOR, name="script", kind="scripted")
    work = services.work

    async def act(run: WorkRun, number: int) -> dict[str, int]:
        note(folder, f"begun {run.id} {number}")
        await asyncio.sleep(0.02)
        note(folder, f"ended {run.id} {number}")
        return {"number": number}

    async def chain(run: WorkRun, payload: Any) -> list[int]:
        numbers = [
            (await run.step(f"act {number}", act, run, number, acts=True, idempotent=True))["number"]
            for number in range(STEPS)
        ]
        if payload.get("asks"):
            numbers.append((await run.wait_for("answer"))["number"])
        return numbers

    async def act_once(run: WorkRun, _payload: Any) -> str:
        async def hang() -> str:
            note(folder, f"begun {run.id}")
            await asyncio.Event().wait()
            return "never"

        return str(await run.step("pay", hang, acts=True))

    async def paid(run: WorkRun, payload: Any) -> list[str]:
        def ask(number: int) -> CallRequest:
            note(folder, f"asked {run.id} {number}")
            messages = [{"role": "user", "content": f"Number {number}"}]
            model = f"script/{payload['model']}"
            return CallRequest(actor=OPERATOR, messages=messages, model=model, origin=Origin.WORKFLOW)

        answers = [await run.call(f"ask {number}", partial(ask, number)) for number in range(STEPS)]
        return [answer["text"] for answer in answers]

    work.registry.register("paid", paid)
    work.registry.register("chain", chain)
    work.registry.register("act once", act_once)
    return services


def start_process(folder: Path, url: str, version: str = engine.VERSION) -> "subprocess.Popen[str]":
    """Start a process that runs work, and return once it does."""
    command = [sys.executable, "-m", "tests.work.work_rig", str(folder), url, version]
    child = subprocess.Popen(command, cwd=PROJECT, stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    assert child.stdout.readline() == "ready\n"
    return child


def kill(child: "subprocess.Popen[str]") -> None:
    """End a process as a lost machine ends one."""
    child.kill()
    child.wait()
    if child.stdout is not None:
        child.stdout.close()


if __name__ == "__main__":
    engine.VERSION = sys.argv[3]
    launched = open_services(Path(sys.argv[1]), sys.argv[2])
    launched.work.launch(launched.calls, park_after_s=0.5)
    print("ready", flush=True)
    threading.Event().wait()
