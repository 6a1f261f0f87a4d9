"""Do people on the statistics slow the programs' calls? `python benchmarks/visitors.py [--calls N] [--seconds S]`.

A ledger of N sample calls. Programs ask the gateway fifty times a second at even distances, whatever became of the
earlier ones; meanwhile nobody, or three people, look at the statistics: each takes another view, waits for its end,
reads for a second. Their browsers are WebSockets, so what is measured is the server. Interleaved, medians of three.
With the gateway in a process of its own the ratio of the 99th percentiles is to stay under two; how it is when the
pages' server answers the calls, too, stands below.
"""

import argparse
import asyncio
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import aiohttp
from streamlit.proto.BackMsg_pb2 import BackMsg
from streamlit.proto.ForwardMsg_pb2 import ForwardMsg

from benchmarks.gateway_rig.product import Installation, free_port, module, rest, stop, wait_for
from lib import services as service_root
from lib.access.permissions import OPERATOR, Role
from lib.demo import Demo
from lib.settings import PROJECT

NAME, PASSWORD = "amira", "correct horse battery"
PEOPLE, READING_S, PER_SECOND, MOST = 3, 1.0, 50, 2.0
WARM_S = 8  # until the server imports what its first pages do not need
VIEWS = [
    {"period": "30d"},
    {"period": "12m", "by": "model"},
    {"period": "12m", "app": "support-bot"},
    {"period": "12m", "tab": "explore", "split": "model", "across": "week", "figure": "latency_p95", "shape": "heat"},
    {"period": "12m", "tab": "explore", "split": "app", "across": "user", "figure": "users"},
    {"period": "7d", "measure": "tokens"},
]


@contextmanager
def pages(folder: Path, port: int) -> Iterator[subprocess.Popen[bytes]]:
    """The pages' server while the block runs."""
    environment = dict(os.environ) | {"LLM_MANAGER_DATA": str(folder), "PORT": str(port)}
    command = [sys.executable, "-m", "lib", "serve"]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    process = subprocess.Popen(command, cwd=PROJECT, env=environment, **quiet)
    try:
        wait_for(f"http://127.0.0.1:{port}/readyz", process)
        time.sleep(WARM_S)
        rest(process.pid)
        yield process
    finally:
        stop(process)


async def sign_in(port: int) -> dict[str, str]:
    """The cookies of somebody who may see everything."""
    jar = aiohttp.CookieJar(unsafe=True)  # of an address, not a name
    async with aiohttp.ClientSession(f"http://127.0.0.1:{port}", cookie_jar=jar) as session:
        async with session.post("/login", data={"name": NAME, "password": PASSWORD}, allow_redirects=False) as answer:
            assert answer.status < 400, await answer.text()
        return {cookie.key: cookie.value for cookie in jar}


async def person(port: int, cookies: dict[str, str], drawn: list[float]) -> None:
    """Take one view after the other; how long each took, in ms, goes into `drawn`."""
    address = f"http://127.0.0.1:{port}"
    async with (
        aiohttp.ClientSession(address, cookies=cookies, headers={"origin": address}) as session,
        session.ws_connect("/_stcore/stream", max_msg_size=0) as socket,
    ):
        while True:
            asked = BackMsg()
            asked.rerun_script.page_name = "statistics"
            view = random.choice(VIEWS)
            asked.rerun_script.query_string = "&".join(f"{name}={value}" for name, value in view.items())
            started = time.perf_counter()
            await socket.send_bytes(asked.SerializeToString())
            async for message in socket:
                told = ForwardMsg.FromString(message.data)
                if told.WhichOneof("type") == "script_finished":
                    break
            drawn.append((time.perf_counter() - started) * 1000)
            await asyncio.sleep(READING_S)


async def programs(port: int, key: str, seconds: float) -> list[float]:
    """Ask at even distances; how long each answer took, in ms, counted from when it was due."""
    body = {"model": "bench", "messages": [{"role": "user", "content": "Tell me of rivers."}]}
    head = {"authorization": f"Bearer {key}"}
    taken: list[float] = []
    async with aiohttp.ClientSession(f"http://127.0.0.1:{port}", headers=head) as session:

        async def one(due: float) -> None:
            async with session.post("/v1/chat/completions", json=body) as answer:
                document = await answer.json()
                assert answer.status == 200, document
            taken.append((time.perf_counter() - due) * 1000)

        begun, waiting = time.perf_counter(), []
        for number in range(int(seconds * PER_SECOND)):
            due = begun + number / PER_SECOND
            await asyncio.sleep(due - time.perf_counter())
            waiting.append(asyncio.create_task(one(due)))
        await asyncio.gather(*waiting)
    return taken


async def p99_ms(
    gateway: int, page: int, key: str, seconds: float, people: list[dict[str, str]]
) -> tuple[float, list[float]]:
    """The programs' 99th percentile with so many people on the pages, and how long these waited for views."""
    drawn: list[float] = []
    visits = [asyncio.create_task(person(page, cookies, drawn)) for cookies in people]
    await asyncio.sleep(3 if visits else 0)
    taken = await programs(gateway, key, seconds)
    for visit in visits:
        if visit.done():
            visit.result()
        visit.cancel()
    return statistics.quantiles(taken, n=100)[98], drawn


def compare(what: str, gateway: int, page: int, key: str, seconds: float) -> float:
    """Print quiet against visited; their ratio."""
    quiet, visited, waits = [], [], []
    people = [asyncio.run(sign_in(page)) for _ in range(PEOPLE)]
    asyncio.run(p99_ms(gateway, page, key, 3, people))  # everybody has been here
    for _ in range(3):
        quiet.append(asyncio.run(p99_ms(gateway, page, key, seconds, []))[0])
        found, drawn = asyncio.run(p99_ms(gateway, page, key, seconds, people))
        visited.append(found)
        waits += drawn
    ratio = statistics.median(visited) / statistics.median(quiet)
    told = f"{statistics.median(quiet):6.1f} ms alone, {statistics.median(visited):6.1f} ms with {PEOPLE} people"
    seen = f"{len(waits)} views, {statistics.median(waits):.0f} ms each"
    print(f"{what:24} p99 {told}: {ratio:.2f} x; {seen}", flush=True)
    return ratio


def main() -> int:
    """Measure both ways to run it; 1 when the limit is missed."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--calls", type=int, default=300_000)
    parser.add_argument("--seconds", type=float, default=15)
    asked = parser.parse_args()
    upstream, gateway, page = free_port(), free_port(), free_port()
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as name, module("upstream", upstream, 5):
        folder = Path(name) / "data"
        installed = Installation(folder, upstream)
        services = service_root.build(installed.settings)
        services.users.create(OPERATOR, NAME, PASSWORD, Role.SUPER_ADMIN)
        Demo(services.store).load(OPERATOR, calls=asked.calls)
        services.close()
        with pages(folder, page):
            with installed.gateway(gateway):
                apart = compare("a gateway of its own", gateway, page, installed.key, asked.seconds)
            compare("the pages' own doors", page, page, installed.key, asked.seconds)
    print(f"a gateway of its own: at most {MOST} x{', MISSED' if apart > MOST else ''}")
    return 1 if apart > MOST else 0


if __name__ == "__main__":
    sys.exit(main())
