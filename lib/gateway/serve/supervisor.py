"""Keeps N gateway workers running on one port: `Supervisor(host, port, workers).run()` returns the exit status.

The first worker starts alone: it brings the database to this version's schema and says what is wrong with the
installation, if anything is; the others follow when it serves. A worker that dies is started again after a pause,
which doubles up to its cap while workers die young. SIGTERM or SIGINT: every worker stops accepting, lets its calls
end, closes the others' rows, and the status is 0. A second signal, or a worker that takes too long: killed, status 1.

Each worker listens on a socket of its own (SO_REUSEPORT); the supervisor only reserves the port, and imports nothing
heavy. Why: docs/decisions/gateway-processes.md. Workers are sessions of their own, so that Ctrl-C reaches them once,
through here; a supervisor that is killed is noticed by them through the pipe they hold.
"""

import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from types import FrameType

from lib.errors import InstallationError
from lib.settings import PROJECT

_KILL_AFTER_S = 15.0
_LOOK_EVERY_S = 0.05
_FIRST_PAUSE_S = 0.25
_LONGEST_PAUSE_S = 8.0
_YOUNG_S = 10.0


class Supervisor:
    """N places for workers. One per process: it takes the process's signals."""

    def __init__(self, host: str, port: int, workers: int) -> None:
        self._reserved = reserve(host, port)
        self._address = (host, port)
        self._slots = [WorkerSlot(self._start) for _ in range(workers)]
        self._signals = 0

    def run(self, ready: Callable[[], None] = lambda: None) -> int:
        """Serve until a signal; `ready` is called once, when the first worker serves."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._on_signal)
        first = self._slots[0]
        first.start()
        while not self._signals and not first.is_serving():
            if (status := first.status()) is not None:
                return status if status > 0 else 1  # it has said why
            time.sleep(_LOOK_EVERY_S)
        if not self._signals:
            ready()
        while not self._signals:
            for slot in self._slots:
                slot.look_after()
            time.sleep(_LOOK_EVERY_S)
        return self._stop()

    def _stop(self) -> int:
        """Let every worker end; 0 when all did by themselves."""
        self._reserved.close()
        for slot in self._slots:
            slot.signal(signal.SIGTERM)
        deadline = time.monotonic() + _KILL_AFTER_S
        while any(slot.status() is None for slot in self._slots):
            if self._signals > 1 or time.monotonic() > deadline:
                for slot in self._slots:
                    slot.signal(signal.SIGKILL)
                return 1
            time.sleep(_LOOK_EVERY_S)
        return 0

    def _on_signal(self, _number: int, _frame: FrameType | None) -> None:
        self._signals += 1

    def _start(self) -> tuple[subprocess.Popen[bytes], socket.socket]:
        """A worker, and our end of the pipe between us."""
        ours, its = socket.socketpair()
        host, port = self._address
        with its:
            command = [sys.executable, "-m", "lib.gateway.serve.worker", host, str(port), str(its.fileno())]
            process = subprocess.Popen(command, cwd=PROJECT, pass_fds=[its.fileno()], start_new_session=True)
        ours.setblocking(False)
        return process, ours


class WorkerSlot:
    """Where one worker runs, and when the next one may."""

    def __init__(
        self,
        start: Callable[[], tuple[subprocess.Popen[bytes], socket.socket]],
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._start = start
        self._now = now
        self._process: subprocess.Popen[bytes] | None = None
        self._pipe: socket.socket | None = None
        self._serving_since: float | None = None
        self._next_at = 0.0
        self._pause_s = _FIRST_PAUSE_S

    def start(self) -> None:
        self._process, self._pipe = self._start()
        self._serving_since = None

    def is_serving(self) -> bool:
        """Whether the worker has said that it serves."""
        if self._serving_since is None and self._pipe is not None:
            try:
                if self._pipe.recv(1):
                    self._serving_since = self._now()
            except OSError:  # nothing yet, or it is gone
                return False
        return self._serving_since is not None

    def status(self) -> int | None:
        """The exit status of the worker; None while it runs, 0 where none was started."""
        return 0 if self._process is None else self._process.poll()

    def signal(self, number: int) -> None:
        """Send it a signal, unless it has ended."""
        if self._process is not None:
            self._process.send_signal(number)

    def look_after(self) -> None:
        """Start the first worker of this place, or the next after one has died and its pause is over."""
        self.is_serving()
        now = self._now()
        if self._process is not None and self._process.poll() is not None:
            self._schedule_restart(self._process, now)
        if self._process is None and now >= self._next_at:
            self.start()

    def _schedule_restart(self, process: subprocess.Popen[bytes], now: float) -> None:
        is_young = self._serving_since is None or now - self._serving_since < _YOUNG_S
        pause = self._pause_s if is_young else _FIRST_PAUSE_S
        self._next_at = now + pause
        self._pause_s = min(pause * 2, _LONGEST_PAUSE_S)
        if self._pipe is not None:
            self._pipe.close()
        self._process = self._pipe = None
        print(f"Worker {process.pid} ended ({process.returncode}); another starts in {pause:g} s.", file=sys.stderr)


def reserve(host: str, port: int) -> socket.socket:
    """A socket that keeps the port for workers and does not listen itself."""
    try:
        return bind_shared(host, port)
    except OSError as error:
        raise InstallationError(
            f"{host}:{port} can't be listened on.", f"The system says: {error.strerror}.", "Give another --host."
        ) from error


def bind_shared(host: str, port: int) -> socket.socket:
    """A socket bound to an address that others of the same user may share."""
    family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
    shared_socket = socket.socket(family, socket.SOCK_STREAM)
    try:
        shared_socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        shared_socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        shared_socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # what it accepts inherits it
        shared_socket.bind((host, port))
    except OSError:
        shared_socket.close()
        raise
    return shared_socket
