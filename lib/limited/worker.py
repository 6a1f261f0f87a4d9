"""A warm child for small jobs, one after the other: JSON in a line, JSON in a line.

A job has its own limit of processor time, which the kernel keeps: a child that overruns it is gone, and the next job
finds a new one. At most `MOST` live in a process; one that has nothing to do for a while ends by itself.
"""

import atexit
import contextlib
import json
import os
import select
import signal
import subprocess
import threading
import time
from pathlib import Path
from typing import Any

from lib.limited.child import ENVIRONMENT, NotComputed, ProcessLimits, build_command

MOST = 2
_MEMORY = 512 * 1024 * 1024
_SLOWEST_MACHINE = 20  # a job's time by the clock over its processor time
_LONGEST_ANSWER = 8 * 1024 * 1024  # bytes


class Workers:
    """The children of one program in this process. Thread-safe: a job waits for a free one."""

    def __init__(self, program: Path) -> None:
        self._program = program
        self._free = threading.BoundedSemaphore(MOST)
        self._idle: list[subprocess.Popen[bytes]] = []
        self._lock = threading.Lock()
        atexit.register(self.close)

    def ask(self, job: dict[str, Any], cpu_s: float) -> Any:
        """Give a job to the program and return its value; raises NotComputed past the limits, or with the program's
        reason.
        """
        try:
            line = json.dumps({**job, "cpu_s": cpu_s}).encode() + b"\n"
        except RecursionError:
            raise NotComputed("It is nested too deeply.") from None
        with self._free:
            answer = self._run_job(line, cpu_s)
        if "refused" in answer:
            raise NotComputed(answer["refused"])
        return answer["value"]

    def close(self) -> None:
        """End the children that have nothing to do."""
        with self._lock:
            idle = self._idle
            self._idle = []
        for child in idle:
            _end(child)

    def _run_job(self, line: bytes, cpu_s: float) -> Any:
        while True:
            child = self._take()
            try:
                answer = _exchange(child, line, cpu_s * _SLOWEST_MACHINE + 10)
            except BaseException:
                _end(child)
                raise
            if answer is not None and not answer.endswith(b"\n"):
                _end(child)
                raise NotComputed(f"What comes of it has more than {_LONGEST_ANSWER:,} bytes.")
            if answer is not None:
                break
            _end(child)
            if child.returncode == -signal.SIGPROF:
                raise NotComputed(f"It takes longer than {cpu_s:g} s.")
            if child.returncode != 0:  # else it had just ended for want of work
                raise NotComputed("It takes more memory than it may, or breaks what checks it.")
        reply = json.loads(answer)
        if reply.get("is_last"):
            _end(child)
        else:
            with self._lock:
                self._idle.append(child)
        return reply

    def _take(self) -> "subprocess.Popen[bytes]":
        """Take a child that lives, or start one; those that ended while idle are dropped."""
        while True:
            with self._lock:
                child = self._idle.pop() if self._idle else None
            if child is None:
                break
            if child.poll() is None and child.stdout is not None and not select.select([child.stdout], [], [], 0)[0]:
                return child
            _end(child)
        command_line = build_command(self._program, (), ProcessLimits(_MEMORY, None, 0))
        return subprocess.Popen(
            command_line, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=ENVIRONMENT
        )


def _exchange(child: "subprocess.Popen[bytes]", line: bytes, wall_s: float) -> bytes | None:
    """Write a line and return the line that answers it; None when the child ended or was too slow."""
    if child.stdin is None or child.stdout is None:
        return None
    try:
        child.stdin.write(line)
        child.stdin.flush()
    except BrokenPipeError:
        return None
    until = time.monotonic() + wall_s
    answer = b""
    while not answer.endswith(b"\n") and len(answer) <= _LONGEST_ANSWER:
        if not select.select([child.stdout], [], [], max(0.0, until - time.monotonic()))[0]:
            return None
        part = os.read(child.stdout.fileno(), 65536)
        if not part:
            return None
        answer += part
    return answer


def _end(child: "subprocess.Popen[bytes]") -> None:
    """End a child, close its pipes and collect its exit status."""
    for pipe in (child.stdin, child.stdout):
        if pipe is not None:
            with contextlib.suppress(BrokenPipeError):
                pipe.close()
    try:
        child.wait(1)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()
