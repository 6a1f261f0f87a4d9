"""Clients that ask again as soon as they are answered.

`python -m benchmarks.gateway_rig.load '{"port": …}'` prints JSON.

Every client is a raw asyncio Protocol on one kept connection. After `seconds`, or `most` requests, no new one is sent
and those under way are waited for, so that every answer counted has arrived whole and none is unknown. A connection
that is lost, or an answer that is refused or cut, counts as failed; its client connects again. A stream is whole when
[DONE] ends it and no error stands in it. With `ids`, the ids of acknowledged calls are printed too.
"""

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import asdict, dataclass, field
from typing import Any

import psutil
import uvloop

from lib.settings import PROJECT

_RECONNECT_S = 0.02


@dataclass
class Load:
    """What to send; `pids` are the processes whose CPU time is counted, with their children."""

    port: int
    clients: int
    streams: bool
    seconds: float
    key: str = "none"
    model: str = "bench"
    pids: list[int] = field(default_factory=list)
    ids: bool = False
    most: int = 0  # requests; 0 has no limit


@dataclass
class Found:
    """Milliseconds; `calls` are whole answers, `statuses` counts the others' by status ("lost": no whole answer)."""

    calls: int
    per_second: float
    p50_ms: float
    p99_ms: float
    first_p50_ms: float
    cpu_ms: float
    statuses: dict[str, int]
    ids: list[str]


def start(load: Load) -> subprocess.Popen[str]:
    """Begin to load, in a process of its own; SIGTERM ends its time."""
    command = [sys.executable, "-m", "benchmarks.gateway_rig.load", json.dumps(asdict(load))]
    return subprocess.Popen(command, cwd=PROJECT, stdout=subprocess.PIPE, text=True)


def finish(process: subprocess.Popen[str]) -> Found:
    """Wait for the end of a load."""
    said, _ = process.communicate()
    if process.returncode:
        raise RuntimeError(f"The load generator ended with status {process.returncode}.")
    return Found(**json.loads(said))


def measure(load: Load) -> Found:
    """Load, and wait for the end."""
    return finish(start(load))


class _Clients:
    """All clients, and what they found."""

    def __init__(self, load: Load) -> None:
        self.load = load
        messages = [{"role": "user", "content": "Tell me about the weather in Paris. " * 4}]
        asked: dict[str, Any] = {"model": load.model, "messages": messages, "temperature": 0.2, "max_tokens": 256}
        body = json.dumps(asked | ({"stream": True} if load.streams else {})).encode()
        head = (
            f"POST /v1/chat/completions HTTP/1.1\r\nhost: 127.0.0.1:{load.port}\r\ncontent-type: application/json\r\n"
        )
        head += f"authorization: Bearer {load.key}\r\ncontent-length: {len(body)}\r\n\r\n"
        self.request = head.encode() + body
        self.took: list[float] = []
        self.first: list[float] = []
        self.ids: list[str] = []
        self.statuses: dict[str, int] = {}
        self.sent = 0
        self.done = asyncio.Event()
        self.living = load.clients

    @property
    def may_send(self) -> bool:
        return time.perf_counter() < self.end and (not self.load.most or self.sent < self.load.most)

    async def run(self) -> Found:
        loop, load = asyncio.get_running_loop(), self.load
        cpu_s, began = _cpu_s(load.pids), time.perf_counter()
        self.end = began + load.seconds
        loop.add_signal_handler(signal.SIGTERM, self.stop)
        for _ in range(load.clients):
            loop.create_task(self.connect())
        await self.done.wait()
        passed, cpu_s, calls = time.perf_counter() - began, _cpu_s(load.pids) - cpu_s, len(self.took)
        return Found(
            calls,
            calls / passed,
            _at(self.took, 0.5),
            _at(self.took, 0.99),
            _at(self.first, 0.5),
            1e3 * cpu_s / max(calls, 1),
            self.statuses,
            self.ids,
        )

    def stop(self) -> None:
        self.end = 0.0

    async def connect(self) -> None:
        while True:
            try:
                await asyncio.get_running_loop().create_connection(lambda: _Client(self), "127.0.0.1", self.load.port)
                return
            except OSError:
                if not self.may_send:
                    return self.left()
                await asyncio.sleep(_RECONNECT_S)

    def failed(self, status: str) -> None:
        self.statuses[status] = self.statuses.get(status, 0) + 1

    def left(self) -> None:
        self.living -= 1
        if self.living == 0:
            self.done.set()


class _Client(asyncio.Protocol):
    def __init__(self, clients: _Clients) -> None:
        self.all, self.streams = clients, clients.load.streams
        self.asked = False

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        self.send()

    def send(self) -> None:
        self.buffer, self.first = bytearray(), 0.0
        self.asked = self.all.may_send
        if self.asked:
            self.all.sent += 1
            self.began = time.perf_counter()
            self.transport.write(self.all.request)
        else:
            self.transport.close()

    def data_received(self, data: bytes) -> None:
        now, buffer = time.perf_counter(), self.buffer
        buffer += data
        if not self.first and b"data:" in data:
            self.first = now
        if self.streams and buffer.startswith(b"HTTP/1.1 200"):
            if buffer.endswith(b"0\r\n\r\n"):
                self.ended(now, is_whole=b"data: [DONE]" in buffer[-64:] and b'data: {"error"' not in buffer)
        else:
            end = buffer.find(b"\r\n\r\n")
            at = buffer.lower().find(b"content-length:", 0, end)
            if at >= 0 and len(buffer) >= end + 4 + int(buffer[at + 15 : buffer.index(b"\r\n", at)]):
                self.ended(now, is_whole=not self.streams)

    def ended(self, now: float, *, is_whole: bool) -> None:
        status = bytes(self.buffer[9:12]).decode()
        if status == "200" and is_whole:
            self.all.took.append(now - self.began)
            if self.first:
                self.all.first.append(self.first - self.began)
            if self.all.load.ids:
                at = self.buffer.index(b"x-request-id: ") + 14
                self.all.ids.append(self.buffer[at : self.buffer.index(b"\r\n", at)].decode())
        else:
            self.all.failed("lost" if status == "200" else status)
        self.send()

    def connection_lost(self, _error: Exception | None) -> None:
        if not self.asked:
            self.all.left()
        else:
            self.all.failed("lost")
            asyncio.get_running_loop().create_task(self.all.connect())


def _at(values: list[float], part: float) -> float:
    """A quantile in milliseconds; 0 of nothing."""
    return 1e3 * sorted(values)[min(len(values) - 1, int(len(values) * part))] if values else 0.0


def _cpu_s(pids: list[int]) -> float:
    tree = [one for pid in pids for one in (psutil.Process(pid), *psutil.Process(pid).children(recursive=True))]
    return sum(sum(one.cpu_times()[:2]) for one in tree)


def _tell(found: Found) -> None:
    """Print it whole: many ids are more than a pipe takes at once, and a loop may have left it impatient."""
    left = json.dumps(asdict(found)).encode()
    os.set_blocking(1, True)
    while left:
        left = left[os.write(1, left) :]


if __name__ == "__main__":
    _tell(uvloop.run(_Clients(Load(**json.loads(sys.argv[1]))).run()))
